"""One servo on a simulated bus: its control table, and behind it a motor with friction, a load and an encoder."""

from __future__ import annotations

import numpy as np

from acclimate_bridge.bus.models import VOLT, Family, Mode, Model, by_number
from acclimate_bridge.simulation.servo.plant import TAU, Deployment, SimulatedServo
from acclimate_bridge.simulation.servo.servos import BUILT_IN, Servo

NUMBERS: dict[str, tuple[Family, int]] = {
    "XL330": (Family.DYNAMIXEL, 1200),
    "MX-64": (Family.DYNAMIXEL, 311),
    "MX-106": (Family.DYNAMIXEL, 321),
    "STS3215": (Family.FEETECH, 777),
}
"""The built-in servos that live on buses, and what they say that they are."""

_CENTER = 2048
_STEP = 0.001  # s between looks of the position controller
_BOOT = 0.2  # s that a restart takes
_AMBIENT, _HEATING, _COOLING = 25.0, 8.0, 60.0  # °C, °C per A² at rest, s
_WATCHDOG = 0.02  # s for a count of the bus watchdog
_TRIPPED = 0xFF
# Errors of instructions, as Dynamixel's protocol 2.0 has them; Feetech's has none.
OK, RESULT_FAIL, RANGE, LENGTH, ACCESS = 0, 1, 4, 5, 7
_ALERT = 0x80
_EEPROM = {Family.DYNAMIXEL: 64, Family.FEETECH: 40}  # bytes below keep their value without power


