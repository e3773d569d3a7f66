"""Episodes: what is random about them, what is recorded, and the gradient through them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from typing import Any, Never, cast

import numpy as np
import pytest
import torch
from acclimate.task.spec import TaskSpec
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig, ReactivePolicy
from acclimate_trainer.compiled.ride import Change
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Cost, Session, Step, TaskFamily
from acclimate_trainer.contract.policy import Act, Tensors
from acclimate_trainer.networks.view import View
from acclimate_trainer.play.rollouts import (
    Surroundings,
    composer,
    draw,
    drive,
    headline,
    initial_of,
    joined,
    rollout,
    total_cost,
)
from acclimate_trainer.tasks.servo.dynamics import ServoSession, ServoState, ServoTasks
from numpy.typing import NDArray
from torch import Tensor
from torch.testing import assert_close

from .families import PAIRS, GliderFamily, Gliders, GliderSession, HomingFamily, OpaqueFamily
from .servo_tasks import FAMILY, at, positions, servos
from .servo_tasks import drive as driven

STEPS = 12
SPEC = FAMILY.spec
Doubles = NDArray[np.float64]


class Constant(ReactivePolicy):
    """Duty is the state `duty`, plus noise, whatever is observed; counts its ticks."""

    def __init__(self) -> None:
        algorithm = Reactive(FAMILY, ReactiveConfig(hidden=2), oracle=False)
        super().__init__(
            algorithm.initial(np.random.default_rng(0)), View.of(FAMILY), ReactiveConfig(hidden=2)
        )

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        ticks = state["previous_action"] + 1.0
        return Act(state["duty"].unsqueeze(1) + noise + 0.0 * obs[..., :1], {"previous_action": ticks}, {})


def duty(value: float, tasks: int = 1) -> dict[str, Tensor]:
    return {"duty": torch.full((tasks, 1), value)}


def still(tasks: ServoTasks, episodes: int = 1, steps: int = STEPS) -> Surroundings[ServoTasks]:
    """Servos at 0 rad, a target of 0, no noise of any kind."""
    shape = (len(tasks.kt), episodes, steps)
    start = ServoState(*(x.expand(*shape[:2], *x.shape[2:]) for x in at(0.0)))
    session = ServoSession(tasks, start, torch.zeros(shape))
    return Surroundings(session, torch.zeros(*shape[:2], steps + 1, 2), torch.zeros(*shape, 1))


# What is random.


def test_exploring_episodes_come_first_and_the_others_are_noise_free() -> None:
    rng = np.random.default_rng(0)
    surroundings = draw(FAMILY, FAMILY.sample(5, rng), rng, explore=3, measure=2, steps=50)
    assert surroundings.noise.shape == (5, 5, 50, 1)
    assert surroundings.noise[:, :3].std().item() == pytest.approx(1.0, abs=0.1)
    assert (surroundings.noise[:, 3:] == 0.0).all()
    assert surroundings.reference.shape == (5, 5, 51, 2)
    assert surroundings.steps == 50


def readings(tasks: ServoTasks, episodes: int, steps: int) -> Tensor:
    """What the encoders of joints that stand still say, less where these stand: (T, E, steps)."""
    session, seen = FAMILY.open(tasks, episodes, steps, np.random.default_rng(0)), list[Tensor]()
    start = session.obs[..., 0]
    for _ in range(steps):
        session.step(torch.zeros(len(start), episodes, 1))
        seen.append(session.obs[..., 0] - start)
    return torch.stack(seen, dim=2)


def test_encoders_are_as_noisy_as_their_servos_and_each_episode_by_itself() -> None:
    tasks = servos(noise=[0.0002, 0.001, 0.003])
    noise = readings(tasks, 6, 300) / tasks.noise.unsqueeze(-1)
    assert_close(noise.std(dim=2), torch.ones(3, 6), rtol=0.15, atol=0)
    together = torch.corrcoef(noise.flatten(0, 1)) - torch.eye(18)
    assert together.abs().max() < 0.25
    in_time = (noise[..., 1:] * noise[..., :-1]).mean(dim=2)
    assert in_time.abs().max() < 0.25


@pytest.mark.parametrize("family", [FAMILY, GliderFamily()])
def test_every_episode_of_every_machine_is_another_and_follows_another_reference(
    family: TaskFamily[Any],
) -> None:
    rng = np.random.default_rng(0)
    surroundings = draw(family, family.sample(4, rng), rng, explore=2, measure=3, steps=60)
    noise = surroundings.noise[:, :2].reshape(8, -1)
    references = surroundings.reference.flatten(0, 1)[:, 1:]
    for rows in (references.flatten(1), noise):
        assert len(torch.unique(rows, dim=0)) == len(rows)
    starts = surroundings.session.obs.flatten(0, 1)
    assert len(torch.unique(starts, dim=0)) >= 0.7 * len(starts)  # servos may begin at the same end stop


def test_references_begin_where_each_machine_stands() -> None:
    rng = np.random.default_rng(0)
    for family, pairs in ((FAMILY, (("position", "target"),)), (GliderFamily(), PAIRS)):
        surroundings = draw(family, family.sample(5, rng), rng, explore=1, measure=2, steps=50)
        first = composer(family.spec)(surroundings.session.obs, surroundings.reference[:, :, 0])
        for measured, wanted in pairs:
            at_first = first[..., family.spec.index(measured)], first[..., family.spec.index(wanted)]
            assert_close(*at_first)
    rate = draw(FAMILY, FAMILY.sample(5, rng), rng, explore=1, measure=2, steps=50).reference
    speed = rate[..., 0].diff(dim=-1) / SPEC.control_dt
    assert_close(speed, rate[:, :, 1:, 1], rtol=1e-2, atol=1e-2)


def test_there_is_as_much_noise_as_the_policy_takes() -> None:
    rng, family = np.random.default_rng(0), GliderFamily()
    tasks = family.sample(2, rng)
    assert draw(family, tasks, rng, explore=1, measure=1, steps=3).noise.shape == (2, 2, 3, 2)
    assert draw(family, tasks, rng, explore=1, measure=1, steps=3, n_noise=5).noise.shape == (2, 2, 3, 5)


# What is recorded.


def test_what_is_recorded_is_what_happened() -> None:
    episodes = rollout(Constant(), duty(0.3), SPEC, still(servos()))
    expected = positions(driven(servos(), at(0.0), [0.3] * STEPS))
    assert episodes.obs.shape == (1, 1, STEPS + 1, 4)
    assert_close(episodes.obs[:, 0, 1:, 0], expected)
    assert_close(episodes.obs[:, 0, 0], torch.zeros(1, 4))
    assert_close(episodes.action, torch.full((1, 1, STEPS, 1), 0.3))
    assert not episodes.ended.any()


class Drawn:
    """A policy drawn at random, and what it does, number by number."""

    def __init__(self, family: TaskFamily[Any]) -> None:
        algorithm = Reactive(family, ReactiveConfig(hidden=5), oracle=False)
        meta = algorithm.initial(np.random.default_rng(2))
        meta["w2"], meta["sigma"] = 20.0 * meta["w2"], meta["sigma"] * 2.0  # often beyond the limits
        self.params = meta
        self.policy = algorithm.policy(meta)

    def stacked(self, tasks: int) -> dict[str, Tensor]:
        return {name: value.expand(tasks, *value.shape) for name, value in self.params.items()}

    def act(self, inputs: Doubles, previous: Doubles, noise: Doubles) -> Doubles:
        """Of one observation, by numpy: the action within ±1."""
        p = {name: value.double().numpy() for name, value in self.params.items()}
        x = np.tanh(np.concatenate([inputs, 0.7 * previous]))
        h = np.tanh(np.tanh((x * p["scale"]) @ p["w0"] + p["b0"]) @ p["w1"] + p["b1"])
        y = ((h @ p["w2"] + p["b2"]) * p["gain"])[0]
        return np.asarray(y / np.sqrt(1.0 + y * y) + np.maximum(p["sigma"][0], 0.1) * noise)


def test_a_servos_episode_is_that_of_a_plain_loop() -> None:
    """Motor, joint, encoder and policy as their docstrings say, number by number."""
    steps, rng = 25, np.random.default_rng(0)
    p = {"kt": 1.2, "resistance": 5.0, "voltage": 12.0, "inertia": 0.02, "coulomb": 0.05, "viscous": 0.01,
         "gravity": 0.4, "delay": 0.013, "polarity": -1.0}  # fmt: skip
    encoder, noise = 0.01 * rng.standard_normal(steps), rng.standard_normal(steps)
    target = np.stack([np.linspace(0.4, -0.2, steps + 1), np.cos(np.arange(steps + 1.0))], axis=1)

    columns = (torch.tensor(x, dtype=torch.float32)[None, None] for x in (encoder, target, noise[:, None]))
    readings, reference, given = columns
    around = Surroundings(ServoSession(servos(**p), at(0.3, 1.0), readings), reference, given)
    drawn = Drawn(FAMILY)
    episodes = rollout(drawn.policy, drawn.stacked(1), SPEC, around)

    h = SPEC.control_dt
    q, omega, measured, before, previous = 0.3, 1.0, 0.3, 0.3, np.zeros(1)
    commands = [0.0] * 4
    rate = (p["kt"] ** 2 / p["resistance"] + p["viscous"]) / p["inertia"]
    phi, psi = math.exp(-rate * h), (1.0 - math.exp(-rate * h)) / rate
    c = (h - psi) / (rate * psi)
    for t in range(steps + 1):
        position, velocity = measured, (measured - before) / h
        assert_close(
            episodes.obs[0, 0, t],
            torch.tensor([position, velocity, *target[t]], dtype=torch.float32),
            rtol=1e-4,
            atol=2e-4,
        )
        if t == steps:
            break
        inputs = np.array(
            [6.0 * (target[t, 0] - position), 0.12 * velocity, 0.4 * target[t, 1], 0.4 * position]
        )
        action = drawn.act(inputs, previous, noise[t : t + 1])
        assert episodes.action[0, 0, t].numpy() == pytest.approx(action, rel=1e-3, abs=1e-3)
        previous = np.clip(action, -1.0, 1.0)
        commands = [previous[0], *commands[:3]]
        held = sum(max(1.0 - abs(i - p["delay"] / h), 0.0) * command for i, command in enumerate(commands))
        torque = p["polarity"] * p["kt"] * p["voltage"] * held / p["resistance"] + p["gravity"] * math.sin(q)
        free, most = phi * omega + psi * torque / p["inertia"], psi * p["coulomb"] / p["inertia"]
        following = math.copysign(max(abs(free) - most, 0.0), free)
        q, omega = q + (psi - c * phi) * omega + c * following, following
        before, measured = measured, q + encoder[t]
    assert float(episodes.action.abs().max()) > 1.1


@pytest.mark.parametrize("sides", [(1.0,), (1.0, -1.0)])
def test_a_gliders_episode_is_that_of_a_plain_loop(sides: tuple[float, ...]) -> None:
    family, rng = GliderFamily(), np.random.default_rng(1)
    tasks = family.sample(len(sides), rng)._replace(side=torch.tensor(sides).unsqueeze(1))
    surroundings = draw(family, tasks, rng, explore=2, measure=1, steps=10)
    start = surroundings.session.obs.double().numpy()
    drawn = Drawn(family)
    episodes = rollout(drawn.policy, drawn.stacked(len(sides)), family.spec, surroundings)
    reference, noise = surroundings.reference.double().numpy(), surroundings.noise.double().numpy()
    for task, episode in np.ndindex(len(sides), 3):
        gain, side, weight = (float(column[task]) for column in tasks)
        (x, z), previous = start[task, episode], np.zeros(2)
        for t in range(11):
            x_wanted, z_wanted = reference[task, episode, t]
            seen = [x, x_wanted, z_wanted, z]
            assert episodes.obs[task, episode, t].numpy() == pytest.approx(seen, rel=1e-4, abs=1e-4)
            if t == 10:
                break
            inputs = np.array(
                [
                    5.0 * (x_wanted - x),
                    10 / 3 * (z_wanted - z),
                    x / 2.0,
                    x_wanted / 2.0,
                    z_wanted / 3.0,
                    z / 3.0,
                ]
            )
            action = drawn.act(inputs, previous, noise[task, episode, t])
            tilt, lift = 0.2 * action[0], 1.5 + 1.5 * action[1]
            found = episodes.action[task, episode, t].numpy()
            assert found == pytest.approx([tilt, lift], rel=1e-3, abs=1e-3)
            previous = np.clip(action, -1.0, 1.0)
            x = np.clip(x + 0.05 * side * gain * np.clip(tilt, -0.2, 0.2), -2.0, 2.0)
            z = np.clip(z + 0.05 * 0.2 * gain * (np.clip(lift, 0.0, 3.0) - weight), -3.0, 3.0)
            assert episodes.reward[task, episode, t].item() == pytest.approx(
                -x * x - z * z, rel=1e-3, abs=1e-3
            )
    assert float(episodes.action[..., 0].abs().max()) > 0.2


class Counting(Constant):
    """Keeps what it has counted."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        self.seen.append(state["previous_action"].max().item())
        return super().act(state, obs, noise)


