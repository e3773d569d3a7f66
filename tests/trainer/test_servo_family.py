"""The servo family obeys the physics that its docstring states, and draws what its ranges say."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate.task.spec import Parameter, check
from acclimate_bridge.simulation.servo.plant import Deployment, SimulatedServo
from acclimate_bridge.simulation.servo.servos import BUILT_IN
from acclimate_trainer.tasks.servo.dynamics import ServoTasks, at_rest, coefficients, observe, step
from acclimate_trainer.tasks.servo.family import ServoFamily
from acclimate_trainer.tasks.servo.ranges import CONTROL_DT, PRESETS, ServoRanges
from acclimate_trainer.tasks.servo.spec import END_STOP, SAG
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from .servo_tasks import FAMILY, FRICTIONLESS, MISWIRED, PLAIN, at, drive, family_of, positions, servos

SUBSTEPS = 2000  # of the reference integration, per control period


def integrate(p: dict[str, float], q: float, omega: float, duty: float) -> tuple[float, float]:
    """One control period of the equation in the family's docstring, in small steps (midpoint rule)."""
    h = CONTROL_DT / SUBSTEPS

    def acceleration(q: float, omega: float) -> float:
        motor = (
            p["polarity"] * p["kt"] * p["voltage"] * duty / p["resistance"]
            - p["kt"] ** 2 * omega / p["resistance"]
        )
        dry = p["coulomb"] * math.copysign(1.0, omega)
        return (motor + p["gravity"] * math.sin(q) - p["viscous"] * omega - dry) / p["inertia"]

    for _ in range(SUBSTEPS):
        middle = omega + 0.5 * h * acceleration(q, omega)
        omega, q = omega + h * acceleration(q + 0.5 * h * omega, middle), q + h * middle
    return q, omega


def after(p: dict[str, float], q: float, omega: float, duty: float) -> tuple[float, float]:
    (state,) = drive(servos(**p), at(q, omega), [duty])
    return state.q.item(), state.omega.item()


@pytest.mark.parametrize(
    "change",
    [
        {**FRICTIONLESS},
        {"coulomb": 0.0, "viscous": 0.4},
        {"coulomb": 0.3},
        {"coulomb": 0.0, "inertia": 0.0015},
        {"coulomb": 0.0, "polarity": -1.0, "voltage": 40.0},
        {"coulomb": 0.0, "inertia": 3.0},
    ],
)
def test_one_period_is_the_exact_solution(change: dict[str, float]) -> None:
    """While the joint turns one way, held duty and Coulomb friction are constant: the step has no error."""
    p = PLAIN | change
    for omega, duty in ((2.0, 0.3), (4.0, 0.5), (1.0, 0.6)):
        q, speed = integrate(p, 0.1, omega, p["polarity"] * duty)
        found = after(p, 0.1, omega, p["polarity"] * duty)
        assert found[1] == pytest.approx(speed, rel=1e-4)
        assert found[0] - 0.1 == pytest.approx(q - 0.1, rel=1e-3)


def test_gravity_is_as_in_the_equation() -> None:
    p = PLAIN | {"gravity": 1.0, "coulomb": 0.0}
    q, omega = 0.2, 0.0
    found = drive(servos(**p), at(q), [0.04] * 60)
    for _ in range(60):
        q, omega = integrate(p, q, omega, 0.04)
    assert 0.5 < q < END_STOP
    assert found[-1].q.item() == pytest.approx(q, rel=0.02)
    assert found[-1].omega.item() == pytest.approx(omega, rel=0.02)


def test_an_arm_falls_away_from_upright() -> None:
    for q in (-0.3, 0.3):
        (state,) = drive(servos(gravity=1.0), at(q), [0.0])
        assert state.omega.item() * q > 0.0


def test_dry_friction_holds_below_breakaway_and_gives_way_above() -> None:
    breakaway = PLAIN["coulomb"] * PLAIN["resistance"] / (PLAIN["kt"] * PLAIN["voltage"])
    for sign in (-1.0, 1.0):
        below = drive(servos(), at(0.4), [0.98 * sign * breakaway] * 20)[-1]
        above = drive(servos(), at(0.4), [1.02 * sign * breakaway] * 20)[-1]
        assert below.q.item() == at(0.4).q.item()
        assert sign * (above.q.item() - 0.4) > 1e-5


