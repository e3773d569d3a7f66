"""The classical controller of families that track: PID gains found by search, all candidates on all machines at once.

The law is that of the device's PID, docs/cli.md `evaluate`, one for each actuator, in shares of its limits:

    integral = clamp(integral + ki·e·dt, ±0.5)
    output   = clamp(kp·e + integral + kd·(target_velocity − velocity) + kff·target_velocity, ±1)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.task import references
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.contract.family import Differentiable, Session, TaskFamily, Tasks
from acclimate_trainer.settings.limits import COUNT, NOT_NEGATIVE, require

GAINS = ("kp", "ki", "kd", "kff")
_INTEGRAL_LIMIT = 0.5  # of the output
# Where the search begins: log-uniform between these, in full scale per unit of error, of its integral, of rates. Later
# rounds are free to leave this.
_LOW, _HIGH = (0.3, 0.01, 0.0003, 0.0003), (30.0, 100.0, 1.0, 1.0)
_NARROWER = 0.6  # the spread of each round, relative to the one before


class Joint(NamedTuple):
    """What one actuator has to bring where: observed scalars, by name."""

    measured: str
    velocity: str
    target: str
    target_velocity: str


@dataclass(frozen=True)
class PidSearch:
    """How to search; each round draws around the best of all before, more narrowly.

    With several actuators the first half of the rounds is for gains that they share.
    """

    tasks: int = 128
    candidates: int = 192
    rounds: int = 7
    steps: int = 100  # of an episode
    price: float = 0.0
    """What the change of the action costs, in the error's unit per unit of its RMS, of full scale."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no search can be."""
        counts = dict.fromkeys(("tasks", "candidates", "rounds", "steps"), COUNT)
        require(self, {**counts, "price": NOT_NEGATIVE})


class Found(NamedTuple):
    gains: tuple[tuple[float, ...], ...]  # of each actuator, in the order of `GAINS`
    cost: float  # root mean square over all pairs and each machine's episode, and the price; averaged over machines

    def settings(self, actions: Sequence[str]) -> dict[str, float]:
        """As a bundle has them: by name for one actuator, as ACTUATOR.NAME where they are several."""
        prefixes = [""] if len(actions) == 1 else [f"{action}." for action in actions]
        rows = zip(prefixes, self.gains, strict=True)
        return {prefix + name: gain for prefix, row in rows for name, gain in zip(GAINS, row, strict=True)}


class Course(NamedTuple, Generic[Tasks]):
    """One episode on each of T machines, the same for all candidates but for the noise of sensors."""

    family: TaskFamily[Tasks]
    joints: tuple[Joint, ...]
    tasks: Tasks
    start: tuple[Tensor, ...]  # the state of a session, (T, 1, …)
    reference: Tensor  # (T, 1, S + 1, n_references)
    seed: int  # of the noise

    @property
    def spec(self) -> TaskSpec:
        return self.family.spec

    @property
    def steps(self) -> int:
        return self.reference.shape[2] - 1

    def begin(self, candidates: int) -> Session[Tasks]:
        """All candidates in the same place, one idle step after the start, from when on all that is measured is."""
        session = self.family.open(self.tasks, candidates, self.steps + 1, np.random.default_rng(self.seed))
        assert isinstance(session, Differentiable)  # as all are that track here
        pairs = zip(self.start, session.state, strict=True)
        session.state = tuple(part.expand_as(there) for part, there in pairs)
        session.step(_idle(self.spec).expand(*session.obs.shape[:2], -1))
        return session


def draw_course(
    family: TaskFamily[Tasks], joints: Sequence[Joint], tasks: Tasks, steps: int, rng: np.random.Generator
) -> Course[Tasks]:
    """Everything random about an episode on each of `tasks`."""
    seed = int(rng.integers(2**31))
    session = family.open(tasks, 1, steps + 1, np.random.default_rng(seed))
    assert isinstance(session, Differentiable)
    start = session.state
    session.step(_idle(family.spec).expand(*session.obs.shape[:2], -1))
    drawn = torch.from_numpy(references.draw(family.spec, rng, session.obs[:, 0].numpy(), steps))
    return Course(family, tuple(joints), tasks, start, drawn.unsqueeze(1), seed)


