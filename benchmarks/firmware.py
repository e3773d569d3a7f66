"""The firmware in C: does it obey a corrupted command, what does it take of a Cortex-M4, how fast does it answer?

A hundred million corrupted frames go through its codec. Its core is compiled for a Cortex-M4 and measured, and QEMU
counts the instructions of an exchange, in which a command is taken and a reading sent. Then it answers on a
pseudo-terminal of this computer and on the UART of a Cortex-M4F in QEMU, and is driven at 1 kHz for a minute over a
line of 921600 baud.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from acclimate.control.clock import RealClock
from acclimate.control.loop_stats import Tally
from acclimate.control.pacer import Pacer
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.transport import SerialTransport

from benchmarks._boards import (
    CORE,
    SOURCES,
    Served,
    compiled,
    host_device,
    instructions,
    made,
    qemu_device,
    sizes,
)
from benchmarks.harness import BenchmarkError, Figure

FRAMES = 100_000_000
PINGS = 2_000
SECONDS, RATE_HZ, BAUD = 60.0, 1000, 921_600
PRIORITY = 10  # of real time
DUTY = np.zeros(1, np.float32)


def run(seed: int) -> Mapping[str, Figure]:
    """`wrong_commands` of `corrupted_frames`; `text_bytes` and `ram_bytes`; `instructions_per_exchange` of
    `bytes_per_exchange`.

    `round_trip_ms.pty|qemu.p50|p99`: of a PING, over a line that is not paced. At 1 kHz: `late_ticks` (by more than a
    tenth of a period), `skipped_ticks`, `late_ms.p50|p99|p99.9`, `reading_age_ms.p50|p99.9` when a tick began, frames
    that were `lost` or `damaged` either way, and commands that came too late (`device_stale`). `realtime.NAME`: the
    same with host and device scheduled ahead of everything else, as by `chrt -f`, where that is allowed. `load`: how
    many processes wanted to run meanwhile.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = corruption(folder, FRAMES, seed)
        size = sizes(folder)
        made(folder, "host")
        made(folder, "mps2")
        counted = instructions(folder / "exchange.elf")
        figures: dict[str, Figure] = {
            "corrupted_frames": found["corrupted"],
            "dropped_pieces": found["dropped"],
            "wrong_commands": found["wrong"],
            "text_bytes": size.text,
            "ram_bytes": size.ram,
            "instructions_per_exchange": counted["instructions_per_exchange"],
            "bytes_per_exchange": counted["bytes_per_exchange"],
        }
        made(folder / "fast", "host", f"CFLAGS=-DRATE_MHZ={1000 * RATE_HZ}")
        figures |= timed(folder)
        with first() as allowed:
            if allowed:
                figures |= {f"realtime.{key}": value for key, value in timed(folder).items()}
    return figures | {"load": os.getloadavg()[1]}


def timed(folder: Path) -> dict[str, Figure]:
    """All that depends on what else this machine does."""
    with host_device(folder / "device", "0") as device, linked(device) as link:
        figures = round_trip("pty", link)
    with qemu_device(folder / "mps2.elf") as device, linked(device) as link:
        figures |= round_trip("qemu", link)
    with host_device(folder / "fast" / "device", str(BAUD)) as device, linked(device) as link:
        figures |= driven(link, SECONDS)
    return figures


@contextmanager
def first() -> Iterator[bool]:
    """This process, and those that it starts meanwhile, run before all others; False where the system refuses."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except (PermissionError, AttributeError):
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def corruption(folder: Path, frames: int, seed: int, sources: Path = SOURCES) -> dict[str, int]:
    """Corrupted frames, dropped pieces, and frames that nobody had sent, by the codec in `sources`."""
    program = folder / "corruption"
    code = Path(__file__).parent / "_firmware.c"
    compiled("cc", "-std=c99", "-O2", "-I", sources, code, sources / CORE[0], "-o", program)
    command = [str(program), str(seed), str(frames)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", said)}


@contextmanager
def linked(device: Served) -> Iterator[HostLink]:
    """A host at its port."""
    with HostLink(SerialTransport(device.port), RealClock(), samples_per_period=1) as link:
        yield link


def round_trip(name: str, link: HostLink) -> dict[str, Figure]:
    """Of so many PINGs, one after the other."""
    trips = [trip for _ in range(PINGS) if (trip := link.ping()) is not None]
    if len(trips) < 0.99 * PINGS:
        raise BenchmarkError(f"the device on {name} answered {len(trips)} of {PINGS} PINGs")
    return _percentiles(f"round_trip_ms.{name}", trips, 50, 99)


def driven(link: HostLink, seconds: float) -> dict[str, Figure]:
    """Commanded at `RATE_HZ`, at absolute deadlines, as a control loop does it."""
    clock, tally = RealClock(), Tally()
    late, ages = list[float](), list[float]()
    link.start(1.0 / RATE_HZ)
    gc.disable()
    pacer = Pacer(clock, 1.0 / RATE_HZ, tally)
    pacer.begin()
    end = clock.now() + seconds
    while pacer.now < end:
        late.append(pacer.wait())
        sample = link.latest()
        if sample is not None:
            ages.append(pacer.now - sample.t)
        link.command(DUTY)
    gc.enable()
    stats = link.stats
    return {
        "ticks": tally.ticks,
        "late_ticks": tally.late,
        "skipped_ticks": tally.skipped,
        **_percentiles("late_ms", late, 50, 99, 99.9),
        **_percentiles("reading_age_ms", ages, 50, 99.9),
        "lost": stats.lost,
        "damaged": stats.damaged + stats.device_damaged,
        "device_stale": stats.device_stale,
    }


def _percentiles(name: str, seconds: list[float], *which: float) -> dict[str, Figure]:
    return {f"{name}.p{p:g}": float(np.percentile(1e3 * np.array(seconds), p)) for p in which}