def test_the_running_state_begins_anew_in_every_rollout() -> None:
    policy = Counting()
    for _ in range(2):
        rollout(policy, duty(0.0), SPEC, still(servos(), steps=3))
    assert policy.seen == [0.0, 1.0, 2.0] * 2


def test_a_drive_goes_on_from_the_state_that_it_is_given_and_returns_the_last_one() -> None:
    policy, surroundings = Counting(), still(servos(), steps=3)
    live = {**duty(0.2), "previous_action": torch.full((1, 1, 1), 7.0)}
    _, after = drive(policy, live, SPEC, surroundings)
    assert policy.seen == [7.0, 8.0, 9.0]
    assert after["previous_action"].item() == 10.0
    assert live["previous_action"].item() == 7.0
    assert initial_of(policy, (2, 3))["previous_action"].shape == (2, 3, 1)
    assert initial_of(policy, (2, 3), ("trial",)) == {}


def test_a_transition_into_another_episode_is_masked() -> None:
    family = OpaqueFamily(every=4)
    rng = np.random.default_rng(0)
    surroundings = draw(family, family.sample(3, rng), rng, explore=2, measure=0, steps=10)
    start = surroundings.session.obs.clone()
    drawn = Drawn(family)
    episodes = rollout(drawn.policy, drawn.stacked(3), family.spec, surroundings)
    expected = torch.tensor([1.0, 1, 1, 0, 1, 1, 1, 0, 1, 1])
    assert torch.equal(episodes.window().mask, expected.expand(3, 2, 10))
    assert_close(episodes.obs[:, :, 8, ::3], start)


