"""Quadrotors in `l2f` under a controller: what it is told, how its commands reach the rotors, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from acclimate_export.bundle.trained import Trained
from acclimate_trainer.play.rollouts import initial_of
from acclimate_trainer.tasks.quadrotor.dynamics import Body, rotation, spun, unit
from acclimate_trainer.tasks.quadrotor.family import QuadrotorFamily
from acclimate_trainer.tasks.quadrotor.session import NOISE
from torch import Tensor

from benchmarks._l2f import Fleet, Floats, Raptor

LAGS = 3  # a command is delayed by 0, 1 or 2 ticks
NEAR = 0.5  # m
GONE = 1e5  # m; where `l2f` ends


class Seen(NamedTuple):
    """What n drones measure, and where they should be."""

    position: Floats  # (n, 3)
    rotation: Floats  # (n, 9)
    velocity: Floats
    rates: Floats
    target: Floats
    target_velocity: Floats


class Controller(Protocol):
    """Flies n drones at once."""

    def begin(self, commands: Floats) -> None:
        """`commands` (n, 4) are those that the rotors begin with."""
        ...

    def act(self, seen: Seen) -> Floats:
        """Commands within ±1, (n, 4)."""
        ...


class Ours:
    """The policy of a bundle, in torch."""

    def __init__(self, trained: Trained) -> None:
        self._policy, self._meta = trained.policy, trained.meta

    @property
    def parameters(self) -> int:
        """All but the width of the noise that only exploring has."""
        return sum(x.numel() for name, x in self._meta.items() if name != "sigma")

    def begin(self, commands: Floats) -> None:
        weights = {name: x.unsqueeze(0) for name, x in self._meta.items()}
        self._live = weights | initial_of(self._policy, (1, len(commands)))

    def act(self, seen: Seen) -> Floats:
        obs = torch.from_numpy(np.concatenate(seen, -1)).unsqueeze(0)
        with torch.no_grad():
            act = self._policy.act(self._live, obs, torch.zeros(1, len(seen.target), 4))
        self._live = {**self._live, **act.next}
        return act.action[0].clamp(-1.0, 1.0).numpy()


class Theirs:
    """RAPTOR, which is told errors and the command before, as in `l2f`."""

    def __init__(self, policy: Raptor) -> None:
        self._policy = policy

    def begin(self, commands: Floats) -> None:
        self._policy.reset()
        self._before = commands

    def act(self, seen: Seen) -> Floats:
        errors = (
            seen.position - seen.target,
            seen.rotation,
            seen.velocity - seen.target_velocity,
            seen.rates,
        )
        found = self._policy.evaluate_step(np.concatenate((*errors, self._before), -1))
        self._before = found.astype(np.float32).clip(-1.0, 1.0)
        return self._before


@dataclass(frozen=True)
class Course:
    """What is flown, by which drones, and what is against them.

    noise: of the family's sensors; delays: of commands, by 0 to 2 ticks, other ones from drone to drone.
    target: positions (ticks, 3) by times in s; None: to stay at 0.
    """

    family: QuadrotorFamily
    seconds: float = 5.0
    judged: float = 2.5  # s, at the end
    dt: float = 0.01  # s
    noise: float = 0.0
    delays: bool = False
    target: Callable[[Floats], Floats] | None = None


class Flown(NamedTuple):
    """Of each drone (n,)."""

    rmse: Floats  # m, over what is judged
    farthest: Floats  # m
    change: Floats  # of the command per tick, of full scale


def fly(controller: Controller, course: Course, drones: int, seed: int) -> Flown:
    """The same drones, starts, noise and delays for every controller with the same seed."""
    rng = np.random.default_rng([seed, 20261130])
    tasks = course.family.sample(drones, rng)
    session = course.family.open(tasks, 1, 1, rng)
    body = Body(*session.state[:5])
    delay = rng.integers(0, LAGS, drones) if course.delays else np.zeros(drones, np.int64)
    fleet, ticks = Fleet(tasks, body, course.dt), round(course.seconds / course.dt)
    times = np.arange(ticks + 1, dtype=np.float32) * np.float32(course.dt)
    target = np.zeros((ticks + 1, 3), np.float32) if course.target is None else course.target(times)
    speed = np.gradient(target, course.dt, axis=0).astype(np.float32)
    now = fleet.body()
    commands = [2.0 * now[4] - 1.0] * LAGS
    controller.begin(commands[0])
    errors, given = [], []
    for tick in range(ticks):
        wanted = [np.broadcast_to(x[tick], (drones, 3)) for x in (target, speed)]
        seen = Seen(*_measured(now, course.noise, rng), *wanted)
        commands = [np.nan_to_num(controller.act(seen)), *commands[:-1]]
        fleet.step(np.stack(commands)[delay, np.arange(drones)])
        now = fleet.body()
        errors.append(
            np.nan_to_num(np.linalg.norm(now[0] - target[tick + 1], axis=-1), nan=GONE, posinf=GONE)
        )
        given.append(commands[0])
    late = np.stack(errors)[-round(course.judged / course.dt) :]
    change = np.abs(np.diff(np.stack(given), axis=0)).mean(axis=(0, 2))
    return Flown(np.sqrt((late**2).mean(0)), late.max(0), change)


def _measured(body: tuple[Floats, ...], noise: float, rng: np.random.Generator) -> tuple[Floats, ...]:
    """Position, rotation, velocity and rates, each with its noise, as the family has it."""
    position, velocity, attitude, rates, _ = (torch.from_numpy(x) for x in body)
    wrong = [
        torch.tensor(noise * std * rng.standard_normal((len(position), n)), dtype=torch.float32)
        for std, n in NOISE
    ]
    turned: Tensor = rotation(unit(attitude + spun(attitude, 0.5 * wrong[1])))
    return tuple(x.numpy() for x in (position + wrong[0], turned, velocity + wrong[2], rates + wrong[3]))


def figure_eight(seconds: float, size: float) -> Callable[[Floats], Floats]:
    """An eight lying on its side, `size` m either way, once in so many seconds."""

    def target(t: Floats) -> Floats:
        phase = 2.0 * np.pi * t / seconds
        return np.stack([size * np.sin(phase), 0.5 * size * np.sin(2.0 * phase), 0.0 * t], -1).astype(
            np.float32
        )

    return target
