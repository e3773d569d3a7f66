"""The verb `simulate` with `--bus`: servos on a pseudo-terminal that speak their makers' own protocols."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TextIO

import numpy as np
from acclimate.errors import UsageError
from acclimate.names import did_you_mean

from acclimate_bridge.bus.models import TABLES, Family
from acclimate_bridge.simulation.bus.bus import DISTURBANCES, Disturbance, Disturber, SimulatedBus
from acclimate_bridge.simulation.bus.serving import BusPort
from acclimate_bridge.simulation.bus.servo import NUMBERS, BusServo
from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.simulator import Signals, linked, listening

_IDS = range(1, 253)


def simulate_bus(args: argparse.Namespace) -> int:
    """Serve a simulated bus until SIGINT or SIGTERM; its port is the first line on stdout."""
    bus = bus_of(args)
    link = Path(args.link) if args.link else None
    port = BusPort(bus)
    with contextlib.closing(port), linked(port.port, link), listening() as signals:
        print(port.port, flush=True)
        there = ", ".join(f"{servo.model.name} as id {servo.number}" for servo in bus.servos)
        print(f"simulating a {args.bus} bus at {args.baud} baud with {there}", file=sys.stderr, flush=True)
        _serve(port, signals, sys.stdin if args.attached else None)
    return 0


def _serve(port: BusPort, signals: Signals, owner: TextIO | None) -> None:
    watched = [owner.fileno()] if owner is not None else []
    while not signals.stop:
        if owner is not None and owner.fileno() in port.step(watched) and not owner.readline():
            return
        if owner is None:
            port.step()
        if signals.reboot:
            signals.reboot = False
            for servo in port.bus.servos:
                servo.restart(port.now)


def bus_of(args: argparse.Namespace) -> SimulatedBus:
    """As the options say. Raises UsageError for what cannot be."""
    family = next((family for family in Family if family == args.bus), None)
    if family is None:
        raise UsageError(
            f"--bus {args.bus}: there is no such family{did_you_mean(args.bus, map(str, Family))}"
        )
    bauds = sorted(TABLES[family].bauds.values())
    if args.baud not in bauds:
        raise UsageError(f"--baud {args.baud}: {family} servos have one of {', '.join(map(str, bauds))}")
    rng = np.random.default_rng(args.seed)
    field = Deployment(
        args.drive_gain or 1.0, args.polarity or 1.0, 0.0, args.gravity or 0.0, args.inertia or 0.0
    )
    servos = [
        BusServo(
            *_named(text, family), rng, baud=args.baud, angle=args.angle or 0.0, deployment=field,
            friction=args.friction or "m6",
        )
        for text in args.servo or (default(family),)
    ]  # fmt: skip
    shares = dict(_share(text) for text in args.disturb or ())
    return SimulatedBus(family, servos, Disturber(rng, shares) if shares else None)


def default(family: Family) -> str:
    """The servo that is there where nobody says which."""
    return next(f"{name}=1" for name, (of, _) in NUMBERS.items() if of is family)


def _named(text: str, family: Family) -> tuple[str, int]:
    name, _, number = text.partition("=")
    valid = [known for known, (of, _) in NUMBERS.items() if of is family]
    found = next((known for known in valid if _folded(known) == _folded(name)), None)
    if found is None:
        raise UsageError(f"--servo {text}: on a {family} bus there is no {name!r}{did_you_mean(name, valid)}")
    if not (number.isdecimal() and int(number) in _IDS):
        raise UsageError(
            f"--servo {text} is not NAME=ID with an id from {_IDS[0]} to {_IDS[-1]}, as {found}=1"
        )
    return found, int(number)


def _folded(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


def _share(text: str) -> tuple[Disturbance, float]:
    name, _, share = text.partition("=")
    kind = next((kind for kind in DISTURBANCES if kind == name), None)
    if kind is None:
        raise UsageError(f"--disturb {text}: there is no such kind{did_you_mean(name, DISTURBANCES)}")
    with contextlib.suppress(ValueError):
        if 0.0 <= float(share) <= 1.0:
            return kind, float(share)
    raise UsageError(f"--disturb {text} is not KIND=SHARE with a share from 0 to 1, as {kind}=0.01")
