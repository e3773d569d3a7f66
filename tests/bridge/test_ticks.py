"""A machine of ticks behind the wire lives through what it would live through tick by tick, whatever the phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.task.spec import ActionChannel, ObservationChannel
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.messages import OPEN_LAYOUT, Type
from acclimate_bridge.link.wire import Frame, encode
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.lockstep import LockstepTransport, VirtualClock
from acclimate_bridge.simulation.profile import profile_of
from acclimate_bridge.simulation.specimen import ANY
from acclimate_bridge.simulation.ticks import TickPlant
from hypothesis import given, settings
from hypothesis import strategies as st

from .sled import DT, HOMING, PUSH, SLED, Sled, SledWorld

TRUTH = {"strength": 2.0, "drag": 1.0, "wired": -1.0}
RNG = np.random.default_rng(3)
ACTIONS = RNG.uniform(-PUSH, PUSH, (12, 2)).astype(np.float32)


class Setup:
    """A sled behind the wire, on simulated time."""

    def __init__(self, samples_per_period: int = 2) -> None:
        self.machine = Sled(TRUTH)
        self.plant = TickPlant(self.machine, SledWorld().spec, np.random.default_rng(1))
        self.clock = VirtualClock(50.0)
        self.core = DeviceCore(self.plant, SledWorld().specimen().profile, boot_id=7)
        transport = LockstepTransport(self.core, self.clock)
        self.link = HostLink(transport, self.clock, samples_per_period=samples_per_period)
        self.link.start()
        self.wait(DT)

    def read(self) -> FloatArray:
        sample = self.link.latest()
        assert sample is not None
        return sample.values.copy()

    def wait(self, seconds: float) -> None:
        self.clock.sleep_until(self.clock.now() + seconds)


def direct(actions: FloatArray) -> FloatArray:
    """What the sensors read after each action, without a wire."""
    machine = Sled(TRUTH)
    machine.reset(np.random.default_rng(1))
    return np.stack([machine.step(action) for action in actions])


def driven(setup: Setup, phase: float, jitter: Sequence[float]) -> FloatArray:
    """What a host reads a tick after each of `ACTIONS`; phase, s: of its ticks against the device's readings."""
    setup.wait(phase)
    begin, rows = setup.clock.now(), []
    for k, action in enumerate(ACTIONS):
        setup.clock.sleep_until(begin + (k + jitter[k]) * DT)
        rows.append(setup.read())
        setup.link.command(action)
    setup.clock.sleep_until(begin + (len(ACTIONS) + jitter[-1]) * DT)
    rows.append(setup.read())
    return np.stack(rows[1:])


@settings(max_examples=40, deadline=None)
@given(
    phase=st.floats(0.0, DT / 2),
    jitter=st.lists(st.floats(0.0, 0.2), min_size=len(ACTIONS) + 1, max_size=len(ACTIONS) + 1),
)
def test_every_tick_is_one_step_under_its_command(phase: float, jitter: list[float]) -> None:
    assert driven(Setup(), phase, jitter) == pytest.approx(direct(ACTIONS), abs=1e-5)


def test_one_reading_a_period_is_enough_where_there_is_no_jitter() -> None:
    rows = driven(Setup(samples_per_period=1), 0.0, [0.0] * (len(ACTIONS) + 1))
    assert rows == pytest.approx(direct(ACTIONS), abs=1e-5)


def test_nothing_moves_before_the_first_command() -> None:
    setup = Setup()
    before = setup.read()
    setup.wait(1.0)
    assert setup.read() == pytest.approx(before)
    assert setup.machine.steps == 0


def test_the_last_command_is_held_where_none_comes() -> None:
    setup = Setup()
    setup.link.command(ACTIONS[0])
    setup.wait(0.045)  # shorter than a command's time to live
    setup.read()
    assert setup.machine.steps == 2
    expected = direct(np.stack([ACTIONS[0]] * 2))[-1]
    assert setup.plant.measure() == pytest.approx(expected, abs=1e-5)


