"""The options of `simulate` and `evaluate` that are for servos only."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace

from acclimate.errors import UsageError

from acclimate_bridge.simulation.servo.deployments import stated_deployment
from acclimate_bridge.simulation.servo.files import load_servo
from acclimate_bridge.simulation.servo.machine import RATE, ServoSpecimen
from acclimate_bridge.simulation.servo.plant import END_STOP, Deployment
from acclimate_bridge.simulation.servo.servos import Servo

TYPICAL = "MX-64"
_RATES = (10.0, 500.0)  # Hz
# option: (lowest, highest)
_BOUNDS = {
    "drive_gain": (1e-3, 1e3),
    "polarity": (-1.0, 1.0),
    "delay": (0.0, 0.1),
    "gravity": (-1e3, 1e3),
    "inertia": (0.0, 1e3),
}
_NAMES = ("servo", *_BOUNDS, "angle", "friction", "rate")


def given(args: argparse.Namespace) -> list[str]:
    """The options of servos that are given, as they are written."""
    return [f"--{name.replace('_', '-')}" for name in _NAMES if getattr(args, name) is not None]


def specimen(args: argparse.Namespace) -> ServoSpecimen:
    """The servo that the options of `simulate` describe. Raises UsageError."""
    servo = load_servo(_one(args.servo))
    angle = args.angle or 0.0
    if not math.isfinite(angle) or abs(angle) > END_STOP:
        raise UsageError(f"--angle must lie within ±{END_STOP:g} rad, the end stops; found {angle:g}")
    rate = RATE if args.rate is None else args.rate
    if not _RATES[0] <= rate <= _RATES[1]:
        raise UsageError(f"--rate must be from {_RATES[0]:g} to {_RATES[1]:g} Hz, found {rate:g}")
    return ServoSpecimen(servo, _deployment(args, servo), angle, args.friction or "m6", rate)


def _one(servos: list[str] | None) -> str:
    if servos is not None and len(servos) > 1:
        raise UsageError(
            "several --servo need --bus, as in --bus feetech --servo STS3215=1 --servo STS3215=2"
        )
    return servos[0] if servos else TYPICAL


def _deployment(args: argparse.Namespace, servo: Servo) -> Deployment:
    """What the servo's description states, and on top of it what the options say."""
    chosen: dict[str, float] = {}
    for name, (low, high) in _BOUNDS.items():
        value: float | None = getattr(args, name)
        if value is None:
            continue
        if not low <= value <= high or (name == "polarity" and abs(value) != 1.0):
            expected = "1 or -1" if name == "polarity" else f"from {low:g} to {high:g}"
            raise UsageError(f"--{name.replace('_', '-')} must be {expected}, found {value:g}")
        chosen[name] = value
    return replace(stated_deployment(servo), **chosen)
