"""What there is on servo buses: one table a model, from the makers' manuals.

https://emanual.robotis.com/docs/en/dxl/x/xl330-m288/, …/xl430-w250/, …/xm430-w350/, …/mx/mx-64-2/, …/mx/mx-106-2/;
Feetech, STS series memory table. What was measured about PWM on the STS3215 is in docs/servos.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import pi

from acclimate_bridge.bus.registers import Register


class Family(StrEnum):
    """Who made it, and so what it speaks."""

    DYNAMIXEL = "dynamixel"
    FEETECH = "feetech"


class Mode(StrEnum):
    """What drives it."""

    PWM = "pwm"
    POSITION = "position"


@dataclass(frozen=True)
class Table:
    """The control table of a family of models.

    registers: by what they are for. fast: read every tick; slow: once a second, one of these at a time.
    modes:     by number. bauds: by the number in the register.
    errors:    what the bits of the hardware error status mean. stuck: those that only a restart clears.
    """

    family: Family
    registers: Mapping[str, Register]
    fast: tuple[int, int]
    slow: tuple[tuple[int, int], ...]
    modes: Mapping[Mode, int]
    mode_names: Mapping[int, str]
    bauds: Mapping[int, int]
    errors: Mapping[int, str]

    def register(self, name: str) -> Register:
        return self.registers[name]


@dataclass(frozen=True)
class Model:
    """One model.

    full_duty:      the goal at which the motor has the whole supply.
    duty_sign:      −1 where a positive one turns towards smaller positions.
    velocity:       rad/s for a count of the present velocity.
    current:        A for a count of the present current; 0 where it measures none.
    watchdog_since: the firmware from which on it stops by itself when the bus falls silent; None where it never does.
    """

    name: str
    number: int
    table: Table
    full_duty: int
    duty_sign: int
    velocity: float
    current: float
    watchdog_since: int | None = None
    counts: int = 4096  # per revolution

    @property
    def count(self) -> float:
        """rad for a count of the position."""
        return 2.0 * pi / self.counts


_X = Table(
    Family.DYNAMIXEL,
    registers={
        "model_number": Register(0, 2),
        "firmware": Register(6),
        "id": Register(7),
        "baud": Register(8),
        "return_delay": Register(9),
        "drive_mode": Register(10),
        "mode": Register(11),
        "homing_offset": Register(20, 4, signed=True),
        "temperature_limit": Register(31),
        "max_voltage": Register(32, 2),
        "min_voltage": Register(34, 2),
        "duty_limit": Register(36, 2),
        "max_position": Register(48, 4),
        "min_position": Register(52, 4),
        "torque": Register(64),
        "status_level": Register(68),
        "hardware_error": Register(70),
        "watchdog": Register(98),
        "goal_duty": Register(100, 2, signed=True),
        "goal_position": Register(116, 4, signed=True),
        "current": Register(126, 2, signed=True),
        "velocity": Register(128, 4, signed=True),
        "position": Register(132, 4, signed=True),
        "voltage": Register(144, 2),
        "temperature": Register(146),
    },
    fast=(126, 10),
    slow=((144, 3), (64, 7), (11, 1), (98, 1)),
    modes={Mode.PWM: 16, Mode.POSITION: 3},
    mode_names={
        0: "current", 1: "velocity", 3: "position", 4: "extended position", 5: "current-based position", 16: "pwm",
    },
    bauds={0: 9600, 1: 57600, 2: 115200, 3: 1000000, 4: 2000000, 5: 3000000, 6: 4000000},
    errors={
        0: "input voltage error", 2: "overheating error", 3: "motor encoder error", 4: "electrical shock error",
        5: "overload error",
    },
)  # fmt: skip

_STS = Table(
    Family.FEETECH,
    registers={
        "firmware": Register(0),
        "model_number": Register(3, 2),
        "id": Register(5),
        "baud": Register(6),
        "return_delay": Register(7),
        "status_level": Register(8),
        "min_position": Register(9, 2),
        "max_position": Register(11, 2),
        "temperature_limit": Register(13),
        "max_voltage": Register(14),
        "min_voltage": Register(15),
        "homing_offset": Register(31, 2, sign_bit=11),
        "mode": Register(33),
        "torque": Register(40),
        "goal_position": Register(42, 2, sign_bit=15),
        "goal_duty": Register(44, 2, sign_bit=10),
        "lock": Register(55),
        "position": Register(56, 2, sign_bit=15),
        "velocity": Register(58, 2, sign_bit=15),
        "voltage": Register(62),
        "temperature": Register(63),
        "hardware_error": Register(65),
        "current": Register(69, 2, sign_bit=15),
    },
    fast=(56, 4),
    slow=((62, 9), (33, 8)),
    modes={Mode.PWM: 2, Mode.POSITION: 0},
    mode_names={0: "position", 1: "velocity", 2: "pwm", 3: "step"},
    bauds={
        0: 1000000, 1: 500000, 2: 250000, 3: 128000, 4: 115200, 5: 57600, 6: 38400, 7: 19200,
    },
    errors={
        0: "input voltage error", 1: "sensor error", 2: "overheating error", 3: "overcurrent error",
        4: "angle error", 5: "overload error",
    },
)  # fmt: skip

_RPM = 2.0 * pi / 60.0
_STEP = 2.0 * pi / 4096  # rad: Feetech's velocities are in steps/s
VOLT = 0.1  # V for a count, in both families

MODELS: tuple[Model, ...] = (
    Model("XL330-M077", 1190, _X, 885, 1, 0.229 * _RPM, 1e-3, 0),
    Model("XL330-M288", 1200, _X, 885, 1, 0.229 * _RPM, 1e-3, 0),
    Model("XC330-T181", 1210, _X, 885, 1, 0.229 * _RPM, 1e-3, 0),
    Model("XC330-T288", 1220, _X, 885, 1, 0.229 * _RPM, 1e-3, 0),
    Model("XL430-W250", 1060, _X, 885, 1, 0.229 * _RPM, 0.0, 38),
    Model("XC430-W150", 1070, _X, 885, 1, 0.229 * _RPM, 0.0, 38),
    Model("XM430-W350", 1020, _X, 885, 1, 0.229 * _RPM, 2.69e-3, 38),
    Model("XM540-W270", 1120, _X, 885, 1, 0.229 * _RPM, 2.69e-3, 38),
    Model("MX-28", 30, _X, 885, 1, 0.229 * _RPM, 0.0, 38),
    Model("MX-64", 311, _X, 885, 1, 0.229 * _RPM, 3.36e-3, 38),
    Model("MX-106", 321, _X, 885, 1, 0.229 * _RPM, 3.36e-3, 38),
    Model("STS3215", 777, _STS, 1000, -1, _STEP, 6.5e-3),
    Model("STS3250", 2825, _STS, 1000, -1, _STEP, 6.5e-3),
)
"""All that can be driven. MX are those with firmware for protocol 2; an XL-320 has no PWM mode."""

TABLES: Mapping[Family, Table] = {Family.DYNAMIXEL: _X, Family.FEETECH: _STS}


def names(family: Family) -> list[str]:
    """Of the models of a family."""
    return [model.name for model in MODELS if model.table.family is family]


def by_number(family: Family, number: int) -> Model | None:
    """The model that a servo says it is; None for one that nobody here knows."""
    return next((m for m in MODELS if m.table.family is family and m.number == number), None)


def errors(table: Table, bits: int) -> list[str]:
    """What the bits of a hardware error status mean, in the maker's words."""
    return [table.errors.get(bit, f"error bit {bit}") for bit in range(8) if bits >> bit & 1]
