"""What the core takes of a Cortex-M4."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from .building import CORE, CORTEX_M4, SOURCES, compiled

_PROBE = '#include "acclimate.h"\nacclimate_device device;\n'


class Sizes(NamedTuple):
    """In bytes. text: code and constants; ram: a device of any number of channels, and what the code keeps besides."""

    text: int
    ram: int


def sizes(folder: Path) -> Sizes:
    """By arm-none-eabi-gcc -Os."""
    probe = folder / "probe.c"
    probe.write_text(_PROBE, encoding="utf-8")
    found = [_size(source, folder) for source in (*(SOURCES / name for name in CORE), probe)]
    return Sizes(sum(text for text, _ in found), sum(ram for _, ram in found))


def _size(source: Path, folder: Path) -> tuple[int, int]:
    target = folder / f"{source.stem}.o"
    compiled("arm-none-eabi-gcc", "-std=c99", "-Os", *CORTEX_M4, "-I", SOURCES, "-c", source, "-o", target)
    command = ["arm-none-eabi-size", str(target)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, re.findall(r"\d+", said.splitlines()[1])[:3])
    return text + data, data + bss
