"""Privileged teacher to recurrent student (Lee et al. 2020, "Learning quadrupedal locomotion over …").

The teacher, an oracle, is told the servo's true parameters; the student, an `Rl2Policy`, has to find out. The student
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
from acclimate_trainer.contract.policy import Policy, Tensors, stacked
from acclimate_trainer.outer_loop.limits import POSITIVE, SHARE, require
from acclimate_trainer.outer_loop.training import Losses
from acclimate_trainer.play.rollouts import Episodes
from acclimate_trainer.play.trials import Trial, previous_actions, run_trial, squared_errors
from acclimate_trainer.tasks.servo import ServoFamily, ServoTasks

_LEAST = 1e-3  # of the teacher's usual action


@dataclass(frozen=True)
class StudentConfig(Rl2Config):
    """Section [student] of a config: as [rl2], and these."""

    teacher: str = ""
    """Folder of the run that trained the oracle."""
    imitation: float = 0.7
    """Share of training, at its beginning, in which the teacher is imitated; then the tracking error itself counts."""
    tolerance: float = 0.5
    """Difference of actions, as a share of what the teacher usually does, from which on the loss is a logarithm."""
    explore: int = 2
    """How many of the trials side by side have noise on their actions while the teacher is imitated."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        super().__post_init__()
        require(self, {"imitation": SHARE, "tolerance": POSITIVE})
        if not self.teacher:
            raise UsageError("teacher must name the folder of a run of an oracle")
        if not 0 <= self.explore <= self.side_by_side:
            raise UsageError(
                f"explore must be from 0 to side_by_side, {self.side_by_side}, found {self.explore}"
            )


class Student(Rl2):
    """Trains an `Rl2Policy` to do what a teacher does."""

    def __init__(self, family: ServoFamily, config: StudentConfig, teacher: Callable[[], Policy]) -> None:
        """`teacher` gives the oracle; it is asked when training begins, since a bundle is rebuilt without one."""
        super().__init__(ServoFamily(family.ranges, through_stops=True), config)
        self._settings, self._load_teacher = config, teacher
        self._teacher: Policy | None = None

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """How far the student's actions are from the teacher's; later, as `Rl2.losses`."""
        c = self._settings
        if progress >= c.imitation:
            return super().losses(meta, tasks, rng, progress)
        trial = self.trial(tasks, rng, progress, explore=c.explore)
        episodes = run_trial(self.policy(meta), meta, self._family, trial, adjoint_decay=0.0)
        actions = torch.cat([part.action for part in episodes], dim=2)
        with torch.no_grad():
            wanted = self._advice(trial, episodes)
        total = imitation_loss(actions, wanted, c.tolerance)
        error = squared_errors(episodes)[:, c.explore :]
        return Losses(total, {"imitation": total, "error": error.mean(dim=(1, 2)).sqrt()})

    def _advice(self, trial: Trial, episodes: list[Episodes]) -> Tensor:
        """What the teacher would have done in every tick of the trial, (T, E, ticks, 1)."""
        obs = torch.cat([part.obs[:, :, :-1] for part in episodes], dim=2)
        previous = torch.cat([previous_actions(part.action) for part in episodes], dim=2)
        course = trial.course
        before, after = (self._told(tasks, obs, previous) for tasks in (course.before, course.after))
        changed = course.at.view(-1, 1, 1, 1) <= torch.arange(obs.shape[2]).unsqueeze(-1)
        return torch.where(changed, after, before)

    def _told(self, tasks: ServoTasks, obs: Tensor, previous: Tensor) -> Tensor:
        """The teacher's actions, were the servos these ones: (T, E, ticks, 1)."""
        self._teacher = self._teacher or self._load_teacher()
        count, rows = obs.shape[0], obs.shape[1] * obs.shape[2]
        state = stacked(self._teacher, count, rows) | {"task": tasks.privileged()}
        state["previous_action"] = previous.reshape(count, rows, -1)
        act = self._teacher.act(state, obs.reshape(count, rows, -1), torch.zeros(count, rows, 1))
        return act.action.view(previous.shape)


def imitation_loss(actions: Tensor, wanted: Tensor, tolerance: float) -> Tensor:
    """log(1 + (difference/tolerance)²) of actions (T, E, ticks, 1), in units of what is usual on each task: (T,)."""
    usual = wanted.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + _LEAST
    return torch.log1p(((actions - wanted) / (tolerance * usual)).square()).mean(dim=(1, 2, 3))
