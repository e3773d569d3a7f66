"""The firmware on its boards: built, measured, and served at a port. Tests drive the same boards."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import BenchmarkError

FIRMWARE = Path(__file__).parents[1] / "firmware_bridge" / "firmware"
SOURCES = FIRMWARE / "src"
CORE = ("acclimate_frame.c", "acclimate_device.c")
CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb")
_QEMU = ("qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none")
_PROBE = '#include "acclimate.h"\nacclimate_device device;\n'


class Sizes(NamedTuple):
    """In bytes. text: code and constants; ram: a device of any number of channels, and what the code keeps besides."""

    text: int
    ram: int


class Served(NamedTuple):
    """A device at a port, and the process that it lives in."""

    port: str
    process: subprocess.Popen[str]


def compiled(*command: str | Path) -> None:
    """Run a compiler, which has to be content. Raises BenchmarkError."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(words)} failed: {done.stderr}")


def made(folder: Path, target: str, *variables: str) -> Path:
    """`make TARGET` of the firmware, into `folder`, which comes back."""
    compiled("make", "-s", "-C", FIRMWARE, target, f"BUILD={folder}", *variables)
    return folder


def sizes(folder: Path) -> Sizes:
    """What the core takes of a Cortex-M4, by arm-none-eabi-gcc -Os."""
    probe = folder / "probe.c"
    probe.write_text(_PROBE, encoding="utf-8")
    found = [_size(source, folder) for source in (*(SOURCES / name for name in CORE), probe)]
    return Sizes(sum(text for text, _ in found), sum(ram for _, ram in found))


def _size(source: Path, folder: Path) -> tuple[int, int]:
    target = folder / f"{source.stem}.o"
    options = ("-std=c99", "-Os", *CORTEX_M4, "-I", SOURCES)
    compiled("arm-none-eabi-gcc", *options, "-c", source, "-o", target)
    command = ["arm-none-eabi-size", str(target)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, re.findall(r"\d+", said.splitlines()[1])[:3])
    return text + data, data + bss


def instructions(image: Path) -> dict[str, int]:
    """What exchange.elf counts: the same on each run."""
    counting = ("-semihosting", "-icount", "shift=10", "-serial", "stdio")
    command = [*_QEMU, *counting, "-kernel", str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return {name: int(number) for name, number in re.findall(r"^(\w+) (\d+)$", done.stdout, re.MULTILINE)}


@contextlib.contextmanager
def host_device(program: Path, *arguments: str) -> Iterator[Served]:
    """A process of this computer."""
    with _served([str(program), *arguments]) as device:
        yield device


@contextlib.contextmanager
def qemu_device(image: Path) -> Iterator[Served]:
    """A board in QEMU, with its UART on a pseudo-terminal."""
    line = ("-chardev", "pty,id=line", "-serial", "chardev:line")
    with _served([*_QEMU, "-kernel", str(image), *line]) as device:
        # QEMU drops what its board sends while nobody has the port open, and may notice in the middle of a frame.
        held = os.open(device.port, os.O_RDWR | os.O_NOCTTY)
        try:
            yield device
        finally:
            os.close(held)


@contextlib.contextmanager
def _served(command: list[str]) -> Iterator[Served]:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"/dev/\S+", process.stdout.readline())
            if found is None:
                raise BenchmarkError(f"{command[0]} gave no port")
            yield Served(found[0], process)
        finally:
            process.terminate()
            process.wait(timeout=10)
