"""What must be right before a servo is driven: who answers, what it is, and what its registers say."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from acclimate.errors import UsageError

from acclimate_bridge.bus import models
from acclimate_bridge.bus.limbs import Limb, pwm_offset, volts
from acclimate_bridge.bus.models import TABLES, Family, Mode, Model, Table
from acclimate_bridge.bus.plan import BusPlan, Calibration, Joint
from acclimate_bridge.bus.port import Missed, ServoPort

_TRIES = 5  # of a servo that does not answer, or answers what cannot be read
_LEVEL = {Family.DYNAMIXEL: 2, Family.FEETECH: 1}  # status return levels at which all is answered


def known(port: ServoPort, plan: BusPlan, tell: Callable[[str], None]) -> tuple[Limb, ...]:
    """Every servo of the plan, looked at and made ready to be driven; none of them is moved.

    Raises UsageError, in the servo's own words, for what must not be driven.
    """
    numbers = [joint.id for joint in plan.joints]
    twice = next((joint for joint in plan.joints if numbers.count(joint.id) > 1), None)
    if twice is not None:
        names = ", ".join(repr(joint.name) for joint in plan.joints if joint.id == twice.id)
        raise UsageError(
            f"{names} have the same id {twice.id}; give each servo its own (acclimate bus set-id)"
        )
    limbs = tuple(_known(port, plan, joint) for joint in plan.joints)
    if port.slow is not None:
        tell(port.slow)
    blind = sorted({limb.model.name for limb in limbs if not limb.watches})
    if blind:
        tell(
            f"{', '.join(blind)}: no watchdog of its own; if this computer dies as a whole, it goes on with its last "
            "duty until it is cut off from power"
        )
    return limbs


def _known(port: ServoPort, plan: BusPlan, joint: Joint) -> Limb:
    table = TABLES[plan.family]
    model = model_of(port, plan.family, joint.id, joint.called)
    if joint.model is not None and joint.model != model.name:
        raise UsageError(
            f"servo {joint.called} on {port.name} is a {model.name}, expected a {joint.model}; change `model` or the id"
        )
    look = Look(port, table, joint, model)
    firmware = look("firmware")
    _require_healthy(look)
    _require_limits(look, joint)
    _require_mode(look, plan)
    if plan.mode is Mode.POSITION:
        _require_reach(look, joint, model)
    offset = look("homing_offset")
    if joint.calibration is not None:
        _require_calibration(look, joint.calibration)
    _prepare(port, look)
    limit = look("duty_limit") if "duty_limit" in table.registers else model.full_duty
    hottest = float(look("temperature_limit"))
    return Limb(
        joint,
        model,
        firmware,
        plan.mode,
        pwm_offset(plan.family, plan.mode, offset),
        hottest if joint.max_temperature is None else min(joint.max_temperature, hottest),
        volts(look("min_voltage")) if joint.min_voltage is None else joint.min_voltage,
        volts(look("max_voltage")) if joint.max_voltage is None else joint.max_voltage,
        limit,
    )


class Look:
    """Registers of one servo, by what they are for, each asked for again where it was missed."""

    def __init__(self, port: ServoPort, table: Table, joint: Joint, model: Model) -> None:
        self.port, self.table, self.joint, self.model = port, table, joint, model

    def __call__(self, name: str) -> int:
        return self.patiently(lambda: self.port.value(self.joint.id, self.table.register(name)))

    def set(self, name: str, value: int) -> None:
        """Write, and read it back. Raises UsageError where it is not there."""
        try:
            self.port.write(self.joint.id, self.table.register(name), value)
        except Missed:  # at a low status level a write is not answered
            self.port.agree(self.joint.id, self.model.number)
        found = self(name)
        if found != value:
            raise UsageError(
                f"servo {self.joint.called} does not take {name.replace('_', ' ')} = {value}, it stays at {found}; is "
                "its EEPROM locked by another program?"
            )

    def rename(self, to: int) -> None:
        """Another id, which the answer to this may already have."""
        register = self.table.register("id")
        for _ in range(_TRIES):
            with contextlib.suppress(Missed):
                self.port.write(self.joint.id, register, to)
            with contextlib.suppress(Missed):
                if self.port.value(to, register) == to:
                    self.joint = replace(self.joint, id=to)
                    return
        raise UsageError(f"servo {self.joint.called} on {self.port.name} does not take id {to}; try again")

    def patiently(self, ask: Callable[[], int]) -> int:
        missed: Missed | None = None
        for _ in range(_TRIES):
            try:
                return ask()
            except Missed as error:
                missed = error
                self.port.agree(self.joint.id, self.model.number)
        raise UsageError(
            f"servo {self.joint.called} on {self.port.name} does not answer reliably ({missed}); check cable and power"
        )


def model_of(port: ServoPort, family: Family, number: int, called: str) -> Model:
    """What answers to an id. Raises UsageError for nobody, for several at once, and for a model that nobody knows."""
    found, garbled, register = set[int](), 0, TABLES[family].register("model_number")
    for _ in range(_TRIES):
        try:
            found.add(port.value(number, register))
        except Missed as missed:
            if missed.gone:
                raise UsageError(f"port {port.name} has vanished; check the cable") from None
            garbled += missed.garbled
            port.settle()
    if garbled > 1 or len(found) > 1:
        raise UsageError(
            f"what answers to servo {called} on {port.name} cannot be read: either two servos have id {number} (leave "
            "one connected, and give it another with acclimate bus set-id), or the wires are bad"
        )
    if not found:
        raise UsageError(_nobody(port, family, number, called))
    model = models.by_number(family, found.pop())
    if model is None:
        raise UsageError(
            f"servo {called} on {port.name} is of a model that is not known here (model number "
            f"{port.value(number, register)}); known are {', '.join(models.names(family))}"
        )
    return model


def _nobody(port: ServoPort, family: Family, number: int, called: str) -> str:
    baud = port.baud
    for other in sorted(TABLES[family].bauds.values(), reverse=True):
        if other != baud and _answers_at(port, number, other):
            port.set_baud(baud)
            return f"servo {called} answers at {other} baud, not at {baud}; set baud = {other}, or the servo's own"
    port.set_baud(baud)
    others = ", ".join(map(str, answering(port, range(1, 21)))) or "none"
    return (
        f"servo {called} does not answer on {port.name} at any baud rate; is it powered, and is that its id? "
        f"Of ids 1 to 20 these answer: {others}"
    )


def _answers_at(port: ServoPort, number: int, baud: int) -> bool:
    try:
        port.set_baud(baud)
        return port.ping(number)
    except (Missed, ValueError, OSError, RuntimeError):
        return False


def answering(port: ServoPort, numbers: Iterable[int]) -> list[int]:
    """Who of these answers, also where that cannot be read."""
    found, before = set[int](), None
    port.expect(1, 16)
    for number in numbers:
        try:
            there = port.ping(number)
        except Missed:  # perhaps an answer of the one before, too late
            if before is not None and _garbles_or_answers(port, before):
                found.add(before)
            there = _garbles_or_answers(port, number)
        if there:
            found.add(number)
        before = number
    port.be_calm()
    return sorted(found)


def _garbles_or_answers(port: ServoPort, number: int) -> bool:
    port.settle()
    try:
        return port.ping(number)
    except Missed:
        return True


def _require_healthy(look: Look) -> None:
    words = models.errors(look.table, look("hardware_error"))
    voltage, called = volts(look("voltage")), look.joint.called
    low = volts(look("min_voltage"))
    if voltage < low:
        raise UsageError(
            f"servo {called} has {voltage:.1f} V, below its limit of {low:.1f} V; is its power supply switched on?"
        )
    if words:
        raise UsageError(
            f"servo {called} has latched: {', '.join(words)}; find out why, then switch its power off and on"
        )


def _require_limits(look: Look, joint: Joint) -> None:
    temperature, hottest = look("temperature"), look("temperature_limit")
    hottest = hottest if joint.max_temperature is None else min(hottest, int(joint.max_temperature))
    if temperature >= hottest:
        raise UsageError(
            f"servo {joint.called} is at {temperature} °C, its limit is {hottest} °C; let it cool down"
        )
    voltage = volts(look("voltage"))
    high = volts(look("max_voltage")) if joint.max_voltage is None else joint.max_voltage
    if voltage > high:
        raise UsageError(f"servo {joint.called} has {voltage:.1f} V, above its limit of {high:.1f} V")


def _require_mode(look: Look, plan: BusPlan) -> None:
    """A servo in another mode is put into this one when it is armed, where that may be."""
    number = look("mode")
    found = look.table.mode_names.get(number, f"mode {number}")
    if found != plan.mode and not plan.switch:
        raise UsageError(
            f"servo {look.joint.called} is in {found} mode, expected {plan.mode} mode; set it, or leave out "
            "switch_mode = false"
        )


def _require_reach(look: Look, joint: Joint, model: Model) -> None:
    """A goal beyond the servo's own limits it would not take, and nobody would notice."""
    low, high = look("min_position"), look("max_position")
    if low >= high:
        return  # it has none: as many turns as it likes
    ends = [joint.zero + round(joint.sign * angle / model.count) for angle in (joint.low, joint.high)]
    if min(ends) < low - 1 or max(ends) > high + 1:
        raise UsageError(
            f"servo {joint.called} is to go from {joint.low:.2f} to {joint.high:.2f} rad, counts {min(ends)} to "
            f"{max(ends)}, and its own limits are {low} to {high}; narrow its range, or set its limits"
        )


def _require_calibration(look: Look, said: Calibration) -> None:
    pairs = (
        ("homing offset", said.homing_offset, look("homing_offset")),
        ("lower limit", said.range_min, look("min_position")),
        ("upper limit", said.range_max, look("max_position")),
    )
    for what, stated, found in pairs:
        if stated != found:
            raise UsageError(
                f"calibration file {said.file} gives {what} {stated} for {look.joint.called}, the servo has {found}: "
                "it is the file of another servo, or that was calibrated again since; calibrate it anew"
            )


def _prepare(port: ServoPort, look: Look) -> None:
    """What costs time on the bus, or keeps answers back: return delay and status level. Torque is off meanwhile."""
    level = _LEVEL[port.family]
    if look("status_level") < level:
        look.set("status_level", level)
    if look("return_delay"):
        look.set("torque", 0)
        with unlocked(look):
            look.set("return_delay", 0)


@contextlib.contextmanager
def unlocked(look: Look, between: Callable[[], object] = lambda: None) -> Iterator[None]:
    """With the EEPROM of a Feetech open. between: done before it is locked again."""
    locks = "lock" in look.table.registers
    if locks:
        look.set("lock", 0)
    try:
        yield
    finally:
        between()
        if locks:
            look.set("lock", 1)