def search(
    family: TaskFamily[Tasks],
    joints: Sequence[Joint],
    tasks: Tasks,
    settings: PidSearch,
    rng: np.random.Generator,
) -> Found:
    """The best gains found by random search that narrows, the same machines and references for all candidates.

    tasks: machines whose signs are as expected: where they are not known, a controller tests them first.
    """
    course, count = draw_course(family, joints, tasks, settings.steps, rng), len(joints)
    low, high = np.log(_LOW), np.log(_HIGH)
    best, least = np.tile(0.5 * (low + high), (count, 1)), math.inf
    spread = 0.5 * (high - low)
    for k in range(settings.rounds):
        shared = count == 1 or 2 * k < settings.rounds
        shape = (settings.candidates, 1 if shared else count, len(GAINS))
        drawn = best + spread * rng.uniform(-1.0, 1.0, shape)
        tried = pid_drives(course, torch.tensor(np.exp(drawn), dtype=torch.float32))
        costs = (tried.error + settings.price * tried.change).mean(0)
        if float(costs.min()) < least:
            best, least = drawn[int(costs.argmin())], float(costs.min())
        spread = spread * _NARROWER
    return Found(tuple(tuple(float(gain) for gain in row) for row in np.exp(best)), least)


class Drives(NamedTuple):
    """Of C controllers on T machines, (T, C)."""

    error: Tensor  # root mean square
    change: Tensor  # of the action from tick to tick, of full scale, root mean square


@torch.no_grad()
def pid_drives(course: Course[Tasks], gains: Tensor) -> Drives:
    """How controllers `gains` (C, n_act, 4) drive."""
    spec, session = course.spec, course.begin(len(gains))
    kp, ki, kd, kff = gains.unbind(-1)  # (C, n_act)
    middle, half = _idle(spec), 0.5 * (torch.tensor(spec.limits()[1]) - torch.tensor(spec.limits()[0]))
    columns = [_columns(spec, [joint[i] for joint in course.joints]) for i in range(4)]
    integral, squares, changes = torch.zeros(1), torch.zeros(1), torch.zeros(1)
    before: Tensor | None = None
    for t in range(course.steps):
        place, velocity, target, rate = _read(session.obs, course.reference[:, :, t], columns)
        error = target - place
        integral = F.hardtanh(integral + ki * error * spec.control_dt, -_INTEGRAL_LIMIT, _INTEGRAL_LIMIT)
        output = F.hardtanh(kp * error + integral + kd * (rate - velocity) + kff * rate)
        changes = changes if before is None else changes + (output - before).square().mean(-1)
        before = output
        session.step(middle + half * output)
        place, _, target, _ = _read(session.obs, course.reference[:, :, t + 1], columns)
        squares = squares + (place - target).square().mean(-1)
    return Drives(torch.sqrt(squares / course.steps), torch.sqrt(changes / max(course.steps - 1, 1)))


def _idle(spec: TaskSpec) -> Tensor:
    """The middle between the limits of each action, (n_act,)."""
    low, high = (torch.tensor(ends) for ends in spec.limits())
    return 0.5 * (low + high)


class _Columns(NamedTuple):
    """Where scalars are: among what sensors measure, or among what the reference gives."""

    of_reference: bool
    at: list[int]


def _columns(spec: TaskSpec, names: Sequence[str]) -> _Columns:
    sensors = [name for channel in spec.sensors for name in channel.scalars]
    given = [name for channel in spec.references for name in channel.scalars]
    of_reference = names[0] in given
    return _Columns(of_reference, [(given if of_reference else sensors).index(name) for name in names])


def _read(obs: Tensor, reference: Tensor, columns: Sequence[_Columns]) -> list[Tensor]:
    return [(reference if c.of_reference else obs)[..., c.at] for c in columns]
