"""Servos on a simulated bus at 1 Mbaud, half-duplex: how fast, beside the makers' SDKs; how safe; how well it tracks.

A cycle is a goal for each servo and a reading of each. Acclimate's goes from the control process through the keeper to
the bus and back. `sdk` is the maker's SDK as its examples use it, one call a servo and register; `sdk_sync` the same
SDK with its group calls. All meet the same bus, in turns.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from statistics import median
from typing import Any

import numpy as np
from acclimate.control.clock import RealClock
from acclimate_bridge.bus.device import BusDevice
from acclimate_bridge.bus.models import Family
from acclimate_bridge.bus.opening import exchange_bytes
from acclimate_bridge.bus.plan import BusPlan, Joint
from acclimate_bridge.simulation.spawn import simulated_port
from acclimate_demo.shipped import shipped_bundle

from benchmarks._bus_faults import unsafe_motions
from benchmarks._bus_sdks import SDKS
from benchmarks.harness import Figure

SERVOS = (1, 6, 12)
BAUD = 1_000_000
ROUNDS, SECONDS = 3, 1.5  # turns of each contestant, and how long each
TICK = 0.01  # s
FAULTS = 1000
NAME = {Family.DYNAMIXEL: "XL330", Family.FEETECH: "STS3215"}


def run(seed: int) -> Mapping[str, Figure]:
    """Rates in Hz, shares of a tick of 10 ms, errors in rad; docs/results.md says what is what."""
    figures: dict[str, Figure] = {}
    for family in Family:
        prefix = "" if family is Family.DYNAMIXEL else f"{family}."
        for n in SERVOS:
            figures |= {f"{prefix}{name}.{n}": value for name, value in _cycles(family, n).items()}
    figures |= unsafe_motions(seed, FAULTS)
    for family in Family:
        figures |= {f"{NAME[family]}.{name}": value for name, value in _tracked(family).items()}
    return figures


def plan(family: Family, port: str, n: int) -> BusPlan:
    """A bus with servos 1 to n."""
    joints = tuple(
        Joint(f"j{i}", i, position=f"q{i}", velocity=f"w{i}", duty=f"u{i}") for i in range(1, n + 1)
    )
    return BusPlan(family, port, joints, BAUD)


def _cycles(family: Family, n: int) -> dict[str, float]:
    """What a cycle takes: medians, in turns."""
    took: dict[str, list[float]] = {}
    servos = [f"--servo={NAME[family]}={i}" for i in range(1, n + 1)]
    with simulated_port("--bus", family, *servos) as bus:
        for _ in range(ROUNDS):
            took.setdefault("acclimate", []).extend(_device_cycles(plan(family, bus.port, n)))
            for name, sdk in SDKS[family].items():
                with closing(sdk(bus.port, range(1, n + 1))) as calls:
                    took.setdefault(name, []).extend(_timed(calls.cycle))
    seconds = {name: median(each) for name, each in took.items()}
    wire = exchange_bytes(plan(family, "", n)) * 10 / BAUD
    found = {"rate_hz": 1.0 / seconds["acclimate"], "tick_share": seconds["acclimate"] / TICK}
    for name in SDKS[family]:
        found |= {f"{name}.rate_hz": 1.0 / seconds[name], f"{name}.tick_share": seconds[name] / TICK}
    return found | {"wire.rate_hz": 1.0 / wire}


def _device_cycles(of: BusPlan) -> list[float]:
    """Command, and wait for the reading that rests on it."""
    clock = RealClock()
    with closing(BusDevice(of, clock, lambda _: None)) as device:
        device.start(0.002)  # faster than the bus: the keeper reads at once
        targets = np.zeros(len(of.joints), np.float32)

        def cycle() -> None:
            before = device.latest()
            device.command(targets)
            while (sample := device.latest()) is None or before is None or sample.seq == before.seq:
                time.sleep(0.00005)

        return _timed(cycle)


def _timed(cycle: Callable[[], object]) -> list[float]:
    """Seconds of each cycle, after some to warm up."""
    took: list[float] = []
    end = time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < end:
        cycle()
        took.append(time.perf_counter() - began)
    return took[len(took) // 10 :]


def _tracked(family: Family) -> dict[str, float]:
    """Shipped bundles by the README's path: MAML before and after its steps, RL² over ten seconds."""
    with simulated_port("--bus", family, f"--servo={NAME[family]}=1") as bus:
        device = f"{family}:{bus.port}?id=1"
        rows = _run("servo_wide_maml", device)["rows"]
        errors = [row["figures"]["error"] for row in rows]
        curve = [span["value"] for span in _run("servo_wide_rl2", device, "--seconds", "10")["curve"]]
    return {
        "maml.before": errors[0],
        "maml.after": errors[-1],
        "rl2.first_second": curve[0],
        "rl2.last_second": curve[-1],
    }


def _run(bundle: str, device: str, *options: str) -> Any:
    command = [sys.executable, "-m", "acclimate", "run", str(shipped_bundle(bundle)), "--device", device]
    done = subprocess.run(
        [*command, "--engine", "onnxruntime", "--json", *options], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)
