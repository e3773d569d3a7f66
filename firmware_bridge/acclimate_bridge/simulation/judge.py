"""A machine with a judge beside it, who is told what is asked for, and gives a reward."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np
from acclimate.errors import UsageError
from acclimate.task.features import features, reach
from acclimate.task.spec import Feature, TaskSpec

from acclimate_bridge.link.messages import Schema, WireChannel
from acclimate_bridge.simulation.profile import Profile
from acclimate_bridge.simulation.schema import wire_channel
from acclimate_bridge.simulation.specimen import Living, Specimen

_LARGEST, _SCALE = 1024.0, 2.0**-20  # of a reward
_SLACK = 0.25  # periods; readings this much younger than asked for still count
_INSTANT = 1e-7  # s; what arrives now does not yet act


class Entries(NamedTuple):
    """Values by name, and when they were read or arrived, s."""

    time: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Judge:
    """Who gives wᵀφ of the period that has just ended, by the terms of the spec's features.

    told: the reference scalars that the terms name; the device has an actuator for each, by which it is told them.
    """

    spec: TaskSpec
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        """Raises UsageError where there are no features, or one that has no term."""
        if not self.spec.features:
            raise UsageError(f"machines of family {self.spec.name!r} have no features to be rewarded for")
        for feature in self.spec.features:
            if feature.term is None:
                raise UsageError(
                    f"feature {feature.name!r} of {self.spec.name} has no term; only the code of its family computes it"
                )

    @cached_property
    def told(self) -> tuple[str, ...]:
        wanted = {name for f in self.spec.features if f.term for name in f.term.channels}
        return tuple(n for n in chain.from_iterable(c.scalars for c in self.spec.references) if n in wanted)

    def profile(self, plain: Profile) -> Profile:
        """The device's, with one more sensor, and an actuator for whatever is told.

        Raises UsageError for a machine that measures its reward anyway.
        """
        name = self.spec.reward or "reward"
        if name in (channel.name for channel in plain.schema.sensors):
            raise UsageError(f"machines of family {self.spec.name!r} measure {name!r} by themselves already")
        channels = {name: c for c in self.spec.references for name in c.scalars}
        told = [
            wire_channel("reference", each, of.unit, of.minimum, of.maximum)
            for each, of in ((each, channels[each]) for each in self.told)
        ]
        reward = WireChannel(name, "1", _SCALE, -_LARGEST, _LARGEST)
        schema = Schema((*plain.schema.sensors, reward), (*plain.schema.actuators, *told))
        neutral = None if plain.neutral is None else (*plain.neutral, *(0.0 for _ in told))
        return replace(plain, schema=schema, neutral=neutral)


class JudgedPlant:
    """A plant, and its judge."""

    def __init__(self, plant: Living, judge: Judge, profile: Profile) -> None:
        """profile: of the plant alone."""
        self._plant, self._judge = plant, judge
        self._sensors = [channel.name for channel in profile.schema.sensors]
        self._actuators = [channel.name for channel in profile.schema.actuators]
        self._dt = 1.0 / profile.rate_hz
        self._forget()

    @property
    def time(self) -> float:
        return self._plant.time

    @property
    def parameters(self) -> Mapping[str, float]:
        return self._plant.parameters

    def set_targets(self, targets: tuple[float, ...], now: float) -> None:
        """The machine's own targets, and what is told, that arrive at `now`."""
        self._plant.set_targets(self._own(targets, now), now)

    def rest(self, targets: tuple[float, ...], now: float) -> None:
        self._plant.rest(self._own(targets, now), now)

    def advance(self, now: float) -> None:
        self._plant.advance(now)

    def measure(self) -> tuple[float, ...]:
        """What the machine measures, and the reward of the period that ends now."""
        values = self._plant.measure()
        self._readings.appendleft(Entries(self.time, dict(zip(self._sensors, values, strict=True))))
        phi = features(self._judge.spec.features, self._observed, self._commanded)
        self._trim()
        return (*values, _weighted(self._judge.weights, self._judge.spec.features, phi))

    def begin(self) -> bool:
        self._forget()
        return self._plant.begin()

    def change(self, kind: str, rng: np.random.Generator) -> None:
        self._plant.change(kind, rng)

    def described(self) -> str:
        return self._plant.described()

    def _own(self, targets: tuple[float, ...], now: float) -> tuple[float, ...]:
        """The machine's own of the targets, after a note of them all."""
        names = (*self._actuators, *self._judge.told)
        self._commands.appendleft(Entries(now, dict(zip(names, targets, strict=True))))
        return targets[: len(self._actuators)]

    def _forget(self) -> None:
        self._readings: deque[Entries] = deque()  # newest first
        self._commands: deque[Entries] = deque()

    def _observed(self, name: str, ago: int) -> float:
        """A reading of so many periods ago; the oldest, where there is none. What is told is as it was last told."""
        if name in self._judge.told:
            return self._commanded(name, ago)
        by = self.time - (ago - _SLACK) * self._dt
        found = next((entry for entry in self._readings if entry.time <= by), self._readings[-1])
        return found.values[name]

    def _commanded(self, name: str, ago: int) -> float:
        """What was in force before that moment: what arrived at it acts later."""
        before = self.time - ago * self._dt - _INSTANT
        found = next((entry for entry in self._commands if entry.time < before), None)
        return 0.0 if found is None else found.values[name]

    def _trim(self) -> None:
        """Forget what no feature reaches back to."""
        oldest = self.time - (reach(self._judge.spec.features) + 1) * self._dt
        for entries in (self._readings, self._commands):
            while len(entries) > 1 and entries[-2].time < oldest:
                entries.pop()


@dataclass(frozen=True)
class JudgedSpecimen:
    """A machine that measures a reward as well."""

    machine: Specimen
    judge: Judge

    @property
    def name(self) -> str:
        return self.machine.name

    @cached_property
    def profile(self) -> Profile:
        return self.judge.profile(self.machine.profile)

    @property
    def changes(self) -> tuple[str, ...]:
        return self.machine.changes

    def start(self, rng: np.random.Generator) -> JudgedPlant:
        return JudgedPlant(self.machine.start(rng), self.judge, self.machine.profile)


def _weighted(weights: Mapping[str, float], of: Sequence[Feature], phi: Sequence[float]) -> float:
    return sum(weights.get(f.name, 0.0) * value for f, value in zip(of, phi, strict=True))
