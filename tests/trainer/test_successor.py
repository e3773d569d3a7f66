"""Deep successor features: each loss by hand, what learns from what, that it learns, and that a run can be resumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.successor.library import Successor, SuccessorConfig, grown
from acclimate_trainer.algorithms.successor.policies import UNIT
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.networks.psi import library_psi, universal_psi
from acclimate_trainer.outer_loop.training import Progress, TrainingConfig, start, train
from acclimate_trainer.play import replay
from acclimate_trainer.tasks import reacher
from acclimate_trainer.tasks.four_rooms import FourRoomsFamily
from acclimate_trainer.tasks.reacher import ReacherFamily, ReacherTasks
from torch import Tensor
from torch.testing import assert_close

FAMILY = ReacherFamily()
TRAINED, TWO = tuple(reacher.TRAINING), ("east", "far_west")  # TWO: features 0 and 5
SMALL = SuccessorConfig(train_on=TRAINED, hidden=16, replay=1000, batch=16, steps=3, stretch=3)
TRAINING = TrainingConfig(iterations=3, meta_batch_size=8, outer_lr=0.003, clip=10.0)
EPISODES, WRITTEN = "training.replay.episodes", "training.replay.written"


def trained(
    algorithm: Successor[ReacherTasks], config: TrainingConfig = TRAINING, begin: Progress | None = None
) -> tuple[Tensors, list[Mapping[str, float]], list[Progress]]:
    figures: list[Mapping[str, float]] = []
    kept: list[Progress] = []

    def report(progress: Progress, found: Mapping[str, float]) -> None:
        kept.append(progress)
        figures.append(found)

    train(algorithm, config, 0, begin or start(algorithm, 0), report)
    return kept[-1].meta, figures, kept


def test_a_memory_keeps_the_newest_and_gives_each_group_its_own() -> None:
    memory = replay.empty(2, 5, 1, 1)
    for first in (0, 4):
        rows = torch.arange(first, first + 4.0).view(1, 4, 1, 1)
        replay.write(memory, torch.cat([rows, 100.0 + rows]))
    assert sorted(memory[EPISODES][0].flatten().tolist()) == [3.0, 4.0, 5.0, 6.0, 7.0]
    drawn = replay.draw(memory, 50, 1, np.random.default_rng(0))
    assert drawn.shape == (2, 50, 1, 1)
    assert set(drawn[0].flatten().tolist()) == {3.0, 4.0, 5.0, 6.0, 7.0}
    assert set(drawn[1].flatten().tolist()) == {103.0, 104.0, 105.0, 106.0, 107.0}


def test_stretches_lie_within_an_episode_and_begin_anywhere_in_it() -> None:
    memory = replay.empty(1, 10, 6, 1)
    replay.write(memory, (10.0 * torch.arange(4.0)[:, None] + torch.arange(6.0)).view(1, 4, 6, 1))
    drawn = replay.draw(memory, 200, 3, np.random.default_rng(0))[0, :, :, 0]
    assert torch.equal(drawn.diff(dim=1), torch.ones(200, 2))
    assert set(drawn[:, 0].tolist()) == {10.0 * e + t for e in range(4) for t in range(4)}


def filled(algorithm: Successor[ReacherTasks], seed: int = 0) -> dict[str, Tensor]:
    """Parameters, with a target network that differs, and episodes of unrelated states."""
    rng = np.random.default_rng(seed)
    meta = algorithm.initial(rng)
    for name, value in meta.items():
        if name.startswith("training.target."):
            value += 0.1 * torch.tensor(rng.standard_normal(value.shape), dtype=torch.float32)
    groups, _, rows, _ = meta[EPISODES].shape
    obs = torch.tensor(rng.standard_normal((groups, 8, rows, 5)), dtype=torch.float32)
    action = torch.from_numpy(rng.integers(0, 9, (groups, 8, rows, 1))).float()
    replay.write(meta, torch.cat([obs, action, torch.zeros(groups, 8, rows, 2)], -1))
    return meta


def inputs(obs: Tensor) -> Tensor:
    return FAMILY.inputs(obs)


def phi(obs: Tensor) -> Tensor:
    return reacher.features(reacher.directions(obs[..., :2]))


def by_hand(change: list[Tensor], ahead: list[Tensor], agrees: list[bool]) -> list[Tensor]:
    """Targets of a stretch, the last first by recursion."""
    if not change:
        return []
    later = by_hand(change[1:], ahead[1:], agrees[1:])
    follows = ahead[1] + 0.9 * (later[0] - ahead[1]) if later and agrees[1] else ahead[1]
    return [change[0] + 0.9 * follows, *later]


def targets_of(meta: Tensors) -> dict[str, Tensor]:
    return {
        n.removeprefix("training.target."): v for n, v in meta.items() if n.startswith("training.target.")
    }


@pytest.mark.parametrize("network", ["library", "separate"])
def test_the_loss_is_the_td_error_of_psi_by_hand(network: str) -> None:
    """One stretch after the other, policy by policy: next actions by GPI over all, or by a policy's own."""
    algorithm = Successor(FAMILY, replace(SMALL, train_on=TWO, network=network, batch=60))  # type: ignore[arg-type]
    meta = filled(algorithm)
    loss, _ = algorithm.loss(meta, np.random.default_rng(3))
    rows, target = replay.draw(meta, 20, 4, np.random.default_rng(3)), targets_of(meta)
    expected = 0.0
    for i, feature in enumerate((0, 5)):
        for stretch in rows[i if network == "separate" else 0]:
            obs, taken = stretch[:, :5], [int(a) for a in stretch[:-1, 5]]
            ahead, own = [], []
            for x in inputs(obs):
                psi = library_psi(target, x.expand(2, 1, 6), 9)[:, 0]  # (P, A, d)
                values = psi[..., feature] if network == "library" else psi[i : i + 1, :, feature]
                own.append(int(values.amax(0).argmax()))
                ahead.append(psi[i, own[-1]])
            change = [(b - a) / UNIT for a, b in pairwise(phi(obs))]
            wanted = by_hand(change, ahead, [a == b for a, b in zip(taken, own[:-1], strict=True)])
            for x, action, goal in zip(inputs(obs)[:-1], taken, wanted, strict=True):
                found = library_psi(meta, x.expand(2, 1, 6), 9)[i, 0, action]
                expected += float((goal - found).square().mean()) / 60
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_a_universal_network_learns_each_objectives_own_psi() -> None:
    algorithm = Successor(FAMILY, replace(SMALL, network="universal", batch=4, stretch=1, per_transition=2))
    meta, rng = filled(algorithm), np.random.default_rng(3)
    loss, _ = algorithm.loss(meta, np.random.default_rng(3))
    rows = replay.draw(meta, 4, 2, rng)[0].repeat_interleave(2, 0)
    z, target, expected = algorithm.objectives(8, rng), targets_of(meta), 0.0
    for row, mine in zip(rows, z, strict=True):
        (x, after), action = inputs(row[:, :5]).split(1), int(row[0, 5])
        ahead = universal_psi(target, after, mine[None], 9)[0]
        change = (phi(row[1, :5]) - phi(row[0, :5])) / UNIT
        found = universal_psi(meta, x, mine[None], 9)[0, action]
        expected += float((change + 0.9 * ahead[int((ahead @ mine).argmax())] - found).square().mean()) / 8
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_what_a_terminated_or_cut_off_transition_leads_to_is_not_learned_from() -> None:
    """On the reacher φ is read from where the arm arrives, and after an end that is another episode's state."""
    algorithm = Successor(FAMILY, replace(SMALL, train_on=TWO))
    meta = filled(algorithm)
    plain, _ = algorithm.loss(meta, np.random.default_rng(3))
    for column in (-2, -1):
        ended = {n: v.clone() for n, v in meta.items()}
        ended[EPISODES][..., 1::2, column] = 1.0
        some, _ = algorithm.loss(ended, np.random.default_rng(3))
        assert not torch.equal(some, plain)
        ended[EPISODES][..., column] = 1.0
        none, _ = algorithm.loss(ended, np.random.default_rng(3))
        assert float(none) == 0.0


