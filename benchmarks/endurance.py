"""Driving for an hour with what an hour brings, on simulated time: does it end well, and are the counters exact?

A simulated servo with an unknown load is driven without a pause by a policy that adapts in its memory, through the
real codec, link, loop and device core. The device's clock runs 1 % fast; its readings arrive in bursts, every 16 ms, as
from a USB adapter; and every 3 s the host is held up for .15 s, which trips the watchdog.

    rearmed            times that the watchdog was cleared: once for each pause
    miscounted         frames that either side holds for lost, damaged or stale, of which there are none, and what is
                       counted of refused and expired commands that is not one for each pause
    error.first|last   RMS tracking error in rad, in the first minute and in the last
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from acclimate.bundle.file import load
from acclimate.control.drive import Drive
from acclimate.control.loop import ControlLoop
from acclimate.control.loop_stats import LoopStats
from acclimate.policy.policy import Policy
from acclimate.task.references import draw
from acclimate_bridge.link.host_link import HostLink, LinkStats
from acclimate_bridge.simulation.choice import Choice
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.faults.plan import FaultPlan
from acclimate_bridge.simulation.faults.transport import FaultyTransport
from acclimate_bridge.simulation.lockstep import VirtualClock
from acclimate_bridge.simulation.worlds import choose, world_for

from benchmarks.harness import Figure

SECONDS = 3600.0
DRIFT, BURST = 0.01, 0.016  # of the device's clock; s
EVERY, PAUSE = 3.0, 0.15  # s
BUNDLE = Path(__file__).parents[1] / "examples" / "bundles" / "servo_wide_rl2.acclimate"


class Endured(NamedTuple):
    """What came of it; pauses: how many there were."""

    loop: LoopStats
    link: LinkStats
    pauses: int
    error_first: float
    error_last: float
    valid: float  # share of transitions that could be learned from

    @property
    def miscounted(self) -> int:
        """See the module."""
        link = self.link
        # One reading may come in the burst of the introduction, before it can be read.
        lost = max(link.lost - 1, 0) + link.damaged + link.device_damaged + link.device_stale
        return lost + abs(link.device_refused - self.pauses) + abs(link.device_expired - self.pauses)


def run(seed: int) -> Mapping[str, Figure]:
    """The hour."""
    found = endure(SECONDS, seed)
    return {
        "ticks": float(found.loop.ticks),
        "pauses": float(found.pauses),
        "rearmed": float(found.loop.rearmed),
        "miscounted": float(found.miscounted),
        "blind": float(found.loop.blind),
        "valid": found.valid,
        "drift": found.link.drift,
        "error.first": found.error_first,
        "error.last": found.error_last,
    }


def endure(seconds: float, seed: int) -> Endured:
    """Drive for so long. Raises DeviceFault where it does not end well."""
    bundle, rng = load(BUNDLE), np.random.default_rng(seed)
    task, policy = bundle.manifest.task, Policy(bundle, "onnxruntime")
    specimen, clock = choose(world_for(None, bundle), Choice.parse(""), seed), VirtualClock()
    core = DeviceCore(specimen.start(rng), specimen.profile, boot_id=1)
    transport = FaultyTransport(core, clock, FaultPlan(drift=DRIFT, burst=BURST), rng)
    ticks = round(seconds / task.control_dt)
    pauses = dict.fromkeys(range(round(EVERY / task.control_dt), ticks, round(EVERY / task.control_dt)))

    def hold_up() -> None:
        clock.sleep_until(clock.now() + PAUSE)

    with HostLink(transport, clock) as link, ControlLoop(policy, link, clock, bundle.manifest) as loop:
        start = loop.measure()[None, [task.index(name) for name in task.sensor_scalars]]
        reference = np.asarray(draw(task, rng, start, ticks)[0], np.float32)
        drive = Drive(loop, reference, dict.fromkeys(pauses, hold_up))
        episode = drive.on(ticks + 1)
        stats, traffic = loop.stats(), link.stats
    minute = round(min(60.0, seconds / 2) / task.control_dt)
    name = task.headline.name
    return Endured(
        stats,
        traffic,
        len(pauses),
        drive.metrics(0, minute)[name],
        drive.metrics(ticks - minute, ticks)[name],
        float(np.mean(episode.mask)),
    )
