"""Seeded faults in the middle of a drive: for how long does a machine move after the last fresh reading?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.file import load
from acclimate.bundle.manifest import Manifest
from acclimate.control.device import Sample
from acclimate.control.loop import ControlLoop
from acclimate.errors import AcclimateError
from acclimate.policy.policy import Scope
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.faults.plan import FaultPlan
from acclimate_bridge.simulation.faults.transport import FaultyTransport
from acclimate_bridge.simulation.lockstep import VirtualClock
from acclimate_bridge.simulation.servo.machine import LiveServo, ServoSpecimen
from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import BUILT_IN

BUNDLE = Path(__file__).parents[1] / "examples" / "bundles" / "servo_wide_robust.acclimate"
STEPS = 250
_AFTER = 2.0  # s that the device goes on after the drive


class Fault(NamedTuple):
    """What happens `at` s into the drive: plans for both directions, or a host that is held up for `pause` s."""

    kind: str
    at: float
    to_device: FaultPlan = FaultPlan()
    to_host: FaultPlan = FaultPlan()
    device: FaultPlan = FaultPlan()  # what happens to the device itself, from the beginning
    pause: float = 0.0


KINDS = (
    "silent",
    "deaf",
    "cut",
    "garbage",
    "lossy",
    "stalls",
    "slow",
    "bursts",
    "held_up",
    "reset",
    "brown_out",
    "unplugged",
)


def drawn(number: int, seed: int) -> Fault:
    """The fault of this number, the kinds in turn."""
    rng = np.random.default_rng([seed, number])
    kind, at = KINDS[number % len(KINDS)], float(rng.uniform(0.3, 1.5))
    dead, share = FaultPlan(drop=1.0), float(rng.uniform(0.2, 0.95))
    lossy = FaultPlan(flip=share / 2, drop=share / 2)
    stalls = FaultPlan(stall=float(rng.uniform(0.1, 0.5)), stalled=float(rng.uniform(0.05, 0.8)))
    slow = FaultPlan(latency=float(rng.uniform(0.0, 0.03)), jitter=float(rng.uniform(0.0, 0.1)))
    of_links = {
        "silent": Fault(kind, at, to_host=dead),
        "deaf": Fault(kind, at, to_device=dead),
        "cut": Fault(kind, at, dead, dead),
        "garbage": Fault(kind, at, to_host=FaultPlan(flip=1.0)),
        "lossy": Fault(kind, at, lossy, lossy),
        "stalls": Fault(kind, at, stalls, stalls),
        "slow": Fault(kind, at, to_host=slow),
        "bursts": Fault(kind, at, device=FaultPlan(burst=float(rng.uniform(0.01, 0.2)))),
        "held_up": Fault(kind, at, pause=float(rng.uniform(0.02, 6.0))),
        "reset": Fault(kind, at, device=FaultPlan(reset=at)),
        "brown_out": Fault(kind, at, device=FaultPlan(brown_out=at)),
        "unplugged": Fault(kind, at, device=FaultPlan(unplug=at)),
    }
    return of_links[kind]


@dataclass
class Watched:
    """A plant that notes when it was driven, by the true time."""

    plant: LiveServo
    neutral: tuple[float, ...]
    moves: list[tuple[float, bool]] = field(default_factory=list)

    @property
    def time(self) -> float:
        return self.plant.time

    def set_targets(self, targets: tuple[float, ...], now: float) -> None:
        self.moves.append((round(now, 6), targets != self.neutral))
        self.plant.set_targets(targets, now)

    rest = set_targets

    def advance(self, now: float) -> None:
        self.plant.advance(now)

    def measure(self) -> tuple[float, ...]:
        return self.plant.measure()

    def begin(self) -> bool:
        return self.plant.begin()


class Seeing:
    """A link that notes when a fresh reading came."""

    def __init__(self, link: HostLink, clock: VirtualClock) -> None:
        self._link, self._clock, self._seq = link, clock, -1
        self.fresh: list[float] = []
        self.caps = link.caps
        self.start, self.rearm, self.command = link.start, link.rearm, link.command
        self.idle, self.stop, self.close = link.idle, link.stop, link.close

    def latest(self) -> Sample | None:
        sample = self._link.latest()
        if sample is not None and not sample.stale and sample.seq != self._seq:
            self._seq = sample.seq
            self.fresh.append(round(self._clock.now(), 6))
        return sample


class Restless:
    """Always moves."""

    def reset(self, scope: Scope) -> None:
        """Nothing to forget."""

    def act(self, obs: FloatArray, noise: FloatArray) -> FloatArray:
        del noise
        return np.array([0.2 if obs[0] < 0.0 else -0.2], np.float32)


@lru_cache(1)
def manifest() -> Manifest:
    return load(BUNDLE).manifest


def blindness(fault: Fault, seed: int) -> float:
    """The longest motion after the last fresh reading, in s."""
    clock, rng = VirtualClock(), np.random.default_rng(seed)
    machine = ServoSpecimen(BUILT_IN["MX-64"], Deployment())
    plant = Watched(machine.start(rng), (0.0,))
    core = DeviceCore(plant, machine.profile, boot_id=1)
    transport = FaultyTransport(core, clock, fault.device, rng)
    link = Seeing(HostLink(transport, clock), clock)
    m = manifest()
    with contextlib.suppress(AcclimateError), ControlLoop(Restless(), link, clock, m) as loop:
        begun = clock.now()
        loop.run_episode(
            np.zeros((STEPS + 1, m.task.n_references), np.float32),
            between=_once(clock, begun + fault.at, lambda: _happen(fault, transport, clock)),
        )
    clock.sleep_until(clock.now() + _AFTER)
    transport.read()
    return longest(plant.moves, link.fresh)


def _happen(fault: Fault, transport: FaultyTransport, clock: VirtualClock) -> None:
    if fault.pause:
        clock.sleep_until(clock.now() + fault.pause)
    elif fault.device == FaultPlan():
        transport.change(fault.to_device, fault.to_host)


def _once(clock: VirtualClock, at: float, happen: Callable[[], None]) -> Callable[[], None]:
    left = [happen]

    def look() -> None:
        if left and clock.now() >= at:
            left.pop()()

    return look


def longest(moves: list[tuple[float, bool]], fresh: list[float]) -> float:
    """Of all moments in which it was driven, the longest time since the fresh reading before."""
    end = moves[-1][0] if moves else 0.0
    worst, seen = 0.0, np.array(fresh)
    spans = zip(moves, [t for t, _ in moves[1:]] + [end], strict=True)
    for (begin, moving), until in spans:
        if moving:
            # The age is greatest just before the next fresh reading, or at the end of the span.
            moments = np.append(seen[(seen > begin) & (seen <= until)], until)
            for moment in moments:
                before = seen[seen < moment]
                worst = max(worst, float(moment - before[-1])) if before.size else worst
    return worst
