"""The tables against those of rustypot, which others have typed from the same manuals."""

from __future__ import annotations

import pytest
import rustypot
from acclimate_bridge.bus.models import MODELS, TABLES, Family, Mode, Table, by_number, errors
from acclimate_bridge.bus.registers import Register
from hypothesis import given
from hypothesis import strategies as st

THEIRS = {Family.DYNAMIXEL: rustypot.Xl430PyController, Family.FEETECH: rustypot.Sts3215PyController}
# What a register is for, and what the other side calls it, where that differs.
CALLED = {
    "firmware": ("firmware_version", "firmware_major_version"),
    "baud": ("baud_rate",),
    "return_delay": ("return_delay_time",),
    "mode": ("operating_mode",),
    "temperature_limit": ("temperature_limit", "max_temperature_limit"),
    "max_voltage": ("max_voltage_limit",),
    "min_voltage": ("min_voltage_limit",),
    "duty_limit": ("pwm_limit",),
    "max_position": ("max_position_limit",),
    "min_position": ("min_position_limit",),
    "torque": ("torque_enable",),
    "status_level": ("status_return_level", "response_status_level"),
    "hardware_error": ("hardware_error_status", "status"),
    "watchdog": ("bus_watchdog",),
    "goal_duty": ("goal_pwm", "goal_time"),
    "current": ("present_current",),
    "velocity": ("present_velocity",),
    "position": ("present_position",),
    "voltage": ("present_input_voltage", "present_voltage"),
    "temperature": ("present_temperature",),
}


@pytest.mark.parametrize("family", Family)
def test_every_register_is_where_others_have_it(family: Family) -> None:
    theirs = {register.name: (register.addr, register.size) for register in THEIRS[family].registers()}
    for name, register in TABLES[family].registers.items():
        found = [theirs[other] for other in CALLED.get(name, (name,)) if other in theirs]
        assert found == [(register.address, register.size)], name


@pytest.mark.parametrize("family", Family)
def test_bauds_and_modes_are_those_of_others(family: Family) -> None:
    theirs, table = THEIRS[family].definition(), TABLES[family]
    assert {rate: code for code, rate in table.bauds.items()} == theirs.baudrates
    assert table.modes == {
        Mode.PWM: theirs.operating_modes["pwm"],
        Mode.POSITION: theirs.operating_modes["position"],
    }


def test_model_numbers_are_those_of_others() -> None:
    theirs: dict[str, int] = {}
    for made in (rustypot.Xl330PyController, rustypot.Xl430PyController, rustypot.Sts3215PyController):
        theirs |= {name.replace("-", ""): number for name, number in made.definition().models.items()}
    shared = {m.name.replace("-", ""): m.number for m in MODELS if m.name.replace("-", "") in theirs}
    assert len(shared) >= 9
    assert shared == {name: theirs[name] for name in shared}


def test_a_number_finds_its_model_in_its_own_family_only() -> None:
    for model in MODELS:
        assert by_number(model.table.family, model.number) is model
    assert by_number(Family.FEETECH, 1200) is None


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_the_fast_block_holds_what_a_tick_needs_and_the_slow_ones_the_rest(table: Table) -> None:
    def inside(name: str, block: tuple[int, int]) -> bool:
        register = table.register(name)
        return block[0] <= register.address and register.address + register.size <= sum(block)

    assert all(inside(name, table.fast) for name in ("position", "velocity"))
    for name in ("voltage", "temperature", "hardware_error", "torque", "mode"):
        assert any(inside(name, block) for block in table.slow), name


REGISTERS = [register for table in TABLES.values() for register in table.registers.values()]


@given(st.sampled_from(REGISTERS), st.data())
def test_what_is_written_is_read_again(register: Register, data: st.DataObject) -> None:
    value = data.draw(st.integers(*register.bounds))
    assert register.decode(register.encode(value), register.address) == value


@given(st.sampled_from(REGISTERS), st.integers(1, 2**40))
def test_what_does_not_fit_is_refused(register: Register, by: int) -> None:
    low, high = register.bounds
    for value in (low - by, high + by):
        with pytest.raises(ValueError, match="does not fit"):
            register.encode(value)


def test_error_bits_are_words() -> None:
    assert errors(TABLES[Family.DYNAMIXEL], 0b100101) == [
        "input voltage error",
        "overheating error",
        "overload error",
    ]
    assert errors(TABLES[Family.FEETECH], 1 << 7) == ["error bit 7"]
