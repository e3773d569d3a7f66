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
ROUNDS, SECONDS = 7, 0.7  # turns of each contestant, and how long each
TICK = 0.01  # s
DRIVES = 3  # of each type with RL²
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
        Joint(f"j{i}", i, position=f"q{i}", velocity=f"w{i}", duty=f"u{i}", prefix=f"j{i}_")
        for i in range(1, n + 1)
    )
    return BusPlan(family, port, joints, BAUD)


def _cycles(family: Family, n: int) -> dict[str, float]:
    """Whole cycles per second of each contestant: the best of its turns, since whatever else runs here only delays."""
    rates: dict[str, list[float]] = {}
    servos = [f"--servo={NAME[family]}={i}" for i in range(1, n + 1)]
    with simulated_port("--bus", family, *servos) as bus:
        for _ in range(ROUNDS):
            rates.setdefault("acclimate", []).append(_device_rate(plan(family, bus.port, n)))
            for name, sdk in SDKS[family].items():
                with closing(sdk(bus.port, range(1, n + 1))) as calls:
                    rates.setdefault(name, []).append(_rate(calls.cycle))
    best = {name: max(each) for name, each in rates.items()}
    found = {"rate_hz": best["acclimate"], "tick_share": 1.0 / best["acclimate"] / TICK}
    for name in SDKS[family]:
        found |= {f"{name}.rate_hz": best[name], f"{name}.tick_share": 1.0 / max(best[name], 1e-3) / TICK}
    return found | {"wire.rate_hz": BAUD / (10 * exchange_bytes(plan(family, "", n)))}


def _device_rate(of: BusPlan) -> float:
    """Command, and wait for the reading that comes after it."""
    with closing(BusDevice(of, RealClock(), lambda _: None)) as device:
        device.start(0.0002)  # faster than any bus: the keeper reads at once
        targets = np.zeros(len(of.joints), np.float32)

        def cycle() -> bool:
            before = device.latest()
            device.command(targets)
            while (sample := device.latest()) is None or before is None or sample.seq == before.seq:
                time.sleep(0.00005)
            return bool(np.isfinite(sample.values[0])) and not sample.faults

        return _rate(cycle)


def _rate(cycle: Callable[[], bool]) -> float:
    """Good cycles per second."""
    began, good = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < SECONDS:
        good += cycle()
    return good / passed


def _tracked(family: Family) -> dict[str, float]:
    """Shipped bundles by the README's path: MAML before and after its steps, RL² over ten seconds (medians)."""
    with simulated_port("--bus", family, f"--servo={NAME[family]}=1") as bus:
        device = f"{family}:{bus.port}?id=1"
        rows = _run("servo_wide_maml", device)["rows"]
        errors = [row["figures"]["error"] for row in rows]
        drives = [_run("servo_wide_rl2", device, "--seconds", "10", f"--seed={i}") for i in range(DRIVES)]
    curves = [[span["value"] for span in drive["curve"]] for drive in drives]
    missed = sum(drive["link"]["missed"] for drive in drives)
    return {
        "maml.before": errors[0],
        "maml.after": errors[-1],
        "rl2.first_second": median(curve[0] for curve in curves),
        "rl2.last_second": median(curve[-1] for curve in curves),
        "rl2.missed_share": missed / sum(drive["link"]["exchanges"] for drive in drives),
    }


def _run(bundle: str, device: str, *options: str) -> Any:
    command = [sys.executable, "-m", "acclimate", "run", str(shipped_bundle(bundle)), "--device", device]
    done = subprocess.run(
        [*command, "--engine", "onnxruntime", "--json", *options], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)