def test_dry_friction_stops_a_joint_and_does_not_turn_it_round() -> None:
    states = drive(servos(inertia=0.05, coulomb=0.3), at(-1.0, 5.0), [0.0] * 50)
    speeds = [state.omega.item() for state in states]
    assert min(speeds) == 0.0
    assert speeds[-1] == 0.0
    assert states[-1].q.item() == states[-2].q.item()


@settings(max_examples=60, deadline=None)
@given(
    kt=st.floats(0.3, 2.5),
    resistance=st.floats(2.0, 40.0),
    inertia=st.floats(0.001, 0.1),
    coulomb=st.floats(0.0, 0.12),
    q=st.floats(-1.7, 1.7),
    omega=st.floats(-20.0, 20.0),
)
def test_without_drive_a_joint_only_loses_speed(
    kt: float, resistance: float, inertia: float, coulomb: float, q: float, omega: float
) -> None:
    tasks = servos(kt=kt, resistance=resistance, inertia=inertia, coulomb=coulomb)
    speeds = [abs(omega), *(state.omega.abs().item() for state in drive(tasks, at(q, omega), [0.0] * 10))]
    assert all(later <= sooner for sooner, later in pairwise(speeds))


@settings(max_examples=60, deadline=None)
@given(gravity=st.floats(-1.0, 1.0), q=st.floats(-1.6, 1.6), omega=st.floats(-5.0, 5.0))
def test_without_drive_a_loaded_joint_gains_no_energy(gravity: float, q: float, omega: float) -> None:
    states = drive(servos(gravity=gravity), at(q, omega), [0.0] * 60)
    energy = [0.5 * PLAIN["inertia"] * s.omega.item() ** 2 + gravity * math.cos(s.q.item()) for s in states]
    begin = 0.5 * PLAIN["inertia"] * omega**2 + gravity * math.cos(q)
    assert max(energy) <= begin + 1e-3


def test_end_stops_are_inelastic() -> None:
    for sign in (-1.0, 1.0):
        *_, stopped = drive(servos(), at(0.0), [sign] * 50)
        assert stopped.q.item() == pytest.approx(sign * END_STOP)
        assert stopped.omega.item() == 0.0
        (back,) = drive(servos(), stopped, [-sign])
        assert sign * back.q.item() < END_STOP
        assert sign * back.omega.item() < 0.0


def test_duty_is_limited_to_one() -> None:
    assert_close(
        positions(drive(servos(), at(0.0), [5.0] * 5)), positions(drive(servos(), at(0.0), [1.0] * 5))
    )


def test_polarity_mirrors_the_motion() -> None:
    duties = np.random.default_rng(0).uniform(-1, 1, 60).tolist()
    right, wrong = positions(drive(servos(polarity=[1.0, -1.0], gravity=0.5), at([0.0, 0.0]), duties))
    assert right.abs().max() > 0.1
    assert_close(wrong, -right, rtol=0, atol=1e-6)


@pytest.mark.parametrize("periods", [1, 2, 3])
def test_a_delay_of_whole_periods_is_the_same_motion_so_much_later(periods: int) -> None:
    duties = np.random.default_rng(1).uniform(-1, 1, 40).tolist()
    prompt = positions(drive(servos(), at(0.0), duties))
    late = positions(drive(servos(delay=periods * CONTROL_DT), at(0.0), duties))
    assert_close(late[:, periods:], prompt[:, :-periods], rtol=0, atol=1e-6)
    assert_close(late[:, :periods], torch.zeros(1, periods))


@pytest.mark.parametrize("delay", [0.0, 0.0013, 0.0075, 0.0142, 0.0291, 0.03])
def test_at_constant_speed_a_joint_lags_by_exactly_the_delay(delay: float) -> None:
    prompt, late = (drive(servos(delay=d, **FRICTIONLESS), at(-1.6), [0.03] * 80)[-1] for d in (0.0, delay))
    assert prompt.q.item() < END_STOP
    assert prompt.q.item() - late.q.item() == pytest.approx(delay * prompt.omega.item(), abs=1e-5)


def test_encoder_noise_is_in_the_measurement_alone() -> None:
    c, noise = coefficients(servos()), torch.full((1, 1), 0.02)
    clean = noisy = at(0.3)
    for k in range(20):
        duty = torch.full((1, 1, 1), math.sin(k))
        clean = step(clean, duty, c, torch.zeros(1, 1))
        noisy = step(noisy, duty, c, noise)
    assert torch.equal(noisy.q, clean.q)
    assert torch.equal(noisy.omega, clean.omega)
    assert_close(noisy.measured, clean.q + noise)


