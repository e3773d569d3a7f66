"""The C core as a device at a port: built for this computer, and as an image of a Cortex-M4F in QEMU."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

QEMU = ("qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none")


class Served(NamedTuple):
    port: str
    process: subprocess.Popen[str]


@contextlib.contextmanager
def host_device(program: Path, *arguments: str) -> Iterator[Served]:
    """A process of this computer."""
    with _served([str(program), *arguments]) as device:
        yield device


@contextlib.contextmanager
def qemu_device(image: Path) -> Iterator[Served]:
    """A board in QEMU, with its UART on a pseudo-terminal."""
    with _served(
        [*QEMU, "-kernel", str(image), "-chardev", "pty,id=line", "-serial", "chardev:line"]
    ) as device:
        yield device


def instructions(image: Path) -> dict[str, int]:
    """What exchange.elf counts."""
    counting = ("-semihosting", "-icount", "shift=10", "-serial", "stdio")
    done = subprocess.run(
        [*QEMU, *counting, "-kernel", str(image)], capture_output=True, text=True, check=False, timeout=60
    )
    return {name: int(number) for name, number in re.findall(r"^(\w+) (\d+)$", done.stdout, re.MULTILINE)}


@contextlib.contextmanager
def _served(command: list[str]) -> Iterator[Served]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"/dev/\S+", process.stdout.readline())
            assert found is not None
            yield Served(found[0], process)
        finally:
            process.terminate()
            process.wait(timeout=10)
