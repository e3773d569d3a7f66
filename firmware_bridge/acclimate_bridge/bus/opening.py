"""The devices `bus:`, `dynamixel:` and `feetech:`, for `acclimate.control.devices`."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from acclimate.bundle.file import Bundle
from acclimate.bundle.manifest import Manifest
from acclimate.control.device import Device
from acclimate.control.devices import DeviceRequest
from acclimate.errors import UsageError

from acclimate_bridge.bus.device import BusDevice, SeveralBuses
from acclimate_bridge.bus.files import BusAt, BusFile, read_bus
from acclimate_bridge.bus.models import TABLES, Family, Mode
from acclimate_bridge.bus.plan import BusPlan, Joint
from acclimate_bridge.bus.port import LAST_ID

_RATE = 100.0  # Hz, where no bundle says another
_BITS = 10  # of a byte
_MOST = 0.9  # of a period that the bus may be busy


def open_bus(request: DeviceRequest) -> Device:
    """bus:FILE.toml, or just the file; dynamixel:PORT?id=1&baud=1000000; feetech:PORT?id=1&baud=1000000."""
    return opened(described(request), request)


def described(request: DeviceRequest) -> BusFile:
    """What an address means: a file, or one servo. Raises UsageError for what cannot be."""
    address = request.address
    family = next((family for family in Family if family == address.name), None)
    if family is not None:
        return _one(family, request)
    if address.name != "bus":
        raise UsageError(
            f"{address} is no bus; give a bus file, or one of {', '.join(map(str, Family))}:PORT?id=1"
        )
    address.allow()
    return read_bus(address.where)


def _one(family: Family, request: DeviceRequest) -> BusFile:
    """One servo, called as in tasks with one joint."""
    address = request.address
    address.allow("id", "baud", "sign", "zero")
    if "id" not in address.options:
        raise UsageError(
            f"device {address}: say which servo, as {address}?id=1 (acclimate bus scan lists them)"
        )
    baud = int(address.number("baud", 1_000_000, 1, 1e7))
    valid = sorted(TABLES[family].bauds.values())
    if baud not in valid:
        raise UsageError(f"device {address}: baud must be one of {', '.join(map(str, valid))}")
    number = int(address.number("id", 1, 0, LAST_ID))
    sign = 1 if address.number("sign", 1, -1, 1) > 0 else -1
    joint = Joint("servo", number, sign=sign, zero=int(address.number("zero", 2048, 0, 4095)))
    at = BusAt(family, address.where, baud)
    return BusFile({at: (_reaching(joint, request.bundle),)}, None, True, None)


def _reaching(joint: Joint, bundle: Bundle | None) -> Joint:
    """With the range of what the bundle measures: beyond it nothing is to be driven."""
    if bundle is None:
        return joint
    for channel in bundle.manifest.task.sensors:
        if channel.name == joint.position:
            low, high = max(channel.minimum, joint.low), min(channel.maximum, joint.high)
            return replace(joint, low=low, high=high)
    return joint


def opened(file: BusFile, request: DeviceRequest) -> Device:
    """All buses of a file. Raises UsageError for what does not fit on them, and as `BusDevice`."""
    manifest = request.bundle.manifest if request.bundle else None
    plans = plans_of(file, manifest)
    with contextlib.ExitStack() as stack:
        buses = []
        for plan in plans:
            bus = BusDevice(plan, request.clock, request.tell)
            stack.callback(bus.close)
            buses.append(bus)
        stack.pop_all()
    return buses[0] if len(buses) == 1 else SeveralBuses(buses)


def plans_of(file: BusFile, manifest: Manifest | None) -> list[BusPlan]:
    """A plan for each bus. Raises UsageError where there is not the time for a tick on one."""
    plans = [_plan(at, joints, file, manifest) for at, joints in file.buses.items()]
    for plan in plans:
        require_time(plan)
    return plans


def _plan(at: BusAt, joints: tuple[Joint, ...], file: BusFile, manifest: Manifest | None) -> BusPlan:
    rate = file.rate or (1.0 / manifest.control_dt if manifest else _RATE)
    mode = file.mode or _mode(joints, manifest)
    return BusPlan(at.family, at.port, joints, at.baud, mode, rate, file.switch)


def _mode(joints: tuple[Joint, ...], manifest: Manifest | None) -> Mode:
    """What the bundle commands: duties, or where joints are to be."""
    commanded = set(manifest.task.action_scalars) if manifest else set()
    places = {joint.position for joint in joints} & commanded
    duties = {joint.duty for joint in joints} & commanded
    return Mode.POSITION if places and not duties else Mode.PWM


def exchange_bytes(plan: BusPlan) -> int:
    """On the wire for one sync read and one sync write."""
    width, overhead = (2, 10) if plan.family is Family.DYNAMIXEL else (1, 6)
    table = TABLES[plan.family]
    n, (_, length) = len(plan.joints), table.fast
    goal = table.register("goal_duty" if plan.mode is Mode.PWM else "goal_position").size
    asks = overhead + 2 * width + n
    answers = n * (overhead + 1 + length) if width == 2 else n * (overhead + length)
    return asks + answers + overhead + 2 * width + n * (1 + goal)


def require_time(plan: BusPlan) -> None:
    """Raises UsageError where the bytes of a tick take longer than it."""
    needs = exchange_bytes(plan) * _BITS / plan.baud
    if needs > _MOST / plan.rate_hz:
        raise UsageError(
            f"{len(plan.joints)} servos on {plan.port} need {exchange_bytes(plan)} bytes a tick, {needs * 1e3:.1f} ms "
            f"at {plan.baud} baud, and a tick at {plan.rate_hz:g} Hz has {1e3 / plan.rate_hz:.1f} ms; choose a higher "
            "baud rate (acclimate bus set-baud), or put some of them on another bus"
        )
