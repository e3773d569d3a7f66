"""The benchmark of the firmware tells a codec that lets damage through from one that does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks._boards import SOURCES
from benchmarks.firmware import corruption

FRAMES = 100_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    return tmp_path


def test_corrupted_frames_are_dropped(folder: Path) -> None:
    found = corruption(folder, FRAMES, 0)
    assert found["corrupted"] >= FRAMES
    assert found["dropped"] > 0.5 * FRAMES
    assert found["wrong"] == 0


def test_a_codec_that_looks_at_no_crc_is_found_out(folder: Path) -> None:
    careless = Path(shutil.copytree(SOURCES, folder / "src"))
    code = (careless / "acclimate_frame.c").read_text(encoding="utf-8")
    checked = "return crc == frame_crc(layout, raw, content) ? ACCLIMATE_FRAME : ACCLIMATE_DAMAGED;"
    assert checked in code
    (careless / "acclimate_frame.c").write_text(
        code.replace(checked, "return ACCLIMATE_FRAME;"), encoding="utf-8"
    )
    assert corruption(folder, FRAMES, 0, careless)["wrong"] > 0.01 * FRAMES
