"""Privileged teacher to recurrent student (Lee et al. 2020, "Learning quadrupedal locomotion over …").

The teacher, an oracle, is told the machine's true parameters; the student, an `Rl2Policy`, has to find out. The student
drives, and the teacher says what it would have done in its place (DAgger: Ross et al. 2011, algorithm 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.algorithms.distillation.imitating import imitation_loss
from acclimate_trainer.algorithms.distillation.pupils import Seen
from acclimate_trainer.algorithms.distillation.teachers import Told
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.outer_loop.training import Losses
from acclimate_trainer.play.rollouts import Episodes, headline, joined
from acclimate_trainer.play.trials import Trial, run_trial
from acclimate_trainer.settings.limits import POSITIVE, SHARE, require


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
        self._settings = config
        self._teacher: Told[Tasks] = Told(self._family, teacher)

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """How far the student's actions are from the teacher's; later, as `Rl2.losses`."""
        c = self._settings
        if progress >= c.imitation:
            return super().losses(meta, tasks, rng, progress)
        trial = self.trial(tasks, rng, progress, explore=c.explore)
        episodes = run_trial(self.policy(meta), meta, self._family, trial, adjoint_decay=0.0)
        actions = self._view.normal(torch.cat([part.action for part in episodes], dim=2))
        with torch.no_grad():
            wanted = self.advice(trial, episodes)
        total = imitation_loss(actions, wanted, c.tolerance)
        measured = joined([self._family.costs(part.window(), part.reward) for part in episodes])[0]
        followed = measured._replace(values=measured.values[:, c.explore :])
        return Losses(total, {"imitation": total, measured.name: headline(followed)})

    def advice(self, trial: Trial[Tasks], episodes: Sequence[Episodes]) -> Tensor:
        """What the teacher would have done in every tick of the trial, within ±1 (T, E, ticks, n_act)."""
        return self._teacher.thought({}, trial.course, Seen.of(self._view, episodes)).action