def test_features_of_moves_are_learned_as_they_are_and_the_goal_ends_what_follows() -> None:
    """In four rooms φ says what was picked up, and is no function of the place: δ is (1 − γ)·ψ, by hand."""
    family = FourRoomsFamily()
    config = replace(SMALL, train_on=("goal",), stretch=1, batch=40, discount=0.8, replay=4000)
    algorithm = Successor(family, config)
    assert not algorithm.view.by_state
    assert Successor(FAMILY, SMALL).view.by_state
    meta = algorithm.initial(np.random.default_rng(0))
    session = family.open(family.sample(2, np.random.default_rng(0)), 1, 200, np.random.default_rng(0))
    rows = []
    path = "r" * 2 + "u" * 9 + "r" * 10 + "u" * 3  # to the goal
    for i in range(201):
        move = "urdl".index(path[i % len(path)])
        obs = session.obs
        step = session.step(torch.full((2, 1, 1), float(move)))
        beside = torch.tensor([float(move), float(step.terminated[0, 0]), float(step.truncated[0, 0])])
        rows.append(torch.cat([obs[:, 0], beside.expand(2, 3)], -1))
    replay.write(meta, torch.stack(rows, 1).unsqueeze(0))
    loss, _ = algorithm.loss(meta, np.random.default_rng(3))
    target, expected = targets_of(meta), 0.0
    for before, after in replay.draw(meta, 40, 2, np.random.default_rng(3))[0]:
        window = algorithm.view.family.features(
            algorithm._batch(torch.stack([before, after])[None, None]).window
        )
        x, following = (family.inputs(row[:7]).view(1, 1, -1) for row in (before, after))
        ahead = library_psi(target, following, 4)[0, 0]
        goes_on = 1.0 - before[-2]
        wanted = 0.2 * window[0][0, 0, 0] / UNIT + 0.8 * goes_on * ahead[int(ahead[:, 3].argmax())]
        found = library_psi(meta, x, 4)[0, 0, int(before[7])]
        expected += float((wanted - found).square().mean()) / 40
    assert float(loss) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("objectives", ["near", "all"])