class Ending:
    """A session of one machine that says of each tick whether an episode ended in it, and how."""

    def __init__(self, *ends: tuple[bool, bool]) -> None:
        self._ends, self._tick = ends, 0

    @property
    def obs(self) -> Tensor:
        return torch.zeros(1, 1, 2)

    def step(self, action: Tensor) -> Step:
        del action
        terminated, truncated = (torch.tensor([[end]]) for end in self._ends[self._tick])
        self._tick += 1
        return Step(torch.full((1, 1), float(self._tick)), terminated, truncated)


def test_an_episode_ends_by_either_and_what_is_remembered_of_it_begins_anew() -> None:
    """By the machine's own end as by that of its time: ticks are counted from there."""
    never, own, time = (False, False), (True, False), (False, True)
    session, policy = Ending(never, own, never, time, never, (True, True)), Counting()
    around = Surroundings(session, torch.zeros(1, 1, 7, 2), torch.zeros(1, 1, 6, 1))  # type: ignore[arg-type]
    episodes = rollout(policy, duty(0.0), SPEC, around)
    assert episodes.ended.flatten().tolist() == [False, True] * 3
    assert episodes.window().mask.flatten().tolist() == [1.0, 0.0] * 3
    assert episodes.reward.flatten().tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert policy.seen == [0.0, 1.0] * 3


