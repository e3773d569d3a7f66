"""The verb `doctor`: looks at a port, the device behind it, and a bundle for it; one line a check."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator

from acclimate.bundle.file import Bundle, load
from acclimate.command.checks import Check, show_checks
from acclimate.control.clock import RealClock
from acclimate.errors import DeviceFault, MismatchError, UsageError

from acclimate_bridge.command.connecting import SCHEME, Opening
from acclimate_bridge.command.doctor.link import check_link, watch
from acclimate_bridge.command.doctor.motion import check_motion
from acclimate_bridge.command.doctor.policy import check_bundle, check_fit, check_rest
from acclimate_bridge.command.doctor.port import check_port
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.transport import SerialTransport
from acclimate_bridge.simulation.spawn import simulated_port


def run_doctor(args: argparse.Namespace) -> int:
    """Print the checks; the exit code is 1 where one fails."""
    bundle = load(args.bundle) if args.bundle else None
    opening = Opening.of(args)
    if args.move:
        print(
            "doctor: each actuator will move a little, there and back; keep clear",
            file=sys.stderr,
            flush=True,
        )
    with _port(args) as port:
        return show_checks(_checks(args, port, opening, bundle), as_json=args.json)


@contextlib.contextmanager
def _port(args: argparse.Namespace) -> Iterator[str]:
    """The port that is meant, with a simulated device behind it where it begins with sim."""
    if not args.port.startswith(SCHEME):
        yield args.port
        return
    task = args.port.removeprefix(SCHEME)
    options = [f"--task={task}"] if task or args.bundle else []
    with simulated_port(*([args.bundle] if args.bundle else []), *options) as device:
        yield device.port


def _checks(args: argparse.Namespace, port: str, opening: Opening, bundle: Bundle | None) -> Iterator[Check]:
    if bundle is not None:
        yield from check_bundle(bundle, args.engine)
    yield from check_port(port)
    clock = RealClock()
    began = clock.now()
    try:
        transport = SerialTransport(port, opening.baud, dtr=opening.dtr)
    except UsageError as error:
        yield Check("opening", "it cannot be opened", str(error))
        return
    yield Check("opening", "it is free")
    with contextlib.closing(transport):
        try:
            with HostLink(transport, clock, timeout=opening.timeout) as link:
                yield _answer(link, clock.now() - began)
                yield from _of_device(args, link, clock, bundle)
        except (DeviceFault, MismatchError) as fault:
            yield Check("device", "it cannot be driven", str(fault))


def _answer(link: HostLink, took: float) -> Check:
    caps = link.caps
    has = f"{len(caps.sensors)} sensors, {len(caps.actuators)} actuators, {caps.rate_hz:g} Hz"
    return Check("device", f"{caps.firmware!r} answered after {took:.2g} s: {has}")


def _of_device(
    args: argparse.Namespace, link: HostLink, clock: RealClock, bundle: Bundle | None
) -> Iterator[Check]:
    period = 1.0 / link.caps.rate_hz if bundle is None else bundle.manifest.control_dt
    trips, readings = watch(link, clock)
    yield from check_link(link, trips, period)
    if bundle is not None:
        yield from check_fit(bundle.manifest, link.caps)
        yield from check_rest(bundle.manifest, link.caps, readings)
    if link.logs:
        yield Check("log", "; ".join(str(log) for log in list(link.logs)[-3:]))
    if args.move:
        yield from check_motion(link, clock, readings)
