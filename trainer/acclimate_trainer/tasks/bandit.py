"""Bernoulli bandits: k arms, each of which pays 1 with a probability p ~ U(0, 1); an episode is one pull.

RL² (Duan et al. 2016), section 3.1, with n = `episodes` pulls in a trial. A bandit has no state: all that an agent can
know is in its previous actions and rewards. `baselines.bandit_optimum` is the exact ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from acclimate.errors import UsageError
from acclimate.task.spec import ActionChannel, Metric, ObservationChannel, Parameter, TaskSpec
from torch import Tensor

from acclimate_trainer.contract.family import Session, Step

CONTROL_DT = 0.1  # s; a pull takes no time, but on a wire everything does


class BanditTasks(NamedTuple):
    """T bandits."""

    p: Tensor  # probability that an arm pays (T, k)


class BanditSession:
    """Pulls of E bandits for each task; the one observation is what the last pull paid."""

    def __init__(self, tasks: BanditTasks, episodes: int, rng: np.random.Generator) -> None:
        self._p = tasks.p.unsqueeze(1)  # (T, 1, k)
        self._rng = np.random.default_rng(rng.integers(2**63))  # its own, whatever else is drawn meanwhile
        self.obs = torch.zeros(len(tasks.p), episodes, 1)

    def step(self, action: Tensor) -> Step:
        """Pull the arms whose numbers are nearest to `action` (T, E, 1)."""
        arm = action.round().clamp(0, self._p.shape[-1] - 1).long()
        chance = self._p.expand(*arm.shape[:2], -1).gather(-1, arm)
        luck = torch.from_numpy(self._rng.random(chance.shape, dtype=np.float32))
        self.obs = (luck < chance).to(chance.dtype)
        always = torch.ones(chance.shape[:2], dtype=torch.bool)
        return Step(self.obs.squeeze(-1), ~always, always)

    def become(self, tasks: BanditTasks, where: Tensor) -> None:
        self._p = torch.where(where.view(-1, 1, 1), tasks.p.unsqueeze(1), self._p)


@dataclass(frozen=True)
class BanditFamily:
    """Section [family.options] of a config: bandits of `arms` arms, `episodes` pulls each."""

    arms: int = 5
    """Arms of a bandit."""
    episodes: int = 10
    """Pulls of a trial."""

    def __post_init__(self) -> None:
        """Raises UsageError for no arms or no pulls."""
        if self.arms < 1 or self.episodes < 1:
            raise UsageError(
                "a bandit needs at least one arm and one pull, "
                f"found arms {self.arms}, episodes {self.episodes}"
            )

    @cached_property
    def spec(self) -> TaskSpec:
        arms = range(self.arms)
        return TaskSpec(
            name="bandit",
            control_dt=CONTROL_DT,
            observation=(ObservationChannel("reward", "1", 0.0, 1.0, source="reward"),),
            action=(ActionChannel("arm", "1", 0.0, float(max(self.arms - 1, 1))),),
            parameters=tuple(Parameter(f"p_{arm}", "1", 0.0, 1.0) for arm in arms),
            metrics=(Metric("reward", "reward"),),
            choices=tuple((float(arm),) for arm in arms),
            horizon=1,
            episodes=self.episodes,
        )

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> BanditTasks:
        del progress  # no bandit is harder than another
        return BanditTasks(torch.from_numpy(rng.random((n, self.arms), dtype=np.float32)))

    def parameters(self, tasks: BanditTasks) -> Tensor:
        return tasks.p

    def open(self, tasks: BanditTasks, episodes: int, steps: int, rng: np.random.Generator) -> BanditSession:
        del steps  # a bandit has no end
        return BanditSession(tasks, episodes, rng)

    def inputs(self, obs: Tensor) -> Tensor:
        """There is nothing to see: a 1."""
        return torch.ones_like(obs[..., :1])

    @property
    def reward_prior(self) -> tuple[float, float]:
        """Beta(1, 1): after w wins in n pulls, the posterior mean is (1 + w)/(2 + n)."""
        return 0.5, 2.0

    @property
    def n_critic(self) -> int:
        return self.arms

    def critic(self, tasks: BanditTasks, session: Session[BanditTasks]) -> Tensor:
        """The arms' p, (T, E, k)."""
        return tasks.p.unsqueeze(1).expand(-1, session.obs.shape[1], -1)
