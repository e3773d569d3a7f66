"""A discrete family that is known by hand: only the last step of an episode pays, and how much is the task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from acclimate.task.spec import ActionChannel, Metric, ObservationChannel, Parameter, TaskSpec
from acclimate_trainer.contract.family import Step
from torch import Tensor


class Bells(NamedTuple):
    """Each (T, 1)."""

    prize: Tensor


class BellSession:
    """The first entry of the state is 1 at the begin of an episode, the second afterwards."""

    def __init__(self, family: BellFamily, tasks: Bells, episodes: int) -> None:
        self._family, self._prize, self.t = family, tasks.prize, 0
        self._reward = torch.zeros(len(tasks.prize), episodes)

    @property
    def obs(self) -> Tensor:
        begins = torch.full_like(self._reward, float(self.t == 0))
        return torch.stack([begins, 1.0 - begins, self._reward], dim=-1)

    def step(self, action: Tensor) -> Step:
        del action
        last = self.t == self._family.length - 1
        self.t = 0 if last else self.t + 1
        self._reward = self._prize.expand_as(self._reward) * float(last)
        ended, never = (torch.full(self._reward.shape, flag) for flag in (last, False))
        return Step(self._reward, *((ended, never) if self._family.terminates else (never, ended)))

    def become(self, tasks: Bells, where: Tensor) -> None:
        self._prize = torch.where(where.unsqueeze(-1), tasks.prize, self._prize)


@dataclass(frozen=True)
class BellFamily:
    """Episodes of `length` steps; `horizon` is what is opened at once, and so may hold several of them."""

    length: int = 3
    horizon: int = 3
    terminates: bool = False

    @cached_property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="bell",
            control_dt=0.1,
            observation=(
                ObservationChannel("state", "1", 0.0, 1.0, shape=(2,)),
                ObservationChannel("reward", "1", -10.0, 10.0, source="reward"),
            ),
            action=(ActionChannel("action", "1", 0.0, 1.0),),
            parameters=(Parameter("prize", "1", -10.0, 10.0),),
            metrics=(Metric("reward", "reward"),),
            choices=((0.0,), (1.0,)),
            horizon=self.horizon,
            episodes=2,
        )

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Bells:
        del progress
        return Bells(torch.from_numpy(rng.normal(size=(n, 1)).clip(-5.0, 5.0).astype(np.float32)))

    def parameters(self, tasks: Bells) -> Tensor:
        return tasks.prize

    def open(self, tasks: Bells, episodes: int, steps: int, rng: np.random.Generator) -> BellSession:
        del steps, rng
        return BellSession(self, tasks, episodes)

    def inputs(self, obs: Tensor) -> Tensor:
        return obs[..., :2]
