#!/usr/bin/env bash
# The board's install on ARM, emulated: a Debian root, the wheel by pip, the golden check on every engine.
#
#   [ARCH=armhf] tests/arm/check.sh FOLDER BUNDLE…
#
# Makes FOLDER/root, a Debian of that architecture (once; a later call uses it again): Debian 12 for arm64, or Debian 13
# for armhf, where numpy is Debian's and the engine native C. Installs the checkout's wheel in it by pip, and runs
# `acclimate inspect` on each bundle with each engine and with the one that it chooses, and a short `acclimate bench`; on
# arm64 then with tflite-runtime, too. Where one refuses, so does this. It says nothing about speed: qemu-user emulates.
#
# Not part of the test suite: it needs root, the network, about 600 MB, a quarter of an hour, and from Debian
#   apt-get install mmdebstrap qemu-user-static binfmt-support
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
python="$here/.venv/bin/python"

fail() { echo "check.sh: $*" >&2; exit 2; }
said() { echo "check.sh: $*"; }

arch=${ARCH:-arm64}
case "$arch" in
  arm64) suite=bookworm qemu=qemu-aarch64 packages=python3-venv,gcc,libc6-dev
    extras=onnx,litert,serial engines="onnxruntime litert native auto" venv=() pins=(-c /opt/install/constraints.txt) ;;
  armhf) suite=trixie qemu=qemu-arm packages=python3-venv,python3-numpy,gcc,libc6-dev
    extras=serial engines="native auto" venv=(--system-site-packages) pins=() ;;
  *) fail "ARCH is $arch, expected arm64 or armhf" ;;
esac
[ $# -ge 2 ] || fail "usage: [ARCH=armhf] tests/arm/check.sh FOLDER BUNDLE…"
[ "$(id -u)" = 0 ] || fail "needs root, to make a Debian root and to enter it"
for tool in mmdebstrap "$qemu-static" update-binfmts; do
  command -v "$tool" > /dev/null || fail "found no $tool; apt-get install mmdebstrap qemu-user-static binfmt-support"
done
update-binfmts --enable "$qemu" 2> /dev/null || true
[ -e "/proc/sys/fs/binfmt_misc/$qemu" ] || fail "the kernel does not start programs of $arch by qemu (binfmt_misc)"

mkdir -p "$1"
folder=$(cd "$1" && pwd) root=$folder/root
shift

if [ ! -e "$root/.made" ]; then
  said "making a Debian $suite for $arch in $root"
  rm -rf "$root"
  mmdebstrap --quiet --arch="$arch" --variant=minbase --include="$packages" "$suite" "$root" http://deb.debian.org/debian
  touch "$root/.made"
fi

arm() { # a command in the root, with nothing of this machine's Python
  env -u PYTHONPATH -u PYTHONDONTWRITEBYTECODE -u VIRTUAL_ENV LC_ALL=C.UTF-8 HOME=/root chroot "$root" "$@"
}
# Not /sys: with it onnxruntime looks for the processors of /sys in a /proc/cpuinfo of another architecture, and crashes.
# Without it, it remarks that it found none, and goes on.
mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
[ -z "${PIP_CERT:-}" ] || install -D -m 644 "$PIP_CERT" "$root$PIP_CERT"

said "building the wheel, and installing it by pip on $(arm uname -m)"
wheels=$(mktemp -d)
"$python" -m build --wheel --no-isolation --outdir "$wheels" "$here" > "$folder/build.log" 2>&1 \
  || { tail -5 "$folder/build.log" >&2; fail "no wheel came of $here"; }
wheel=$(basename "$wheels"/*.whl)
rm -rf "$root/opt/install"
mkdir -p "$root/opt/install" "$root/opt/bundles"
cp "$wheels/$wheel" "$here/constraints.txt" "$root/opt/install/"
cp "$@" "$root/opt/bundles/"
rm -rf "$wheels"

install_by_pip() { # NAME REQUIREMENT…: a clean environment /opt/NAME
  local name=$1
  shift
  rm -rf "${root:?}/opt/$name"
  arm python3 -m venv "${venv[@]}" "/opt/$name"
  arm "/opt/$name/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir "$@"
  arm "/opt/$name/bin/python" --version
  arm "/opt/$name/bin/python" -m pip list --disable-pip-version-check \
    | grep -iE '^(acclimate|numpy|onnxruntime|ai-edge-litert|tflite-runtime) '
}

inspect() { # NAME BUNDLE ENGINE
  said "$(basename "$2") on $3"
  arm "/opt/$1/bin/acclimate" inspect "/opt/bundles/$(basename "$2")" --engine "$3" | sed -n '/^engine/p; /^golden/p'
}

install_by_pip board "${pins[@]}" "/opt/install/$wheel[$extras]"
for bundle in "$@"; do
  for engine in $engines; do
    inspect board "$bundle" "$engine"
  done
  said "a short bench of $(basename "$bundle")"
  arm /opt/board/bin/acclimate bench "/opt/bundles/$(basename "$bundle")" --seconds 0.3
done

if [ "$arch" = arm64 ]; then
  said "the same with tflite-runtime and numpy 1"
  install_by_pip old "/opt/install/$wheel[serial]" tflite-runtime==2.14.0 'numpy<2'
  for bundle in "$@"; do
    inspect old "$bundle" litert
  done
fi
said "all of it agrees on $arch"
