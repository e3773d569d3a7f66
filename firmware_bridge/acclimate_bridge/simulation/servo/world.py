"""All servos: the built-in types and those of the user's files, each in deployments drawn from a bundle's ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.errors import UsageError
from acclimate.fields import Json, parse_object
from acclimate.names import did_you_mean
from acclimate.task.spec import TaskSpec
from acclimate.task.spec_json import read_spec

from acclimate_bridge.simulation.choice import Choice
from acclimate_bridge.simulation.seeding import MACHINE, generator, named
from acclimate_bridge.simulation.servo.changes import KINDS
from acclimate_bridge.simulation.servo.deployments import (
    PROPERTIES,
    WIDE,
    Beyond,
    Ranges,
    draw_deployment,
    stated_deployment,
    true_parameters,
)
from acclimate_bridge.simulation.servo.files import load_servo
from acclimate_bridge.simulation.servo.machine import LiveServo, ServoSpecimen
from acclimate_bridge.simulation.servo.motors import Friction
from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import BUILT_IN, Servo

TASK = "task.json"  # what the trainer states of servos, as a manifest has it; a test holds them equal
SPREAD = 1.3  # of the trainer's ranges, where a bundle says no other
_FIRST_ANGLE = 1.0  # rad; the joint stands anywhere within ± this at first
_TYPICAL = "MX-64"


@dataclass(frozen=True)
class ServoGroup:
    """The held-out servos of one type.

    spread: by what factor training varies a motor's own figures. beyond: what of them lies outside its ranges.
    """

    servo: Servo
    ranges: Ranges
    friction: Friction = "m6"
    spread: float = SPREAD
    beyond: Beyond | None = None

    @property
    def name(self) -> str:
        if self.beyond is None:
            return self.servo.name
        return f"{self.servo.name} {self.beyond.what} x{self.beyond.factor:g}"

    def machine(self, seed: int, number: int) -> ServoSpecimen:
        """Deployed as drawn from the ranges, or from beyond them, but for what the servo's description states."""
        rng = generator(seed, named(self.name), number, MACHINE)
        if self.beyond is None:
            return self._deployed(self.servo, self.ranges, rng)
        more = self.beyond.friction(self.spread, rng)
        servo = _scaled(self.servo, {"kt": 1.0, "resistance": 1.0, "coulomb": more, "viscous": more})
        return self._deployed(servo, self.beyond.ranges(self.ranges, rng), rng)

    def _deployed(self, servo: Servo, ranges: Ranges, rng: np.random.Generator) -> ServoSpecimen:
        deployment = draw_deployment(servo, ranges, rng)
        return ServoSpecimen(
            servo, deployment, float(rng.uniform(-_FIRST_ANGLE, _FIRST_ANGLE)), self.friction
        )


class ServoWorld:
    """See the module. A `World`, and `Wired`: on the wire its servos live in continuous time."""

    def __init__(self, ranges: Ranges = WIDE, spread: float = SPREAD) -> None:
        self._ranges, self._spread = ranges, spread

    @classmethod
    def open(cls, name: str, use: str | None, options: Mapping[str, Json]) -> ServoWorld:
        """An `acclimate.task.world.Opener`. options: of the trainer's servo family, with its ranges written out."""
        del name, use
        ranges = options.get("ranges")
        if not isinstance(ranges, Mapping):
            return cls()
        spread = ranges.get("spread")
        return cls(_ranges(ranges), float(spread) if isinstance(spread, int | float) else SPREAD)

    @cached_property
    def spec(self) -> TaskSpec:
        return read_spec(parse_object(files(__package__).joinpath(TASK).read_bytes(), TASK))

    def held_out(self, seed: int, number: int) -> ServoTicks:
        """The built-in types in turn, each in one deployment after the other."""
        return ServoTicks(self._held_out(seed, number))

    def with_parameters(self, values: Mapping[str, float]) -> ServoTicks:
        return ServoTicks(self.choose(Choice(_TYPICAL, values=values), 0))

    def choose(self, choice: Choice, seed: int) -> ServoSpecimen:
        """A type as its description states it, or one of its held-out deployments; with parameters, but for these."""
        if choice.name is not None:
            servo = load_servo(choice.name)
            chosen = ServoSpecimen(servo, stated_deployment(servo))
            if choice.number is not None:
                chosen = ServoGroup(servo, self._ranges).machine(seed, choice.number)
        elif choice.number is None and choice.values:
            chosen = ServoSpecimen(BUILT_IN[_TYPICAL], Deployment())
        else:
            chosen = self._held_out(seed, choice.number or 0)
        return with_truth(chosen, choice.values, self.spec) if choice.values else chosen

    def groups(
        self,
        servos: Sequence[Servo] = tuple(BUILT_IN.values()),
        friction: Friction = "m6",
        outside: float | None = None,
    ) -> tuple[ServoGroup, ...]:
        """Held-out servos of these types; outside the ranges, by up to that factor, each with every property."""
        beyond = [None] if outside is None else [Beyond(what, outside) for what in PROPERTIES]
        return tuple(
            ServoGroup(servo, self._ranges, friction, self._spread, each)
            for servo in servos
            for each in beyond
        )

    def _held_out(self, seed: int, number: int) -> ServoSpecimen:
        device, kind = divmod(number, len(BUILT_IN))
        return self.groups()[kind].machine(seed, device)


