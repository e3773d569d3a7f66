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
from acclimate.task import references
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.settings.limits import COUNT, require
from acclimate_trainer.tasks.servo.dynamics import (
    ServoState,
    ServoTasks,
    at_rest,
    coefficients,
    observe,
    step,
)
from acclimate_trainer.tasks.servo.ranges import CONTROL_DT

_INTEGRAL_LIMIT = 0.5  # of duty
# Where the search begins: log-uniform between these, in duty per rad, per rad·s, per rad/s, per rad/s.
_LOW, _HIGH = (0.3, 0.01, 0.001, 0.001), (30.0, 30.0, 1.0, 1.0)
_NARROWER = 0.5  # the spread of each round, relative to the one before


@dataclass(frozen=True)
class PidSearch:
    """How to search; each round draws around the best of all before, half as widely."""

    tasks: int = 128
    candidates: int = 192
    rounds: int = 5
    steps: int = 100  # of an episode

    def __post_init__(self) -> None:
        """Raises UsageError for what no search can be."""
        require(self, dict.fromkeys(("tasks", "candidates", "rounds", "steps"), COUNT))


class PidGains(NamedTuple):
    kp: float
    ki: float
    kd: float
    kff: float


class Found(NamedTuple):
    gains: PidGains
    error: float  # RMS over each servo's episode, averaged over servos, rad


class Course(NamedTuple):
    """One episode on each of T servos, the same for all candidates."""

    tasks: ServoTasks
    start: ServoState
    encoder: Tensor  # (T, 1, S)
    target: Tensor  # position and velocity (T, 1, S + 1, 2)


def draw_course(spec: TaskSpec, tasks: ServoTasks, steps: int, rng: np.random.Generator) -> Course:
    """Everything random about an episode on each of `tasks`."""
    start = at_rest(tasks, 1, rng)
    shape = (*start.q.shape, steps)
    encoder = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)) * tasks.noise.unsqueeze(-1)
    target = references.draw(spec, rng, observe(start, start)[:, 0].numpy(), steps)
    return Course(tasks, start, encoder, torch.from_numpy(target).unsqueeze(1))


def search(spec: TaskSpec, tasks: ServoTasks, settings: PidSearch, rng: np.random.Generator) -> Found:
    """The best gains found by random search that narrows; the same servos and references for all candidates.

    tasks: servos whose polarity is as expected: where it is not known, a controller tests its sign first.
    """
    course = draw_course(spec, tasks, settings.steps, rng)
    low, high = np.log(_LOW), np.log(_HIGH)
    best, error, spread = 0.5 * (low + high), float("inf"), 0.5 * (high - low)
    for _ in range(settings.rounds):
        drawn = best + spread * rng.uniform(-1.0, 1.0, (settings.candidates, 4))
        errors = pid_errors(course, torch.tensor(np.exp(drawn), dtype=torch.float32)).mean(0)
        if float(errors.min()) < error:
            best, error = drawn[int(errors.argmin())], float(errors.min())
        spread = spread * _NARROWER
    return Found(PidGains(*(float(gain) for gain in np.exp(best))), error)


@torch.no_grad()
def pid_errors(course: Course, gains: Tensor) -> Tensor:
    """RMS tracking error, rad (T, C), of C controllers `gains` (C, 4): kp, ki, kd, kff, on T servos."""
    lanes = (course.tasks.kt.shape[0], gains.shape[0])
    kp, ki, kd, kff = gains.T
    state = ServoState(*(x.expand(*lanes, *x.shape[2:]) for x in course.start))
    c = coefficients(course.tasks)
    integral, squares = torch.zeros(lanes), torch.zeros(lanes)
    steps = course.encoder.shape[2]
    obs = observe(state, state)
    for t in range(steps):
        position, velocity = obs.unbind(-1)
        target, rate = course.target[:, :, t].expand(*lanes, 2).unbind(-1)
        error = target - position
        integral = F.hardtanh(integral + ki * error * CONTROL_DT, -_INTEGRAL_LIMIT, _INTEGRAL_LIMIT)
        duty = kp * error + integral + kd * (rate - velocity) + kff * rate
        following = step(state, duty.unsqueeze(-1), c, course.encoder[:, :, t])
        obs, state = observe(following, state), following
        squares += (obs[..., 0] - course.target[:, :, t + 1, 0]) ** 2
    return torch.sqrt(squares / steps)
