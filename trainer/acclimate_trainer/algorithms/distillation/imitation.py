"""Imitation of recordings: a policy that does what another controller was seen doing (Pomerleau 1991, behavioural
cloning).

Nobody has to be asked what would have been right, and so anything that was recorded can teach: a PID, a person, a
policy of another kind. Along each episode the network sees what the controller saw, and its loss is that of every
student here (`imitating`). What a recording cannot say is what to do where its controller never was. So it is a
beginning: the family's own costs may count afterwards (`imitation` below 1), or another run may `start` from it.

The previous action is among the inputs of every policy here, and in a recording it is nearly the next one: a network
that copies it has a small loss and drives nothing (de Haan et al. 2019, "Causal Confusion in Imitation Learning").
While it imitates it is therefore shown a previous action with noise on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic

import numpy as np
import torch
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.algorithms.distillation.imitating import imitation_loss
from acclimate_trainer.algorithms.distillation.pupils import RecurrentPupil, Seen
from acclimate_trainer.algorithms.distillation.recordings import Recorded, read_all
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config, new_trial
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import TrainingConfig, clip_gradient, gradient_of
from acclimate_trainer.play.rollouts import headline
from acclimate_trainer.play.trials import trial_costs
from acclimate_trainer.play.watched import play
from acclimate_trainer.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require

_WIDTH = "sigma"  # of exploration, which no recording says anything about


@dataclass(frozen=True)
class ImitationConfig(Rl2Config):
    """Section [imitation] of a config: as [rl2], for what comes after imitation, and these."""

    recordings: tuple[str, ...] = ()
    """Files that `acclimate run --record` or `acclimate.Recording` wrote; channels are found by name."""
    imitation: float = 1.0
    """Share of training, at its beginning, in which they are imitated; then the family's costs count, as for [rl2]."""
    tolerance: float = 0.5
    """Difference of actions, as a share of what the controller usually does, from which on the loss is a logarithm."""
    gap: int = 5
    """Ticks in a row that may lack a reading."""
    stretch: int = 200
    """Ticks in a row that are learned from, from any tick of an episode on."""
    blur: float = 0.3
    """Standard deviation of the noise on the previous action that the network is shown, of full scale."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        super().__post_init__()
        others = {"tolerance": POSITIVE, "gap": NOT_NEGATIVE, "stretch": COUNT, "blur": NOT_NEGATIVE}
        require(self, {"imitation": SHARE, **others})
        if not self.recordings:
            raise UsageError("recordings must name files, as acclimate run --record FILE writes them")


class Imitation(Generic[Tasks]):
    """Trains an `Rl2Policy` on recordings; a `training.Iterative`."""

    def __init__(self, family: TaskFamily[Tasks] | Complete[Tasks], config: ImitationConfig) -> None:
        """Raises UsageError for a family whose costs are to count and cannot be differentiated."""
        self._family: Complete[Tasks] = Complete.of(family)
        self._config, self._view = config, View.of(self._family)
        self._pupil = RecurrentPupil(self._view, config.hidden)
        self._afterwards = Rl2(self._family, config)
        if config.imitation < 1.0 and not self._family.spec.differentiable:
            raise UsageError(
                f"[imitation] imitation must be 1 on the family {self._family.spec.name!r}, through whose sessions no "
                f"gradient passes, found {config.imitation:g}"
            )

    @cached_property
    def recorded(self) -> Recorded:
        """What is imitated. It is read when training begins, since a bundle is rebuilt without it."""
        return read_all(self._config.recordings, self._family.spec, self._config.gap)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return self._pupil.initial(rng)

    def policy(self, meta: Tensors) -> Policy:
        return self._pupil.policy(meta)

    def updates(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Iterator[dict[str, float]]:
        """A step on recorded stretches; later, on what driving costs."""
        for value in meta.values():
            value.grad = None
        if progress >= self._config.imitation:
            for piece in self._afterwards.pieces(config.meta_batch_size, rng, progress):
                yield gradient_of(piece, meta, config)
            return
        learned = {name: value for name, value in meta.items() if name != _WIDTH}
        loss = self.loss(meta, config.meta_batch_size, rng)
        figures = {
            "imitation": float(loss.detach()),
            **self._driven(meta, config.meta_batch_size, rng, progress),
        }
        yield figures | {"grad_norm": clip_gradient(loss, learned, config.clip)}

    def _driven(
        self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float
    ) -> dict[str, float]:
        """The headline of a trial on simulated machines: whether what it learned to say drives anything."""
        trial = new_trial(self._family, self._config, tasks, rng, progress)
        cost = trial_costs(self._family, list(play(self.policy(meta), self._family, trial).episodes))[0]
        rows = cost.values.view(-1, self._config.side_by_side, cost.values.shape[-1])
        return {cost.name: float(headline(cost._replace(values=rows)).mean())}

    def loss(self, meta: Tensors, stretches: int, rng: np.random.Generator) -> Tensor:
        """What the network's actions lack of those that were recorded, in so many stretches drawn at random."""
        part = self._drawn(stretches, rng)
        taken = self._view.taken(part.action)
        before = torch.cat([torch.zeros_like(taken[:, :1]), taken[:, :-1]], dim=1)
        noise = torch.from_numpy(rng.standard_normal(before.shape, dtype=np.float32))
        begins = torch.zeros_like(before[..., :1])
        begins[:, 0] = 1.0
        shown = (before + self._config.blur * noise).clamp(-1.0, 1.0) * (1.0 - begins)
        seen = Seen(*(column.unsqueeze(0) for column in (part.obs, shown, begins, part.action)))
        own = {name: value.unsqueeze(0) for name, value in meta.items()}
        action = self._pupil.thought(own, seen).action[0]
        columns = (action, taken, part.weight)
        action, wanted, weight = (column.unsqueeze(0) for column in columns)
        return imitation_loss(action, wanted, self._config.tolerance, weight).mean()

    def _drawn(self, stretches: int, rng: np.random.Generator) -> Recorded:
        episodes, ticks = self.recorded.weight.shape
        length = min(self._config.stretch, ticks)
        which = torch.from_numpy(rng.integers(0, episodes, stretches)).unsqueeze(1)
        first = torch.from_numpy(rng.integers(0, ticks - length + 1, stretches)).unsqueeze(1)
        at = first + torch.arange(length)
        return Recorded(*(column[which, at] for column in self.recorded))