def test_velocity_is_the_difference_of_two_measurements() -> None:
    before, now = at(0.1)._replace(measured=torch.tensor([[0.12]])), at(0.3)
    assert_close(observe(now, before), torch.tensor([[[0.3, 18.0]]]), rtol=1e-5, atol=1e-5)


def test_the_step_has_the_gradient_that_it_should(float64: None) -> None:
    """Against finite differences: sliding, held by friction, at an end stop, at the limit of duty."""
    del float64
    tasks = servos(gravity=0.4, delay=0.004, coulomb=[0.09, 5.0, 0.09, 0.09])
    c, encoder = coefficients(tasks), torch.zeros(4, 1)
    start = at([0.3, 0.3, 1.69, 0.3], [2.0, 0.0, 9.0, 1.0])

    def stepped(q: Tensor, omega: Tensor, duty: Tensor, commands: Tensor) -> Tensor:
        state = start._replace(q=q, omega=omega, commands=commands)
        return torch.stack(step(state, duty, c, encoder)[:3])

    duty = torch.tensor([0.3, 0.1, 0.5, 1.4]).reshape(4, 1, 1)
    inputs = [x.clone().requires_grad_() for x in (start.q, start.omega, duty, start.commands)]
    assert torch.autograd.gradcheck(stepped, inputs)
    held, stopped = (stepped(*inputs)[:, i, 0] for i in (1, 2))
    assert held[1] == 0.0
    assert stopped[0] == END_STOP


def test_a_gradient_may_pass_the_end_stops_while_the_joint_does_not() -> None:
    start, found = at(torch.tensor([1.69, 0.3]), torch.tensor([9.0, 1.0])), {}
    for through in (False, True):
        duty = torch.full((2, 1, 1), 0.5).requires_grad_()
        c = coefficients(servos(kt=[PLAIN["kt"]] * 2))
        following = step(start, duty, c, torch.zeros(2, 1), through_stops=through)
        found[through] = following, torch.autograd.grad(following.q.sum(), duty)[0].flatten()
    for exact, passing in zip(found[False][0], found[True][0], strict=True):
        assert_close(exact, passing)
    assert found[True][0].q[0].item() == pytest.approx(END_STOP)
    assert found[False][1][0] == 0.0
    assert found[True][1][0] > 0.0
    assert found[True][1][1] == found[False][1][1]


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize(
    "field",
    [
        Deployment(),
        Deployment(drive_gain=0.4, polarity=-1.0, delay=0.012, inertia=0.01),
        Deployment(drive_gain=0.7, delay=0.027, gravity=0.05, inertia=0.004),
    ],
)
def test_it_moves_as_the_simulated_device_with_simple_friction_does(name: str, field: Deployment) -> None:
    """Two integrators, written independently: 1 kHz implicit there, one closed form per period here."""
    servo = replace(
        BUILT_IN[name], encoder_noise=0.0, backlash=0.0, supply_resistance=0.0, encoder_counts=10**8
    )
    m = servo.m1
    tasks = servos(
        kt=m.kt, resistance=m.resistance, voltage=servo.supply * field.drive_gain, inertia=m.armature + field.inertia,
        coulomb=m.coulomb, viscous=m.viscous, gravity=field.gravity, delay=field.delay, polarity=field.polarity,
    )  # fmt: skip
    plant = SimulatedServo(servo, field, np.random.default_rng(0), friction="m1", q0=0.2)
    wave = [0.28 * math.sin(0.06 * k) + 0.12 * math.sin(0.31 * k) for k in range(100)]
    duties = [max(min(x / field.drive_gain, 0.9), -0.9) for x in wave]
    expected = np.array([plant.step(duty)[0] for duty in duties])
    found = positions(drive(tasks, at(0.2), duties)).numpy()[0]
    moved = np.ptp(expected)
    assert moved > 0.1
    assert np.abs(found - expected).max() < 0.01 * moved


# Sampling.


def log_correlation(tasks: ServoTasks, one: str, other: str) -> float:
    columns = [np.log(getattr(tasks, name).numpy().ravel()) for name in (one, other)]
    return float(np.corrcoef(columns)[0, 1])