def test_objectives_are_near_the_training_tasks_or_weigh_all_features(objectives: str) -> None:
    config = replace(SMALL, network="universal", objectives=objectives, spread=0.2)  # type: ignore[arg-type]
    z = Successor(FAMILY, config).objectives(4000, np.random.default_rng(0))
    assert z.shape == (4000, 12)
    if objectives == "all":
        assert_close(z.sum(1), torch.ones(4000))
        assert float(z.min()) >= 0.0
        assert_close(z.mean(0), torch.full((12,), 1 / 12), rtol=0, atol=0.02)
    else:
        assert_close(z.mean(0), torch.tensor([0.25] * 4 + [0.0] * 8), rtol=0, atol=0.03)
        assert float(z[:, 4:].std()) == pytest.approx(0.2, rel=0.05)


def test_the_target_network_follows_slowly_and_gets_no_gradient() -> None:
    algorithm = Successor(FAMILY, replace(SMALL, train_on=TWO))
    before = start(algorithm, 0).meta
    meta, _, _ = trained(algorithm, replace(TRAINING, iterations=1))
    moved = (meta["w0"] - before["w0"]).abs().mean()
    followed = (meta["training.target.w0"] - before["training.target.w0"]).abs().mean()
    assert 0.0 < float(followed) < 0.1 * float(moved)


def test_policies_apart_learn_from_their_own_transitions_only() -> None:
    """Another policy's memory changes nothing for the first; where they share it changes everything."""
    for network, same in (("separate", True), ("library", False)):
        algorithm = Successor(FAMILY, replace(SMALL, train_on=TWO, network=network))  # type: ignore[arg-type]
        meta = {n: v.requires_grad_() for n, v in filled(algorithm).items()}
        gradients = []
        for _ in range(2):
            loss, _ = algorithm.loss(meta, np.random.default_rng(1))
            gradients.append(torch.autograd.grad(loss, meta["w0"])[0][0])
            meta[EPISODES].data[-1, ..., :5] += 0.1
        assert torch.equal(*gradients) is same


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        replace(SMALL, network="separate"),
        replace(SMALL, network="universal"),
        replace(SMALL, features="learned"),
    ],
    ids=["library", "separate", "universal", "learned"],
)
def test_a_resumed_run_is_the_uninterrupted_one(config: SuccessorConfig) -> None:
    """Replay memory and target network included."""
    algorithm = Successor(FAMILY, config)
    whole, figures, kept = trained(algorithm)
    resumed, rest, _ = trained(algorithm, begin=kept[0])
    assert rest == figures[1:]
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert float(whole[WRITTEN]) == 3 * 8 / (4 if config.network == "separate" else 1)


def test_learned_features_come_to_explain_the_rewards_of_all_training_tasks() -> None:
    algorithm = Successor(FAMILY, replace(SMALL, features="learned", steps=40, batch=64))
    _, figures, _ = trained(algorithm, replace(TRAINING, iterations=8))
    assert figures[-1]["reward_loss"] < 0.1 * figures[0]["reward_loss"]


def test_it_learns_to_reach() -> None:
    """The mean return of episodes rises beyond what random actions bring."""
    config = replace(SMALL, train_on=("east",), hidden=32, steps=40, batch=64, replay=5000)
    _, figures, _ = trained(Successor(FAMILY, config), replace(TRAINING, iterations=25, meta_batch_size=16))
    assert figures[-1]["return"] > figures[0]["return"] + 8.0
    assert figures[-1]["td_loss"] < figures[5]["td_loss"] * 2.0


def test_a_grown_library_begins_as_a_copy_and_only_the_new_policy_acts() -> None:
    algorithm = Successor(FAMILY, replace(SMALL, train_on=TRAINED[:3]))
    meta, _, _ = trained(algorithm)
    larger, copied = grown(algorithm, meta, "far_south", best=1)
    assert larger.targets == (0, 1, 2, 7)
    for name in ("w0", "b2", "training.target.w1"):
        assert torch.equal(copied[name][3], meta[name][1])
        assert torch.equal(copied[name][:3], meta[name])
    after, figures, _ = trained(larger, begin=Progress(0, copied, {}))
    assert float(after[WRITTEN]) == float(meta[WRITTEN]) + 3 * 8
    assert not torch.equal(after["w0"][3], meta["w0"][1])
    assert np.isfinite(figures[-1]["return"])


def test_there_is_a_policy_for_every_feature_unless_some_are_named() -> None:
    assert Successor(FAMILY, replace(SMALL, train_on=())).targets == tuple(range(12))
    assert Successor(FAMILY, replace(SMALL, train_on=("south", "east"))).targets == (3, 0)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Successor(FAMILY, replace(SMALL, stretch=51))
    assert str(caught.value) == "[successor] stretch must fit into episodes of 50 steps, found 51"
    with pytest.raises(UsageError, match="train_on: there is no feature 'up'; valid: east, west"):
        Successor(FAMILY, replace(SMALL, train_on=("up",)))