def test_some_of_the_episodes_are_those_and_no_others() -> None:
    episodes = rollout(Constant(), duty(0.3, 2), SPEC, still(servos(kt=[1.0, 2.0]), 4))
    marked = episodes._replace(action=episodes.action + torch.arange(4.0).view(1, 4, 1, 1))
    window = marked.some(slice(1, 3)).window()
    assert window.obs.shape == (2, 2, STEPS + 1, 4)
    assert_close(window.action, torch.tensor([1.3, 2.3]).view(1, 2, 1, 1).expand(2, 2, STEPS, 1))
    assert torch.equal(window.mask, torch.ones(2, 2, STEPS))


# What is observed.


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_sensors_and_references_are_put_in_the_order_of_the_spec(order: tuple[int, ...]) -> None:
    spec = GliderFamily().spec
    turned = replace(spec, observation=tuple(spec.observation[i] for i in order))
    value = {"x": 1.0, "z": 2.0, "x_wanted": 3.0, "z_wanted": 4.0}
    sensors = torch.tensor([value[c.name] for c in turned.sensors]).expand(2, 3, 2)
    references = torch.tensor([value[c.name] for c in turned.references]).expand(2, 3, 2)
    seen = composer(turned)(sensors, references)
    expected = torch.tensor([value[c.name] for c in turned.observation])
    assert torch.equal(seen, expected.expand(2, 3, 4))