class BusServo:
    """Not thread-safe; `now` is in s and never runs backwards."""

    def __init__(
        self,
        name: str,
        number: int,
        rng: np.random.Generator,
        *,
        baud: int = 1_000_000,
        angle: float = 0.0,
        deployment: Deployment | None = None,
        friction: str = "m6",
    ) -> None:
        servo: Servo = BUILT_IN[name]
        model = by_number(*NUMBERS[name])
        assert model is not None
        self.model: Model = model
        self.table = model.table
        self.feetech = self.table.family is Family.FEETECH
        self._servo, self._motor = servo, servo.motor("m1" if friction == "m1" else "m6")
        self.plant = SimulatedServo(
            servo, deployment or Deployment(), rng, friction="m1" if friction == "m1" else "m6", q0=angle
        )
        self.supply = servo.supply  # V; what is really there
        self.temperature = _AMBIENT
        self.mute = False  # whether its answers are lost
        self.memory = bytearray(256)
        self._kept = bytearray(256)
        self.alarm = 0  # hardware error bits
        self.duty = 0.0  # what drives the motor
        self._time = self._heard = self._boots_until = 0.0
        self._current = self._then_warm = 0.0
        self._set_factory(number, baud)
        self._restart()

    # -- what is in the table

    def get(self, name: str) -> int:
        """A register by what it is for."""
        return self.table.register(name).decode(self.memory)

    def put(self, name: str, value: int) -> None:
        """Set a register as if from inside."""
        register = self.table.register(name)
        self.memory[register.address : register.address + register.size] = bytes(register.encode(value))

    @property
    def number(self) -> int:
        return self.get("id")

    @property
    def baud(self) -> int:
        return self.table.bauds[self.get("baud")]

    @property
    def delay(self) -> float:
        """s from an instruction's end to the beginning of the answer."""
        return 2e-6 * self.get("return_delay")

    def answers(self, now: float) -> bool:
        """Whether it is awake."""
        return self.supply > 0.0 and not self.mute and now >= self._boots_until

    @property
    def error(self) -> int:
        """The error byte of a status packet where the instruction was carried out."""
        return self.alarm if self.feetech else (_ALERT if self.alarm else 0)

    def _set_factory(self, number: int, baud: int) -> None:
        bauds = {rate: code for code, rate in self.table.bauds.items()}
        volts = round(self._servo.supply / VOLT)
        for name, value in {
            "model_number": self.model.number,
            "firmware": 3 if self.feetech else 52,
            "id": number,
            "baud": bauds[baud],
            "return_delay": 250 if not self.feetech else 0,
            "mode": self.table.modes[Mode.POSITION],
            "temperature_limit": 70,
            "max_voltage": volts + 20,
            "min_voltage": round(0.6 * volts),
            "max_position": 4095,
            "status_level": 2,
        }.items():
            if not (self.feetech and name == "status_level"):
                self.put(name, value)
        if self.feetech:
            self.put("status_level", 1)
            self.put("lock", 1)
        else:
            self.put("duty_limit", self.model.full_duty)
        self._kept[:] = self.memory

    # -- the bus

    def read(self, address: int, length: int) -> bytes:
        """What is there now; the present values are as of the last `advance`."""
        self._refresh()
        return bytes(self.memory[address : address + length])

    def write(self, address: int, data: bytes) -> int:
        """Take bytes; the number of the error where it refuses them."""
        eeprom = _EEPROM[self.table.family]
        if not data or address + len(data) > len(self.memory):
            return LENGTH
        if address < eeprom and not self.feetech and self.get("torque"):
            return ACCESS
        register = next((r for r in self.table.registers.values() if r.address == address), None)
        if register is not None and (refused := self._refuses(register.address, data)):
            return refused
        self.memory[address : address + len(data)] = data
        if address < eeprom and not (self.feetech and self.get("lock")):
            self._kept[address : address + len(data)] = data
        self._written(address, len(data))
        self._control()
        return OK

    def _refuses(self, address: int, data: bytes) -> int:
        table = self.table
        if self.feetech:
            return OK
        goals = [table.register(name).address for name in ("goal_duty", "goal_position")]
        if address in goals and self.get("watchdog") == _TRIPPED:
            return RANGE
        if address == table.register("torque").address and data[0] and self.alarm:
            return ACCESS
        if address == table.register("mode").address and data[0] not in table.mode_names:
            return RANGE
        goal = table.register("goal_duty")
        if address == goal.address and abs(goal.decode(data, address)) > self.get("duty_limit"):
            return RANGE
        return OK

    def _written(self, address: int, length: int) -> None:
        """What a write does beside changing the table."""
        table, touched = self.table, range(address, address + length)
        if table.register("mode").address in touched:
            self.put("goal_duty", 0)
            if not self.feetech:
                self.put("goal_position", self._position())
        if self.feetech and table.register("goal_position").address in touched:
            self.put("torque", 1)  # measured: a goal position energises it
        if not self.feetech and table.register("watchdog").address in touched:
            self._heard = self._time

    def heard(self, now: float) -> None:
        """An instruction for anybody has passed by."""
        self._heard = now

    def restart(self, now: float) -> None:
        """The supply was gone for a moment."""
        self._restart()
        self._boots_until = now + _BOOT

    def _restart(self) -> None:
        eeprom = _EEPROM[self.table.family]
        self.memory[:eeprom] = self._kept[:eeprom]
        self.memory[eeprom:] = self._factory_ram()
        self.alarm, self.duty = 0, 0.0
        self.plant.set_duty(0.0, self._time)
        self.put("goal_position", self._position())

    def _factory_ram(self) -> bytes:
        return bytes(self._kept[_EEPROM[self.table.family] :])

    # -- the machine

    def advance(self, now: float) -> None:
        """Live until `now`."""
        while self._time < now:
            step = min(_STEP, now - self._time) if self._drives_position() else now - self._time
            self._time += step
            self._control()
            self.plant.advance(self._time)
        self._warm(now)

    def _drives_position(self) -> bool:
        return bool(self.get("torque")) and self.get("mode") == self.table.modes[Mode.POSITION]

    def _control(self) -> None:
        if not self.feetech:
            limit = self.get("watchdog")
            if 0 < limit < _TRIPPED and self._time - self._heard > limit * _WATCHDOG:
                self.put("watchdog", _TRIPPED)
                self.put("goal_duty", 0)
        duty = self._wanted()
        if duty != self.duty:
            self.duty = duty
            self.plant.set_duty(duty, self._time)

    def _wanted(self) -> float:
        """The duty that turns towards larger positions where it is positive."""
        if not self.get("torque") or self.supply <= 0.0 or (self.alarm and not self.feetech):
            return 0.0
        mode, model = self.get("mode"), self.model
        if mode == self.table.modes[Mode.PWM]:
            return model.duty_sign * min(max(self.get("goal_duty") / model.full_duty, -1.0), 1.0)
        if not self.feetech and self.get("watchdog") == _TRIPPED:
            return 0.0
        if mode == self.table.modes[Mode.POSITION]:
            # Proportional, with damping: the makers' own law is not known in full.
            error = (self.get("goal_position") - self._position()) * TAU / model.counts
            return min(max(6.0 * error - 0.15 * self.plant.measure()[1], -1.0), 1.0)
        return 0.0

    def _position(self) -> int:
        counts = _CENTER + round(self.plant.measure()[0] / TAU * self.model.counts)
        if self.feetech:
            # Measured: in PWM mode the homing offset is ignored.
            return (
                counts
                if self.get("mode") == self.table.modes[Mode.PWM]
                else counts - self.get("homing_offset")
            )
        return counts + self.get("homing_offset")

    def _refresh(self) -> None:
        velocity = self.plant.measure()[1]
        self.put("position", self._position())
        self.put("velocity", round(velocity / self.model.velocity))
        motor = self._motor
        self._current = (self.duty * self.supply - motor.kt * velocity) / motor.resistance
        if self.model.current:
            self.put("current", round(self._current / self.model.current))
        self.put(
            "voltage",
            max(round((self.supply - abs(self._current) * self._servo.supply_resistance) / VOLT), 0),
        )
        self.put("temperature", round(self.temperature))
        self.put("hardware_error", self.alarm)

    def _warm(self, now: float) -> None:
        target = _AMBIENT + _HEATING * self._current * self._current
        self.temperature += (target - self.temperature) * min((now - self._then_warm) / _COOLING, 1.0)
        self._then_warm = now
        if self.temperature > self.get("temperature_limit"):
            self.alarm |= 1 << 2
        if 0.0 < self.supply < self.get("min_voltage") * VOLT:
            self.alarm |= 1
