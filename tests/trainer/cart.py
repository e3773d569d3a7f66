"""A small family that keeps the contract, with everything that a family may add: what conformance is tried on."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from acclimate.task.spec import (
    ActionChannel,
    Feature,
    Metric,
    ObservationChannel,
    Parameter,
    TaskSpec,
    Track,
    TrackingReference,
)
from acclimate_trainer.contract.family import Cost, Property, Step
from acclimate_trainer.contract.policy import Window
from numpy.typing import NDArray
from torch import Tensor

DT = 0.02
FAR = 10.0


class Carts(NamedTuple):
    push: Tensor  # (T, 1)
    wired: Tensor
    noise: Tensor


class CartSession:
    def __init__(self, tasks: Carts, start: Tensor, noise: Tensor) -> None:
        self.tasks, self.noise, self.tick = tasks, noise, 0
        self.state: tuple[Tensor, ...] = (start, torch.zeros_like(start), start)

    @property
    def obs(self) -> Tensor:
        return torch.stack([self.state[2], self.state[1]], -1)

    def step(self, action: Tensor) -> Step:
        place, speed, _ = self.state
        force = self.tasks.wired * self.tasks.push * action[..., 0].clamp(-1.0, 1.0)
        speed = speed + DT * (force - speed)
        place = (place + DT * speed).clamp(-FAR, FAR)
        self.state = (place, speed, place + self.tasks.noise * self.noise[..., self.tick])
        self.tick += 1
        never = torch.zeros_like(place, dtype=torch.bool)
        return Step(-place.abs(), never, never)

    def become(self, tasks: Carts, where: Tensor) -> None:
        pairs = zip(tasks, self.tasks, strict=True)
        self.tasks = Carts(*(torch.where(where.unsqueeze(-1), new, old) for new, old in pairs))


class Cart:
    """Carts on a rail."""

    reward_prior = (0.0, 1.0)
    n_critic = 2
    n_past = 0

    @cached_property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name="cart",
            control_dt=DT,
            observation=(
                ObservationChannel("place", "m", -FAR, FAR),
                ObservationChannel("speed", "m/s", -5.0, 5.0),
                ObservationChannel("target", "m", -FAR, FAR, "reference"),
            ),
            action=(ActionChannel("force", "1", -1.0, 1.0),),
            parameters=(
                Parameter("push", "m/s²", 1.0, 4.0, "log"),
                Parameter("wired", "1", -1.0, 1.0, "sign"),
            ),
            metrics=(Metric("error", "rms", "m", (("place", "target"),)),),
            reference=TrackingReference((Track("place", "target"),)),
            features=(Feature("near", "close to the target"),),
            horizon=30,
            differentiable=True,
        )

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return self._carts(rng.random((3, n)).T, 0.5 * progress)

    @property
    def properties(self) -> tuple[Property, ...]:
        return Property("push"), Property("wired", 1.0, 0.0, 1.0), Property("noise", lowest=0.0)

    def placed(self, places: NDArray[np.float64], rng: np.random.Generator) -> Carts:
        del rng
        return self._carts(places, 0.5)

    def _carts(self, places: NDArray[np.float64], turned: float) -> Carts:
        push, wired, noise = np.split(places, 3, axis=-1)
        columns = np.exp(push * np.log(4.0)), np.where(wired < turned, -1.0, 1.0), 0.01 * noise
        return Carts(*(torch.tensor(column, dtype=torch.float32) for column in columns))

    def parameters(self, tasks: Carts) -> Tensor:
        return torch.cat([tasks.push, tasks.wired], -1)

    def open(self, tasks: Carts, episodes: int, steps: int, rng: np.random.Generator) -> CartSession:
        shape = (len(tasks.push), episodes)
        start = torch.tensor(rng.uniform(-1.0, 1.0, shape), dtype=torch.float32)
        return CartSession(
            tasks, start, torch.tensor(rng.standard_normal((*shape, steps)), dtype=torch.float32)
        )

    def made(self, parameters: Tensor) -> Carts:
        push, wired = parameters.split(1, -1)
        return Carts(push, wired, torch.zeros_like(push))

    def resume(self, tasks: Carts, measured: Tensor, past: Tensor, steps: int) -> CartSession:
        del past
        place, speed = measured.unbind(-1)
        session = CartSession(tasks, place, torch.zeros(*place.shape, steps, dtype=place.dtype))
        session.state = (place, speed, place)
        return session

    def change(self, tasks: Carts, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        turned = torch.from_numpy(rng.random(tasks.wired.shape) < 0.5 * progress)
        return tasks._replace(push=0.5 * tasks.push, wired=torch.where(turned, -tasks.wired, tasks.wired))

    def held_out(self) -> Cart:
        return Cart()

    def inputs(self, obs: Tensor) -> Tensor:
        return torch.cat([obs[..., 2:] - obs[..., :1], 0.2 * obs[..., 1:2]], -1)

    def reward(self, window: Window) -> Tensor:
        return -(window.obs[:, :, 1:, 0] - window.obs[:, :, 1:, 2]).abs()

    def baseline(self, window: Window, discount: Tensor) -> Tensor:
        error = self.reward(window)
        return torch.stack([error, error @ discount, torch.ones_like(error)], -1)

    def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
        del reward
        return (Cost("error", self.reward(window).square()),)

    def features(self, window: Window) -> tuple[Tensor, Tensor]:
        return torch.exp(self.reward(window)).unsqueeze(-1), window.mask

    def critic(self, tasks: Carts, session: CartSession) -> Tensor:
        return torch.stack([session.state[0], tasks.push.expand_as(session.state[0])], -1)
