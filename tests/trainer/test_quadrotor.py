"""The quadrotor: laws of mechanics that its step keeps, and what a family of quadrotors is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.tasks.quadrotor.dynamics import (
    ARM,
    GRAVITY,
    INERTIA,
    MASS,
    THRUST,
    Airframe,
    Body,
    moved,
    rotation,
    unit,
    up,
)
from acclimate_trainer.tasks.quadrotor.family import QuadrotorFamily
from acclimate_trainer.tasks.quadrotor.session import CONTROL_DT, NOISE, Drones
from acclimate_trainer.testing import FamilyConformance
from torch import Tensor

N = 64
STILL = QuadrotorFamily(push=0.0, drag=(0.0, 0.0), delay=(0.0, 0.0), noise=(0.0, 0.0))
"""As RAPTOR has them, but for the constant force."""


class TestQuadrotor(FamilyConformance):
    def family(self) -> QuadrotorFamily:
        return QuadrotorFamily()


class TestSlowQuadrotor(FamilyConformance):
    def family(self) -> QuadrotorFamily:
        return QuadrotorFamily(slow=0.5, late=0.3)


def drones(n: int = N, family: QuadrotorFamily = STILL) -> Drones:
    tasks = family.sample(n, np.random.default_rng(0))
    return Drones(*(x.double() for x in tasks))


def thrown(rng: np.random.Generator, n: int = N) -> Body:
    """Bodies anywhere, turned anyhow, tumbling, with rotors at any speed."""

    def drawn(*shape: int) -> Tensor:
        return torch.tensor(rng.uniform(-1.0, 1.0, (n, 1, *shape)))

    return Body(drawn(3), 2.0 * drawn(3), unit(drawn(4)), 5.0 * drawn(3), 0.5 + 0.5 * drawn(4))


def flown(body: Body, throttle: Tensor, frame: Airframe, h: float, steps: int) -> Body:
    for _ in range(steps):
        body = moved(body, throttle, frame, h)
    return body


def momentum(body: Body) -> Tensor:
    """Angular momentum in the world, over the inertia about the body's first axis."""
    inertia = torch.tensor(INERTIA, dtype=torch.float64) / INERTIA[0]
    return torch.einsum("teij,tej->tei", rotation(body.attitude).unflatten(-1, (3, 3)), inertia * body.rates)


def test_a_body_that_nothing_turns_keeps_its_angular_momentum() -> None:
    """To the fourth order of the step."""
    frame, start = drones().frame, thrown(np.random.default_rng(1))
    free = frame._replace(torque=0.0 * frame.torque)
    lost = []
    for h in (0.01, 0.005):
        end = flown(start, start.rotors, free, h, round(0.5 / h))
        lost.append(float((momentum(end) - momentum(start)).abs().max()))
    assert lost[0] < 1e-4
    assert lost[1] < lost[0] / 10.0


def test_a_body_without_thrust_falls_on_a_parabola() -> None:
    frame, start, t = drones().frame, thrown(np.random.default_rng(2)), 0.3
    end = flown(start, start.rotors, frame._replace(thrust=0.0 * frame.thrust), CONTROL_DT, 30)
    fallen = torch.tensor([0.0, 0.0, -0.5 * GRAVITY * t * t], dtype=torch.float64)
    torch.testing.assert_close(
        end.position, start.position + t * start.velocity + fallen, rtol=0.0, atol=1e-10
    )


def test_thrust_points_where_the_body_points() -> None:
    attitude = thrown(np.random.default_rng(3)).attitude
    torch.testing.assert_close(up(attitude), rotation(attitude)[..., 2::3])
    columns = rotation(attitude).unflatten(-1, (3, 3))
    identity = torch.eye(3).double().expand_as(columns)
    torch.testing.assert_close(columns @ columns.transpose(-1, -2), identity)
    torch.testing.assert_close(torch.linalg.det(columns), torch.ones_like(columns[..., 0, 0]))


