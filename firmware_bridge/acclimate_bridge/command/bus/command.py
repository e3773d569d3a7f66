"""The verb `bus`: what is on a bus and what is wrong with it, ids one servo at a time, and a bounded test motion."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

from acclimate.command.checks import Check, show_checks
from acclimate.control.clock import RealClock
from acclimate.control.devices import DeviceAddress, DeviceRequest
from acclimate.errors import DeviceFault, UsageError
from acclimate.names import did_you_mean

from acclimate_bridge.bus.checking import known
from acclimate_bridge.bus.device import BusDevice
from acclimate_bridge.bus.files import BusFile
from acclimate_bridge.bus.identity import change_baud, change_id, found_on
from acclimate_bridge.bus.models import TABLES, Family
from acclimate_bridge.bus.opening import described, plans_of
from acclimate_bridge.bus.plan import BusPlan
from acclimate_bridge.bus.port import ServoPort
from acclimate_bridge.command.bus.selftest import tried

_RATES = (1_000_000, 57_600, 115_200, 2_000_000, 500_000)  # at which servos are sold, or often set to
_SCANNED = range(0, 253)


def run_bus(args: argparse.Namespace) -> int:
    """Do what was asked for; the exit code is 1 where something is wrong."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "scan": _scan, "check": _check, "set-id": _change, "set-baud": _change, "selftest": _selftest,
    }  # fmt: skip
    if args.action not in actions:
        raise UsageError(f"bus {args.action}: there is no such action{did_you_mean(args.action, actions)}")
    return actions[args.action](args)


def _scan(args: argparse.Namespace) -> int:
    return show_checks(_scanned(args), as_json=args.json)


def _scanned(args: argparse.Namespace) -> Iterator[Check]:
    """Everybody who answers on a port, whatever they speak and how fast."""
    somebody = False
    for family in _families(args.family):
        for baud in _bauds(args.baud, family):
            _progress(f"looking for {family} servos at {baud} baud …")
            with contextlib.closing(ServoPort(args.where, family, baud)) as port:
                for check in found_on(port, _SCANNED):
                    somebody = True
                    yield check
    if not somebody:
        yield Check("servos", "nobody answers", "check the servos' power, the adapter's wires, and the port")


def _families(name: str | None) -> list[Family]:
    if name is None:
        return list(Family)
    found = [family for family in Family if family == name]
    if not found:
        raise UsageError(f"--family {name}: there is no such family{did_you_mean(name, map(str, Family))}")
    return found


def _bauds(baud: int | None, family: Family) -> list[int]:
    valid = TABLES[family].bauds.values()
    if baud is None:
        return [rate for rate in _RATES if rate in valid]
    if baud not in valid:
        raise UsageError(
            f"--baud must be one of {', '.join(map(str, sorted(valid)))} for {family}, found {baud}"
        )
    return [baud]


def _check(args: argparse.Namespace) -> int:
    return show_checks(_checked(_plans(args.where)), as_json=args.json)


def _checked(plans: list[BusPlan]) -> Iterator[Check]:
    """Each servo looked at by itself, so that one does not hide what is wrong with another."""
    for plan in plans:
        with contextlib.closing(ServoPort(plan.port, plan.family, plan.baud)) as port:
            numbers = plan.ids
            for joint in plan.joints:
                if numbers.count(joint.id) > 1:
                    yield Check(
                        joint.name, f"has id {joint.id}, as another joint", "give each servo an id of its own"
                    )
                    continue
                try:
                    (limb,) = known(port, replace(plan, joints=(joint,)), lambda _: None)
                except UsageError as error:
                    yield Check(joint.name, f"id {joint.id} must not be driven", str(error))
                else:
                    watched = "has a watchdog of its own" if limb.watches else "has no watchdog of its own"
                    yield Check(
                        joint.name, f"id {joint.id}, {limb.model.name}, firmware {limb.firmware}, {watched}"
                    )


def _plans(where: str) -> list[BusPlan]:
    """What a file or an address describes, without a bundle."""
    address = DeviceAddress.parse(where)
    file: BusFile = described(DeviceRequest(address, None, RealClock(), _progress))
    return plans_of(file, None)


def _change(args: argparse.Namespace) -> int:
    """Of set-id and set-baud."""
    if args.family is None or args.to is None:
        raise UsageError(
            f"bus {args.action} needs --family and --to, as in acclimate bus {args.action} PORT --family feetech --to "
            f"{3 if args.action == 'set-id' else 1_000_000}"
        )
    (family,) = _families(args.family)
    change = change_id if args.action == "set-id" else change_baud
    return show_checks([change(args.where, family, _bauds(args.baud, family), args.to)], as_json=args.json)


def _selftest(args: argparse.Namespace) -> int:
    _progress("each servo will move a little, there and back; keep clear")
    return show_checks(_selftested(args), as_json=args.json)


def _selftested(args: argparse.Namespace) -> Iterator[Check]:
    for plan in _plans(args.where):
        with contextlib.closing(BusDevice(plan, RealClock(), _progress)) as device:
            try:
                yield from tried(device, RealClock())
            except DeviceFault as fault:
                yield Check("motion", "it ended in a fault", str(fault))


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
