"""The reacher: an arm of two joints in a plane, whose tip should go to a target and stay there.

Barreto et al., "Successor Features for Transfer in Reinforcement Learning" (2017), section 5.2: 12 targets, 4 to train
on and 8 to test on; nine actions, each joint's torque being at its least, none, or at its most; and

    φ_i(s, a, s') = 1 − 4·‖tip(s') − target_i‖,      i = 1 … 12,      γ = 0.9

As there, φ has an entry for every target, the tested ones included, so that each task is a one-hot w: what an agent
has not been given is a policy for a tested target, and not the feature that its reward is made of. (Of the four
training targets' φ alone a tested reward is no linear function: see `SuccessorConfig.features`.) Where the targets
are the paper shows in a picture; here they are where reimplementations put them: the training ones at 14 cm from the
shoulder along the axes, the tested ones at 22 cm, which the arm of 21 cm does not quite reach, and on the diagonals.

Links and masses are those of MuJoCo's reacher: 0.1 m and 0.11 m, cylinders of 36 g each, a tip of 4 g, without
gravity; an episode begins at rest, with the shoulder anywhere and the elbow within a quarter turn, and no state ends
it. What differs: MuJoCo's joints have so much rotor inertia (1 kg·m²) and gear (200) that each is a double integrator
of its own. Here rotor inertia and friction are those of a small motor (`ROTOR`, `DAMPING`, `TORQUE`), so that the
links' own inertia couples the joints; the step is 50 ms rather than 20 ms; the elbow's stops at ±3 rad take all speed.

    M(θ₂)·θ̈ + c(θ₂, θ̇) + DAMPING·θ̇ = torque

An arm's reward reaches the policy as an observation, of the transition before. The nine pairs of torques are the
paper's; `discrete = false` takes any torques between the limits, for algorithms whose actions are continuous.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from acclimate.errors import UsageError
from acclimate.names import did_you_mean
from acclimate.task.spec import (
    CHATTER,
    ENERGY,
    ActionChannel,
    Feature,
    Metric,
    ObservationChannel,
    Parameter,
    TaskSpec,
)
from torch import Tensor

from acclimate_trainer.contract.family import Step
from acclimate_trainer.contract.policy import Window

CONTROL_DT = 0.05  # s
DISCOUNT = 0.9
LINKS = (0.1, 0.11)  # m
_MASSES = (0.036, 0.036, 0.004)  # of both links and of the tip, kg
ROTOR, DAMPING, TORQUE = 1e-3, 8e-3, 0.08  # of either joint: kg·m², N·m·s/rad, N·m at its most
ELBOW_STOP = 3.0  # rad
_SPEED = 2.0 * TORQUE / DAMPING  # rad/s; twice what a joint by itself tends to
_SPEED_SCALE = 0.25
_TINY = 1e-12  # m²; keeps the square root differentiable

TRAINING = {"east": (0.14, 0.0), "west": (-0.14, 0.0), "north": (0.0, 0.14), "south": (0.0, -0.14)}  # m
TEST = {
    "far_east": (0.22, 0.0),
    "far_west": (-0.22, 0.0),
    "far_north": (0.0, 0.22),
    "far_south": (0.0, -0.22),
    "north_east": (0.1, 0.1),
    "south_east": (0.1, -0.1),
    "north_west": (-0.1, 0.1),
    "south_west": (-0.1, -0.1),
}
NAMES = (*TRAINING, *TEST)  # of the targets, and so of the features
TARGETS = torch.tensor([*TRAINING.values(), *TEST.values()])  # m (12, 2)
_SETS = {"training": tuple(TRAINING), "test": tuple(TEST), "all": NAMES}
ACTIONS = torch.tensor(list(product((-TORQUE, 0.0, TORQUE), repeat=2)))  # N·m (9, 2)

# Of the equation of motion, with rods of uniform mass: inertia about shoulder and elbow, and their coupling, kg·m².
_UPPER = _MASSES[0] * LINKS[0] ** 2 / 3 + (_MASSES[1] + _MASSES[2]) * LINKS[0] ** 2
_LOWER = (_MASSES[1] / 3 + _MASSES[2]) * LINKS[1] ** 2
_COUPLING = (_MASSES[1] / 2 + _MASSES[2]) * LINKS[0] * LINKS[1]


class Arms(NamedTuple):
    """Where arms are, with any number of axes in front."""

    angle: Tensor  # of shoulder, and of elbow relative to the upper link, rad (…, 2)
    velocity: Tensor  # rad/s (…, 2)


def reset(shape: tuple[int, ...], rng: np.random.Generator) -> Arms:
    """Arms at rest, at the begin of an episode."""
    high = np.array([math.pi, math.pi / 2])
    angle = torch.tensor(rng.uniform(-high, high, (*shape, 2)), dtype=torch.float32)
    return Arms(angle, torch.zeros_like(angle))


def driven(arms: Arms, torque: Tensor) -> Arms:
    """One control step under torques (…, 2), by the midpoint method (Runge-Kutta of order 2)."""
    half = 0.5 * CONTROL_DT
    middle = Arms(arms.angle + half * arms.velocity, arms.velocity + half * acceleration(arms, torque))
    angle = arms.angle + CONTROL_DT * middle.velocity
    velocity = arms.velocity + CONTROL_DT * acceleration(middle, torque)
    shoulder, elbow = angle.unbind(-1)
    going = torch.stack([torch.ones_like(elbow), (elbow.abs() <= ELBOW_STOP).to(angle.dtype)], -1)
    return Arms(torch.stack([shoulder, elbow.clamp(-ELBOW_STOP, ELBOW_STOP)], -1), velocity * going)


def acceleration(arms: Arms, torque: Tensor) -> Tensor:
    """θ̈ (…, 2) under torques (…, 2)."""
    (v1, v2), elbow = arms.velocity.unbind(-1), arms.angle[..., 1]
    couple, centrifugal = _COUPLING * torch.cos(elbow), _COUPLING * torch.sin(elbow)
    push1, push2 = (torque - DAMPING * arms.velocity).unbind(-1)
    push1 = push1 + centrifugal * (2.0 * v1 * v2 + v2 * v2)
    push2 = push2 - centrifugal * v1 * v1
    m11, m12, m22 = ROTOR + _UPPER + _LOWER + 2.0 * couple, _LOWER + couple, ROTOR + _LOWER
    determinant = m11 * m22 - m12 * m12
    return torch.stack([m22 * push1 - m12 * push2, m11 * push2 - m12 * push1], -1) / determinant.unsqueeze(-1)


def energy(arms: Arms) -> Tensor:
    """Kinetic energy, J (…): that of rotors and links, which is all that there is."""
    (v1, v2), couple = arms.velocity.unbind(-1), _COUPLING * torch.cos(arms.angle[..., 1])
    m11, m12, m22 = ROTOR + _UPPER + _LOWER + 2.0 * couple, _LOWER + couple, ROTOR + _LOWER
    return 0.5 * (m11 * v1 * v1 + m22 * v2 * v2) + m12 * v1 * v2


def directions(angle: Tensor) -> Tensor:
    """Unit vectors along both links (…, 4): cosines of upper and lower link, then sines."""
    return torch.sin(angle @ _TO_LINKS + _QUARTERS)  # of both angles at once: cos x = sin(x + π/2)


def tip(links: Tensor) -> Tensor:
    """Position of the tip, m (…, 2), from `directions` (…, 4)."""
    return links @ _TO_TIP


def features(links: Tensor) -> Tensor:
    """φ (…, 12) of arriving where the links are in `directions` (…, 4)."""
    away = tip(links).unsqueeze(-2) - TARGETS  # (…, 12, 2)
    return 1.0 - 4.0 * (away.square().sum(-1) + _TINY).sqrt()


def inputs(links: Tensor, velocity: Tensor) -> Tensor:
    """What a network sees (…, 6), about 1 in size."""
    return torch.cat([links, velocity * _SPEED_SCALE], -1)


def observe(arms: Arms, reward: Tensor) -> Tensor:
    """Observations (…, 5) as the channels name them; `reward` (…) of the transition that led here. Angles within ±π."""
    shoulder = torch.remainder(arms.angle[..., :1] + math.pi, 2.0 * math.pi) - math.pi
    return torch.cat([shoulder, arms.angle[..., 1:], arms.velocity, reward.unsqueeze(-1)], -1)


def task_vectors(names: Sequence[str]) -> Tensor:
    """w (n, 12) of the tasks to reach these targets. Raises UsageError for a target that there is not."""
    for name in names:
        if name not in NAMES:
            raise UsageError(f"the reacher has no target {name!r}; targets: {', '.join(NAMES)}")
    return torch.eye(len(NAMES))[[NAMES.index(name) for name in names]]


class ReacherTasks(NamedTuple):
    """T tasks: what their rewards weigh each feature with."""

    w: Tensor  # (T, 12)


class ReacherSession:
    """E arms for each of T tasks."""

    def __init__(self, tasks: ReacherTasks, episodes: int, rng: np.random.Generator) -> None:
        shape = (len(tasks.w), episodes)
        self._w = tasks.w
        self._arms, self._reward = reset(shape, rng), torch.zeros(shape)

    @property
    def obs(self) -> Tensor:
        return observe(self._arms, self._reward)

    def step(self, action: Tensor) -> Step:
        """One control step under torques (T, E, 2)."""
        self._arms = driven(self._arms, action.clamp(-TORQUE, TORQUE))
        phi = features(directions(self._arms.angle))
        self._reward = (phi @ self._w.unsqueeze(-1)).squeeze(-1)
        never = torch.zeros(self._reward.shape, dtype=torch.bool)
        return Step(self._reward, never, never)

    def become(self, tasks: ReacherTasks, where: Tensor) -> None:
        self._w = torch.where(where.unsqueeze(-1), tasks.w, self._w)


class TorqueSession(ReacherSession):
    """The same, differentiable by any torques."""

    @property
    def state(self) -> tuple[Tensor, ...]:
        """Angles and velocities (T, E, 2), and the last reward (T, E)."""
        return (*self._arms, self._reward)

    @state.setter
    def state(self, state: tuple[Tensor, ...]) -> None:
        angle, velocity, self._reward = state
        self._arms = Arms(angle, velocity)


@dataclass(frozen=True)
class ReacherFamily:
    """Section [family.options] of a config: the reacher, each task being a target."""

    targets: str = "all"
    """Which targets the tasks are: training (4), test (8) or all."""
    discrete: bool = True
    """Whether there are only nine actions, or all torques between the limits."""

    def __post_init__(self) -> None:
        """Raises UsageError for targets that there are not."""
        if self.targets not in _SETS:
            raise UsageError(f"targets is {self.targets!r}{did_you_mean(self.targets, _SETS, of='valid')}")

    @cached_property
    def spec(self) -> TaskSpec:
        where = {name: f"({x:g} m, {y:g} m)" for name, (x, y) in {**TRAINING, **TEST}.items()}
        return TaskSpec(
            name="reacher",
            control_dt=CONTROL_DT,
            observation=(
                ObservationChannel("shoulder", "rad", -math.pi, math.pi),
                ObservationChannel("elbow", "rad", -ELBOW_STOP, ELBOW_STOP),
                ObservationChannel("shoulder_velocity", "rad/s", -_SPEED, _SPEED),
                ObservationChannel("elbow_velocity", "rad/s", -_SPEED, _SPEED),
                ObservationChannel("reward", "1", -1.0, 1.0, source="reward"),
            ),
            action=tuple(
                ActionChannel(f"{joint}_torque", "N·m", -TORQUE, TORQUE) for joint in ("shoulder", "elbow")
            ),
            parameters=tuple(Parameter(f"reward_{name}", "1", 0.0, 1.0) for name in NAMES),
            metrics=(Metric("reward", "reward"), CHATTER, ENERGY),
            features=tuple(
                Feature(name, f"1 − 4 times the distance of the tip from {place}, in metres", -1.0, 1.0)
                for name, place in where.items()
            ),
            choices=tuple(map(tuple, ACTIONS.tolist())) if self.discrete else (),
            horizon=50,
            episodes=2,
            differentiable=not self.discrete,
        )

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> ReacherTasks:
        del progress  # no target is harder than another
        w = task_vectors(_SETS[self.targets])
        return ReacherTasks(w[torch.from_numpy(rng.integers(0, len(w), n))])

    def parameters(self, tasks: ReacherTasks) -> Tensor:
        return tasks.w

    def open(
        self, tasks: ReacherTasks, episodes: int, steps: int, rng: np.random.Generator
    ) -> ReacherSession:
        del steps  # nothing ends an episode, and nothing is random but its begin
        return (ReacherSession if self.discrete else TorqueSession)(tasks, episodes, rng)

    def inputs(self, obs: Tensor) -> Tensor:
        """Unit vectors along both links, and their speeds, (…, 6)."""
        return inputs(directions(obs[..., :2]), obs[..., 2:4])

    def features(self, window: Window) -> tuple[Tensor, Tensor]:
        """φ is a function of where the arm arrives, and so always known."""
        return features(directions(window.obs[:, :, 1:, :2])), torch.ones_like(window.mask)


_TO_LINKS = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
_QUARTERS = 0.5 * math.pi * torch.tensor([1.0, 1.0, 0.0, 0.0])
_TO_TIP = torch.tensor([[LINKS[0], 0.0], [LINKS[1], 0.0], [0.0, LINKS[0]], [0.0, LINKS[1]]])