def test_channels_of_several_entries_keep_them_together() -> None:
    spec = GliderFamily().spec
    x, x_wanted, z_wanted, z = spec.observation
    wide: TaskSpec = replace(spec, observation=(replace(x, name="pose", shape=(3,)), x_wanted, z, z_wanted),
                             metrics=spec.metrics[1:], features=(),
                             reference=replace(spec.reference, tracks=(  # type: ignore[type-var]
                                 replace(spec.reference.tracks[0]),  # type: ignore[union-attr]
                                 replace(spec.reference.tracks[1], measured="pose.1"))))  # type: ignore[union-attr]  # fmt: skip
    seen = composer(wide)(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([5.0, 6.0]))
    assert seen.tolist() == [1.0, 2.0, 3.0, 5.0, 4.0, 6.0]


def test_where_there_is_no_reference_the_sensors_are_all() -> None:
    sensors = torch.rand(2, 3, 3)
    assert torch.equal(composer(HomingFamily().spec)(sensors, torch.zeros(2, 3, 0)), sensors)


# Costs.


def test_a_cost_is_over_what_was_measured_after_each_tick() -> None:
    obs = torch.zeros(1, 2, 3, 4)
    obs[0, 0, 0, 0] = 99.0  # before the first action
    obs[0, 0, 1, 0], obs[0, 1, 2, 2] = 0.3, -0.5
    episodes = rollout(Constant(), duty(0.0), SPEC, still(servos(), 2, 2))._replace(obs=obs)
    costs = Complete.of(FAMILY).costs(episodes.window(), episodes.reward)
    expected = torch.tensor([math.sqrt((0.09 + 0.25) / 4)])
    assert_close(headline(costs[0]), expected)
    assert_close(total_cost(costs), expected)


def test_terms_are_weighted_roots_or_means_and_add_up() -> None:
    values = torch.tensor([[[4.0, 4.0, 0.0, 0.0, 9.0]], [[1.0, 1.0, 1.0, 1.0, 1.0]]])
    costs = (Cost("error", values), Cost("effort", values, 0.5, root=False))
    assert_close(total_cost(costs[:1]), torch.tensor([(17.0 / 5) ** 0.5, 1.0]))
    assert_close(total_cost(costs), torch.tensor([(17.0 / 5) ** 0.5 + 0.5 * 17.0 / 5, 1.5]))
    assert_close(headline(costs[1]), torch.tensor([3.4, 1.0]))


def test_the_error_is_averaged_by_block_before_its_root_is_taken() -> None:
    cost = Cost("error", torch.tensor([[[4.0, 4.0, 0.0, 0.0, 9.0]], [[1.0, 1.0, 1.0, 1.0, 1.0]]]))
    by_two = torch.tensor([(2.0 + 0.0001 + 3.0) / 3, 1.0])
    assert_close(total_cost([cost], 2), by_two, rtol=1e-4, atol=0)
    assert_close(total_cost([cost], 5), torch.tensor([(17.0 / 5) ** 0.5, 1.0]))
    mean = cost._replace(root=False, weight=2.0)
    assert_close(total_cost([mean], 2), torch.tensor([2.0 * (4.0 + 0.0 + 9.0) / 3, 2.0]))


def test_episodes_in_a_row_cost_what_one_long_one_would() -> None:
    parts = [
        (Cost("error", torch.rand(2, 3, n)), Cost("effort", torch.rand(2, 3, n), 0.1, root=False))
        for n in (4, 6)
    ]
    whole = joined(parts)
    assert [(c.name, c.weight, c.root) for c in whole] == [("error", 1.0, True), ("effort", 0.1, False)]
    assert torch.equal(whole[1].values, torch.cat([parts[0][1].values, parts[1][1].values], dim=2))


