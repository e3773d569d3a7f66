"""The arm: laws of mechanics that its step keeps, and what a family of arms is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.play.world import SessionWorld
from acclimate_trainer.tasks.arm.dynamics import (
    END_STOP,
    Arms,
    Coefficients,
    Impulses,
    Links,
    energy,
    impulses,
    step,
)
from acclimate_trainer.tasks.arm.family import SPEED, ArmFamily
from acclimate_trainer.tasks.arm.session import CONTROL_DT, ArmTasks, gears_of, links, rich_friction
from acclimate_trainer.testing import FamilyConformance
from torch import Tensor

N = 256


class TestArm(FamilyConformance):
    def family(self) -> ArmFamily:
        return ArmFamily()


class TestRichArm(FamilyConformance):
    def family(self) -> ArmFamily:
        return ArmFamily().held_out()


def exact(seed: int = 0, n: int = N) -> ArmTasks:
    tasks = ArmFamily().sample(n, np.random.default_rng(seed))
    return ArmTasks(*(x.double() if x.is_floating_point() else x for x in tasks))


def anywhere(rng: np.random.Generator, speed: float, n: int = N) -> Arms:
    """Arms clear of their stops, moving at up to `speed`."""
    return Arms(
        torch.tensor(rng.uniform(-1.0, 1.0, (n, 1, 2))), torch.tensor(rng.uniform(-speed, speed, (n, 1, 2)))
    )


def conservative(tasks: ArmTasks) -> Links:
    """The arms' links alone: no motors, no friction."""
    c = links(tasks)
    return c._replace(drive=0.0 * c.drive, damping=0.0 * c.damping, coulomb=0.0 * c.coulomb)


def moved(arms: Arms, duty: Tensor, arm: Links, h: float, steps: int) -> Arms:
    c = Coefficients.of(arm, h)
    for _ in range(steps):
        arms = step(arms, impulses(arms, duty, c), c.friction, c)
    return arms


def test_links_alone_keep_their_energy() -> None:
    """The equations of motion are those of the energy; what error is left is the step's, and falls with it."""
    c, start = conservative(exact()), anywhere(np.random.default_rng(1), 3.0)
    lost = []
    for h in (1e-4, 5e-5):
        end = moved(start, torch.zeros(N, 1, 2).double(), c, h, round(0.05 / h))
        inside = (end.angle.abs() < END_STOP).all(-1)
        scale = energy(start, c).abs() + c.weight.sum(-1)
        lost.append(float(((energy(end, c) - energy(start, c)).abs() / scale)[inside].max()))
    assert lost[0] < 0.02
    assert lost[1] < 0.6 * lost[0]


def test_an_arm_without_current_loses_energy_in_every_step() -> None:
    c, arms = links(exact()), anywhere(np.random.default_rng(2), 10.0)
    still = torch.zeros(N, 1, 2).double()
    before = energy(arms, c)
    for _ in range(200):
        arms = moved(arms, still, c, CONTROL_DT, 1)
        now = energy(arms, c)
        assert (now - before <= 0.03 * (c.weight.sum(-1))).all()
        before = now
    at_start = energy(anywhere(np.random.default_rng(2), 10.0), c)
    assert (before < at_start).all()


def test_one_period_in_one_step_is_near_to_many_small_ones() -> None:
    rng = np.random.default_rng(3)
    c, coarse = links(exact()), anywhere(rng, 0.0)
    fine = coarse
    for _ in range(4):
        duty = torch.tensor(rng.uniform(-0.5, 0.5, (N, 1, 2)))
        coarse = moved(coarse, duty, c, CONTROL_DT, 5)
        fine = moved(fine, duty, c, CONTROL_DT / 100, 500)
    clear = (fine.angle.abs() < 1.6).all(-1)
    away = (coarse.angle - fine.angle)[clear].abs()
    assert away.median() < 0.002  # rad, while the joints went about 0.1
    assert away.quantile(0.95) < 0.01


