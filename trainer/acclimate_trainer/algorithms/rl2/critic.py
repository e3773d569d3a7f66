"""The critic of PPO: what a trial is still going to bring, as only training can know."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Criticised, Tasks
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.outer_loop.training import FOR_TRAINING
from acclimate_trainer.play.rollouts import Episodes
from acclimate_trainer.play.watched import Played, over_time

_WIDTH = 64  # of both hidden layers
_AHEAD = (5, 10, 20, 40)  # ticks at which it sees where the reference is going to be
_AHEAD_SCALE = 7.0  # of how far that is from what is measured now, in units of half the range


class Critic:
    """Two hidden layers on the policy's memory, what the policy sees, and what it is told.

    It is told facts about machine and state; the same times the share of the trial that is left, since what a trial
    brings is mostly that; where the reference is going to be; and the shares of episode and trial that are over.
    """

    def __init__(self, family: Complete[Tasks], n_policy: int) -> None:
        """n_policy: entries of the policy's memory and of what it sees."""
        own = family.family
        self._spec = family.spec
        self._followed = followed(family.spec)
        n_facts = own.n_critic if isinstance(own, Criticised) else len(family.spec.parameters)
        self._n_in = n_policy + 2 * n_facts + len(_AHEAD) * len(self._followed) + 2

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        widths = (self._n_in, _WIDTH, _WIDTH, 1)
        params = {}
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            weights = rng.standard_normal((n_in, n_out)) / n_in**0.5
            params[f"{FOR_TRAINING}w{i}"] = torch.tensor(weights, dtype=torch.float32)
            params[f"{FOR_TRAINING}b{i}"] = torch.zeros(n_out)
        return params

    def told(self, played: Played) -> Tensor:
        """What it is told at every tick of a played trial, (L, N, n_told)."""
        ahead = over_time([self._ahead(part) for part in played.episodes])
        clock = _clock(played.episodes)
        facts, left = played.facts, 1.0 - clock[..., 1:]
        return torch.cat([facts, facts * left, ahead, clock], dim=-1)

    def value(self, meta: Tensors, hidden: Tensor, seen: Tensor, told: Tensor) -> Tensor:
        """What is still to come (L, N), in its own units, from memory, what is seen, and what it is told."""
        y = torch.cat([hidden, seen, told], dim=-1)
        for i in range(2):
            y = torch.tanh(y @ meta[f"{FOR_TRAINING}w{i}"] + meta[f"{FOR_TRAINING}b{i}"])
        return (y @ meta[f"{FOR_TRAINING}w2"] + meta[f"{FOR_TRAINING}b2"]).squeeze(-1)

    def _ahead(self, part: Episodes) -> Tensor:
        """Where the reference is going to be, seen from where the machine is, (1, N, S, n)."""
        steps = part.action.shape[2]
        ticks = (torch.arange(steps).unsqueeze(1) + torch.tensor(_AHEAD)).clamp_max(steps)  # (S, n)
        columns = [part.obs.new_zeros(*part.action.shape[:3], 0)]
        for measured, wanted, half in self._followed:
            distance = part.obs[..., wanted][:, :, ticks] - part.obs[:, :, :-1, measured].unsqueeze(-1)
            columns.append(torch.tanh(_AHEAD_SCALE / half * distance))
        return torch.cat(columns, dim=-1)


def followed(spec: TaskSpec) -> list[tuple[int, int, float]]:
    """Observed scalars that are to follow a reference: where they are, where the reference is, half of their range."""
    references = {name for channel in spec.references for name in channel.scalars}
    halves = [0.5 * (c.maximum - c.minimum) for c in spec.observation for _ in range(c.size)]
    return [
        (spec.index(measured), spec.index(wanted), halves[spec.index(measured)])
        for measured, wanted in spec.headline.pairs
        if wanted in references
    ]


def _clock(episodes: Sequence[Episodes]) -> Tensor:
    """Shares of the episode and of the trial that are over, (L, N, 2)."""
    rows, steps = episodes[0].action.shape[1], episodes[0].action.shape[2]
    tick = torch.arange(steps * len(episodes))
    shares = torch.stack([tick % steps / steps, tick / len(tick)], dim=-1)
    return shares.unsqueeze(1).expand(-1, rows, -1)
