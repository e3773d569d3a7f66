"""Servos on a simulated bus, driven through the keeper: a process of its own, as everywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from acclimate.control.clock import RealClock
from acclimate.errors import DeviceFault
from acclimate.testing import check_device
from acclimate_bridge.bus.device import BusDevice
from acclimate_bridge.bus.models import Family, Mode
from acclimate_bridge.bus.plan import BusPlan, Joint
from acclimate_bridge.simulation.bus.bus import Disturber
from acclimate_bridge.simulation.bus.servo import BusServo

from .serving import Bench, served

X, STS = Family.DYNAMIXEL, Family.FEETECH
NEUTRAL = np.zeros(1, np.float32)


def joints(*ids: int) -> tuple[Joint, ...]:
    if len(ids) == 1:
        return (Joint("servo", ids[0], low=-1.7, high=1.7),)
    return tuple(
        Joint(
            f"j{i}",
            i,
            low=-1.7,
            high=1.7,
            position=f"j{i}",
            velocity=f"j{i}_velocity",
            duty=f"j{i}_duty",
            prefix=f"j{i}_",
        )
        for i in ids
    )


@contextmanager
def driven(bench: Bench, family: Family, *ids: int, mode: Mode = Mode.PWM) -> Iterator[BusDevice]:
    plan = BusPlan(family, bench.port, joints(*(ids or (1,))), mode=mode)
    device = BusDevice(plan, RealClock(), lambda _: None)
    try:
        yield device
    finally:
        device.close()


def until(happens: Callable[[], bool], seconds: float = 3.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happens():
            return True
        time.sleep(0.005)
    return False


def drive(device: BusDevice, duty: float, seconds: float) -> None:
    n = len(device.caps.actuators)
    for _ in range(round(seconds / 0.01)):
        device.command(np.full(n, duty, np.float32))
        time.sleep(0.01)


def faults(device: BusDevice) -> frozenset[str]:
    sample = device.latest()
    return sample.faults if sample else frozenset()


@pytest.mark.alone
@pytest.mark.parametrize("family", Family)
def test_it_keeps_the_contract(family: Family) -> None:
    with served(family) as bench, driven(bench, family) as device:
        check_device(device)


@pytest.mark.alone
@pytest.mark.parametrize("family", Family)
def test_a_positive_duty_turns_towards_larger_angles_and_every_channel_is_measured(family: Family) -> None:
    with served(family, [1, 2]) as bench, driven(bench, family, 1, 2) as device:
        device.start(0.01)
        drive(device, 0.4, 0.3)
        sample = device.latest()
        assert sample is not None
        values = dict(zip((c.name for c in device.caps.sensors), sample.values.tolist(), strict=True))
        assert values["j1"] > 0.05
        assert values["j2"] > 0.05
        assert values["j1_velocity"] > 0.5
        assert until(lambda: bool(np.isfinite(device.latest().values).all()))  # type: ignore[union-attr]


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("came_in", Mode)
@pytest.mark.parametrize("mode", Mode)
def test_nothing_moves_when_it_is_armed_and_all_is_as_before_when_it_is_left(
    family: Family, came_in: Mode, mode: Mode
) -> None:
    def prepare(servos: dict[int, BusServo]) -> None:
        """Goals of somebody else, which it would go to at once if it had torque."""
        servos[1].put("mode", servos[1].table.modes[came_in])
        servos[1].put("goal_position", 2600)
        servos[1].put("goal_duty", 400)

    with served(family, prepare=prepare) as bench:
        servo = bench.servos[1]
        with driven(bench, family, mode=mode) as device:
            device.start(0.01)
            assert servo.get("torque") == 1
            assert servo.get("mode") == servo.table.modes[mode]
            assert servo.get("return_delay") == 0
            time.sleep(0.1)
            assert servo.plant.angle == pytest.approx(0.0, abs=0.005)
        assert servo.get("torque") == 0
        assert servo.get("mode") == servo.table.modes[came_in]


@pytest.mark.alone
def test_a_position_policy_goes_where_it_is_told_within_its_range() -> None:
    with served(X) as bench, driven(bench, X, mode=Mode.POSITION) as device:
        device.start(0.01)
        for goal in (0.3, 9.0):
            for _ in range(60):
                device.command(np.array([goal], np.float32))
                time.sleep(0.01)
            assert bench.servos[1].plant.angle == pytest.approx(min(goal, 1.7), abs=0.06)


@pytest.mark.alone
def test_a_duty_that_leads_out_of_the_range_is_not_passed_on() -> None:
    with served(STS) as bench:
        plan = BusPlan(STS, bench.port, (Joint("servo", 1, low=-0.2, high=0.2),))
        device = BusDevice(plan, RealClock(), lambda _: None)
        device.start(0.01)
        drive(device, 1.0, 0.6)
        servo = bench.servos[1]
        assert 0.15 < servo.plant.angle < 0.6
        assert servo.get("goal_duty") == 0
        device.close()


def test_what_is_no_number_never_reaches_a_servo() -> None:
    with served(X) as bench, driven(bench, X) as device:
        device.start(0.01)
        drive(device, 0.2, 0.05)
        device.command(np.array([np.nan], np.float32))
        assert until(lambda: any("nan" in fault for fault in faults(device)))
        assert bench.servos[1].get("torque") == 0


# What the keeper does when the control process does not go on.

CONTROL = """
import sys, time
import numpy as np
from acclimate.control.clock import RealClock
from acclimate_bridge.bus.device import BusDevice
from acclimate_bridge.bus.models import Family
from acclimate_bridge.bus.plan import BusPlan, Joint
from acclimate_bridge.simulation.bus.bus import Disturber
from acclimate_bridge.simulation.bus.servo import BusServo
plan = BusPlan(Family(sys.argv[1]), sys.argv[2], (Joint("servo", 1),))
device = BusDevice(plan, RealClock(), lambda _: None)
device.start(0.01)
print(device.keeper, flush=True)
while True:
    device.command(np.array([0.1], np.float32))
    time.sleep(0.01)
