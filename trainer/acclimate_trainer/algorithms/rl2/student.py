"""Privileged teacher to recurrent student (Lee et al. 2020, "Learning quadrupedal locomotion over …").

The teacher, an oracle, is told the machine's true parameters; the student, an `Rl2Policy`, has to find out. The student
drives, and the teacher says what it would have done in its place (DAgger: Ross et al. 2011, algorithm 3.1).

Where the teacher acts on what the student cannot know yet, the mean of what it might do, which least squares aim at,
may be no action at all: of a motor wired either way round that teaches nothing. The loss here grows as a
logarithm, and so prefers one of the teacher's possible actions to all that lie between: the student tries
something, sees what comes of it, and knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Policy, Tensors, stacked
from acclimate_trainer.outer_loop.training import Losses
from acclimate_trainer.play.rollouts import Episodes, headline, joined
from acclimate_trainer.play.trials import Trial, previous_actions, run_trial
from acclimate_trainer.settings.limits import POSITIVE, SHARE, require

_LEAST = 1e-3  # of the teacher's usual action


@dataclass(frozen=True)
class StudentConfig(Rl2Config):
    """Section [student] of a config: as [rl2], and these."""

    teacher: str = ""
    """Folder of the run that trained the oracle."""
    imitation: float = 0.7
    """Share of training, at its beginning, in which the teacher is imitated; then the family's costs count."""
    tolerance: float = 0.5
    """Difference of actions, as a share of what the teacher usually does, from which on the loss is a logarithm."""
    explore: int = 2
    """How many of the trials side by side have noise on their actions while the teacher is imitated."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        super().__post_init__()
        require(self, {"imitation": SHARE, "tolerance": POSITIVE})
        if self.window:
            raise UsageError(
                f"window must be 0, found {self.window}: a teacher is imitated over whole trials"
            )
        if not self.teacher:
            raise UsageError("teacher must name the folder of a run of an oracle")
        if not 0 <= self.explore <= self.side_by_side:
            raise UsageError(
                f"explore must be from 0 to side_by_side, {self.side_by_side}, found {self.explore}"
            )


class Student(Rl2[Tasks]):
    """Trains an `Rl2Policy` to do what a teacher does."""

    def __init__(
        self,
        family: TaskFamily[Tasks] | Complete[Tasks],
        config: StudentConfig,
        teacher: Callable[[], Policy],
    ) -> None:
        """`teacher` gives the oracle; it is asked when training begins, since a bundle is rebuilt without one."""
        super().__init__(family, config)
        self._settings, self._load_teacher = config, teacher
        self._teacher: Policy | None = None

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """How far the student's actions are from the teacher's; later, as `Rl2.losses`."""
        c = self._settings
        if progress >= c.imitation:
            return super().losses(meta, tasks, rng, progress)
        trial = self.trial(tasks, rng, progress, explore=c.explore)
        episodes = run_trial(self.policy(meta), meta, self._family, trial, adjoint_decay=0.0)
        actions = self._view.normal(torch.cat([part.action for part in episodes], dim=2))
        with torch.no_grad():
            wanted = self._view.normal(self._advice(trial, episodes))
        total = imitation_loss(actions, wanted, c.tolerance)
        measured = joined([self._family.costs(part.window(), part.reward) for part in episodes])[0]
        followed = measured._replace(values=measured.values[:, c.explore :])
        return Losses(total, {"imitation": total, measured.name: headline(followed)})

    def _advice(self, trial: Trial[Tasks], episodes: list[Episodes]) -> Tensor:
        """What the teacher would have done in every tick of the trial, (T, E, ticks, n_act)."""
        obs = torch.cat([part.obs[:, :, :-1] for part in episodes], dim=2)
        previous = torch.cat([previous_actions(self._view, part.action) for part in episodes], dim=2)
        course = trial.course
        before, after = (self._told(machines, obs, previous) for machines in (course.before, course.after))
        changed = course.at.view(-1, 1, 1, 1) <= torch.arange(obs.shape[2]).unsqueeze(-1)
        return torch.where(changed, after, before)

    def _told(self, machines: Tasks, obs: Tensor, previous: Tensor) -> Tensor:
        """The teacher's actions, were the machines these ones: (T, E, ticks, n_act)."""
        self._teacher = self._teacher or self._load_teacher()
        count, rows = obs.shape[0], obs.shape[1] * obs.shape[2]
        state = stacked(self._teacher, count, rows) | {"task": self._family.parameters(machines)}
        state["previous_action"] = previous.reshape(count, rows, -1)
        noise = torch.zeros(count, rows, self._teacher.n_noise)
        act = self._teacher.act(state, obs.reshape(count, rows, -1), noise)
        return act.action.view(previous.shape)


def imitation_loss(actions: Tensor, wanted: Tensor, tolerance: float) -> Tensor:
    """log(1 + (difference/tolerance)²) of actions (T, E, ticks, n_act), in units of what is usual on a task: (T,)."""
    usual = wanted.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + _LEAST
    return torch.log1p(((actions - wanted) / (tolerance * usual)).square()).mean(dim=(1, 2, 3))
