"""The simulated servo obeys the physics that it claims."""

from __future__ import annotations

from dataclasses import replace
from math import pi, sin

import numpy as np
import pytest
from acclimate_bridge.simulation.servo.plant import CONTROL_DT, END_STOP, Deployment, SimulatedServo
from acclimate_bridge.simulation.servo.servos import BUILT_IN, Friction, RichMotor, Servo
from hypothesis import given, settings
from hypothesis import strategies as st

IDEAL = {
    name: replace(servo, encoder_noise=0.0, backlash=0.0, supply_resistance=0.0, encoder_counts=10_000_000)
    for name, servo in BUILT_IN.items()
}


def device(
    servo: Servo, deployment: Deployment | None = None, *, friction: Friction = "m6", q0: float = 0.0
) -> SimulatedServo:
    return SimulatedServo(
        servo, deployment or Deployment(), np.random.default_rng(0), friction=friction, q0=q0
    )


@pytest.mark.parametrize("name", IDEAL)
def test_simple_friction_runs_at_the_speed_where_torque_balances(name: str) -> None:
    servo = IDEAL[name]
    plant = device(servo, friction="m1", q0=-1.6)
    duty = 0.15
    velocity = [plant.step(duty)[1] for _ in range(60)]
    m1 = servo.m1
    damping = m1.kt**2 / m1.resistance + m1.viscous
    expected = (m1.kt * servo.supply * duty / m1.resistance - m1.coulomb) / damping
    assert plant.angle < END_STOP
    assert velocity[-1] == pytest.approx(expected, rel=1e-3)


def test_rich_friction_runs_at_the_speed_where_torque_balances() -> None:
    servo = IDEAL["MX-64"]
    plant = device(servo, q0=-1.6)
    velocity = [plant.step(0.2)[1] for _ in range(80)][-1]
    m = servo.m6
    motor = m.kt * (servo.supply * 0.2 - m.kt * velocity) / m.resistance
    s = np.exp(-((velocity / m.stribeck_velocity) ** m.alpha))
    dry = m.base + m.load_motor * motor + s * (m.stribeck + m.load_motor_stribeck * motor)
    assert motor == pytest.approx(dry + m.viscous * velocity, rel=1e-3)


def test_dry_friction_holds_below_breakaway_and_gives_way_above() -> None:
    servo = IDEAL["MX-64"]
    m = servo.m6
    # torque = friction at rest, in Nm
    breakaway = (m.base + m.stribeck) / (1.0 - m.load_motor - m.load_motor_stribeck)
    duty = breakaway * m.resistance / (m.kt * servo.supply)
    below, above = device(servo), device(servo)
    for _ in range(20):
        below.step(0.97 * duty)
        above.step(1.03 * duty)
    assert below.angle == 0.0
    assert above.angle > 1e-5


def test_an_upright_arm_falls_over_and_friction_holds_a_light_one() -> None:
    servo = IDEAL["MX-64"]
    heavy = device(servo, Deployment(gravity=1.0, inertia=0.02), q0=0.3)
    light = device(servo, Deployment(gravity=0.1, inertia=0.002), q0=0.3)
    for _ in range(400):
        heavy.step(0.0)
        light.step(0.0)
    assert heavy.angle > 1.5
    assert light.angle == pytest.approx(0.3, abs=1e-6)


def test_the_quadratic_term_acts_only_while_torques_oppose() -> None:
    rich = IDEAL["XL-320"].m6
    motor = replace(rich, load_external=0.0, load_external_stribeck=0.0, stribeck_velocity=100.0)
    strong = replace(motor, quadratic_motor=3.0, quadratic_external=3.0)
    load = Deployment(gravity=0.1)

    def travel(m6: RichMotor, duty: float) -> float:
        plant = device(replace(IDEAL["XL-320"], m6=m6), load, q0=0.8)
        plant.step(duty)
        return abs(plant.angle - 0.8)

    assert travel(strong, -0.9) < 0.9 * travel(motor, -0.9)  # against the load
    assert travel(strong, 0.9) == travel(motor, 0.9)  # with it


def test_polarity_mirrors_the_motion() -> None:
    duties = np.random.default_rng(1).uniform(-1, 1, 100)
    right = device(IDEAL["XL-320"], Deployment(polarity=1.0))
    wrong = device(IDEAL["XL-320"], Deployment(polarity=-1.0))
    for duty in duties:
        assert right.step(duty)[0] == pytest.approx(-wrong.step(duty)[0], abs=1e-9)


def test_drive_gain_multiplies_the_supply() -> None:
    doubled = device(IDEAL["MX-106"], Deployment(drive_gain=2.0))
    higher = device(replace(IDEAL["MX-106"], supply=30.0))
    for _ in range(30):
        assert doubled.step(0.1) == higher.step(0.1)


def test_the_driver_limits_duty() -> None:
    assert [device(IDEAL["MX-64"]).step(1.0)] == [device(IDEAL["MX-64"]).step(0.9625)]


