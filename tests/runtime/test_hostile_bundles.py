"""Bundles that mean ill: each is refused in one sentence that a terminal shows as it is, before it costs anything."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from acclimate.bundle import archive
from acclimate.bundle.file import MAX_BUNDLE, MAX_MANIFEST, load
from acclimate.bundle.manifest_json import LARGEST_TOLERANCE, from_json
from acclimate.command.cli import main
from acclimate.errors import AcclimateError, BundleError, CheckpointError, ManifestError, UsageError
from acclimate.fields import LARGEST, Json
from acclimate.plain import is_plain, plain
from acclimate.policy.checkpoint import load_checkpoint
from acclimate.policy.policy import Policy
from acclimate.text_files import read_toml
from hypothesis import given
from hypothesis import strategies as st

from . import bundles

Where = tuple[str | int, ...]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.acclimate")


@pytest.fixture(scope="module")
def members(tiny: Path) -> dict[str, bytes]:
    with tiny.open("rb") as stream:
        return archive.unpack(stream, "tiny")


def _refused(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that `acclimate inspect` says of it."""
    assert main(["inspect", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    line = shown.err.removesuffix("\n")
    assert is_plain(line)
    return line


def _leaves(tree: Json, at: Where = ()) -> Iterator[tuple[Where, Json]]:
    if isinstance(tree, dict | list):
        inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in inner:
            yield from _leaves(value, (*at, key))
    else:
        yield at, tree


def _manifest() -> Json:
    """The small bundle's, with something of everything that it may hold."""
    from acclimate.bundle.manifest_json import to_json

    tree: Json = json.loads(to_json(bundles.with_objectives(bundles.manifest())))
    assert isinstance(tree, dict)
    return tree | {"files": {"act.onnx": {"sha256": "0" * 64, "size": 7}}}


TREE = _manifest()
NUMBERS = [
    at for at, value in _leaves(TREE) if isinstance(value, int | float) and not isinstance(value, bool)
]
TEXTS = [at for at, value in _leaves(TREE) if isinstance(value, str)]


def _with(at: Where, text: str) -> bytes:
    """The manifest with JSON `text` at a place."""
    tree: Json = json.loads(json.dumps(TREE))
    inner = tree
    for key in at[:-1]:
        inner = inner[key]  # type: ignore[index,call-overload]
    inner[at[-1]] = "PLACE"  # type: ignore[index,call-overload]
    return json.dumps(tree).replace('"PLACE"', text).encode()


@pytest.mark.parametrize(
    "number", ["9" * 401, "-" + "9" * 401, "1e400", "-1e400", "NaN", "Infinity", "9" * 5000]
)
def test_a_number_beyond_all_bounds_is_refused_wherever_it_stands(number: str) -> None:
    for at in NUMBERS:
        with pytest.raises(ManifestError, match="is not valid JSON") as caught:
            from_json(_with(at, number))
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("number", [2.0**62, -(2.0**62), 1e300, -1e300])
def test_every_number_that_means_something_has_a_bound(number: float) -> None:
    """Also where JSON has no objection; what is for people alone may be as it likes."""
    free = {"provenance", "options"}
    for at in NUMBERS:
        text = json.dumps(int(number) if abs(number) < 2**63 else number)
        if free & set(at):
            from_json(_with(at, text))
            continue
        with pytest.raises(ManifestError) as caught:
            from_json(_with(at, text))
        assert is_plain(str(caught.value))


@pytest.mark.parametrize(
    "text", ['"\\ud800"', '"\\u001b[2J"', '"a\\nb"', '"\\u0000"', '"\\u202e"', '"\\u009b31m"']
)
def test_text_that_a_terminal_would_not_show_is_refused_wherever_it_stands(text: str) -> None:
    for at in TEXTS:
        with pytest.raises(ManifestError, match="holds characters that cannot be shown") as caught:
            from_json(_with(at, text))
        assert is_plain(str(caught.value))
    with pytest.raises(ManifestError, match="holds characters that cannot be shown"):
        from_json(_with(("provenance",), f"{{{text}: 1}}"))


@pytest.mark.parametrize("name", ["golden_rel", "golden_abs"])
@pytest.mark.parametrize("value", [1e30, 2 * LARGEST_TOLERANCE, 0.0, -1.0])
def test_a_tolerance_that_proves_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(ManifestError, match=rf"tolerance\.{name} must"):
        from_json(_with(("tolerance", name), json.dumps(value)))


@pytest.mark.parametrize(
    ("at", "text", "said"),
    [
        (("state", 0, "shape"), "[100000, 100000]", "a shape of at most"),
        (("state", 0, "shape"), "[1" + ", 1" * 40 + "]", "a shape of at most"),
        (("task", "observation", 0, "shape"), "[1000, 999]", "its channels have more than"),
        (("task", "horizon"), "1000000000", "a whole number from 1 to"),
        (("task", "control_dt"), "1e-300", "control_dt must be at least"),
        (("provenance",), '{"a": ' + "[" * 40 + "]" * 40 + "}", "deep in each other"),
        (("provenance",), '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "is not valid JSON"),
    ],
)
def test_what_would_take_memory_or_time_is_refused(at: Where, text: str, said: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(said)):
        from_json(_with(at, text))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_manifest_is_utf_8(encoding: str) -> None:
    with pytest.raises(ManifestError, match="is not valid JSON"):
        from_json(json.dumps(TREE).encode(encoding))


def test_a_manifest_of_megabytes_is_not_parsed(
    members: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = members["manifest.json"] + b" " * MAX_MANIFEST
    (tmp_path / "x.acclimate").write_bytes(archive.pack(members | {"manifest.json": large}))
    assert f"at most {MAX_MANIFEST} are accepted" in _refused(tmp_path / "x.acclimate", capsys)


def _overlapping(size: int, copies: int) -> bytes:
    """Members that all begin in one place's data: the first holds the headers of the others."""
    heads, content = [], bytes(size)
    for i in reversed(range(copies)):
        crc = zlib.crc32(content)
        name = f"m{i:02}".encode()
        local = (
            struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, crc, len(content), len(content), 3, 0) + name
        )
        heads.append((name, crc, len(content), len(local)))
        content = local + content
    ends, directory = len(content), b""
    offset = 0
    for name, crc, length, head in reversed(heads):
        fields = (b"PK\1\2", 20, 20, 0, 0, 0, 33, crc, length, length, 3, 0, 0, 0, 0, 0, offset)
        directory += struct.pack("<4s6H3L5H2L", *fields) + name
        offset += head
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, copies, copies, len(directory), ends, 0)
    return content + directory + end


def test_members_that_share_bytes_are_refused_before_they_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.acclimate"
    path.write_bytes(_overlapping(4 * 2**20, 60))
    tracemalloc.start()
    with pytest.raises(BundleError, match="overlaps another one"):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20  # the file twice, and not 240 MiB
    assert "overlaps another one" in _refused(path, capsys)


def _edge(path: Path, what: str) -> Path:
    if what == "a pipe":
        os.mkfifo(path / "pipe")
        return path / "pipe"
    if what == "a sparse file":
        with (path / "sparse").open("wb") as file:
            file.truncate(MAX_BUNDLE + 1)
        return path / "sparse"
    return Path(what)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("/dev/zero", "it is a device or a pipe, expected a file"),
        ("a pipe", "it is a device or a pipe, expected a file"),
        ("a sparse file", f"it has more than {MAX_BUNDLE} bytes"),
    ],
)
def test_what_has_no_end_is_not_read(
    tiny: Path, tmp_path: Path, what: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _edge(tmp_path, what)
    assert said in _refused(path, capsys)
    with pytest.raises(CheckpointError, match=re.escape(said)):
        load_checkpoint(path, Policy(load(tiny)))


def test_a_text_file_has_an_end() -> None:
    with pytest.raises(UsageError, match="cannot read file /dev/zero: it has more than"):
        read_toml("/dev/zero")


def _name_in_graph(model: bytes) -> bytes:
    return model.replace(b"state.sigma", b"st\x1b[2Jsigma")


def _reseal(members: dict[str, bytes], path: Path, **changes: Callable[[bytes], bytes]) -> Path:
    """Alter members, and make the manifest's hashes agree."""
    tree = json.loads(members["manifest.json"])
    for stem, change in changes.items():
        content = change(members[f"{stem}.onnx"])
        members = members | {f"{stem}.onnx": content}
        tree["files"][f"{stem}.onnx"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    path.write_bytes(archive.pack(members | {"manifest.json": json.dumps(tree).encode()}))
    return path


def test_what_an_engine_says_of_a_graph_is_shown_as_text(
    members: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _reseal(members, tmp_path / "x.acclimate", act=_name_in_graph)
    assert "act.onnx" in _refused(path, capsys)


@given(st.text())
def test_whatever_an_error_quotes_a_terminal_shows_it(text: str) -> None:
    assert is_plain(str(AcclimateError(text)))
    assert str(AcclimateError(text)) == plain(text)
    assert plain(plain(text)) == plain(text)
    if is_plain(text):
        assert plain(text) == text


def test_numbers_that_are_in_use_are_far_from_the_bounds() -> None:
    largest = max(
        abs(value) for at, value in _leaves(TREE) if at in NUMBERS and isinstance(value, int | float)
    )
    assert largest < 1e-6 * LARGEST
    assert np.finfo(np.float32).max > LARGEST
