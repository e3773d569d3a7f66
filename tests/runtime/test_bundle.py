import contextlib
import hashlib
import io
import json
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acclimate.bundle import archive, manifest_json
from acclimate.bundle.file import MAX_BUNDLE, MAX_MANIFEST, load, write_bundle
from acclimate.bundle.npz import pack_arrays
from acclimate.errors import BundleError, ManifestError, UsageError

from . import bundles

# The format is these bytes. If this changes, so has the format: raise FORMAT, or find out why.
MANIFEST_SHA256 = "6bef64d770a7e1094eacf7e2f699c933e332f496fb468be0af0dabdd6dd659ac"
BUNDLE_SHA256 = "0f7fbb2e7cec06afe60478feb8e4ce9b6fe5055a7b9ab1b594b1ee56d63373ca"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return bundles.write_tiny(tmp_path / "tiny.acclimate")


def _entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as opened:
        return {info.filename: opened.read(info) for info in opened.infolist()}


def _rewrite(path: Path, entries: dict[str, bytes]) -> None:
    path.write_bytes(archive.pack(entries))


def _edit(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    entries = _entries(path)
    change(entries)
    _rewrite(path, entries)


def _reseal(path: Path, name: str, content: bytes) -> None:
    """Replace a member and make the manifest's hash agree: an inconsistency, not an alteration."""
    entries = _entries(path)
    tree = json.loads(entries["manifest.json"])
    tree["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    _rewrite(path, entries | {"manifest.json": json.dumps(tree).encode(), name: content})


def _refused(path: Path, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_is_written_is_read(tiny: Path) -> None:
    bundle = load(tiny)
    assert replace(bundle.manifest, files={}) == bundles.manifest()
    assert bundle.members == bundles.members(bundles.manifest())
    for name, value in bundles.INITIAL.items():
        np.testing.assert_array_equal(bundle.state[name], value)
    assert bundle.golden.ticks == 6
    assert bundle.golden.adapt is not None


def test_any_zip_tool_reads_it_and_the_manifest_comes_first(tiny: Path) -> None:
    with zipfile.ZipFile(tiny) as opened:
        assert opened.testzip() is None
        names = [info.filename for info in opened.infolist()]
        assert {info.compress_type for info in opened.infolist()} == {zipfile.ZIP_STORED}
    assert names == ["manifest.json", "act.onnx", "adapt.onnx", "golden.npz", "state.npz"]


def test_the_format_is_these_very_bytes(tmp_path: Path) -> None:
    # Fixed stand-ins for the graphs: their bytes belong to the onnx package, not to this format.
    manifest = bundles.manifest()
    fixed = bundles.members(manifest) | {
        "act.onnx": b"act",
        "adapt.onnx": b"adapt",
        "golden.npz": _plain_golden(),
    }
    written = write_bundle(tmp_path / "golden.acclimate", manifest, fixed)
    assert hashlib.sha256(manifest_json.to_json(written)).hexdigest() == MANIFEST_SHA256
    assert hashlib.sha256((tmp_path / "golden.acclimate").read_bytes()).hexdigest() == BUNDLE_SHA256


def _plain_golden() -> bytes:
    """A golden sequence of zeros: random numbers may differ between versions of numpy."""
    golden = bundles.golden(bundles.manifest())
    with io.BytesIO(golden.pack()) as stream, np.load(stream) as arrays:
        return pack_arrays({name: np.zeros_like(arrays[name]) for name in arrays})


@pytest.mark.parametrize("keep", [0, 1, 100, 2000, -1, -22, -200])
def test_truncated(tiny: Path, keep: int) -> None:
    tiny.write_bytes(tiny.read_bytes()[:keep])
    _refused(tiny, "is truncated, or not a ZIP archive|is damaged")


def test_every_altered_byte_of_every_member_is_noticed(tiny: Path) -> None:
    data = tiny.read_bytes()
    with zipfile.ZipFile(tiny) as opened:
        infos = opened.infolist()
    for info in infos:
        offset = data.index(info.filename.encode(), info.header_offset) + len(info.filename)
        for position in (offset, offset + info.file_size // 2, offset + info.file_size - 1):
            altered = bytearray(data)
            altered[position] ^= 0x01
            tiny.write_bytes(bytes(altered))
            _refused(tiny, f"member '{info.filename}' is damaged")


def test_altered_member_with_a_good_checksum(tiny: Path) -> None:
    def change(entries: dict[str, bytes]) -> None:
        entries["act.onnx"] = entries["act.onnx"][:-1] + b"!"

    _edit(tiny, change)
    _refused(tiny, "member 'act.onnx' was altered: its SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}")


def test_member_of_another_size(tiny: Path) -> None:
    _edit(tiny, lambda entries: entries.update({"state.npz": entries["state.npz"] + b"!"}))
    _refused(tiny, "member 'state.npz' is 1173 bytes, expected 1172")


@pytest.mark.parametrize("name", ["act.onnx", "adapt.onnx", "state.npz", "golden.npz"])
def test_missing_member(tiny: Path, name: str) -> None:
    _edit(tiny, lambda entries: entries.__delitem__(name))
    _refused(tiny, f"lacks the member '{name}'; it has: ")


def test_missing_manifest(tiny: Path) -> None:
    _edit(tiny, lambda entries: entries.__delitem__("manifest.json"))
    _refused(tiny, r"does not begin with manifest\.json; it is not an Acclimate bundle")


def test_unlisted_member(tiny: Path) -> None:
    _edit(tiny, lambda entries: entries.update({"extra.bin": b"1"}))
    _refused(tiny, r"holds 'extra\.bin', which its manifest does not list")


def test_unknown_format_version(tiny: Path) -> None:
    def change(entries: dict[str, bytes]) -> None:
        entries["manifest.json"] = entries["manifest.json"].replace(b'"format": 2', b'"format": 7')

    _edit(tiny, change)
    _refused(tiny, "format 7, and this Acclimate reads format 2")


def test_state_of_another_shape(tiny: Path) -> None:
    state = dict(bundles.INITIAL) | {"weight": np.zeros((1, 5), np.float32)}
    _reseal(tiny, "state.npz", pack_arrays(state))
    _refused(tiny, r"state\.npz: array 'weight' has shape \[1, 5\], expected \[1, 4\]")


def test_state_that_lacks_a_tensor(tiny: Path) -> None:
    _reseal(tiny, "state.npz", pack_arrays({"weight": bundles.INITIAL["weight"]}))
    _refused(tiny, r"state\.npz lacks the array 'shots'; it has: weight")


def test_state_with_a_tensor_too_many(tiny: Path) -> None:
    _reseal(tiny, "state.npz", pack_arrays(bundles.INITIAL | {"more": np.zeros(1, np.float32)}))
    _refused(tiny, "unexpected array 'more'")


def test_state_that_is_not_finite(tiny: Path) -> None:
    _reseal(tiny, "state.npz", pack_arrays(bundles.INITIAL | {"sigma": np.array([np.nan], np.float32)}))
    _refused(tiny, "array 'sigma' holds values that are not finite")


def test_golden_of_another_shape(tiny: Path) -> None:
    golden = bundles.golden(bundles.manifest())
    _reseal(tiny, "golden.npz", replace(golden, action=golden.action[:-1]).pack())
    _refused(tiny, r"golden\.npz: array 'act\.action' has shape \[5, 1\], expected \[6, 1\]")


def test_golden_without_a_tick(tiny: Path) -> None:
    _reseal(tiny, "golden.npz", pack_arrays({}))
    _refused(tiny, r"golden\.npz lacks the array 'act\.obs' with at least one tick")


def test_golden_of_one_tick_is_enough(tmp_path: Path) -> None:
    manifest = bundles.manifest()
    members = bundles.members(manifest) | {"golden.npz": bundles.golden(manifest, ticks=1).pack()}
    write_bundle(tmp_path / "x.acclimate", manifest, members)
    assert load(tmp_path / "x.acclimate").golden.ticks == 1


def test_compressed_members_are_refused_so_that_no_bomb_can_unfold(tiny: Path) -> None:
    entries = _entries(tiny) | {"adapt.onnx": b"\x00" * 10_000_000}
    with zipfile.ZipFile(tiny, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in entries.items():
            out.writestr(name, content)
    assert tiny.stat().st_size < 100_000
    _refused(tiny, "is compressed or encrypted; expected it stored as is")


def test_too_large_a_member_is_refused_before_it_is_read(tiny: Path) -> None:
    data = tiny.read_bytes()
    with zipfile.ZipFile(tiny) as opened:
        size = opened.getinfo("state.npz").file_size
    stated = size.to_bytes(4, "little") * 2
    claimed = (archive.MAX_MEMBER + 1).to_bytes(4, "little") * 2
    position = data.rindex(stated)  # in the central directory, at the end of the file
    tiny.write_bytes(data[:position] + claimed + data[position + 8 :])
    _refused(tiny, f"is {archive.MAX_MEMBER + 1} bytes; at most {archive.MAX_MEMBER} are accepted")


def test_a_member_of_exactly_the_largest_size_is_not_too_large(tiny: Path) -> None:
    """This one only claims to be."""
    data = tiny.read_bytes()
    with zipfile.ZipFile(tiny) as opened:
        size = opened.getinfo("state.npz").file_size
    claimed = archive.MAX_MEMBER.to_bytes(4, "little") * 2
    position = data.rindex(size.to_bytes(4, "little") * 2)
    tiny.write_bytes(data[:position] + claimed + data[position + 8 :])
    _refused(tiny, "reaches beyond the others' end")


@pytest.mark.parametrize("name", ["m", "a-long-name.bin"])
@pytest.mark.parametrize("shared", [0, 1, 29, 30, 31, 45, 90])
def test_no_byte_belongs_to_two_members(name: str, shared: int) -> None:
    """Neither of a member's header and name, nor of its content."""
    data = bytearray(archive.pack({name: bytes(90), "last": b"1"}))
    where = data.rindex(b"PK\1\2") + 42  # of the second member's offset in the directory
    offset = int.from_bytes(data[where : where + 4], "little")
    assert offset == 30 + len(name) + 90
    data[where : where + 4] = (offset - shared).to_bytes(4, "little")
    if not shared:
        assert list(archive.unpack(io.BytesIO(data), "x")) == [name, "last"]
        return
    with pytest.raises(BundleError, match="member 'last' overlaps another one"):
        archive.unpack(io.BytesIO(data), "x")


def test_an_archive_of_nothing_is_one() -> None:
    assert archive.unpack(io.BytesIO(archive.pack({})), "x") == {}


@pytest.mark.parametrize("at", [20, 24])
def test_either_size_may_be_too_large(tiny: Path, at: int) -> None:
    """Of the two that a directory states, packed and unpacked."""
    data = bytearray(tiny.read_bytes())
    where = data.rindex(b"PK\1\2") + at
    data[where : where + 4] = (archive.MAX_MEMBER + 1).to_bytes(4, "little")
    tiny.write_bytes(bytes(data))
    _refused(tiny, f"at most {archive.MAX_MEMBER} are accepted")


def test_an_encrypted_member_is_refused(tiny: Path) -> None:
    data = bytearray(tiny.read_bytes())
    for magic, at in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        data[data.rindex(magic) + at] |= 1
    tiny.write_bytes(bytes(data))
    _refused(tiny, "member 'state.npz' is compressed or encrypted; expected it stored as is")


def test_a_manifest_of_exactly_the_largest_size_is_read(tiny: Path) -> None:
    def pad(entries: dict[str, bytes]) -> None:
        text = entries["manifest.json"]
        entries["manifest.json"] = text + b" " * (MAX_MANIFEST - len(text))

    _edit(tiny, pad)
    assert load(tiny).manifest.name == "tiny"


def test_another_system_packs_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    here = archive.pack({"m": b"1"})
    monkeypatch.setattr(sys, "platform", "win32")
    assert archive.pack({"m": b"1"}) == here


def test_the_limits_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "bundle_format.md").read_text(encoding="utf-8")
    assert (archive.MAX_MEMBERS, archive.MAX_MEMBER) == (64, 64 * 1024**2)
    assert (MAX_MANIFEST, MAX_BUNDLE) == (1024**2, 256 * 1024**2)
    said = (
        "at most 64 members, of at most 64 MiB each, `manifest.json` of 1 MiB; the file has at most 256 MiB"
    )
    assert said in page


def test_two_sizes_are_refused(tiny: Path) -> None:
    data = tiny.read_bytes()
    with zipfile.ZipFile(tiny) as opened:
        size = opened.getinfo("state.npz").file_size
    stated = size.to_bytes(4, "little") * 2
    position = data.rindex(stated)
    tiny.write_bytes(data[: position + 4] + (size + 1).to_bytes(4, "little") + data[position + 8 :])
    _refused(tiny, "states two different sizes|is truncated")


def test_duplicate_members(tiny: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with zipfile.ZipFile(tiny, "a") as out:
            out.writestr("act.onnx", b"another")
    _refused(tiny, r"holds the member 'act\.onnx' twice")


@pytest.mark.parametrize(
    "name", ["../act.onnx", "/etc/act.onnx", "sub/act.onnx", "..\\act.onnx", ".hidden", "a\tb"]
)
def test_names_that_are_not_plain_file_names(tiny: Path, name: str) -> None:
    with zipfile.ZipFile(tiny, "a") as out:
        out.writestr(name, b"1")
    _refused(tiny, "names are letters, digits, '.', '_' and '-' only, without folders")


def test_too_many_members(tiny: Path) -> None:
    _edit(tiny, lambda entries: entries.update({f"m{i}": b"" for i in range(archive.MAX_MEMBERS)}))
    _refused(tiny, f"has {archive.MAX_MEMBERS + 5} members; at most {archive.MAX_MEMBERS} are accepted")


def test_as_many_members_as_are_allowed_are_read() -> None:
    members = {f"m{i}": bytes([i]) for i in range(archive.MAX_MEMBERS)}
    assert archive.unpack(io.BytesIO(archive.pack(members)), "x") == members


def test_no_such_file(tmp_path: Path) -> None:
    _refused(tmp_path / "none.acclimate", "cannot read bundle .*: No such file or directory")


def test_a_folder(tmp_path: Path) -> None:
    _refused(tmp_path, "cannot read bundle .*: Is a directory")


def test_random_damage_never_ends_in_another_exception(tiny: Path) -> None:
    data, rng = tiny.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        altered = bytearray(data)
        for _ in range(int(rng.integers(1, 8))):
            altered[int(rng.integers(len(data)))] = int(rng.integers(256))
        tiny.write_bytes(bytes(altered))
        with contextlib.suppress(BundleError):  # harmless bytes exist: times and attributes of members
            load(tiny)


def test_the_writer_refuses_what_the_reader_would(tmp_path: Path) -> None:
    manifest = bundles.manifest()
    members = bundles.members(manifest)
    del members["adapt.onnx"]
    with pytest.raises(BundleError, match=r"lacks the member 'adapt\.onnx'"):
        write_bundle(tmp_path / "x.acclimate", manifest, members)
    assert list(tmp_path.iterdir()) == []


def test_an_adapt_graph_that_the_manifest_does_not_know(tmp_path: Path) -> None:
    frozen = bundles.without_adapt(bundles.manifest())
    members = bundles.members(frozen) | {"adapt.onnx": bundles.adapt_model()}
    with pytest.raises(BundleError, match=r"its manifest has no graphs\.adapt"):
        write_bundle(tmp_path / "x.acclimate", frozen, members)


@pytest.mark.parametrize("form", ["c", "tflite"])
def test_further_forms_are_there_whole_or_not_at_all(tmp_path: Path, form: str) -> None:
    manifest, path = bundles.manifest(), tmp_path / "x.acclimate"
    both = {f"act.{form}": b"1", f"adapt.{form}": b"2"}
    write_bundle(path, manifest, bundles.members(manifest) | both)
    assert both.items() <= load(path).members.items()
    for stem, other in (("act", "adapt"), ("adapt", "act")):
        half = {f"{stem}.{form}": b"1"}
        with pytest.raises(BundleError, match=f"holds '{stem}.{form}', but not '{other}.{form}'"):
            write_bundle(path, manifest, bundles.members(manifest) | half)
    frozen = bundles.without_adapt(manifest)
    with pytest.raises(BundleError, match=f"holds 'adapt.{form}', but its manifest has no graphs.adapt"):
        write_bundle(path, frozen, bundles.members(frozen) | both)
    write_bundle(path, frozen, bundles.members(frozen) | {f"act.{form}": b"1"})
    assert load(path).members[f"act.{form}"] == b"1"


def test_a_bundle_without_adaptation_is_fine(tmp_path: Path) -> None:
    frozen = bundles.without_adapt(bundles.manifest())
    bundle = load(bundles.write_tiny(tmp_path / "robust.acclimate", frozen))
    assert bundle.golden.adapt is None


def test_writing_replaces_whole_files_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "tiny.acclimate"
    path.write_bytes(b"old")
    bundles.write_tiny(path)
    assert load(path).manifest.name == "tiny"
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.acclimate"]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write .*: No such file or directory"):
        bundles.write_tiny(tmp_path / "none" / "tiny.acclimate")


def test_a_manifest_error_names_the_file(tiny: Path) -> None:
    def change(entries: dict[str, bytes]) -> None:
        entries["manifest.json"] = b"{}"

    _edit(tiny, change)
    with pytest.raises(ManifestError, match=r"tiny\.acclimate: manifest\.json lacks the field 'format'"):
        load(tiny)