class ServoTicks:
    """A servo as an `acclimate.task.world.Machine`: driven tick by tick."""

    def __init__(self, specimen: ServoSpecimen) -> None:
        self._specimen = specimen

    @property
    def parameters(self) -> Mapping[str, float]:
        return true_parameters(self._specimen.servo, self._specimen.deployment)

    def reset(self, rng: np.random.Generator) -> FloatArray:
        start = replace(self._specimen, q0=float(rng.uniform(-_FIRST_ANGLE, _FIRST_ANGLE)))
        self._live: LiveServo = start.start(rng)
        return np.array(self._live.measure(), np.float32)

    def step(self, action: FloatArray) -> FloatArray:
        return np.array(self._live.step(float(action[0])), np.float32)

    def change(self, rng: np.random.Generator) -> bool:
        """One of the things that may happen to a servo."""
        self._live.change(KINDS[int(rng.integers(len(KINDS)))], rng)
        self._specimen = replace(self._specimen, deployment=self._live.deployment)
        return True


def with_truth(specimen: ServoSpecimen, values: Mapping[str, float], spec: TaskSpec) -> ServoSpecimen:
    """The same servo, but for these true parameters. Raises UsageError for an unknown name or an impossible value.

    What differs in the motor scales its rich model as it scales the simple one.
    """
    truth = true_parameters(specimen.servo, specimen.deployment)
    positive = {p.name for p in spec.parameters if p.scale == "log"}
    for name, value in values.items():
        if name not in truth:
            raise UsageError(f"a servo has no parameter {name!r}{did_you_mean(name, truth, of='it has')}")
        if name in positive and value <= 0.0:
            raise UsageError(f"{name} of a servo must be above 0, found {value:g}")
    if values.get("polarity", 1.0) not in (-1.0, 1.0):
        raise UsageError(f"polarity of a servo must be 1 or -1, found {values['polarity']:g}")
    if not 0.0 <= values.get("delay", 0.0) <= 0.1:
        raise UsageError(f"delay of a servo must be from 0 to 0.1 s, found {values['delay']:g}")
    wanted = truth | dict(values)
    servo = _scaled(specimen.servo, {name: wanted[name] / truth[name] for name in _MOTOR})
    if wanted["inertia"] < servo.m1.armature:
        raise UsageError(
            f"inertia of this servo must be at least {servo.m1.armature:g} kg·m², its armature, "
            f"found {wanted['inertia']:g}"
        )
    deployment = Deployment(
        drive_gain=wanted["voltage"] / servo.supply,
        polarity=math.copysign(1.0, wanted["polarity"]),
        delay=wanted["delay"],
        gravity=wanted["gravity"],
        inertia=wanted["inertia"] - servo.m1.armature,
    )
    return replace(specimen, servo=servo, deployment=deployment)


_MOTOR = ("kt", "resistance", "coulomb", "viscous")


def _scaled(servo: Servo, by: Mapping[str, float]) -> Servo:
    """The servo with a motor that differs by these factors, in either model."""
    m1, m6 = servo.m1, servo.m6
    return replace(
        servo,
        m1=replace(
            m1,
            kt=m1.kt * by["kt"],
            resistance=m1.resistance * by["resistance"],
            coulomb=m1.coulomb * by["coulomb"],
            viscous=m1.viscous * by["viscous"],
        ),
        m6=replace(
            m6,
            kt=m6.kt * by["kt"],
            resistance=m6.resistance * by["resistance"],
            base=m6.base * by["coulomb"],
            stribeck=m6.stribeck * by["coulomb"],
            viscous=m6.viscous * by["viscous"],
        ),
    )


def _ranges(options: Mapping[str, Json]) -> Ranges:
    """What of the trainer's ranges concerns the deployment; the rest is the motor's, which is the servo's own."""
    found: dict[str, tuple[float, float]] = {}
    for name in WIDE:
        ends = options.get(name)
        if isinstance(ends, list) and len(ends) == 2:
            low, high = ends
            if isinstance(low, int | float) and isinstance(high, int | float):
                found[name] = (float(low), float(high))
    return found