def test_what_is_drawn_lies_within_the_ranges() -> None:
    ranges = PRESETS["wide"]
    tasks, intervals = FAMILY.sample(4000, np.random.default_rng(0)), ranges.intervals()
    for name in ("kt", "resistance", "coulomb", "viscous", "delay", "noise"):
        low, high = intervals[name]
        drawn = getattr(tasks, name)
        assert drawn.min() >= low * 0.999
        assert drawn.max() <= high * 1.001
        assert (
            drawn.max() - drawn.min() > 0.8 * (high - low) or drawn.max() / drawn.min() > 0.8 * high / low
        ), name
    stall = tasks.kt * tasks.voltage / tasks.resistance
    assert (tasks.gravity <= ranges.gravity_fraction[1] * 1.001 * stall).all()
    supply, gain = intervals["voltage"], intervals["drive_gain"]
    assert (tasks.voltage >= supply[0] * gain[0] * 0.999).all()
    assert (tasks.voltage <= supply[1] * gain[1] * 1.001).all()


def test_strong_motors_have_low_resistance_and_large_armatures() -> None:
    tasks = FAMILY.sample(2000, np.random.default_rng(0))
    assert log_correlation(tasks, "kt", "resistance") < -0.7
    assert log_correlation(tasks, "kt", "inertia") > 0.6
    assert log_correlation(tasks, "kt", "coulomb") > 0.6
    assert abs(log_correlation(tasks, "kt", "noise")) < 0.1


def test_the_drive_gain_is_drawn_apart_from_the_servo() -> None:
    plain = ServoFamily(ranges={"drive_gain": [1.0, 1.0]}).sample(2000, np.random.default_rng(0))
    varied = FAMILY.sample(2000, np.random.default_rng(0))
    assert torch.log(varied.voltage).std() > 1.5 * torch.log(plain.voltage).std()


def test_a_range_of_one_value_is_that_value() -> None:
    ranges = replace(PRESETS["wide"], delay=(0.01, 0.01), noise=(0.0, 0.0), kt=(1.0, 1.0), spread=1.0)
    tasks = family_of(ranges).sample(20, np.random.default_rng(0))
    assert_close(tasks.delay, torch.full((20, 1), 0.01))
    assert_close(tasks.kt, torch.ones(20, 1))
    assert_close(tasks.noise, torch.zeros(20, 1))


def test_polarity_is_known_or_either_way_round_with_equal_chance() -> None:
    wide = FAMILY.sample(400, np.random.default_rng(0)).polarity
    miswired = MISWIRED.sample(400, np.random.default_rng(0)).polarity
    assert (wide == 1.0).all()
    assert set(miswired.flatten().tolist()) == {-1.0, 1.0}
    assert abs(miswired.mean()) < 0.15


def test_something_happens_to_every_servo_that_changes() -> None:
    rng = np.random.default_rng(0)
    before = MISWIRED.sample(3000, rng)
    after = MISWIRED.change(before, rng)
    share = {
        name: (getattr(after, name) != getattr(before, name)).float().mean().item() for name in before._fields
    }
    assert share["polarity"] == pytest.approx(0.5, abs=0.04)
    assert share["voltage"] == pytest.approx(1 / 3, abs=0.04)
    assert share["gravity"] == pytest.approx(0.5 + 0.5 * 2 / 3 * 0.5, abs=0.04)
    assert share["inertia"] == share["gravity"]
    assert {n for n, s in share.items() if s == 0.0} == set(before._fields) - {
        "polarity", "voltage", "gravity", "inertia"}  # fmt: skip
    untouched = (after.privileged() == before.privileged()).all(dim=-1)
    assert not untouched.any()


def test_what_changes_stays_within_reason() -> None:
    rng = np.random.default_rng(1)
    before = FAMILY.sample(2000, rng)
    after = FAMILY.change(before, rng)
    assert torch.equal(after.polarity, before.polarity)  # wired as expected, for good
    kept = (after.voltage / before.voltage)[after.voltage != before.voltage]
    assert SAG[0] <= kept.min().item() < 0.5 < 0.8 < kept.max().item() <= SAG[1]
    dropped = (after.gravity == 0.0) & (before.gravity != 0.0)
    assert dropped.float().mean().item() == pytest.approx(0.42, abs=0.05)
    assert_close(after.inertia[dropped], after.armature[dropped])
    stall = after.kt * before.voltage / after.resistance
    assert (after.gravity <= 0.2501 * stall).all()