def test_friction_holds_what_pushes_less_than_it() -> None:
    c, arms = links(exact()), anywhere(np.random.default_rng(4), 0.0)
    light = c._replace(weight=0.0 * c.weight)
    duty = 0.95 * (c.coulomb / c.drive)
    end = moved(arms, duty, light, CONTROL_DT, 20)
    assert (
        end.angle - arms.angle
    ).abs().max() < 3e-3  # rad; two sweeps are not quite enough where links couple most
    more = moved(arms, 1.5 * duty, light, CONTROL_DT, 20)
    assert (more.angle - arms.angle).abs().amax(-1).median() > 0.01


def test_a_lone_joint_moves_as_the_servo_s_exact_law_says() -> None:
    """ω' = e⁻ˣ·ω + ψ·u/J, x = h·D/J, ψ = (1 − e⁻ˣ)/(D/J), of the elbow while the shoulder has all the inertia."""
    c = links(exact())
    alone = conservative(exact())._replace(
        drive=c.drive, damping=c.damping, shoulder=1e9 * c.shoulder, coupling=0.0 * c.coupling,
        weight=0.0 * c.weight,
    )  # fmt: skip
    start = Arms(torch.zeros(N, 1, 2).double(), torch.tensor([0.0, 2.0]).double().expand(N, 1, 2))
    found = moved(start, torch.tensor([0.0, 0.7]).double().expand(N, 1, 2), alone, CONTROL_DT, 1)
    rate = c.damping[..., 1] / c.elbow
    decay = torch.exp(-rate * CONTROL_DT)
    wanted = decay * 2.0 + (1.0 - decay) / rate * 0.7 * c.drive[..., 1] / c.elbow
    assert torch.allclose(found.speed[..., 1], wanted, rtol=0.02, atol=0.02)


def test_a_joint_that_hits_its_stop_stops_and_leaves_the_other_its_momentum() -> None:
    c = conservative(exact())
    c = c._replace(weight=0.0 * c.weight)
    angle = torch.tensor([0.0, END_STOP - 1e-6]).double().expand(N, 1, 2)
    speed = torch.tensor([-1.0, 5.0]).double().expand(N, 1, 2)
    end = moved(Arms(angle, speed), torch.zeros_like(angle), c, 1e-6, 1)
    assert (end.speed[..., 1] == 0.0).all()
    assert (end.angle[..., 1] == END_STOP).all()
    coupled = c.coupling * math.cos(END_STOP)
    m11, m12 = c.shoulder + 2.0 * coupled, c.lower + coupled
    assert torch.allclose(m11 * end.speed[..., 0], m11 * -1.0 + m12 * 5.0, rtol=1e-3, atol=1e-6)
    assert (energy(end, c) <= energy(Arms(angle, speed), c)).all()


@pytest.mark.parametrize("rich", [False, True])
def test_no_drive_makes_an_arm_unstable(rich: bool) -> None:
    family, rng = ArmFamily(rich=rich), np.random.default_rng(5)
    session = family.open(family.sample(512, rng), 1, 200, rng)
    for k in range(200):
        wild = torch.from_numpy(rng.choice([-1.0, 1.0], (512, 1, 2))).float()
        session.step(wild if k % 40 < 20 else wild.mean(0, keepdim=True).sign().expand_as(wild))
        assert session.obs.isfinite().all()
        assert session.state[1].abs().max() < SPEED


def test_no_more_than_one_motor_is_miswired_and_none_at_first() -> None:
    family, rng = ArmFamily(), np.random.default_rng(6)
    wrong = family.sample(4000, rng).motors("polarity")[:, 0] < 0.0
    assert wrong.any(-1).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert wrong.float().mean(0).tolist() == pytest.approx([0.25, 0.25], abs=0.03)
    assert not wrong.all(-1).any()
    assert (family.sample(400, rng, 0.0).motors("polarity") > 0.0).all()
    assert (replace(family, miswired=0.0).sample(400, rng).motors("polarity") > 0.0).all()