def test_commands_that_come_faster_than_ticks_do_not_hurry_the_machine() -> None:
    plant = TickPlant(Sled(TRUTH), SledWorld().spec, np.random.default_rng(1))
    machine = plant._machine
    assert isinstance(machine, Sled)
    for k in range(100):
        plant.advance(k * DT / 10)
        plant.set_targets((1.0, 0.0), k * DT / 10)
    assert machine.steps <= 2 * 10


def test_an_episode_begins_anew_and_waits_for_its_first_command() -> None:
    setup = Setup()
    setup.link.command(ACTIONS[0])
    setup.wait(3 * DT)
    moved = setup.read()
    assert setup.link.begin_episode()
    fresh = setup.read()
    assert fresh != pytest.approx(moved)
    assert fresh[2:] == pytest.approx([0.0, 0.0])
    steps = setup.machine.steps
    setup.link.idle(np.zeros(2, np.float32))  # as hosts idle: else the watchdog would latch
    setup.wait(2 * DT)
    assert setup.read() == pytest.approx(fresh)
    assert setup.machine.steps == steps
    setup.link.command(ACTIONS[1])
    setup.wait(DT)
    setup.read()
    assert setup.machine.steps == steps + 1


def test_a_change_is_to_the_machine_and_not_to_its_state() -> None:
    plant = TickPlant(Sled(TRUTH), SledWorld().spec, np.random.default_rng(1))
    before = plant.measure()
    plant.change(ANY, np.random.default_rng(0))
    assert plant.measure() == before
    assert plant.parameters["wired"] == 1.0
    assert SledWorld().specimen().changes == (ANY,)
    assert SledWorld(HOMING).specimen().changes == ()


def test_the_truth_is_told_with_its_units() -> None:
    plant = TickPlant(Sled(TRUTH), SledWorld().spec, np.random.default_rng(1))
    assert plant.described() == "strength 2 1/kg, drag 1 1/s, wired -1"


def test_a_slow_machine_has_a_patient_watchdog() -> None:
    """Three periods, where that is longer than the usual 100 ms: else no host could keep it awake."""
    spec = replace(SLED, control_dt=0.25)
    assert profile_of(spec).watchdog_ms == 750
    machine, clock = Sled(TRUTH), VirtualClock()
    plant = TickPlant(machine, spec, np.random.default_rng(1))
    link = HostLink(LockstepTransport(DeviceCore(plant, profile_of(spec), 7), clock), clock)
    link.start()
    for k in range(8):
        clock.sleep_until(1.0 + 0.25 * k)
        link.latest()
        link.command(ACTIONS[k])
    clock.sleep_until(3.0)
    sample = link.latest()
    assert sample is not None
    assert not sample.faults
    assert machine.steps == 8
    assert link.stats.device_expired == 0


class Grip(Sled):
    """A gripper that goes where it is told to, at once."""

    def reset(self, rng: np.random.Generator) -> FloatArray:
        return self.step(rng.uniform(0.5, 0.9, 1).astype(np.float32))

    def step(self, action: FloatArray) -> FloatArray:
        self.width = np.asarray(action, np.float32)
        return self.width


def test_neutral_may_be_to_hold_what_is_measured() -> None:
    spec = replace(
        SLED,
        observation=(ObservationChannel("grip", "m", -1.0, 1.0),),
        action=(ActionChannel("grip", "m", -1.0, 1.0, neutral="hold"),),
        metrics=SLED.metrics[1:],
        reference=None,
        features=(),
    )
    grip = Grip(TRUTH, spec)
    core = DeviceCore(TickPlant(grip, spec, np.random.default_rng(0)), profile_of(spec), 1)
    before = grip.width
    assert before[0] >= 0.5
    core.feed(encode(Frame(Type.ESTOP, 0, 0, 0, b""), OPEN_LAYOUT), 1.0)
    core.advance(2.0)
    assert grip.width == pytest.approx(before)
