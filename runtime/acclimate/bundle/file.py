"""Reading and writing `NAME.acclimate`; docs/bundle_format.md is the format in words."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from acclimate.arrays import FloatArray
from acclimate.atomic import write_atomically
from acclimate.bundle import archive, manifest_json
from acclimate.bundle.digest import sha256_hex
from acclimate.bundle.golden import Golden
from acclimate.bundle.manifest import Manifest, MemberFile
from acclimate.bundle.npz import check_arrays, unpack_arrays
from acclimate.errors import BundleError
from acclimate.whole_files import read_whole

MANIFEST = "manifest.json"
ACT, ADAPT, STATE, GOLDEN = "act.onnx", "adapt.onnx", "state.npz", "golden.npz"
MAX_BUNDLE = 256 * 2**20  # bytes
MAX_MANIFEST = 2**20  # bytes


@dataclass(frozen=True)
class Bundle:
    """A bundle that passed every check that needs no engine.

    members: every member but the manifest, by name.
    state:   initial value of every state tensor, by name.
    sha256:  hash of the manifest, and so, through the hashes in it, of the whole content.
    """

    path: Path
    manifest: Manifest
    members: Mapping[str, bytes]
    state: Mapping[str, FloatArray]
    golden: Golden
    sha256: str

    @property
    def size(self) -> int:
        """Bytes of all members but the manifest."""
        return sum(file.size for file in self.manifest.files.values())

    def __repr__(self) -> str:
        return f"<Bundle {self.path}: {self.manifest.summary}, {self.size / 1024:.1f} KiB, sha256 {self.sha256[:16]}…>"


def load(path: str | Path) -> Bundle:
    """Read and check a bundle.

    Raises BundleError (ManifestError where the manifest is at fault) with one sentence that names the member,
    what was expected and what was found. The golden sequence is replayed later, by `Policy`, on the engine.
    """
    path = Path(path)
    return parse(_read_file(path), path)


def write_bundle(path: str | Path, manifest: Manifest, members: Mapping[str, bytes]) -> Manifest:
    """Write a bundle whose bytes depend on `manifest` and `members` alone; return the manifest as written.

    `members` holds act.onnx, state.npz and golden.npz, and adapt.onnx where the manifest has such a graph;
    `manifest.files` is computed here. The file appears whole or not at all. Raises BundleError for a bundle
    that `load` would refuse.
    """
    path = Path(path)
    files = {name: MemberFile(sha256_hex(content), len(content)) for name, content in sorted(members.items())}
    manifest = replace(manifest, files=files)
    data = archive.pack({MANIFEST: manifest_json.to_json(manifest)} | dict(sorted(members.items())))
    parse(data, path)
    write_atomically(path, data)
    return manifest


def parse(data: bytes, path: Path) -> Bundle:
    """The bundle in `data`; `path` names it in errors. Raises as `load`."""
    members = archive.unpack(io.BytesIO(data), str(path))
    if next(iter(members), None) != MANIFEST:
        raise BundleError(f"{path} does not begin with {MANIFEST}; it is not an Acclimate bundle")
    text = members.pop(MANIFEST)
    if len(text) > MAX_MANIFEST:
        raise BundleError(f"{path}: {MANIFEST} is {len(text)} bytes; at most {MAX_MANIFEST} are accepted")
    manifest = manifest_json.from_json(text, f"{path}: {MANIFEST}")
    _check_members(path, manifest, members)
    state = unpack_arrays(members[STATE], f"{path}: {STATE}")
    _check_state(path, manifest, state)
    recorded = unpack_arrays(members[GOLDEN], f"{path}: {GOLDEN}")
    golden = Golden.from_arrays(manifest, recorded, f"{path}: {GOLDEN}")
    return Bundle(path, manifest, members, state, golden, sha256_hex(text))


def _read_file(path: Path) -> bytes:
    try:
        return read_whole(path, MAX_BUNDLE)
    except OSError as error:
        raise BundleError(f"cannot read bundle {path}: {error.strerror}") from None


def _check_members(path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> None:
    required = {ACT, STATE, GOLDEN} | ({ADAPT} if manifest.graphs.adapt else set())
    for name in sorted(required | manifest.files.keys()):
        if name not in members:
            raise BundleError(f"{path} lacks the member {name!r}; it has: {', '.join(members) or 'none'}")
    for name, content in members.items():
        _check_member(path, name, content, manifest.files.get(name))
    _check_forms(path, manifest, members)


def _check_forms(path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> None:
    """Whatever the graphs are held as, an engine must find both of them, or one where there is only one."""
    for name in members:
        stem, _, form = name.partition(".")
        if stem == "adapt" and manifest.graphs.adapt is None:
            raise BundleError(f"{path} holds {name!r}, but its manifest has no graphs.adapt")
        other = {"act": "adapt", "adapt": "act"}.get(stem)
        if other is not None and manifest.graphs.adapt is not None and f"{other}.{form}" not in members:
            raise BundleError(f"{path} holds {name!r}, but not {f'{other}.{form}'!r}; an engine needs both")


def _check_member(path: Path, name: str, content: bytes, expected: MemberFile | None) -> None:
    if expected is None:
        raise BundleError(f"{path} holds {name!r}, which its manifest does not list in files")
    if len(content) != expected.size:
        raise BundleError(
            f"{path}: member {name!r} is {len(content)} bytes, expected {expected.size}; it was altered"
        )
    found = sha256_hex(content)
    if found != expected.sha256:
        raise BundleError(
            f"{path}: member {name!r} was altered: its SHA-256 is {found}, expected {expected.sha256}"
        )


def _check_state(path: Path, manifest: Manifest, state: Mapping[str, FloatArray]) -> None:
    shapes = {tensor.name: tensor.shape for tensor in manifest.state}
    check_arrays(state, shapes, f"{path}: {STATE}")
