"""What a policy that is made for one machine alone could reach: the ceiling of all that must find out theirs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Tasks
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.contract.sources import Sources
from acclimate_trainer.outer_loop.training import Progress, TrainingConfig, train
from acclimate_trainer.play.rollouts import draw, rollout

_JUDGED = 20261206  # seed of what a policy is judged on; none is trained or chosen there


def specialist(
    family: Complete[Tasks],
    machine: Tasks,
    meta: Tensors,
    config: Rl2Config,
    training: TrainingConfig,
    seed: int = 0,
) -> Policy:
    """RL²'s policy of these meta-parameters, trained on for one machine of the family alone."""
    alone = Rl2(Sources(family, machine), replace(config, change=0.0, curriculum=(0.0, 0.0)))
    last = Progress(0, {name: value.detach() for name, value in meta.items()}, {})

    def keep(progress: Progress, figures: object) -> None:
        nonlocal last
        del figures
        last = progress

    train(alone, training, seed, last, keep)
    return alone.policy(last.meta)


@torch.no_grad()
def error(
    policy: Policy, family: Complete[Tasks], machine: Tasks, episodes: int = 8, steps: int = 100
) -> float:
    """What the headline of the family's costs is of a policy on one machine, always the same noise-free episodes."""
    rng = np.random.default_rng(_JUDGED)
    around = draw(family, machine, rng, explore=0, measure=episodes, steps=steps)
    state = _told(policy, family.parameters(machine))
    driven = rollout(policy, state, family.spec, around)
    cost = family.costs(driven.window(), driven.reward)[0]
    mean = float(cost.values.mean())
    return mean**0.5 if cost.root else mean


def _told(policy: Policy, parameters: Tensor) -> dict[str, Tensor]:
    initial = policy.initial()
    state = {t.name: initial[t.name].unsqueeze(0) for t in policy.state if t.written_by != "act"}
    return {**state, "task": parameters} if policy.privileged else state