# The gradient.


def test_the_gradient_through_an_episode_is_right(float64: None) -> None:
    del float64
    tasks = servos(gravity=0.3, delay=0.013, coulomb=0.02)

    def error(value: Tensor) -> Tensor:
        episodes = rollout(Constant(), {"duty": value}, SPEC, still(tasks, steps=30))
        return total_cost(Complete.of(FAMILY).costs(episodes.window(), episodes.reward))

    assert torch.autograd.gradcheck(error, torch.tensor([[0.3]]).requires_grad_())


class Proportional(Constant):
    """Duty is `duty` times what is observed: the gradient goes round through the observation."""

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        pull = obs[..., 2:3] - obs[..., :1] - 0.02 * obs[..., 1:2]
        return Act(
            state["duty"].unsqueeze(1) * pull + noise, {"previous_action": state["previous_action"]}, {}
        )


def test_the_gradient_through_what_is_observed_is_right(float64: None) -> None:
    del float64
    tasks = servos(gravity=0.3, delay=0.013, coulomb=0.02)
    around = still(tasks, steps=20)
    around.reference[:, :, 3:, 0] = 0.4

    def error(value: Tensor) -> Tensor:
        fresh = around._replace(session=still(tasks, steps=20).session)
        episodes = rollout(Proportional(), {"duty": value}, SPEC, fresh)
        return total_cost(Complete.of(FAMILY).costs(episodes.window(), episodes.reward))

    value = torch.tensor([[1.7]]).requires_grad_()
    assert torch.autograd.gradcheck(error, value)
    assert torch.autograd.grad(error(value), value)[0].abs() > 1e-3


class Schedule(Constant):
    """Duty is that of `duties` (T, ticks, 1) for the tick."""

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        tick = int(state["previous_action"].max())
        return super().act({**state, "duty": state["duties"][:, tick]}, obs, noise)


def test_each_tick_back_costs_the_gradient_one_factor() -> None:
    """The last error's gradient is a sum over the actions; that of k ticks before counts decay to the k-th."""

    def gradient(decay: float) -> Tensor:
        duties = torch.full((1, 5, 1), 0.3, requires_grad=True)
        episodes = rollout(Schedule(), {"duties": duties}, SPEC, still(servos(), steps=5), decay)
        return torch.autograd.grad(episodes.obs[0, 0, -1, 0], duties)[0].flatten()

    exact, decayed = gradient(1.0), gradient(0.5)
    assert (exact > 0.0).all()
    assert_close(decayed, exact * 0.5 ** torch.arange(5.0, 0.0, -1.0))


class Summing(Constant):
    """Remembers the sum of `duties` (T, ticks, 1) so far, and does it in the next tick; the machine plays no part."""

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        tick = round(float(state["tick"]))
        state["tick"].add_(1.0)
        total = state["previous_action"] + state["duties"][:, None, tick] + 0.0 * noise + 0.0 * obs[..., :1]
        return Act(state["previous_action"] + 0.0 * noise, {"previous_action": total}, {})


def test_the_gradient_through_a_policys_memory_fades_as_that_through_the_machine_does() -> None:
    duties = torch.full((1, 5, 1), 0.1, requires_grad=True)
    given = {"duties": duties, "tick": torch.zeros(())}
    action = rollout(Summing(), given, SPEC, still(servos(), steps=5), 0.5).action
    gradient = torch.autograd.grad(action[0, 0, -1, 0], duties)[0].flatten()
    assert_close(gradient, torch.tensor([0.0625, 0.125, 0.25, 0.5, 0.0]))
    with torch.no_grad():
        assert_close(action.flatten(), torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4]))


class Steered(ReactivePolicy):
    """Actions are those of the state `plan` (T, ticks, n_act) for the tick; counts its ticks."""

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        del obs
        tick = state["previous_action"]
        action = state["plan"][:, None, int(tick.max())] + 0.0 * noise
        return Act(action, {"previous_action": tick + 1.0}, {})


