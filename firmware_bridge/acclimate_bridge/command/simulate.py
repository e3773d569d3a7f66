"""The verb `simulate`: from its arguments to a running device."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from acclimate.command.options import at_least
from acclimate.errors import UsageError
from acclimate.policy.objectives import parse_objective
from acclimate.servo_features import FEATURES

from acclimate_bridge.simulation.changes import Change
from acclimate_bridge.simulation.deployments import described, stated_deployment
from acclimate_bridge.simulation.plant import END_STOP, Deployment
from acclimate_bridge.simulation.servo_files import load_servo
from acclimate_bridge.simulation.servos import Servo
from acclimate_bridge.simulation.simulator import Fault, Simulator, linked, listening

_RATES = (10.0, 500.0)  # Hz
# option: (lowest, highest)
_BOUNDS = {
    "drive_gain": (1e-3, 1e3),
    "polarity": (-1.0, 1.0),
    "delay": (0.0, 0.1),
    "gravity": (-1e3, 1e3),
    "inertia": (0.0, 1e3),
}


def simulate(args: argparse.Namespace) -> int:
    """Serve a simulated servo until SIGINT or SIGTERM; its port is the first line on stdout."""
    servo = load_servo(args.servo)
    deployment = _deployment(args, servo)
    fault = Fault.parse(args.fault) if args.fault else None
    if not math.isfinite(args.angle) or abs(args.angle) > END_STOP:
        raise UsageError(f"--angle must lie within ±{END_STOP:g} rad, the end stops; found {args.angle:g}")
    if not _RATES[0] <= args.rate <= _RATES[1]:
        raise UsageError(f"--rate must be from {_RATES[0]:g} to {_RATES[1]:g} Hz, found {args.rate:g}")
    at_least("--seed", args.seed, 0)
    simulator = Simulator(
        servo,
        deployment,
        np.random.default_rng(args.seed),
        q0=args.angle,
        friction=args.friction,
        rate=args.rate,
        fault=fault,
        changes=[Change.parse(text) for text in args.change or ()],
        reward=parse_objective(args.reward, FEATURES) if args.reward is not None else None,
        announce=_tell,
    )
    link = Path(args.link) if args.link else None
    with contextlib.closing(simulator), linked(simulator.port, link), listening() as signals:
        print(simulator.port, flush=True)
        _tell(f"simulating {servo.name}, {described(deployment)}; Ctrl-C ends it")
        simulator.run(signals)
    return 0


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


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
