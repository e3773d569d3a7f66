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

An arm's reward reaches the agent as an observation, of the transition before.
"""

from __future__ import annotations

import math
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from acclimate.task.spec import ActionChannel, ObservationChannel
from torch import Tensor

CONTROL_DT = 0.05  # s
DISCOUNT = 0.9
LINKS = (0.1, 0.11)  # m
_MASSES = (0.036, 0.036, 0.004)  # of both links and of the tip, kg
ROTOR, DAMPING, TORQUE = 1e-3, 8e-3, 0.08  # of either joint: kg·m², N·m·s/rad, N·m at its most
ELBOW_STOP = 3.0  # rad
_SPEED = 2.0 * TORQUE / DAMPING  # rad/s; twice what a joint by itself tends to

TRAINING = torch.tensor([[0.14, 0.0], [-0.14, 0.0], [0.0, 0.14], [0.0, -0.14]])
TEST = torch.tensor(
    [[0.22, 0.0], [-0.22, 0.0], [0.0, 0.22], [0.0, -0.22], [0.1, 0.1], [0.1, -0.1], [-0.1, 0.1], [-0.1, -0.1]]
)
TARGETS = torch.cat([TRAINING, TEST])  # m (12, 2)
N_FEATURES = len(TARGETS)
ACTIONS = torch.tensor(list(product((-TORQUE, 0.0, TORQUE), repeat=2)))  # N·m (9, 2)
N_ACTIONS = len(ACTIONS)

OBSERVATION = (
    ObservationChannel("shoulder", "rad", -math.pi, math.pi),
    ObservationChannel("elbow", "rad", -ELBOW_STOP, ELBOW_STOP),
    ObservationChannel("shoulder_velocity", "rad/s", -_SPEED, _SPEED),
    ObservationChannel("elbow_velocity", "rad/s", -_SPEED, _SPEED),
    ObservationChannel("reward", "1", -1.0, 1.0),
)
ACTION = tuple(ActionChannel(f"{joint}_torque", "N·m", -TORQUE, TORQUE) for joint in ("shoulder", "elbow"))
REWARD = 4  # which observation
N_INPUTS = 6
_SPEED_SCALE = 0.25

# Of the equation of motion, with rods of uniform mass: inertia about shoulder and elbow, and their coupling, kg·m².
_UPPER = _MASSES[0] * LINKS[0] ** 2 / 3 + (_MASSES[1] + _MASSES[2]) * LINKS[0] ** 2
_LOWER = (_MASSES[1] / 3 + _MASSES[2]) * LINKS[1] ** 2
_COUPLING = (_MASSES[1] / 2 + _MASSES[2]) * LINKS[0] * LINKS[1]


class Arms(NamedTuple):
    """Where arms are, of any number of axes."""

    angle: Tensor  # of shoulder, and of elbow relative to the upper link, rad (…, 2)
    velocity: Tensor  # rad/s (…, 2)


def reset(shape: tuple[int, ...], rng: np.random.Generator) -> Arms:
    """Arms at rest, at the begin of an episode."""
    high = np.array([math.pi, math.pi / 2])
    angle = torch.tensor(rng.uniform(-high, high, (*shape, 2)), dtype=torch.float32)
    return Arms(angle, torch.zeros_like(angle))


def step(arms: Arms, action: Tensor) -> Arms:
    """One control step under action numbers (…)."""
    return driven(arms, ACTIONS[action])


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
    return 1.0 - 4.0 * away.square().sum(-1).sqrt()


def inputs(links: Tensor, velocity: Tensor) -> Tensor:
    """What a network sees (…, N_INPUTS), about 1 in size."""
    return torch.cat([links, velocity * _SPEED_SCALE], -1)


def observe(arms: Arms, reward: Tensor) -> Tensor:
    """Observations (…, 5) as the channels name them; `reward` (…) of the transition that led here. Angles within ±π."""
    shoulder = torch.remainder(arms.angle[..., :1] + math.pi, 2.0 * math.pi) - math.pi
    return torch.cat([shoulder, arms.angle[..., 1:], arms.velocity, reward.unsqueeze(-1)], -1)


def one_hot(target: Tensor) -> Tensor:
    """The task vector (…, 12) of target numbers (…)."""
    return torch.nn.functional.one_hot(target, N_FEATURES).to(torch.float32)


_TO_LINKS = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
_QUARTERS = 0.5 * math.pi * torch.tensor([1.0, 1.0, 0.0, 0.0])
_TO_TIP = torch.tensor([[LINKS[0], 0.0], [LINKS[1], 0.0], [0.0, LINKS[0]], [0.0, LINKS[1]]])
