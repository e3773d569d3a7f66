"""Trials: what is cleared when, what happens to a servo and from when on, and what a policy gets to see of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config, Rl2Policy
from acclimate_trainer.contract.policy import Act, Tensors
from acclimate_trainer.networks.feedforward import tracking_features
from acclimate_trainer.play.trials import Course, Trial, draw_trial, run_trial, squared_errors
from acclimate_trainer.tasks.servo import PRESETS, PRIVILEGED, SAG, ServoFamily
from torch import Tensor
from torch.testing import assert_close

from .servo_tasks import FAMILY, at, servos

MISWIRED = ServoFamily(PRESETS["miswired"])
TASKS, SIDE_BY_SIDE, EPISODES, STEPS = 5, 2, 3, 8
ALGORITHM = Rl2(FAMILY, Rl2Config(hidden=6))


class Watched(Rl2Policy):
    """Keeps what every tick began with."""

    def __init__(self, params: Tensors) -> None:
        super().__init__(params)
        self.states: list[dict[str, Tensor]] = []
        self.given: list[Act] = []

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        self.states.append({name: state[name] for name in ("hidden", "previous_action", "begins")})
        self.given.append(super().act(state, obs, noise))
        return self.given[-1]


def drawn(*, change: float = 0.0, tasks: int = TASKS, steps: int = STEPS, seed: int = 0) -> Trial:
    rng = np.random.default_rng(seed)
    return draw_trial(
        FAMILY, tasks, rng, side_by_side=SIDE_BY_SIDE, episodes=EPISODES, steps=steps, change=change
    )


def watched(trial: Trial | None = None) -> Watched:
    meta = ALGORITHM.initial(np.random.default_rng(0))
    policy, trial = Watched(meta), trial or drawn()
    tasks = trial.course.at.shape[0]
    run_trial(policy, {name: v.expand(tasks, *v.shape) for name, v in meta.items()}, FAMILY, trial)
    return policy


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


def test_every_episode_begins_elsewhere_on_the_same_servo() -> None:
    trial = drawn(change=1.0)
    starts = [part.start.q for part in trial.episodes]
    assert not torch.equal(starts[0], starts[1])
    assert len(trial.episodes) == EPISODES
    assert trial.ticks == EPISODES * STEPS


def test_the_reward_is_among_what_the_net_sees() -> None:
    """It is a function of the tracking error, and so of the first feature: any difference in it shows."""
    obs = torch.tensor([[0.1, 0.0, 0.1, 0.0], [0.1, 0.0, 0.11, 0.0]])
    features = tracking_features(obs, torch.zeros(2, 1))
    assert features[0, 0] == 0.0
    assert features[1, 0] > 0.01


def course(ticks: list[int]) -> Course:
    """Servos that lose their supply at these ticks."""
    before = servos(voltage=[12.0] * len(ticks))
    return Course(before, before._replace(voltage=0.0 * before.voltage), torch.tensor(ticks))


def test_a_change_takes_effect_at_its_tick_and_lasts() -> None:
    steps = 6
    parts = [course([4, 9, 99]).coefficients(FAMILY, first, steps) for first in (0, steps)]
    driven = torch.stack([c.drive[:, 0] > 0.0 for part in parts for c in part], dim=1)  # (T, ticks)
    for row, tick in zip(driven, (4, 9, 12), strict=True):
        assert row.tolist() == [True] * tick + [False] * (2 * steps - tick)


def test_an_oracle_is_told_of_a_change() -> None:
    told = course([4, 9]).told(6)[:, PRIVILEGED.index("voltage")]
    assert told.tolist() == [0.0, 12.0]


def test_a_change_is_felt_in_the_trial() -> None:
    trial = drawn()
    broken = trial.course.before._replace(voltage=0.0 * trial.course.before.voltage)
    lame = trial._replace(course=Course(trial.course.before, broken, torch.full((TASKS,), STEPS + 2)))
    runs = []
    for each in (trial, lame):
        meta = {n: v.expand(TASKS, *v.shape) for n, v in ALGORITHM.initial(np.random.default_rng(0)).items()}
        runs.append(squared_errors(run_trial(ALGORITHM.policy(meta), meta, FAMILY, each)))
    same = (runs[0] == runs[1]).all(dim=1)  # (T, ticks)
    assert same[:, : STEPS + 2].all()
    assert not same[:, 2 * STEPS :].all()


def test_the_squared_errors_are_those_of_the_ticks_that_follow_an_action() -> None:
    trial = drawn()
    meta = {n: v.expand(TASKS, *v.shape) for n, v in ALGORITHM.initial(np.random.default_rng(0)).items()}
    episodes = run_trial(ALGORITHM.policy(meta), meta, FAMILY, trial)
    found = squared_errors(episodes)
    assert found.shape == (TASKS, SIDE_BY_SIDE, EPISODES * STEPS)
    last = episodes[-1].obs[:, :, -1]
    assert_close(found[:, :, -1], (last[..., 0] - last[..., 2]) ** 2)


def test_changes_are_drawn_in_the_middle_half_and_as_often_as_asked() -> None:
    ticks = EPISODES * 100
    trial = drawn(change=0.6, tasks=600, steps=100)
    happens = trial.course.at < ticks
    assert happens.float().mean().item() == pytest.approx(0.6, abs=0.06)
    assert trial.course.at[happens].min() >= ticks // 4
    assert trial.course.at[happens].max() <= 3 * ticks // 4
    assert trial.course.at[happens].float().std() > ticks / 10


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


def test_the_arm_is_where_it_was_when_a_change_comes() -> None:
    """Only parameters jump: angle and speed go on."""
    state = at(0.3, 1.0)
    (c,) = course([0]).coefficients(FAMILY, 0, 1)
    following = FAMILY.step(state, torch.ones(1, 1, 1), c, torch.zeros(()))
    assert abs(following.q.item() - 0.3) < 0.02
