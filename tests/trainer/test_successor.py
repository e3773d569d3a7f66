"""Deep successor features: each loss by hand, what learns from what, that it learns, and that a run can be resumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from acclimate_trainer import replay
from acclimate_trainer.algorithms.successor import Successor, SuccessorConfig, grown
from acclimate_trainer.contract import Tensors
from acclimate_trainer.families import reacher
from acclimate_trainer.psi_networks import library_psi, universal_psi
from acclimate_trainer.training import Progress, TrainingConfig, start, train
from torch.testing import assert_close

SMALL = SuccessorConfig(hidden=16, replay=200, batch=16, steps=3)
TRAINING = TrainingConfig(iterations=3, meta_batch_size=8, outer_lr=0.003, clip=10.0)
ROWS, WRITTEN = "training.replay.rows", "training.replay.written"


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
    memory = replay.empty(2, 5, 1)
    for first in (0, 4):
        rows = torch.arange(first, first + 4.0).view(1, 4, 1)
        replay.write(memory, torch.cat([rows, 100.0 + rows]))
    assert sorted(memory[ROWS][0, :, 0].tolist()) == [3.0, 4.0, 5.0, 6.0, 7.0]
    drawn = replay.draw(memory, 50, np.random.default_rng(0))
    assert drawn.shape == (2, 50, 1)
    assert set(drawn[0].flatten().tolist()) == {3.0, 4.0, 5.0, 6.0, 7.0}
    assert set(drawn[1].flatten().tolist()) == {103.0, 104.0, 105.0, 106.0, 107.0}


def test_nothing_is_drawn_that_was_not_written() -> None:
    memory = replay.empty(1, 100, 1)
    replay.write(memory, torch.ones(1, 3, 1))
    assert (replay.draw(memory, 50, np.random.default_rng(0)) == 1.0).all()


def filled(algorithm: Successor, seed: int = 0) -> dict[str, torch.Tensor]:
    """Parameters, with a target network that differs, and transitions as the algorithm makes them."""
    rng = np.random.default_rng(seed)
    meta = algorithm.initial(rng)
    for name, value in meta.items():
        if name.startswith("training.target."):
            value += 0.1 * torch.tensor(rng.standard_normal(value.shape), dtype=torch.float32)
    algorithm._explore(meta, 8, rng, 0.0)
    return meta


@pytest.mark.parametrize("network", ["library", "separate"])
def test_the_loss_is_the_td_error_of_psi_by_hand(network: str) -> None:
    """One transition after the other, policy by policy: next actions by GPI over all, or by a policy's own."""
    algorithm = Successor((0, 5), 4, replace(SMALL, network=network, batch=6))
    meta = filled(algorithm)
    loss, _ = algorithm.loss(meta, np.random.default_rng(3))
    rows = replay.draw(meta, 6, np.random.default_rng(3))
    target = {
        n.removeprefix("training.target."): v for n, v in meta.items() if n.startswith("training.target.")
    }
    expected = 0.0
    for i, feature in enumerate((0, 5)):
        mine = rows[i if network == "separate" else 0]
        for row in mine:
            x, action, after = row[:6], int(row[6]), row[7:]
            ahead = library_psi(target, after.expand(2, 1, 6), 9)[:, 0]  # (P, A, d)
            values = ahead[..., feature] if network == "library" else ahead[i : i + 1, :, feature]
            best = int(values.amax(0).argmax())
            change = (reacher.features(after[:4]) - reacher.features(x[:4])) / 0.2
            found = library_psi(meta, x.expand(2, 1, 6), 9)[i, 0, action]
            expected += float((change + 0.9 * ahead[i, best] - found).square().mean()) / 6
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_a_universal_network_learns_each_objectives_own_psi() -> None:
    algorithm = Successor(range(4), 4, replace(SMALL, network="universal", batch=2, per_transition=2))
    meta, rng = filled(algorithm), np.random.default_rng(3)
    loss, _ = algorithm.loss(meta, np.random.default_rng(3))
    rows = replay.draw(meta, 2, rng)[0].repeat_interleave(2, 0)
    z = algorithm.objectives(4, rng)
    target = {
        n.removeprefix("training.target."): v for n, v in meta.items() if n.startswith("training.target.")
    }
    expected = 0.0
    for row, mine in zip(rows, z, strict=True):
        x, action, after = row[None, :6], int(row[6]), row[None, 7:]
        ahead = universal_psi(target, after, mine[None], 9)[0]
        change = (reacher.features(after[0, :4]) - reacher.features(x[0, :4])) / 0.2
        found = universal_psi(meta, x, mine[None], 9)[0, action]
        expected += float((change + 0.9 * ahead[int((ahead @ mine).argmax())] - found).square().mean()) / 4
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
            meta[ROWS].data[-1] += 0.1
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
    assert float(whole[WRITTEN]) == 3 * 6 * 8 / (4 if config.network == "separate" else 1)


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
    assert float(after[WRITTEN]) == float(meta[WRITTEN]) + 3 * 6 * 8
    assert not torch.equal(after["w0"][3], meta["w0"][1])
    assert np.isfinite(figures[-1]["return"])
