"""Held-out devices: what one servo meets in the field, drawn from the ranges a bundle was trained for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import Servo

Ranges = Mapping[str, tuple[float, float]]

WIDE: Ranges = {
    "drive_gain": (0.25, 4.0),
    "gravity_fraction": (0.0, 0.25),
    "inertia_ratio": (0.1, 2.0),
    "delay": (0.0, 0.03),
    "polarity": (1.0, 1.0),
}
"""Where no bundle says what it was trained for: as the preset "wide" of the trainer."""

# Where a range is not given, the deployment is the plain one.
_PLAIN = {
    "drive_gain": (1.0, 1.0),
    "gravity_fraction": (0.0, 0.0),
    "inertia_ratio": (0.0, 0.0),
    "delay": (0.0, 0.0),
    "polarity": (1.0, 1.0),
}


class Beyond(NamedTuple):
    """What lies outside the ranges of training: one property, by up to a factor."""

    what: Property
    factor: float

    def ranges(self, trained: Ranges, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
        """What to draw a deployment from, beyond one end or the other where both are ends of a ratio."""
        found, upwards = dict(trained), rng.random() < 0.5
        name = _RANGES.get(self.what)
        if name is not None:
            low, high = trained.get(name, _PLAIN[name])
            below = (low / self.factor, low)
            found[name] = below if self.what == "gain" and not upwards else (high, high * self.factor)
        return found

    def friction(self, spread: float, rng: np.random.Generator) -> float:
        """A factor on the servo's own friction, which training varies by `spread`; 1 where that is not what differs."""
        drawn = math.exp(rng.uniform(0.0, math.log(self.factor)))
        return spread * drawn if self.what == "friction" else 1.0


Property: TypeAlias = Literal["gain", "inertia", "friction", "delay"]
PROPERTIES: tuple[Property, ...] = get_args(Property)
_RANGES: Mapping[Property, str] = {"gain": "drive_gain", "inertia": "inertia_ratio", "delay": "delay"}


def draw_deployment(servo: Servo, ranges: Ranges, rng: np.random.Generator) -> Deployment:
    """One deployment of `servo`. What its description states stays so; the rest is drawn.

    Each of drive_gain, gravity_fraction (of the stall torque at that drive gain), inertia_ratio (to the
    armature) and delay (s) is log-uniform where both ends are positive, uniform otherwise. polarity (-1, 1)
    is either way round with equal chance. Ranges of the motor itself are not used: the motor is the servo's
    own. Every draw is made whether it is used or not, so that the same generator means the same
    surroundings for any servo.
    """
    drawn = {name: _draw(ranges.get(name, plain), rng) for name, plain in _PLAIN.items()}
    drive_gain = _stated(servo.drive_gain, drawn["drive_gain"])
    return Deployment(
        drive_gain=drive_gain,
        polarity=_stated(servo.polarity, math.copysign(1.0, drawn["polarity"])),
        delay=_stated(servo.delay, drawn["delay"]),
        gravity=_stated(servo.load_gravity, drawn["gravity_fraction"] * servo.stall_torque * drive_gain),
        inertia=_stated(servo.load_inertia, drawn["inertia_ratio"] * servo.m1.armature),
    )


def stated_deployment(servo: Servo) -> Deployment:
    """The deployment that the servo's own description states; the plain one for what it leaves open."""
    return Deployment(
        drive_gain=_stated(servo.drive_gain, 1.0),
        polarity=_stated(servo.polarity, 1.0),
        delay=_stated(servo.delay, 0.0),
        gravity=_stated(servo.load_gravity, 0.0),
        inertia=_stated(servo.load_inertia, 0.0),
    )


def described(d: Deployment) -> str:
    """A deployment in words."""
    return (
        f"drive gain {d.drive_gain:g}, polarity {d.polarity:+g}, delay {d.delay * 1e3:g} ms, "
        f"gravity {d.gravity:g} Nm, load inertia {d.inertia:g} kg·m²"
    )


def true_parameters(servo: Servo, deployment: Deployment) -> dict[str, float]:
    """What is true of a servo, by the names of the servos' specification, in SI units, by the simple model m1."""
    m1 = servo.m1
    return {
        "kt": m1.kt,
        "resistance": m1.resistance,
        "voltage": servo.supply * deployment.drive_gain,
        "inertia": m1.armature + deployment.inertia,
        "coulomb": m1.coulomb,
        "viscous": m1.viscous,
        "gravity": deployment.gravity,
        "delay": deployment.delay,
        "polarity": deployment.polarity,
    }


def _draw(ends: tuple[float, float], rng: np.random.Generator) -> float:
    low, high = ends
    if low > 0.0:
        return math.exp(rng.uniform(math.log(low), math.log(high)))
    return float(rng.uniform(low, high))


def _stated(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