def test_a_thrust_of_the_weight_hovers() -> None:
    tasks = drones()
    share = 1.0 / tasks.thrust_to_weight.unsqueeze(1) * sum(THRUST)
    a, b, c = THRUST[2], THRUST[1], THRUST[0] - share
    speed = ((b * b - 4.0 * a * c).sqrt() - b) / (2.0 * a)
    zero = torch.zeros(N, 1, 3).double()
    level = torch.tensor([1.0, 0.0, 0.0, 0.0]).double().expand(N, 1, 4)
    body = Body(zero, zero, level, zero, speed.expand(N, 1, 4))
    end = flown(body, body.rotors, tasks.frame, CONTROL_DT, 100)
    for now, before in zip(end, body, strict=True):
        torch.testing.assert_close(now, before, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("up_to_speed", [True, False])
def test_a_rotor_follows_its_command_at_a_rate_of_its_own_either_way(up_to_speed: bool) -> None:
    tasks, body = drones(), thrown(np.random.default_rng(4))
    begin, wanted = (0.2, 0.7) if up_to_speed else (0.7, 0.2)
    body = body._replace(rotors=torch.full_like(body.rotors, begin))
    end = flown(body, torch.full_like(body.rotors, wanted), tasks.frame, 0.001, 50)
    constant = (tasks.rise if up_to_speed else tasks.fall).unsqueeze(1)
    expected = wanted + (begin - wanted) * torch.exp(-0.05 / constant)
    torch.testing.assert_close(end.rotors, expected.expand_as(end.rotors), rtol=0.0, atol=1e-8)


@pytest.mark.parametrize(
    ("rotor", "roll", "pitch", "yaw"), [(0, -1, -1, -1), (1, -1, 1, 1), (2, 1, 1, -1), (3, 1, -1, 1)]
)
def test_each_rotor_turns_the_body_its_own_way(rotor: int, roll: int, pitch: int, yaw: int) -> None:
    """Front right, back right, back left, front left; the right ones roll it to the left, which is negative."""
    zero = torch.zeros(N, 1, 3).double()
    level = torch.tensor([1.0, 0.0, 0.0, 0.0]).double().expand(N, 1, 4)
    body = Body(zero, zero, level, zero, torch.full((N, 1, 4), 0.5).double())
    throttle = body.rotors.clone()
    throttle[..., rotor] = 1.0
    rates = flown(body, throttle, drones().frame, 0.001, 5).rates
    assert torch.equal(rates.sign(), torch.tensor([roll, pitch, yaw]).double().expand_as(rates))


def test_the_numbers_of_the_base_are_those_of_a_crazyflie() -> None:
    """From the ratios that are drawn come back the torques and inertias that they are ratios of."""
    full = sum(THRUST)
    base = [
        4.0 * full / (MASS * GRAVITY),
        MASS,
        2.0**0.5 * ARM * full / INERTIA[0],
        ARM,
        4.665e-3,
        0.05,
        0.25,
    ]
    tasks = Drones(*(torch.tensor([[x]]).double() for x in [*base, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    frame = tasks.frame
    assert float(frame.thrust * MASS) == pytest.approx(full)
    turning = [ARM * full / INERTIA[0], ARM * full / INERTIA[1], 4.665e-3 * full / INERTIA[2]]
    assert frame.torque.flatten().tolist() == pytest.approx(turning)


def test_quadrotors_are_drawn_as_raptor_draws_them() -> None:
    tasks = QuadrotorFamily().sample(20_000, np.random.default_rng(0))
    size = tasks.mass ** (1.0 / 3.0)
    uniform = {"thrust_to_weight": (1.5, 5.0), "torque_to_inertia": (40.0, 1200.0), "torque_constant": (0.005, 0.05),
               "rise": (0.03, 0.1), "fall": (0.03, 0.3)}  # fmt: skip
    for name, (low, high) in uniform.items():
        x = (getattr(tasks, name) - low) / (high - low)
        assert float(x.mean()) == pytest.approx(0.5, abs=0.01)
        assert float(x.var()) == pytest.approx(1.0 / 12.0, abs=0.003)
    x = (size - 0.02 ** (1.0 / 3.0)) / (5.0 ** (1.0 / 3.0) - 0.02 ** (1.0 / 3.0))
    assert float(x.mean()) == pytest.approx(0.5, abs=0.01)
    factor = tasks.arm / ARM * (MASS ** (1.0 / 3.0)) / size
    n = torch.where(factor < 1.0, 1.0 - 1.0 / factor, factor - 1.0)
    assert float(n.mean()) == pytest.approx(-0.1, abs=0.005)
    assert float(n.std()) == pytest.approx(0.1, abs=0.005)
    push = torch.cat([tasks.push_x, tasks.push_y, tasks.push_z], -1)
    assert float(push.abs().max()) <= QuadrotorFamily().spec.parameters[7].high
    deviation = 0.3 * (tasks.thrust_to_weight - 1.0) * tasks.thrust_to_weight / 3.0  # of the largest
    assert float((push / deviation).square().mean()) == pytest.approx(1.0 / 3.0, abs=0.02)


def test_flights_begin_as_raptors_do() -> None:
    family = QuadrotorFamily(noise=(0.0, 0.0))
    obs = family.open(family.sample(4000, np.random.default_rng(0)), 1, 1, np.random.default_rng(1)).obs
    position, rotation_, velocity, rates = torch.split(obs, [3, 9, 3, 3], -1)
    rest = (position == 0.0).all(-1)
    assert float(rest.float().mean()) == pytest.approx(0.1, abs=0.02)
    assert bool((velocity[rest] == 0.0).all())
    assert bool((rates[rest] == 0.0).all())
    angle = torch.arccos(
        ((rotation_[..., 0] + rotation_[..., 4] + rotation_[..., 8] - 1.0) / 2.0).clamp(-1.0, 1.0)
    )
    assert float(angle[~rest].mean()) == pytest.approx(0.5, abs=0.02)
    assert float(angle.max()) <= 1.001
    assert float(position.abs().max()) <= 0.5


@pytest.mark.parametrize(("delay", "silent"), [(0.0, 0), (0.01, 1), (0.02, 2)])
def test_a_command_reaches_the_rotors_after_its_delay(delay: float, silent: int) -> None:
    family = replace(STILL, delay=(delay, delay))
    tasks = family.sample(N, np.random.default_rng(0))
    gone, held = (family.open(tasks, 1, 4, np.random.default_rng(1)) for _ in range(2))
    begun = 2.0 * gone.state[4] - 1.0
    for tick in range(4):
        gone.step(torch.ones(N, 1, 4)), held.step(begun)
        apart = (gone.state[4] - held.state[4]).abs().amax(-1)
        assert bool((apart == 0.0).all() if tick < silent else (apart > 0.0).all())


def test_readings_are_wrong_by_as_much_as_a_drones_noise_says() -> None:
    family = replace(STILL, noise=(1.0, 1.0))
    tasks = family.sample(2000, np.random.default_rng(0))
    noisy = family.open(tasks, 1, 1, np.random.default_rng(1))
    clear = family.open(tasks._replace(noise=0.0 * tasks.noise), 1, 1, np.random.default_rng(1))
    wrong = torch.split(noisy.obs - clear.obs, [3, 9, 3, 3], -1)
    expected = (NOISE[0][0], NOISE[1][0] * (2.0 / 3.0) ** 0.5, NOISE[2][0], NOISE[3][0])
    for of, std in zip(wrong, expected, strict=True):
        assert float(of.square().mean().sqrt()) == pytest.approx(std, rel=0.05)


def test_no_gradient_is_taken_of_what_is_not_flyable() -> None:
    tasks = STILL.sample(1, np.random.default_rng(0))
    for away, learns in ((0.0, True), (6.0, False)):
        session = STILL.open(tasks, 1, 8, np.random.default_rng(1))
        position, *rest = session.state
        session.state = (position + away, *rest)
        action = torch.zeros(1, 1, 4, requires_grad=True)
        for _ in range(8):
            session.step(action)
        (found,) = torch.autograd.grad(
            session.state[0].sum(), action, materialize_grads=True, allow_unused=True
        )
        assert bool((found != 0.0).any()) == learns


def test_what_falls_stays_within_the_readings() -> None:
    tasks = STILL.sample(8, np.random.default_rng(0))
    session = STILL.open(tasks, 1, 1000, np.random.default_rng(1))
    for _ in range(1000):
        session.step(torch.full((8, 1, 4), -1.0))
    assert bool(session.obs.isfinite().all())
    assert float(session.obs[..., 2].min()) >= -20.0


def test_slow_ones_are_more_frequent_in_training_only() -> None:
    family = QuadrotorFamily(slow=0.5)
    for one, share in ((family, 0.5 + 0.5 * 0.15), (family.held_out(), 0.15)):
        tasks = one.sample(4000, np.random.default_rng(0))
        slow = tasks.torque_to_inertia < 40.0 + 0.15 * 1160.0
        assert float(slow.float().mean()) == pytest.approx(share, abs=0.03)


def test_late_ones_are_more_frequent_in_training_only() -> None:
    family = QuadrotorFamily(late=0.5, slow=0.3)
    for one, share in ((family, 0.5 + 0.5 * 0.25), (family.held_out(), 0.25)):
        tasks = one.sample(4000, np.random.default_rng(0))
        late = tasks.delay >= 0.015
        assert float(late.float().mean()) == pytest.approx(share, abs=0.03)
        if one is family:  # however slow others are
            assert float((tasks.torque_to_inertia >= 620.0)[late].float().mean()) > 0.8


def test_restlessness_costs_even_where_there_is_no_error() -> None:
    family = QuadrotorFamily()
    obs, action = torch.zeros(2, 1, 2, 24), torch.zeros(2, 1, 1, 4)
    obs[..., [3, 7, 11]] = 1.0
    obs[1, ..., 15] = 1.0  # turning
    costs = family.costs(Window(obs, action, torch.ones(2, 1, 1)), torch.zeros(2, 1, 1))
    assert [cost.name for cost in costs] == ["error", "change", "restless"]
    error, _, restless = (cost.values.flatten().tolist() for cost in costs)
    assert error == [0.0, 0.0]
    assert restless[0] == 0.0 < restless[1]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"mass": (0.0, 1.0)}, "mass"),
        ({"thrust_to_weight": (0.9, 2.0)}, "thrust_to_weight"),
        ({"delay": (0.0, 0.03)}, "delay"),
        ({"slow": 1.5}, "slow"),
        ({"late": -0.1}, "late"),
        ({"noise": (1.0, 0.5)}, "noise"),
    ],
)
def test_what_no_quadrotor_can_be_is_refused(options: dict[str, float], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        QuadrotorFamily(**options)
