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
from torch import Tensor
from torch.testing import assert_close

SMALL = SuccessorConfig(hidden=16, replay=200, batch=16, steps=3, stretch=3)
TRAINING = TrainingConfig(iterations=3, meta_batch_size=8, outer_lr=0.003, clip=10.0)
EPISODES, WRITTEN = "training.replay.episodes", "training.replay.written"


def trained(
    algorithm: Successor, config: TrainingConfig = TRAINING, begin: Progress | None = None
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


def filled(algorithm: Successor, seed: int = 0) -> dict[str, Tensor]:
    """Parameters, with a target network that differs, and episodes whose states have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    meta = algorithm.initial(rng)
    for name, value in meta.items():
        if name.startswith("training.target."):
            value += 0.1 * torch.tensor(rng.standard_normal(value.shape), dtype=torch.float32)
    groups, _, steps, _ = meta[EPISODES].shape
    states = torch.tensor(rng.standard_normal((groups, 8, steps + 1, 6)), dtype=torch.float32)
    action = torch.from_numpy(rng.integers(0, 9, (groups, 8, steps, 1))).float()
    replay.write(meta, torch.cat([states[:, :, :-1], action, states[:, :, 1:]], -1))
    return meta


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
    algorithm = Successor((0, 5), 4, replace(SMALL, network=network, batch=60))
    meta = filled(algorithm)
    loss, _ = algorithm.loss(meta, np.random.default_rng(3))
    rows, target = replay.draw(meta, 20, 3, np.random.default_rng(3)), targets_of(meta)
    expected = 0.0
    for i, feature in enumerate((0, 5)):
        for stretch in rows[i if network == "separate" else 0]:
            states = [*stretch[:, :6], stretch[-1, 7:]]
            ahead, own = [], []
            for x in states:
                psi = library_psi(target, x.expand(2, 1, 6), 9)[:, 0]  # (P, A, d)
                values = psi[..., feature] if network == "library" else psi[i : i + 1, :, feature]
                own.append(int(values.amax(0).argmax()))
                ahead.append(psi[i, own[-1]])
            taken = [int(a) for a in stretch[:, 6]]
            phi = [reacher.features(x[:4]) for x in states]
            change = [(b - a) / UNIT for a, b in pairwise(phi)]
            wanted = by_hand(change, ahead, [a == b for a, b in zip(taken, own[:-1], strict=True)])
            for x, action, goal in zip(states[:-1], taken, wanted, strict=True):
                found = library_psi(meta, x.expand(2, 1, 6), 9)[i, 0, action]
                expected += float((goal - found).square().mean()) / 60
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_a_universal_network_learns_each_objectives_own_psi() -> None:
    algorithm = Successor(
        range(4), 4, replace(SMALL, network="universal", batch=4, stretch=1, per_transition=2)
    )
    meta, rng = filled(algorithm), np.random.default_rng(3)
    loss, _ = algorithm.loss(meta, np.random.default_rng(3))
    rows = replay.draw(meta, 4, 1, rng)[0, :, 0].repeat_interleave(2, 0)
    z, target, expected = algorithm.objectives(8, rng), targets_of(meta), 0.0
    for row, mine in zip(rows, z, strict=True):
        x, action, after = row[None, :6], int(row[6]), row[None, 7:]
        ahead = universal_psi(target, after, mine[None], 9)[0]
        change = (reacher.features(after[0, :4]) - reacher.features(x[0, :4])) / UNIT
        found = universal_psi(meta, x, mine[None], 9)[0, action]
        expected += float((change + 0.9 * ahead[int((ahead @ mine).argmax())] - found).square().mean()) / 8
    assert float(loss) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("objectives", ["near", "all"])
def test_objectives_are_near_the_training_tasks_or_weigh_all_features(objectives: str) -> None:
    config = replace(SMALL, network="universal", objectives=objectives, spread=0.2)
    z = Successor(range(4), 4, config).objectives(4000, np.random.default_rng(0))
    assert z.shape == (4000, 12)
    if objectives == "all":
        assert_close(z.sum(1), torch.ones(4000))
        assert float(z.min()) >= 0.0
        assert_close(z.mean(0), torch.full((12,), 1 / 12), rtol=0, atol=0.02)
    else:
        assert_close(z.mean(0), torch.tensor([0.25] * 4 + [0.0] * 8), rtol=0, atol=0.03)
        assert float(z[:, 4:].std()) == pytest.approx(0.2, rel=0.05)


def test_the_target_network_follows_slowly_and_gets_no_gradient() -> None:
    algorithm = Successor(range(2), 4, SMALL)
    before = start(algorithm, 0).meta
    meta, _, _ = trained(algorithm, replace(TRAINING, iterations=1))
    moved = (meta["w0"] - before["w0"]).abs().mean()
    followed = (meta["training.target.w0"] - before["training.target.w0"]).abs().mean()
    assert 0.0 < float(followed) < 0.1 * float(moved)


def test_policies_apart_learn_from_their_own_transitions_only() -> None:
    """Another policy's memory changes nothing for the first; where they share it changes everything."""
    for network, same in (("separate", True), ("library", False)):
        algorithm = Successor((0, 5), 4, replace(SMALL, network=network))
        meta = {n: v.requires_grad_() for n, v in filled(algorithm).items()}
        gradients = []
        for _ in range(2):
            loss, _ = algorithm.loss(meta, np.random.default_rng(1))
            gradients.append(torch.autograd.grad(loss, meta["w0"])[0][0])
            meta[EPISODES].data[-1] += 0.1
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
    algorithm = Successor(range(4), 6, config)
    whole, figures, kept = trained(algorithm)
    resumed, rest, _ = trained(algorithm, begin=kept[0])
    assert rest == figures[1:]
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert float(whole[WRITTEN]) == 3 * 8 / (4 if config.network == "separate" else 1)


def test_learned_features_come_to_explain_the_rewards_of_all_training_tasks() -> None:
    algorithm = Successor(range(4), 20, replace(SMALL, features="learned", steps=40, batch=64, replay=1000))
    _, figures, _ = trained(algorithm, replace(TRAINING, iterations=8))
    assert figures[-1]["reward_loss"] < 0.1 * figures[0]["reward_loss"]


def test_it_learns_to_reach() -> None:
    """Return of an episode against that of random actions, with another target than its ψ is compared for."""
    algorithm = Successor((0,), 25, replace(SMALL, hidden=32, steps=40, batch=64, replay=5000))
    meta, figures, _ = trained(algorithm, replace(TRAINING, iterations=25, meta_batch_size=16))
    assert figures[-1]["return"] > figures[0]["return"] + 4.0
    assert figures[-1]["td_loss"] < figures[5]["td_loss"] * 2.0
    del meta


def test_a_grown_library_begins_as_a_copy_and_only_the_new_policy_acts() -> None:
    algorithm = Successor(range(3), 6, SMALL)
    meta, _, _ = trained(algorithm)
    larger, copied = grown(algorithm, meta, 7, best=1)
    assert larger.targets == (0, 1, 2, 7)
    for name in ("w0", "b2", "training.target.w1"):
        assert torch.equal(copied[name][3], meta[name][1])
        assert torch.equal(copied[name][:3], meta[name])
    after, figures, _ = trained(larger, begin=Progress(0, copied, {}))
    assert float(after[WRITTEN]) == float(meta[WRITTEN]) + 3 * 8
    assert not torch.equal(after["w0"][3], meta["w0"][1])
    assert np.isfinite(figures[-1]["return"])


def test_a_stretch_that_no_episode_holds_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Successor(range(4), 2, SMALL)
    assert str(caught.value) == "[successor] stretch must fit into episodes of 2 steps, found 3"
