"""Trials: what is cleared when, what happens to a machine and from when on, and what a policy gets to see of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config, Rl2Policy
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Act, Tensors
from acclimate_trainer.networks.view import View
from acclimate_trainer.play.rollouts import rollout
from acclimate_trainer.play.trials import (
    Course,
    Trial,
    draw_trial,
    previous_actions,
    run_trial,
    trial_costs,
)
from torch import Tensor
from torch.testing import assert_close

from .families import GliderFamily, Gliders, OpaqueFamily
from .servo_tasks import FAMILY, servos

SERVO, GLIDER = Complete.of(FAMILY), Complete.of(GliderFamily())
TASKS, SIDE_BY_SIDE, EPISODES, STEPS = 5, 2, 3, 8
ALGORITHM = Rl2(FAMILY, Rl2Config(hidden=6))
ON_GLIDERS = Rl2(GLIDER, Rl2Config(hidden=6))


class Watched(Rl2Policy):
    """Keeps what every tick began with."""

    def __init__(self, params: Tensors, view: View, *, told: bool = False) -> None:
        super().__init__(params, view, told=told)
        self.states: list[dict[str, Tensor]] = []
        self.given: list[Act] = []

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        kept = {"hidden", "previous_action", "begins", "task"} & state.keys()
        self.states.append({name: state[name] for name in kept})
        self.given.append(super().act(state, obs, noise))
        return self.given[-1]


def drawn(
    family: Complete[Any] = SERVO, *, change: float = 0.0, tasks: int = TASKS, steps: int = STEPS
) -> Trial[Any]:
    rng = np.random.default_rng(0)
    return draw_trial(
        family, tasks, rng, side_by_side=SIDE_BY_SIDE, episodes=EPISODES, steps=steps, change=change
    )


def stacked(meta: Tensors, tasks: int = TASKS) -> dict[str, Tensor]:
    return {name: value.expand(tasks, *value.shape) for name, value in meta.items()}


def watched(family: Complete[Any] = SERVO, trial: Trial[Any] | None = None, *, told: bool = False) -> Watched:
    """An RL² policy, drawn at random, that has driven the trial."""
    meta = Rl2(family, Rl2Config(hidden=6), oracle=told).initial(np.random.default_rng(0))
    policy, trial = Watched(meta, View.of(family), told=told), trial or drawn(family)
    run_trial(policy, stacked(meta, len(trial.course.at)), family, trial)
    return policy


# What is cleared when.


def test_the_hidden_state_lives_through_a_trial_and_not_beyond() -> None:
    policy = watched()
    hidden = [state["hidden"] for state in policy.states]
    assert len(hidden) == EPISODES * STEPS
    assert (hidden[0] == 0.0).all()
    for before, act in zip(hidden[1:], policy.given, strict=False):
        assert torch.equal(before, act.next["hidden"])
    for begin in (STEPS, 2 * STEPS):
        assert (hidden[begin].abs().amax(-1) > 0.0).all()


def test_the_begin_of_an_episode_is_flagged_and_clears_the_previous_action() -> None:
    states = watched().states
    for tick, state in enumerate(states):
        begins = tick % STEPS == 0
        assert (state["begins"] == float(begins)).all()
        assert (state["previous_action"] == 0.0).all().item() is begins


def test_a_policy_learns_that_an_episode_begins() -> None:
    policy, meta = watched(), ALGORITHM.initial(np.random.default_rng(0))
    state = {**policy.initial(), **{n: v[0, 0] for n, v in policy.states[5].items()}}
    state = {n: v[None] if n in meta else v[None, None] for n, v in state.items()}
    obs, noise = torch.full((1, 1, 4), 0.3), torch.zeros(1, 1, 1)
    usual = policy.act(state, obs, noise).action
    assert not torch.equal(policy.act({**state, "begins": torch.ones(1, 1, 1)}, obs, noise).action, usual)


def test_every_episode_begins_elsewhere_on_the_same_machine() -> None:
    for family in (SERVO, GLIDER):
        trial = drawn(family, change=1.0)
        assert len(trial.episodes) == EPISODES
        assert trial.ticks == EPISODES * STEPS
        starts = [part.session.obs for part in trial.episodes]
        assert not torch.equal(starts[0], starts[1])
        assert not torch.equal(starts[1], starts[2])
        references = [part.reference for part in trial.episodes]
        assert not torch.equal(references[0], references[1])


@pytest.mark.parametrize("family", [SERVO, GLIDER])
def test_what_is_remembered_as_the_previous_action_is_what_the_device_took(family: Complete[Any]) -> None:
    """Recomputed from recorded actions, and as `act` carries it along; exploring, many are beyond the limits."""
    meta = Rl2(family, Rl2Config(hidden=6)).initial(np.random.default_rng(0))
    meta["sigma"] = torch.full_like(meta["sigma"], 1.5)
    policy, rng = Watched(meta, View.of(family)), np.random.default_rng(0)
    trial = draw_trial(family, TASKS, rng, side_by_side=2, episodes=1, steps=STEPS, explore=2)
    (episodes,) = run_trial(policy, stacked(meta), family, trial)
    low, high = (np.array(ends) for ends in family.spec.limits())
    taken = np.clip(episodes.action.numpy(), low, high)
    expected = 2.0 * (taken - low) / (high - low) - 1.0
    assert (np.abs(expected) == 1.0).mean() > 0.2
    recomputed = previous_actions(View.of(family), episodes.action)
    assert (recomputed[:, :, 0] == 0.0).all()
    for t in range(STEPS - 1):
        carried = policy.states[t + 1]["previous_action"]
        np.testing.assert_allclose(carried.numpy(), expected[:, :, t], atol=1e-5)
        np.testing.assert_allclose(recomputed[:, :, t + 1].numpy(), expected[:, :, t], atol=1e-5)


# What happens.


def course(ticks: list[int]) -> Course[Any]:
    """Servos that lose their supply at these ticks."""
    before = servos(voltage=[12.0] * len(ticks))
    return Course(before, before._replace(voltage=0.0 * before.voltage), torch.tensor(ticks))


def test_an_oracle_is_told_of_a_change() -> None:
    names = [parameter.name for parameter in FAMILY.spec.parameters]
    told = course([4, 9]).told(SERVO, 6)[:, names.index("voltage")]
    assert told.tolist() == [0.0, 12.0]
    over_time = course([4, 9]).told(SERVO, torch.arange(12).unsqueeze(1))[..., names.index("voltage")]
    assert over_time.shape == (12, 2)
    assert over_time[:, 0].tolist() == [12.0] * 4 + [0.0] * 8
    assert over_time[:, 1].tolist() == [12.0] * 9 + [0.0] * 3


@pytest.mark.parametrize("at", [2, STEPS - 1, STEPS, STEPS + 1, 2 * STEPS + 5])
def test_a_change_takes_effect_at_its_tick_and_lasts(at: int) -> None:
    """One glider, driven with and without: the tick before is the same, that of the change moves otherwise."""
    before = Gliders(*(torch.tensor([[x]]) for x in (20.0, 1.0, 1.0)))
    after = before._replace(weight=torch.tensor([[2.0]]))
    runs = []
    for changes in (False, True):
        trial = drawn(GLIDER, tasks=1)
        parts = tuple(
            part._replace(session=GLIDER.open(before, SIDE_BY_SIDE, STEPS, np.random.default_rng(i)))
            for i, part in enumerate(trial.episodes)
        )
        happens = Course(before, after, torch.tensor([at if changes else 99]))
        meta = ON_GLIDERS.initial(np.random.default_rng(0))
        policy = ON_GLIDERS.policy(meta)
        runs.append(
            run_trial(policy, stacked(meta, 1), GLIDER, trial._replace(course=happens, episodes=parts))
        )
    z = GLIDER.spec.index("z")
    steps = [torch.cat([e.obs[0, :, 1:, z] for e in episodes], dim=1) for episodes in runs]
    assert torch.equal(steps[0][:, :at], steps[1][:, :at])
    assert_close(steps[0][:, at] - steps[1][:, at], torch.full((2,), 0.05 * 0.2 * 20.0))
    for begin in range(
        at // STEPS + 1, EPISODES
    ):  # in each later episode it is changed from its first step on
        first = slice(begin * STEPS, begin * STEPS + 1)
        assert (steps[0][:, first] > steps[1][:, first]).all()


@pytest.mark.parametrize("family", [SERVO, GLIDER])
def test_a_recurrent_oracle_is_told_of_changes_in_mid_trial(family: Complete[Any]) -> None:
    """At every tick it knows what is true in it, but for the one in which something happens, which it cannot feel."""
    trial = drawn(family, change=1.0, tasks=12)
    policy = watched(family, trial, told=True)
    before, after = (family.parameters(machines) for machines in (trial.course.before, trial.course.after))
    assert (before != after).any(dim=1).all()
    for tick, state in enumerate(policy.states):
        knows = (trial.course.at < tick).unsqueeze(1)
        assert torch.equal(state["task"], torch.where(knows, after, before)), tick
    assert len({*trial.course.at.tolist()}) > 4


def test_a_policy_that_is_not_told_is_not_told() -> None:
    policy = watched(GLIDER, drawn(GLIDER, change=1.0))
    assert all("task" not in state for state in policy.states)


def test_a_reactive_oracle_is_told_as_well() -> None:
    """Its actions under a change are those of an oracle that is told so from the start, from then on."""
    oracle = Reactive(GLIDER, ReactiveConfig(hidden=4), oracle=True)
    meta = oracle.initial(np.random.default_rng(0))
    trial = drawn(GLIDER, change=1.0)
    episodes = run_trial(oracle.policy(meta), stacked(meta), GLIDER, trial)
    for task in range(TASKS):
        at = int(trial.course.at[task])
        for i, part in enumerate(episodes):
            state = stacked(oracle.policy(meta).initial(), 1)
            previous = torch.zeros(1, SIDE_BY_SIDE, 2)
            for t in range(STEPS):
                knows = i * STEPS + t > at
                machines = trial.course.after if knows else trial.course.before
                state["task"] = GLIDER.parameters(machines)[task : task + 1]
                state["previous_action"] = previous
                act = oracle.policy(meta).act(state, part.obs[task : task + 1, :, t], torch.zeros(1, 2, 2))
                assert_close(act.action[0], part.action[task, :, t], rtol=1e-4, atol=1e-5)
                previous = act.next["previous_action"]


def test_changes_are_drawn_in_the_middle_half_and_as_often_as_asked() -> None:
    ticks = EPISODES * 100
    trial = drawn(change=0.6, tasks=600, steps=100)
    happens = trial.course.at < ticks
    assert happens.float().mean().item() == pytest.approx(0.6, abs=0.06)
    assert trial.course.at[happens].min() >= ticks // 4
    assert trial.course.at[happens].max() <= 3 * ticks // 4
    assert trial.course.at[happens].float().std() > ticks / 10


def test_nothing_happens_in_a_family_to_whose_machines_nothing_ever_does() -> None:
    trial = drawn(Complete.of(OpaqueFamily()), change=1.0)
    assert (trial.course.at == trial.ticks).all()
    assert trial.course.after is trial.course.before


# What it costs.


def test_the_costs_of_a_trial_are_those_of_its_ticks_in_a_row() -> None:
    trial = drawn()
    meta = ALGORITHM.initial(np.random.default_rng(0))
    episodes = run_trial(ALGORITHM.policy(meta), stacked(meta), SERVO, trial)
    (found,) = trial_costs(SERVO, episodes)
    assert found.values.shape == (TASKS, SIDE_BY_SIDE, EPISODES * STEPS)
    for i, part in enumerate(episodes):
        error = part.obs[:, :, 1:, 0] - part.obs[:, :, 1:, 2]
        assert_close(found.values[:, :, i * STEPS : (i + 1) * STEPS], error.square())


def test_a_trial_of_one_episode_is_a_rollout() -> None:
    rng = np.random.default_rng(3)
    trial = draw_trial(SERVO, TASKS, rng, side_by_side=2, episodes=1, steps=STEPS)
    again = draw_trial(SERVO, TASKS, np.random.default_rng(3), side_by_side=2, episodes=1, steps=STEPS)
    meta = ALGORITHM.initial(np.random.default_rng(0))
    (in_trial,) = run_trial(ALGORITHM.policy(meta), stacked(meta), SERVO, trial)
    alone = rollout(ALGORITHM.policy(meta), stacked(meta), SERVO.spec, again.episodes[0])
    assert torch.equal(in_trial.obs, alone.obs)