"""


@contextmanager
def control(bench: Bench, family: Family) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A control process that drives, and its keeper."""
    command = [sys.executable, "-c", CONTROL, family, bench.port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        keeper = int(process.stdout.readline())
        assert until(lambda: bench.servos[1].duty != 0.0)
        try:
            yield process, keeper
        finally:
            process.kill()


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_control_process_that_is_gone_or_stopped_leaves_no_torque(
    family: Family, end: signal.Signals
) -> None:
    with served(family) as bench, control(bench, family) as (process, _):
        os.kill(process.pid, end)
        assert until(lambda: bench.servos[1].get("torque") == 0)
        assert until(lambda: bench.servos[1].duty == 0.0)


def test_a_keeper_that_is_killed_leaves_a_dynamixel_to_its_own_watchdog() -> None:
    with served(X) as bench, control(bench, X) as (process, keeper):
        os.kill(process.pid, signal.SIGSTOP)  # so that it cannot help
        os.kill(keeper, signal.SIGKILL)
        assert until(lambda: bench.servos[1].duty == 0.0)


def test_a_feetech_whose_keeper_is_killed_is_stopped_by_the_control_process() -> None:
    with served(STS) as bench, driven(bench, STS) as device:
        device.start(0.01)
        drive(device, 0.1, 0.05)
        os.kill(device.keeper, signal.SIGKILL)
        with pytest.raises(DeviceFault, match="its servos were stopped from here"):
            drive(device, 0.1, 1.0)
        assert until(lambda: bench.servos[1].get("torque") == 0)


def test_ctrl_z_and_ctrl_c_in_the_terminal_are_not_for_the_keeper() -> None:
    with served(X) as bench, driven(bench, X) as device:
        assert os.getpgid(device.keeper) != os.getpgid(0)


# What goes wrong on the bus while it drives.


def _silent(bench: Bench) -> None:
    bench.servos[1].supply = 0.0


def _hot(bench: Bench) -> None:
    bench.servos[1].temperature = 90.0


def _latched(bench: Bench) -> None:
    bench.servos[1].alarm = 1 << 5


def _sagging(bench: Bench) -> None:
    bench.servos[1].supply = 1.0


def _restarting(bench: Bench) -> None:
    bench.servos[1].restart(bench.now)


@pytest.mark.alone
@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (_silent, "'servo' (id 1) does not answer"),
        (_hot, "servo: overheating error"),
        (_latched, "servo: overload error"),
        (_sagging, "servo: input voltage error"),
        (_restarting, "servo"),
    ],
)
def test_it_is_a_fault_in_the_servos_own_words(
    family: Family, happens: Callable[[Bench], None], said: str
) -> None:
    with ExitStack() as stack:
        bench = stack.enter_context(served(family))
        device = stack.enter_context(driven(bench, family))
        device.start(0.01)
        drive(device, 0.1, 0.1)
        bench.do(lambda: happens(bench))
        for _ in range(300):
            device.command(np.array([0.1], np.float32))
            time.sleep(0.01)
            if faults(device):
                break
        assert any(said in fault for fault in faults(device)), faults(device)
        assert until(lambda: bench.servos[1].duty == 0.0)