def test_every_arm_can_hold_its_load_out_straight() -> None:
    c = links(ArmFamily().sample(4000, np.random.default_rng(7)))
    held = torch.stack([c.weight.sum(-1), c.weight[..., 1]], -1)  # N·m at the horizontal
    assert (held + c.coulomb < 0.9 * c.drive.abs()).float().mean() > 0.99


def test_what_happens_to_arms_happens_to_each() -> None:
    family, rng = ArmFamily(), np.random.default_rng(8)
    before = family.sample(2000, rng)
    after = family.change(before, rng)
    differs = torch.stack([(a != b).view(2000, -1).any(-1) for a, b in zip(before, after, strict=True)])
    assert differs.any(0).all()
    assert (after.shoulder_voltage <= before.shoulder_voltage).all()
    names = [name for name, row in zip(ArmTasks._fields, differs, strict=True) if row.any()]
    assert names == ["shoulder_voltage", "shoulder_polarity", "elbow_voltage", "elbow_polarity", "payload"]
    early = family.change(before, rng, 0.0)
    assert torch.equal(early.elbow_polarity, before.elbow_polarity)


def testrich_friction_grows_with_load_and_falls_with_speed() -> None:
    tasks = exact(n=2)._replace(gears=torch.tensor([[0, 1], [2, 3]]))
    gears, none = gears_of(tasks), torch.zeros(2, 1, 2)

    def bound(speed: float, motor: float) -> Tensor:
        return rich_friction(Arms(none, none + speed), Impulses(none + motor, none), gears, 1.0)

    coulomb = tasks.motors("coulomb")
    assert (bound(0.0, 0.0) > 0.5 * coulomb).all()
    assert (bound(0.0, 0.0) > bound(8.0, 0.0)).all()
    assert (bound(1.0, 1.0) > bound(1.0, 0.0))[
        [0, 0, 1], 0, [0, 1, 1]
    ].all()  # the XL-320 heeds outer loads only


def test_the_loss_has_a_price_on_shaking() -> None:
    family = ArmFamily(price=0.02)
    obs = torch.zeros(1, 1, 5, 8)
    calm, shaking = (
        torch.zeros(1, 1, 4, 2),
        torch.tensor([1.0, -3.0, 1.0, -1.0]).view(1, 1, 4, 1).expand(1, 1, 4, 2),
    )
    mask, none = torch.ones(1, 1, 4), torch.zeros(1, 1, 4)
    error, change = family.costs(Window(obs, shaking, mask), none)
    assert (error.name, change.name, change.weight) == ("error", "change", 0.02)
    assert change.values.flatten().tolist() == [0.0, 4.0, 4.0, 4.0]  # as clamped
    assert not family.costs(Window(obs, calm, mask), none)[1].values.any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gain": (2.0, 1.0)}, "gain must be"),
        ({"delay": (0.0, 0.5)}, "delay must be .* from 0 to 0.03"),
        ({"payload": (0.0, 0.1)}, "payload must be"),
        ({"noise": (0.0, 0.1)}, "noise must be"),
        ({"miswired": 2.0}, "miswired must be from 0 to 1, found 2"),
        ({"price": -1.0}, "price must be at least 0, found -1"),
    ],
)
def test_arms_that_cannot_be_are_refused(options: dict[str, float], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        ArmFamily(**options)  # type: ignore[arg-type]


def test_held_out_arms_are_rich_ones_and_the_same_each_time() -> None:
    world = SessionWorld(ArmFamily())

    def driven(number: int) -> list[float]:
        machine = world.held_out(3, number)
        machine.reset(np.random.default_rng(0))
        return [float(x) for _ in range(30) for x in machine.step(np.array([0.3, -0.3], np.float32))]

    assert driven(1) == driven(1) != driven(2)
    assert world.held_out(3, 1)._family.family == ArmFamily(rich=True)  # type: ignore[attr-defined]
