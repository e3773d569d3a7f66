"""RL²: what its loss is, what its gradient reaches, that it learns, and to adapt in its hidden state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.maml.maml import Maml, MamlConfig
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig, risen
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.outer_loop.training import TrainingConfig, start, train
from acclimate_trainer.play.trials import draw_trial, run_trial, trial_costs
from acclimate_trainer.tasks.servo.ranges import ServoRanges
from torch import Tensor
from torch.testing import assert_close

from .families import GliderFamily
from .servo_tasks import FAMILY, family_of

GLIDERS = GliderFamily()

SMALL = Rl2Config(hidden=6, episodes=2, episode_steps=20, side_by_side=2, block=8)
# One motor, whose drive gain is either a tenth or all: the gain that is right for the one is wrong for the other.
TWO_GAINS = ServoRanges(
    kt=(1.6, 1.6), resistance=(4.0, 4.0), armature=(0.012, 0.012), coulomb=(0.02, 0.02), viscous=(0.01, 0.01),
    voltage=(15.0, 15.0), spread=1.0, drive_gain=(0.1, 1.0), gravity_fraction=(0.0, 0.0), inertia_ratio=(0.0, 0.0),
    delay=(0.02, 0.02), noise=(0.0, 0.0),
)  # fmt: skip


def stacked(meta: dict[str, Tensor], tasks: int) -> dict[str, Tensor]:
    return {name: value.expand(tasks, *value.shape) for name, value in meta.items()}


def count(meta: dict[str, Tensor]) -> int:
    return sum(value.numel() for name, value in meta.items() if "." not in name)


def test_it_is_about_as_large_as_the_others() -> None:
    rng = np.random.default_rng(0)
    others = [
        count(Maml(FAMILY, MamlConfig()).initial(rng)),
        count(Reactive(FAMILY, ReactiveConfig(), oracle=False).initial(rng)),
        count(Reactive(FAMILY, ReactiveConfig(), oracle=True).initial(rng)),
    ]
    assert min(others) < count(Rl2(FAMILY, Rl2Config()).initial(rng)) < 1.6 * min(others)


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
@pytest.mark.parametrize("oracle", [False, True])
def test_the_loss_is_what_a_trial_costs_block_by_block(family: TaskFamily[Any], oracle: bool) -> None:
    """Also of what happens in it, as the curriculum has it at that share of training."""
    algorithm, complete = Rl2(family, SMALL, oracle=oracle), Complete.of(family)
    meta = stacked(algorithm.initial(np.random.default_rng(0)), 3)
    found = algorithm.losses(meta, 3, np.random.default_rng(1), 0.25)
    trial = draw_trial(complete, 3, np.random.default_rng(1), side_by_side=2, episodes=2, steps=20, change=0.7,
                       progress=0.5)  # fmt: skip
    (cost,) = trial_costs(complete, run_trial(algorithm.policy(meta), meta, complete, trial))
    roots = [part.mean(dim=(1, 2)).sqrt() for part in cost.values.split(8, dim=2)]
    assert len(roots) == 5
    assert_close(found.total, torch.stack(roots).mean(0), rtol=1e-4, atol=1e-5)
    assert_close(found.report["error"], cost.values.mean(dim=(1, 2)).sqrt())


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.2, 0.0), (0.3, 0.25), (0.6, 1.0), (0.9, 1.0)])
def test_harder_machines_rise_over_a_part_of_training(progress: float, share: float) -> None:
    assert risen(progress, (0.2, 0.6)) == pytest.approx(share)


def test_harder_machines_are_there_from_the_start_where_nothing_rises() -> None:
    assert risen(0.0, (0.0, 0.0)) == 0.0
    assert risen(0.01, (0.0, 0.0)) == 1.0


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
@pytest.mark.parametrize("oracle", [False, True])
def test_the_loss_is_each_tasks_own_and_reaches_all_that_acts(family: TaskFamily[Any], oracle: bool) -> None:
    algorithm = Rl2(family, SMALL, oracle=oracle)
    meta = {
        n: v.clone().requires_grad_()
        for n, v in stacked(algorithm.initial(np.random.default_rng(0)), 3).items()
    }
    losses = algorithm.losses(meta, 3, np.random.default_rng(1), 0.5)
    assert losses.total.shape == (3,)
    gradient = torch.autograd.grad(losses.total[1], list(meta.values()), materialize_grads=True)
    for name, value in zip(meta, gradient, strict=True):
        assert (value[0] == 0.0).all()
        assert (value[2] == 0.0).all()
        assert bool((value[1] != 0.0).any()) is (name != "sigma")  # no noise, and so no gradient of its width


def test_with_a_decay_of_zero_the_gradient_is_the_networks_alone() -> None:
    """The actions' own gradient is left; what they bring about is taken as it comes."""
    algorithm = Rl2(FAMILY, SMALL)
    meta = {
        n: v.clone().requires_grad_()
        for n, v in stacked(algorithm.initial(np.random.default_rng(0)), 2).items()
    }
    trial = algorithm.trial(2, np.random.default_rng(1), 0.0)
    episodes = run_trial(algorithm.policy(meta), meta, Complete.of(FAMILY), trial, adjoint_decay=0.0)
    assert not episodes[1].obs.requires_grad
    assert torch.autograd.grad(episodes[1].action.sum(), meta["recurrent"])[0].abs().sum() > 0.0


def trained(
    family: TaskFamily[Any], config: Rl2Config, iterations: int, *, oracle: bool = False
) -> tuple[Rl2[Any], dict[str, Tensor]]:
    algorithm, last = Rl2(family, config, oracle=oracle), list[Tensors]()
    settings = TrainingConfig(iterations=iterations, meta_batch_size=8)
    train(algorithm, settings, 0, start(algorithm, 0), lambda progress, _: last.append(progress.meta))
    return algorithm, dict(last[-1])


def error(algorithm: Rl2[Any], meta: dict[str, Tensor]) -> float:
    with torch.no_grad():
        return algorithm.losses(stacked(meta, 64), 64, np.random.default_rng(7), 0.9).total.mean().item()


def test_it_learns_to_track() -> None:
    config = Rl2Config(hidden=8, episodes=1, episode_steps=60, side_by_side=2, block=20, change=0.0)
    algorithm, meta = trained(family_of(TWO_GAINS), config, 60)
    assert error(algorithm, meta) < 0.4 * error(algorithm, algorithm.initial(np.random.default_rng(3)))