@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_reversed_servos_become_more_frequent_as_training_goes_on(progress: float) -> None:
    rng = np.random.default_rng(0)
    tasks = MISWIRED.sample(3000, rng, progress)
    swapped = MISWIRED.change(tasks, rng, progress).polarity != tasks.polarity
    assert (tasks.polarity < 0.0).float().mean().item() == pytest.approx(0.5 * progress, abs=0.04)
    assert swapped.float().mean().item() == pytest.approx(0.5 * progress, abs=0.04)


def test_the_same_seed_draws_the_same_and_another_seed_does_not() -> None:
    def everything(seed: int) -> list[torch.Tensor]:
        rng = np.random.default_rng(seed)
        tasks = MISWIRED.sample(3, rng)
        session, changed = MISWIRED.open(tasks, 2, 10, rng), MISWIRED.change(tasks, rng)
        for _ in range(10):
            session.step(torch.zeros(3, 2, 1))
        return [*tasks, session.obs, *changed]

    assert all(map(torch.equal, everything(1), everything(1)))
    assert not any(map(torch.equal, everything(1)[:11:10], everything(2)[:11:10]))


def test_servos_begin_at_rest_anywhere_some_at_a_stop() -> None:
    rng = np.random.default_rng(0)
    start = at_rest(FAMILY.sample(100, rng), 10, rng)
    assert start.q.shape == (100, 10)
    assert start.q.abs().max() <= END_STOP
    assert 0.1 < (start.q.abs() == END_STOP).float().mean() < 0.4
    assert (start.omega == 0.0).all()
    assert (start.commands == 0.0).all()
    assert torch.equal(start.measured, start.q)


def test_an_oracle_is_told_the_parameters_in_the_order_of_their_names() -> None:
    told = servos(gravity=0.3, delay=0.02).privileged()
    expected = [1.6225, 3.9494, 15.0, 0.015, 0.09039, 0.01169, 0.3, 0.02, 1.0]
    assert_close(told, torch.tensor([expected]))


@pytest.mark.parametrize("family", [FAMILY, MISWIRED])
def test_the_parameters_are_within_what_the_spec_says_whatever_happens(family: ServoFamily) -> None:
    rng = np.random.default_rng(0)
    tasks = family.sample(3000, rng)
    check(family.spec)
    for told in (family.parameters(tasks), family.parameters(family.change(tasks, rng))):
        for column, parameter in zip(told.T, family.spec.parameters, strict=True):
            assert column.min() >= parameter.low - 1e-6 * abs(parameter.low), parameter
            assert column.max() <= parameter.high + 1e-6 * abs(parameter.high), parameter
    assert family.spec.parameters[-1] == Parameter("polarity", "1", *family.training.polarity, "sign")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"armature": (-0.001, 0.02)}, "range armature must lie above 0, found [-0.001, 0.02]"),
        ({"kt": (0.0, 1.0)}, "range kt must lie above 0, found [0.0, 1.0]"),
        ({"resistance": (2.0, math.inf)}, "range resistance must lie above 0, found [2.0, inf]"),
        ({"voltage": (math.nan, 12.0)}, "range voltage must lie above 0, found [nan, 12.0]"),
        ({"delay": (0.0, 0.031)}, "range delay must lie from 0 to 0.03, found [0.0, 0.031]"),
        ({"delay": (-0.01, 0.0)}, "range delay must lie from 0 to 0.03, found [-0.01, 0.0]"),
        ({"noise": (-1e-3, 0.0)}, "range noise must lie from 0 to inf, found [-0.001, 0.0]"),
        ({"gravity_fraction": (0.0, 1.5)}, "range gravity_fraction must lie from 0 to 0.9, found [0.0, 1.5]"),
        ({"drive_gain": (0.0, 1.0)}, "range drive_gain must lie above 0, found [0.0, 1.0]"),
        (
            {"drive_gain": (2.0, 1.0)},
            "range drive_gain must be [low, high] with low <= high, found [2.0, 1.0]",
        ),
        ({"delay": (0.02, 0.01)}, "range delay must be [low, high] with low <= high, found [0.02, 0.01]"),
        ({"spread": 0.9}, "range spread is a factor of at least 1, found 0.9"),
        ({"polarity": (-1.0, -1.0)}, "range polarity is [1, 1] or [-1, 1], found [-1.0, -1.0]"),
    ],
)
def test_ranges_that_no_servo_can_have_are_refused(
    change: dict[str, tuple[float, float]], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        ServoRanges(**change)  # type: ignore[arg-type]
    assert str(caught.value) == sentence