@pytest.mark.alone
def test_one_missed_reading_is_masked_and_no_fault() -> None:
    with served(X) as bench, driven(bench, X) as device:
        device.start(0.01)
        seen = list[bool]()
        bench.do(lambda: setattr(bench.servos[1], "mute", True))
        time.sleep(0.015)
        bench.do(lambda: setattr(bench.servos[1], "mute", False))
        for _ in range(20):
            device.command(NEUTRAL)
            time.sleep(0.005)
            sample = device.latest()
            assert sample is not None
            seen.append(bool(np.isnan(sample.values[0])))
        assert not seen[-1]
        assert not faults(device)
        assert device.counters()["missed"] >= 1


def test_an_unplugged_port_is_a_fault() -> None:
    with ExitStack() as stack:
        bench = stack.enter_context(served(STS))
        device = stack.enter_context(driven(bench, STS))
        device.start(0.01)
        bench.unplug()
        assert until(lambda: any("has vanished" in fault for fault in faults(device)))
        stack.pop_all()
        device.close()


def test_the_homing_offset_counts_in_both_modes() -> None:
    angles = []
    for mode in Mode:
        with (
            served(STS, prepare=lambda servos: servos[1].put("homing_offset", 100)) as bench,
            driven(bench, STS, mode=mode) as device,
        ):
            device.start(0.01)
            assert until(lambda: bool(np.isfinite(device.latest().values[0])))  # type: ignore[union-attr]
            sample = device.latest()
            assert sample is not None
            angles.append(float(sample.values[0]))
    assert angles == pytest.approx([-0.153, -0.153], abs=0.01)


def test_a_bus_watchdog_that_has_tripped_is_a_fault() -> None:
    with served(X) as bench, driven(bench, X) as device:
        device.start(0.01)
        os.kill(device.keeper, signal.SIGSTOP)
        assert until(lambda: bench.servos[1].get("watchdog") == 255)
        os.kill(device.keeper, signal.SIGCONT)
        for _ in range(300):
            device.idle(NEUTRAL)
            time.sleep(0.01)
            if faults(device):
                break
        assert any("bus watchdog has tripped" in fault for fault in faults(device))


@pytest.mark.parametrize("family", Family)
def test_late_answers_are_not_taken_for_those_of_the_next_question(family: Family) -> None:
    """A fifth of them come when the next question has been asked."""
    disturber = Disturber(np.random.default_rng(1), {"late": 0.2})
    with served(family, [1, 2], disturber=disturber) as bench:
        before = [servo.get("mode") for servo in bench.bus.servos]
        with driven(bench, family, 1, 2) as device:
            assert until(lambda: _armed(device))
            assert [servo.get("torque") for servo in bench.bus.servos] == [1, 1]
        assert disturber.done["late"] > 5
        assert [servo.get("torque") for servo in bench.bus.servos] == [0, 0]
        assert [servo.get("mode") for servo in bench.bus.servos] == before


def _armed(device: BusDevice) -> bool:
    try:
        device.start(0.01)
    except DeviceFault:  # too many were late: it says so, and is off
        return False
    return True