def test_a_delay_of_two_periods_is_the_same_motion_two_periods_later() -> None:
    duties = np.random.default_rng(2).uniform(-1, 1, 50)
    prompt, late = device(IDEAL["XL-320"]), device(IDEAL["XL-320"], Deployment(delay=2 * CONTROL_DT))
    now = [prompt.step(duty)[0] for duty in duties]
    then = [late.step(duty)[0] for duty in duties]
    assert then[2:] == pytest.approx(now[:-2], abs=1e-9)


def test_delay_has_finer_grain_than_the_integration_step() -> None:
    travel = []
    for delay in (0.0042, 0.0045, 0.0048):
        plant = device(IDEAL["XL-320"], Deployment(delay=delay))
        plant.step(1.0)
        travel.append(plant.angle)
    assert travel[0] > travel[1] > travel[2] > 0


def test_backlash_is_lost_motion_at_every_reversal() -> None:
    play = 0.05
    loose, tight = device(replace(IDEAL["MX-64"], backlash=play)), device(IDEAL["MX-64"])
    for _ in range(30):
        loose.step(0.2)
        tight.step(0.2)
    assert tight.angle - loose.angle == pytest.approx(play / 2)
    for _ in range(40):
        loose.step(-0.2)
        tight.step(-0.2)
    assert tight.angle - loose.angle == pytest.approx(-play / 2)


def test_the_encoder_counts_in_whole_steps_and_velocity_is_its_difference() -> None:
    servo = BUILT_IN["XL-320"]
    plant = device(servo)
    before = 0.0
    for _ in range(30):
        position, velocity = plant.step(0.4)
        counts = position / (2 * pi / servo.encoder_counts)
        assert counts == pytest.approx(round(counts), abs=1e-6)
        assert velocity == pytest.approx((position - before) / CONTROL_DT, abs=1e-9)
        before = position


def test_measuring_twice_reads_the_same_value() -> None:
    plant = device(BUILT_IN["XL-320"])
    plant.step(0.5)
    assert plant.measure() == plant.measure()


def test_velocity_covers_one_control_period_when_sampled_faster() -> None:
    plant = device(IDEAL["XL-320"])
    plant.set_duty(0.5, 0.0)
    angles = []
    for tick in range(1, 60):
        plant.advance(tick * 0.002)
        angles.append(plant.angle)
        velocity = plant.measure()[1]
    assert velocity == pytest.approx((angles[-1] - angles[-6]) / 0.01, abs=1e-3)


def test_a_weak_supply_slows_the_servo_and_does_not_lift_it_while_braking() -> None:
    weak = replace(IDEAL["XL-320"], supply_resistance=8.0)
    end = []
    for servo in (IDEAL["XL-320"], weak):
        plant = device(servo)
        end.append([plant.step(1.0)[0] for _ in range(8)][-1])
        end.append(plant.step(-1.0)[0])
    assert end[2] < end[0]
    assert end[3] < end[1]


def test_end_stops_are_inelastic() -> None:
    plant = device(IDEAL["MX-64"])
    for _ in range(100):
        plant.step(1.0)
    assert plant.angle == END_STOP
    assert plant.step(0.0) == pytest.approx((END_STOP, 0.0), abs=1e-6)


def test_the_same_seed_gives_the_same_run() -> None:
    runs = [[device(BUILT_IN["XL-320"]).step(0.3) for _ in range(5)] for _ in range(2)]
    assert runs[0] == runs[1]


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(BUILT_IN)),
    drive_gain=st.floats(0.25, 4.0),
    gravity=st.floats(-3.0, 3.0),
    inertia=st.floats(0.0, 0.1),
    delay=st.floats(0.0, 0.03),
    seed=st.integers(0, 1000),
)
def test_any_deployment_stays_finite_and_within_no_load_speed(
    name: str, drive_gain: float, gravity: float, inertia: float, delay: float, seed: int
) -> None:
    servo = BUILT_IN[name]
    deployment = Deployment(drive_gain, 1.0, delay, gravity, inertia)
    plant = device(servo, deployment)
    push = abs(gravity) * servo.m6.resistance / servo.m6.kt
    one_count = 2 * pi / servo.encoder_counts / CONTROL_DT
    fastest = 1.05 * (servo.supply * drive_gain + push) / servo.m6.kt + one_count
    for duty in np.random.default_rng(seed).uniform(-1, 1, 40):
        position, velocity = plant.step(float(duty))
        assert abs(plant.angle) <= END_STOP
        assert abs(position - plant.angle) < 0.02
        assert abs(velocity) < fastest + 1.0


def test_resting_under_power_and_load_is_equilibrium() -> None:
    """Held by friction alone: motor torque against gravity, within what dry friction carries."""
    servo = IDEAL["MX-106"]
    gravity = 0.5
    plant = device(servo, Deployment(gravity=gravity), q0=0.8)
    hold = -gravity * sin(0.8) * servo.m6.resistance / (servo.m6.kt * servo.supply)
    for _ in range(50):
        plant.step(hold)
    assert plant.angle == pytest.approx(0.8, abs=1e-9)
