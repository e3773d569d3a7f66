"""Actor-Mimic (Parisotto et al. 2016, "Actor-Mimic: Deep Multitask and Transfer Reinforcement Learning").

Many teachers, each of which was trained on one machine alone, make one student that drives all of their machines. The
student drives, and in every tick the machine's own teacher says what it would have done in its place:

    L = policy regression + β · feature regression        (equations 3, 5 and 6)

- Policy regression: where actions are choices, cross-entropy to the teacher's softened values, as in the paper. Where
  they are continuous: of two Gaussians of one width the divergence is the squared difference of their means, of which a
  logarithm is taken (`imitating`).
- Feature regression: a linear map, which only training has, from the student's features to those of each teacher. It
  asks the student to know what the teacher knows, and not only to do what it does.

What the student has learned of all of them is where training on a new machine may begin: `start` of a config.

In place of many teachers there may be one that is told every machine's parameters, as for `student`; where actions are
choices, a library of policies that is told what each machine is rewarded for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch
from acclimate.errors import UsageError
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.algorithms.distillation.imitating import choice_loss, feature_loss, imitation_loss
from acclimate_trainer.algorithms.distillation.pupils import (
    CategoricalPupil,
    Pupil,
    ReactivePupil,
    RecurrentPupil,
    Seen,
)
from acclimate_trainer.algorithms.distillation.teachers import (
    Specialists,
    Teachers,
    Told,
    Valued,
    learn_alone,
)
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig
from acclimate_trainer.algorithms.rl2.categorical import Scene
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config, new_trial
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.contract.sources import Sources
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import FOR_TRAINING, TrainingConfig, clip_gradient
from acclimate_trainer.play.rollouts import Episodes, headline, joined
from acclimate_trainer.play.trials import Trial
from acclimate_trainer.play.watched import play
from acclimate_trainer.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require

_MAP = FOR_TRAINING + "map"
_WIDTH = "sigma"  # of exploration, which no teacher says anything about
_DRAWN = 20261130  # with `drawn`, the seed of the machines that have teachers


@dataclass(frozen=True)
class MimicConfig(Rl2Config):
    """Section [mimic] of a config: as [rl2], of teachers as well as of the student, and these."""

    teachers: int = 8
    """Machines of the family for each of which a teacher is trained first, on it alone."""
    drawn: int = 0
    """A seed: which machines these are."""
    teacher: str = ""
    """In place of these, the folder of a run that trained an oracle, or a library of successor features where actions
    are choices; the student then learns on the whole family."""
    teaching: float = 0.4
    """Share of training, at its beginning, in which the teachers learn."""
    memory: bool = True
    """Whether teachers and student have a memory; without one, a machine that must be found out cannot be."""
    features: float = 0.1
    """Weight of the feature regression, β."""
    tolerance: float = 0.5
    """Difference of actions, as a share of what the teacher usually does, from which on the loss is a logarithm."""
    temperature: float = 0.2
    """Where actions are choices: τ of the teacher's softened values, in units of how those of a state differ."""
    explore: int = 2
    """How many of the trials side by side have noise on their actions while the student drives."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        super().__post_init__()
        others = {"teachers": COUNT, "drawn": NOT_NEGATIVE, "teaching": SHARE, "features": NOT_NEGATIVE}
        require(self, {**others, "tolerance": POSITIVE, "temperature": POSITIVE})
        if not 0 <= self.explore <= self.side_by_side:
            raise UsageError(
                f"explore must be from 0 to side_by_side, {self.side_by_side}, found {self.explore}"
            )
        if self.window and not self.memory:
            raise UsageError(f"window must be 0 without a memory, found {self.window}")


class Mimic(Generic[Tasks]):
    """Trains teachers and their student, one after the other; a `training.Iterative`."""

    def __init__(
        self,
        family: TaskFamily[Tasks] | Complete[Tasks],
        config: MimicConfig,
        oracle: Callable[[], Policy],
    ) -> None:
        """oracle: gives the one that `config.teacher` names, where it names one.

        Raises UsageError where actions are choices and it names none, or where there is no memory for them.
        """
        whole: Complete[Tasks] = Complete.of(family)
        self._config, self._view, self._chooses = config, View.of(whole), whole.spec.discrete
        if self._chooses and not (config.teacher and config.memory):
            raise UsageError(
                f"[mimic] on the family {whole.spec.name!r}, whose actions are choices, needs memory = true and a "
                "teacher, the folder of a run of [successor]"
            )
        self._pupil = self._made(whole)
        self.specialists = None if config.teacher else self._trained_alone(whole)
        self._teachers: Teachers[Tasks] = (
            (Valued if self._chooses else Told)(whole, oracle)
            if self.specialists is None
            else self.specialists
        )

    def _made(self, family: Complete[Tasks]) -> Pupil:
        c = self._config
        if self._chooses:
            return CategoricalPupil(Scene.of(family, _typical(family.spec)), c.hidden)
        return RecurrentPupil(self._view, c.hidden) if c.memory else ReactivePupil(self._view, self._reactive)

    @property
    def _reactive(self) -> ReactiveConfig:
        c = self._config
        return ReactiveConfig(
            hidden=c.hidden, episodes=c.side_by_side, episode_steps=c.episode_steps, adjoint_decay=c.adjoint_decay
        )  # fmt: skip

    def _trained_alone(self, family: Complete[Tasks]) -> Specialists[Tasks]:
        c = self._config
        drawn = family.sample(c.teachers, np.random.default_rng([_DRAWN, c.drawn]))
        sources = Sources(family, drawn)
        trained_by = Rl2(sources, c) if c.memory else Reactive(sources, self._reactive, oracle=False)
        return Specialists(sources, self._pupil, trained_by)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The student's parameters; those of teachers, and maps to their features, which only training has."""
        student, teachers = self._pupil.initial(rng), self._teachers
        own = {} if self.specialists is None else self.specialists.initial(rng)
        if self._config.features:
            own[_MAP] = torch.zeros(teachers.count, self._pupil.n_features + 1, teachers.n_features)
        return student | own

    def policy(self, meta: Tensors) -> Policy:
        """The student."""
        return self._pupil.policy(_student(meta))

    def updates(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Iterator[dict[str, float]]:
        """An iteration of the teachers' own training, and afterwards of the student's."""
        for value in meta.values():
            value.grad = None
        if self.specialists is not None and progress < self._config.teaching:
            share = progress / self._config.teaching
            for piece in self.specialists.pieces(rng, share):
                yield learn_alone(piece, self.specialists.own(meta), config)
            return
        learned = {name: value for name, value in _student(meta).items() if name != _WIDTH}
        learned |= {name: meta[name] for name in (_MAP,) if name in meta}
        loss, figures = self.loss(meta, self.trial(config.meta_batch_size, rng, progress))
        yield figures | {"grad_norm": clip_gradient(loss, learned, config.clip)}

    def trial(self, tasks: int, rng: np.random.Generator, progress: float) -> Trial[Tasks]:
        """On machines that the teachers know."""
        c = self._config
        n_noise = len(self._view.family.spec.choices) if self._chooses else None
        return new_trial(self._teachers.family, c, tasks, rng, progress, c.explore, n_noise)

    def loss(self, meta: Tensors, trial: Trial[Tasks]) -> tuple[Tensor, dict[str, float]]:
        """What the student lacks of its teachers along a trial that it drives, and figures to report."""
        c, side_by_side = self._config, self._config.side_by_side
        played = play(self.policy(meta), self._teachers.family, trial).episodes
        episodes = [_by_machine(part, side_by_side) for part in played]
        with torch.no_grad():
            wanted = self._teachers.thought(meta, trial.course, Seen.of(self._view, episodes))
        own = {name: value.unsqueeze(0) for name, value in _student(meta).items()}
        found = self._pupil.thought(own, Seen.of(self._view, list(played)))
        action = found.action.view_as(wanted.action)
        imitation = (
            choice_loss(action, wanted.action, c.temperature)
            if self._chooses
            else imitation_loss(action, wanted.action, c.tolerance).mean()
        )
        figures = {"imitation": float(imitation.detach()), **self._driven(episodes)}
        if not c.features:
            return imitation, figures
        features = self._mapped(meta, found.features.view(*action.shape[:3], -1))
        knowledge = feature_loss(features, wanted.features).mean()
        return imitation + c.features * knowledge, figures | {"features": float(knowledge.detach())}

    def _mapped(self, meta: Tensors, features: Tensor) -> Tensor:
        """The student's features (T, E, L, H) as those of each machine's teacher."""
        tasks = len(features)
        matrix = meta[_MAP][self._teachers.who(tasks)]  # (T, H + 1, n)
        mapped = torch.baddbmm(matrix[:, -1:], features.flatten(1, 2), matrix[:, :-1])
        return mapped.view(*features.shape[:3], -1)

    def _driven(self, episodes: list[Episodes]) -> dict[str, float]:
        """The headline of the trials without noise."""
        family, quiet = self._teachers.family, slice(self._config.explore, None)
        parts = [part.some(quiet) for part in episodes]
        if not parts[0].action.shape[1]:
            return {}
        if not family.spec.headline.pairs:
            return {"return": float(sum(part.reward.sum(-1).mean() for part in parts))}
        cost = joined([family.costs(part.window(), part.reward) for part in parts])[0]
        return {cost.name: float(headline(cost).mean())}


def _typical(spec: TaskSpec) -> tuple[float, float]:
    """Mean and spread of a reward, by the range of its channel."""
    channel = next((channel for channel in spec.observation if channel.source == "reward"), None)
    if channel is None:
        return 0.0, 1.0
    return 0.5 * (channel.minimum + channel.maximum), 0.25 * (channel.maximum - channel.minimum)


def _student(meta: Tensors) -> dict[str, Tensor]:
    return {name: value for name, value in meta.items() if not name.startswith(FOR_TRAINING)}


def _by_machine(part: Episodes, side_by_side: int) -> Episodes:
    """Rows of a played trial (1, T·E, …) as episodes side by side on machines (T, E, …)."""
    return Episodes(*(column.view(-1, side_by_side, *column.shape[2:]) for column in part))
