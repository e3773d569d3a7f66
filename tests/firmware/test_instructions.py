"""What an exchange (a CMD taken, an OBS sent) costs a Cortex-M4F, in instructions: it may not grow unseen."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks._boards import instructions

from . import building

RECORD = Path(__file__).parent / "instructions.json"  # by version of arm-none-eabi-gcc
MORE = 1.02


def compiler() -> str:
    command = ["arm-none-eabi-gcc", "-dumpfullversion"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.match(r"\d+\.\d+", said)
    assert found is not None
    return found[0]


def test_an_exchange_takes_no_more_instructions_than_is_recorded(images: Path) -> None:
    counted = instructions(images / "exchange.elf")
    assert counted["state"] == 2  # it was driven
    recorded: dict[str, int] = json.loads(RECORD.read_text(encoding="utf-8"))
    found, version = counted["instructions_per_exchange"], compiler()
    if version not in recorded and not building.IN_CI:
        pytest.skip(f"{RECORD.name} has no count for arm-none-eabi-gcc {version}; here it is {found}")
    assert version in recorded, f"write {found} for arm-none-eabi-gcc {version} into {RECORD.name}"
    assert found <= MORE * recorded[version], f"{found}; where it is worth it, write that into {RECORD.name}"


def test_every_run_counts_the_same(images: Path) -> None:
    assert instructions(images / "exchange.elf") == instructions(images / "exchange.elf")