def steered(plan: Tensor, decay: float) -> Tensor:
    """x and z of one glider, (ticks + 1, 2)."""
    family = GliderFamily()
    algorithm = Reactive(family, ReactiveConfig(hidden=2), oracle=False)
    policy = Steered(algorithm.initial(np.random.default_rng(0)), View.of(family), ReactiveConfig(hidden=2))
    tasks, steps = Gliders(*(torch.tensor([[x]]) for x in (20.0, -1.0, 1.2))), plan.shape[1]
    session = GliderSession(tasks, torch.zeros(1, 1, 2))
    around = Surroundings(session, torch.zeros(1, 1, steps + 1, 2), torch.zeros(1, 1, steps, 2))
    return rollout(policy, {"plan": plan}, family.spec, around, decay).obs[0, 0, :, ::3]


def test_the_gradient_fades_alike_on_a_machine_of_several_actuators() -> None:
    """Of x and z at each tick, by each action before it; also of an observation in the middle of an episode."""
    plan = torch.tensor([[0.1, 1.5]]).expand(6, 2)[None].clone().requires_grad_()
    place = steered(plan, 0.5)
    for tick in (6, 3):
        x, z = (torch.autograd.grad(place[tick, i], plan, retain_graph=True)[0][0] for i in (0, 1))
        fade = torch.cat([0.5 ** torch.arange(float(tick), 0.0, -1.0), torch.zeros(6 - tick)])
        assert_close(x, torch.stack([-0.05 * 20.0 * fade, 0.0 * fade], dim=1))
        assert_close(z, torch.stack([0.0 * fade, 0.05 * 4.0 * fade], dim=1))


def test_with_a_decay_of_zero_nothing_passes_through_the_machine() -> None:
    plan = torch.tensor([[0.1, 1.5]]).expand(6, 2)[None].clone().requires_grad_()
    assert not steered(plan, 0.0).requires_grad


def test_forgetting_changes_no_value() -> None:
    rng = np.random.default_rng(0)
    algorithm = Reactive(FAMILY, ReactiveConfig(hidden=4), oracle=False)
    meta = {n: v.expand(2, *v.shape) for n, v in algorithm.initial(rng).items()}
    runs = []
    for decay in (1.0, 0.7, 0.0):
        rng = np.random.default_rng(1)
        around = draw(FAMILY, FAMILY.sample(2, rng), rng, explore=1, measure=1, steps=STEPS)
        runs.append(rollout(algorithm.policy(meta), meta, SPEC, around, decay))
    for other in runs[1:]:
        assert torch.equal(runs[0].obs, other.obs)


# Events.


def test_an_event_comes_before_the_step_of_its_tick_and_tells_from_the_next_act_on() -> None:
    """The action of that tick was chosen without knowing, and is felt by the machine as it is from then on."""
    policy, around, happened = Counting(), still(servos(), steps=4), list[int]()
    strong, weak = servos(), servos(voltage=0.0)

    def stop(session: Session[Never], where: Tensor) -> None:
        happened.append(len(policy.seen))
        cast("Session[ServoTasks]", session).become(weak, where)

    told = tuple({"previous_action": torch.full((1, 1, 1), value)} for value in (0.0, 50.0))
    change = Change(stop, torch.tensor([2]), (told[0], told[1]))
    live = {**duty(0.9), "previous_action": torch.zeros(1, 1, 1)}
    episodes, _ = drive(policy, live, SPEC, around, change=change)
    assert happened == [3]
    assert policy.seen == [0.0, 1.0, 2.0, 50.0]
    before = driven(strong, at(0.0), [0.9, 0.9])
    after = driven(weak, before[-1], [0.9, 0.9])
    assert_close(episodes.obs[:, 0, 1:, 0], positions([*before, *after]))


def test_only_the_machines_meant_become_others_and_their_state_stays() -> None:
    tasks = servos(kt=[1.6, 1.6])
    session = still(tasks).session
    session.step(torch.full((2, 1, 1), 0.9))
    before = session.obs
    session.become(servos(kt=[0.3, 0.3]), torch.tensor([False, True]))
    assert torch.equal(session.obs, before)
    session.step(torch.full((2, 1, 1), 0.9))
    kept, changed = session.obs[:, 0, 1].tolist()
    assert kept > changed > 0.0
