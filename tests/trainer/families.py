"""A machine with two unlike actuators to test with, and variants of it that lack what algorithms may ask for.

A glider in a vertical plane. `tilt`, within ±0.2 rad, moves it sideways, to the side that it is rigged for; `lift`,
from 0 to 3 N, moves it up as far as it exceeds its weight. In every period of 50 ms

    x' = x + 0.05·side·gain·tilt        z' = z + 0.05·gain/5·(lift − weight)        within ±2 m and ±3 m

References stand between the sensors in its observation, and its actions are neither within ±1 nor around 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from acclimate.task.spec import (
    CHATTER,
    ActionChannel,
    Feature,
    Metric,
    ObservationChannel,
    Parameter,
    TaskSpec,
    Term,
    Track,
    TrackingReference,
)
from acclimate_trainer.contract.family import Step
from torch import Tensor

DT, TILT, LIFT = 0.05, 0.2, 3.0
GAIN, WEIGHT = (10.0, 30.0), (1.0, 2.0)
X, Z = ObservationChannel("x", "m", -2.0, 2.0), ObservationChannel("z", "m", -3.0, 3.0)
WANTED = (
    ObservationChannel("x_wanted", "m", -2.0, 2.0, "reference"),
    ObservationChannel("z_wanted", "m", -3.0, 3.0, "reference"),
)
WALLS = torch.tensor([2.0, 3.0])
PAIRS = (("x", "x_wanted"), ("z", "z_wanted"))
SPEC = TaskSpec(
    name="glider",
    control_dt=DT,
    observation=(X, *WANTED, Z),
    action=(ActionChannel("tilt", "rad", -TILT, TILT), ActionChannel("lift", "N", 0.0, LIFT, neutral=1.5)),
    parameters=(
        Parameter("gain", "1/s", 0.5 * GAIN[0], GAIN[1], "log"),
        Parameter("side", "1", -1.0, 1.0, "sign"),
        Parameter("weight", "N", *WEIGHT),
    ),
    metrics=(Metric("error", "rms", "m", PAIRS), CHATTER),
    # In the order of z and x, which is not that of the channels.
    reference=TrackingReference((Track("z", "z_wanted", amplitude=1.2), Track("x", "x_wanted", center=0.2))),
    features=(
        Feature("near", "at the target", term=Term("error", ("x", "x_wanted", "z", "z_wanted"), "nearness", 0.5, 0.1)),
        Feature("exact", "close", term=Term("error", ("x", "x_wanted"), "magnitude", -20.0, 0.01)),
        Feature("calm", "few changes", term=Term("change", ("tilt", "lift"), "magnitude", -5.0, 0.01)),
        Feature("level", "upright", term=Term("action", ("tilt",), "square", -50.0)),
        Feature("soft", "no jerks", term=Term("jerk", ("x", "z"), "square", -30.0)),
    ),
    horizon=30,
    differentiable=True,
)  # fmt: skip


class Gliders(NamedTuple):
    """Each (T, 1)."""

    gain: Tensor
    side: Tensor
    weight: Tensor


class GliderSession:
    """Moves as the module says. The reward is minus the distance from the origin, squared."""

    def __init__(self, tasks: Gliders, start: Tensor) -> None:
        """start (T, E, 2): x and z."""
        self._tasks = tasks
        self.state: tuple[Tensor, ...] = (start,)

    @property
    def obs(self) -> Tensor:
        return self.state[0]

    def step(self, action: Tensor) -> Step:
        tilt, lift = action[..., 0].clamp(-TILT, TILT), action[..., 1].clamp(0.0, LIFT)
        t = self._tasks
        rate = torch.stack([t.side * t.gain * tilt, 0.2 * t.gain * (lift - t.weight)], dim=-1)
        self.state = (torch.minimum(torch.maximum(self.state[0] + DT * rate, -WALLS), WALLS),)
        never = torch.zeros(tilt.shape, dtype=torch.bool)
        return Step(-self.state[0].square().sum(-1), never, never)

    def become(self, tasks: Gliders, where: Tensor) -> None:
        pairs = zip(tasks, self._tasks, strict=True)
        self._tasks = Gliders(*(torch.where(where.unsqueeze(-1), new, old) for new, old in pairs))


@dataclass(frozen=True)
class GliderFamily:
    """Follows a reference; half of them are rigged the wrong way round, if `mirrored`."""

    mirrored: bool = True

    @property
    def spec(self) -> TaskSpec:
        return SPEC

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Gliders:
        wrong = (rng.random((n, 1)) < 0.5 * progress) & self.mirrored
        gain, weight = (
            np.exp(rng.uniform(np.log(GAIN[0]), np.log(GAIN[1]), (n, 1))),
            rng.uniform(*WEIGHT, (n, 1)),
        )
        return Gliders(
            *(torch.tensor(c, dtype=torch.float32) for c in (gain, np.where(wrong, -1.0, 1.0), weight))
        )

    def parameters(self, tasks: Gliders) -> Tensor:
        return torch.cat(tasks, dim=-1)

    def open(self, tasks: Gliders, episodes: int, steps: int, rng: np.random.Generator) -> GliderSession:
        del steps
        start = rng.uniform(-1.0, 1.0, (len(tasks.gain), episodes, 2))
        return GliderSession(tasks, torch.tensor(start, dtype=torch.float32))

    def change(self, tasks: Gliders, rng: np.random.Generator, progress: float = 1.0) -> Gliders:
        """They turn, and lose half of their gain or more."""
        del progress
        share = torch.tensor(rng.uniform(0.5, 0.8, tasks.gain.shape), dtype=torch.float32)
        return tasks._replace(gain=share * tasks.gain, side=-tasks.side if self.mirrored else tasks.side)


class HomingSession(GliderSession):
    """Measures its reward, too; before the first step it is 0."""

    def __init__(self, tasks: Gliders, start: Tensor) -> None:
        super().__init__(tasks, start)
        self.state = (start, torch.zeros(start.shape[:2]))

    @property
    def obs(self) -> Tensor:
        return torch.cat([self.state[1].unsqueeze(-1), self.state[0]], dim=-1)

    def step(self, action: Tensor) -> Step:
        step = super().step(action)
        self.state = (self.state[0], step.reward)
        return step


HOMING = replace(
    SPEC,
    name="homing",
    observation=(ObservationChannel("reward", "m²", -20.0, 0.0, "reward"), X, Z),
    metrics=(Metric("return", "reward"),),
    reference=None,
    features=(),
)


class HomingFamily(GliderFamily):
    """Is to fly to the origin, which it knows of by a reward alone: no reference, no features."""

    @property
    def spec(self) -> TaskSpec:
        return HOMING

    def open(self, tasks: Gliders, episodes: int, steps: int, rng: np.random.Generator) -> HomingSession:
        return HomingSession(tasks, super().open(tasks, episodes, steps, rng).state[0])


class OpaqueSession:
    """As somebody else's simulator is: no gradient, no state to set; an episode ends after `every` steps."""

    def __init__(self, inner: GliderSession, every: int) -> None:
        self._inner, self._begin, self._every, self._tick = inner, inner.state, every, 0

    @property
    def obs(self) -> Tensor:
        return self._inner.obs

    def step(self, action: Tensor) -> Step:
        step = self._inner.step(action.detach())
        self._tick += 1
        if self._tick % self._every:
            return step
        self._inner.state = self._begin
        return step._replace(truncated=torch.ones_like(step.truncated))

    def become(self, tasks: Gliders, where: Tensor) -> None:
        self._inner.become(tasks, where)


@dataclass(frozen=True)
class OpaqueFamily:
    """Gliders that nobody can differentiate, and that nothing happens to."""

    every: int = 4

    @cached_property
    def spec(self) -> TaskSpec:
        return replace(SPEC, name="opaque", differentiable=False)

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Gliders:
        return GliderFamily().sample(n, rng, progress)

    def parameters(self, tasks: Gliders) -> Tensor:
        return torch.cat(tasks, dim=-1)

    def open(self, tasks: Gliders, episodes: int, steps: int, rng: np.random.Generator) -> OpaqueSession:
        return OpaqueSession(GliderFamily().open(tasks, episodes, steps, rng), self.every)
