"""The classical baseline: PID gains tuned over the family by search, all candidates on all servos at once.

The law is that of the device's PID, docs/cli.md `evaluate`:

    integral = clamp(integral + ki·e·dt, ±0.5)
    duty     = clamp(kp·e + integral + kd·(target_velocity − velocity) + kff·target_velocity, ±1)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.baselines.pid_gains import PidGains
from acclimate_trainer.outer_loop.limits import COUNT, require
from acclimate_trainer.play.rollouts import Surroundings, draw
from acclimate_trainer.tasks.servo import CONTROL_DT, ServoFamily, ServoState, ServoTasks, observe

_INTEGRAL_LIMIT = 0.5  # of duty
# Where the search begins: log-uniform between these, in duty per rad, per rad·s, per rad/s, per rad/s.
_LOW, _HIGH = (0.3, 0.01, 0.001, 0.001), (30.0, 30.0, 1.0, 1.0)
_NARROWER = 0.5  # the spread of each round, relative to the one before


@dataclass(frozen=True)
class PidConfig:
    """Section [pid]: the search for the classical baseline that the bundle carries."""

    tasks: int = 128
    """Servos that every candidate drives."""
    candidates: int = 192
    """Gains drawn in every round."""
    rounds: int = 5
    """Rounds; each draws around the best of all before, half as widely."""
    episode_steps: int = 100
    """Ticks of an episode."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no search can be."""
        require(self, dict.fromkeys(("tasks", "candidates", "rounds", "episode_steps"), COUNT))


class Found(NamedTuple):
    gains: PidGains
    error: float  # RMS over each servo's episode, averaged over servos, rad


def search(family: ServoFamily, config: PidConfig, rng: np.random.Generator) -> Found:
    """The best gains found by random search that narrows; the same servos and references for all candidates.

    Where the family's polarity is unknown, the controller tests its sign first, and the gains are those for a
    known one.
    """
    tasks = family.sample(config.tasks, rng)
    upright = tasks._replace(polarity=torch.ones_like(tasks.polarity))
    surroundings = draw(family, upright, rng, explore=0, measure=1, steps=config.episode_steps)
    low, high = np.log(_LOW), np.log(_HIGH)
    best, error, spread = 0.5 * (low + high), float("inf"), 0.5 * (high - low)
    for _ in range(config.rounds):
        drawn = best + spread * rng.uniform(-1.0, 1.0, (config.candidates, 4))
        errors = pid_errors(
            family, upright, surroundings, torch.tensor(np.exp(drawn), dtype=torch.float32)
        ).mean(0)
        if float(errors.min()) < error:
            best, error = drawn[int(errors.argmin())], float(errors.min())
        spread = spread * _NARROWER
    kp, ki, kd, kff = (float(gain) for gain in np.exp(best))
    return Found(PidGains(kp, ki, kd, kff, sign_test=family.ranges.polarity[0] < 0.0), error)


@torch.no_grad()
def pid_errors(family: ServoFamily, tasks: ServoTasks, surroundings: Surroundings, gains: Tensor) -> Tensor:
    """RMS tracking error, rad (T, C), of C controllers `gains` (C, 4): kp, ki, kd, kff, on T servos.

    Each servo's one episode of `surroundings` is driven by all of them.
    """
    lanes = (tasks.kt.shape[0], gains.shape[0])
    kp, ki, kd, kff = gains.T
    state = ServoState(*(x.expand(*lanes, *x.shape[2:]) for x in surroundings.start))
    coefficients = family.coefficients(tasks)
    integral, squares = torch.zeros(lanes), torch.zeros(lanes)
    steps = surroundings.encoder.shape[2]
    obs = observe(state, state, surroundings.target[:, :, 0].expand(*lanes, 2))
    for t in range(steps):
        position, velocity, target, rate = obs.unbind(-1)
        error = target - position
        integral = F.hardtanh(integral + ki * error * CONTROL_DT, -_INTEGRAL_LIMIT, _INTEGRAL_LIMIT)
        duty = kp * error + integral + kd * (rate - velocity) + kff * rate
        following = family.step(state, duty.unsqueeze(-1), coefficients, surroundings.encoder[:, :, t])
        obs = observe(following, state, surroundings.target[:, :, t + 1].expand(*lanes, 2))
        state = following
        squares += (obs[..., 0] - obs[..., 2]) ** 2
    return torch.sqrt(squares / steps)
