#!/usr/bin/env bash
# The board's install on aarch64, emulated: Debian arm64, the wheel by pip, the golden check on every engine.
#
#   tests/arm/check.sh FOLDER BUNDLE…
#
# Makes FOLDER/root, a Debian bookworm for arm64 (once; a later call uses it again), installs the checkout's wheel in it
# by pip, and runs `acclimate inspect` on each bundle with each engine, `inspect` with the engine it chooses, and a short
# `acclimate bench`. Where one refuses, so does this. It says nothing about speed: qemu-user emulates.
#
# Not part of the test suite: it needs root, the network, about 600 MB, a quarter of an hour, and from Debian
#   apt-get install mmdebstrap qemu-user-static binfmt-support
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
python="$here/.venv/bin/python"
suite=bookworm  # Python 3.11, gcc 12
board=/opt/board

fail() { echo "check.sh: $*" >&2; exit 2; }
said() { echo "check.sh: $*"; }

[ $# -ge 2 ] || fail "usage: tests/arm/check.sh FOLDER BUNDLE…"
[ "$(id -u)" = 0 ] || fail "needs root, to make a Debian root and to enter it"
for tool in mmdebstrap qemu-aarch64-static update-binfmts; do
  command -v "$tool" > /dev/null || fail "found no $tool; apt-get install mmdebstrap qemu-user-static binfmt-support"
done
update-binfmts --enable qemu-aarch64
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || fail "the kernel does not start aarch64 programs by qemu (binfmt_misc)"

mkdir -p "$1"
folder=$(cd "$1" && pwd) root=$folder/root
shift

if [ ! -e "$root/.made" ]; then
  said "making a Debian $suite for arm64 in $root"
  rm -rf "$root"
  mmdebstrap --quiet --arch=arm64 --variant=minbase --include=python3-venv,gcc,libc6-dev \
    "$suite" "$root" http://deb.debian.org/debian
  touch "$root/.made"
fi

arm() { # a command in the root, with nothing of this machine's Python
  env -u PYTHONPATH -u PYTHONDONTWRITEBYTECODE -u VIRTUAL_ENV LC_ALL=C.UTF-8 HOME=/root chroot "$root" "$@"
}
mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
[ -z "${PIP_CERT:-}" ] || install -D -m 644 "$PIP_CERT" "$root$PIP_CERT"

said "building the wheel, and installing it by pip on $(arm uname -m)"
wheels=$(mktemp -d)
"$python" -m build --wheel --no-isolation --outdir "$wheels" "$here" > "$folder/build.log" 2>&1 \
  || { tail -5 "$folder/build.log" >&2; fail "no wheel came of $here"; }
wheel=$(basename "$wheels"/*.whl)
rm -rf "$root/opt/install" "${root:?}$board"
mkdir -p "$root/opt/install"
cp "$wheels/$wheel" "$here/constraints.txt" "$root/opt/install/"
rm -rf "$wheels"
arm python3 -m venv "$board"
arm "$board/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
  -c /opt/install/constraints.txt "/opt/install/$wheel[onnx,litert,serial]"
arm "$board/bin/python" -m pip list --disable-pip-version-check | grep -iE '^(acclimate|numpy|onnxruntime|ai-edge-litert) '

mkdir -p "$root/opt/bundles"
for bundle in "$@"; do
  cp "$bundle" "$root/opt/bundles/"
  inside=/opt/bundles/$(basename "$bundle")
  for engine in onnxruntime litert native auto; do
    said "$(basename "$bundle") on $engine"
    arm "$board/bin/acclimate" inspect "$inside" --engine "$engine" | sed -n '/^engine/p; /^golden/p'
  done
  said "a short bench of $(basename "$bundle")"
  arm "$board/bin/acclimate" bench "$inside" --seconds 0.3
done
said "all of it agrees on aarch64"
