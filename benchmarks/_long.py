"""A long drive over a link as it may be: a clock that is off, a program that pauses, an adapter that bursts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from acclimate.control.loop import ControlLoop
from acclimate.control.loop_stats import LoopStats
from acclimate_bridge.link.host_link import HostLink, LinkStats
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.faults.plan import FaultPlan
from acclimate_bridge.simulation.faults.transport import FaultyTransport
from acclimate_bridge.simulation.lockstep import VirtualClock
from acclimate_bridge.simulation.servo.machine import ServoSpecimen
from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import BUILT_IN

from benchmarks._blindness import Restless, manifest

PAUSE, EVERY = 0.15, 3.0  # s that the program is held up, and how often
PLAN = FaultPlan(burst=0.016, drift=0.01, latency=0.001)


class Driven(NamedTuple):
    """What a long drive has left in the counters; missed: frames by which the two sides differ."""

    loop: LoopStats
    link: LinkStats
    pauses: int
    missed: int


def long_drive(seconds: float, seed: int, plan: FaultPlan = PLAN) -> Driven:
    """On simulated time, at 100 Hz. Raises DeviceFault where it does not come to its end."""
    clock, rng, m = VirtualClock(), np.random.default_rng(seed), manifest()
    machine = ServoSpecimen(BUILT_IN["MX-64"], Deployment())
    core = DeviceCore(machine.start(rng), machine.profile, boot_id=1)
    transport = FaultyTransport(core, clock, plan, rng)
    pauses = 0
    with HostLink(transport, clock) as link, ControlLoop(Restless(), link, clock, m) as loop:
        before = link.stats
        end, due = clock.now() + seconds, clock.now() + EVERY

        def pause() -> None:
            nonlocal due, pauses
            if clock.now() >= due:
                pauses, due = pauses + 1, due + EVERY
                clock.sleep_until(clock.now() + PAUSE)

        while clock.now() < end:
            loop.run_episode(np.zeros((501, m.task.n_references), np.float32), between=pause)
        clock.sleep_until(clock.now() + 0.05)
        link.latest()
        stats = link.stats
        done = transport.to_host.done
        missed = (
            abs(stats.lost - before.lost - done.gone)
            + abs(stats.damaged - before.damaged - done.damaged)
            + stats.late
        )
        return Driven(loop.stats(), stats, pauses, missed)
