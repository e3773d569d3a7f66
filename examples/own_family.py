"""A machine of your own: a diving robot that keeps a depth, whose thruster, weight and wiring nobody knows.

    mass·dv/dt = wired·thrust·u + sinking − drag·|v|·v        depth' = v, downwards; u within ±1

To train a policy that finds out how the robot at hand behaves, and to drive a simulated one with it:

    acclimate train examples/own_family_rl2.toml
    acclimate export runs/own_family_rl2
    acclimate run own_family_rl2.acclimate --port sim:

A family says what is measured, commanded and wanted (`spec`), draws robots (`sample`), tells what is true of them
(`parameters`), and lets them be driven (`open`). `costs` puts a price on shaking the thruster. See docs/families.md.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from acclimate.task import spec as task
from acclimate_trainer.contract.family import Cost, Step
from acclimate_trainer.contract.policy import Window
from torch import Tensor

DT, SUBSTEPS = 0.05, 2  # s, and steps of the simulation within it
DEEPEST, FASTEST = 3.0, 4.0  # m either way of the middle, m/s
TRACK = task.Track("depth", "target", "target_speed")


class Divers(NamedTuple):  # each number (T, 1)
    mass: Tensor
    thrust: Tensor
    drag: Tensor
    sinking: Tensor
    wired: Tensor
    noise: Tensor  # m, of the depth gauge


@dataclass(frozen=True)
class DiverFamily:
    """Its fields are the section [family.options] of a config."""

    miswired: float = 0.5
    """Share of robots whose thruster is wired backwards; none when training begins, and then more and more."""

    @cached_property
    def spec(self) -> task.TaskSpec:
        return task.TaskSpec(
            name="diver",
            control_dt=DT,
            observation=(
                task.ObservationChannel("depth", "m", -DEEPEST, DEEPEST),
                task.ObservationChannel("speed", "m/s", -FASTEST, FASTEST),
                task.ObservationChannel("target", "m", -DEEPEST, DEEPEST, "reference"),
                task.ObservationChannel("target_speed", "m/s", -FASTEST, FASTEST, "reference"),
            ),
            action=(task.ActionChannel("command", "1", -1.0, 1.0),),
            parameters=(
                task.Parameter("mass", "kg", 6.0, 12.0, "log"),
                task.Parameter("thrust", "N", 10.0, 80.0, "log"),
                task.Parameter("drag", "N·s²/m²", 4.0, 30.0, "log"),
                task.Parameter("sinking", "N", -4.0, 4.0),
                task.Parameter("wired", "1", -1.0 if self.miswired else 1.0, 1.0, "sign"),
            ),
            metrics=(task.Metric("error", "rms", "m", (("depth", "target"),)), task.CHATTER),
            reference=task.TrackingReference((TRACK,), (0.3, 1.0), (0.2, 0.4), (1.0, 2.5), (0.1, 0.4)),
            episodes=2,
            differentiable=True,
        )

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Divers:
        log = [np.log((p.low, p.high)) for p in self.spec.parameters[:3]]
        drawn = [np.exp(rng.uniform(low, high, (n, 1))) for low, high in log]
        wired = np.where(rng.random((n, 1)) < progress * self.miswired, -1.0, 1.0)
        drawn += [rng.uniform(-4.0, 4.0, (n, 1)), wired, rng.uniform(0.0, 0.01, (n, 1))]
        return Divers(*(torch.tensor(column, dtype=torch.float32) for column in drawn))

    def costs(self, window: Window, _: Tensor) -> tuple[Cost, ...]:
        command = window.action[..., 0].clamp(-1.0, 1.0)
        change = command.diff(dim=2, prepend=command[:, :, :1])
        error = window.obs[:, :, 1:, 0] - window.obs[:, :, 1:, 2]
        return Cost("error", error.square()), Cost("change", change.square(), weight=0.05)

    def parameters(self, tasks: Divers) -> Tensor:
        return torch.cat(tasks[:5], -1)

    def open(self, tasks: Divers, episodes: int, steps: int, rng: np.random.Generator) -> "DiverSession":
        shape = (len(tasks.mass), episodes)
        start = torch.tensor(rng.uniform(-DEEPEST, DEEPEST, shape), dtype=torch.float32)
        return DiverSession(tasks, start, torch.from_numpy(rng.standard_normal((*shape, steps), np.float32)))


class DiverSession:
    """Robots under way. `state` is all that changes; whoever lets a gradient through it fade sets it."""

    def __init__(self, tasks: Divers, start: Tensor, noise: Tensor) -> None:
        self.tasks, self.noise, self.tick = tasks, noise.unbind(-1), 0
        self.state: tuple[Tensor, ...] = (start, torch.zeros_like(start), start)  # depth, speed, gauge

    @property
    def obs(self) -> Tensor:
        return torch.stack([self.state[2], self.state[1]], -1)

    def step(self, action: Tensor) -> Step:
        (depth, speed, _), t, h = self.state, self.tasks, DT / SUBSTEPS
        push = (t.wired * t.thrust * action[..., 0].clamp(-1.0, 1.0) + t.sinking) / t.mass
        for _ in range(SUBSTEPS):  # with the drag at the end of a step, so that it never turns a robot round
            speed = (speed + h * push) / (1.0 + h * t.drag / t.mass * speed.abs())
            depth = depth + h * speed
        depth = depth + (depth.clamp(-DEEPEST, DEEPEST) - depth).detach()  # the ground stops no gradient
        self.state = (depth, speed, depth + t.noise * self.noise[self.tick])
        self.tick += 1
        never = torch.zeros_like(depth, dtype=torch.bool)
        return Step(torch.zeros_like(depth), never, never)

    def become(self, tasks: Divers, where: Tensor) -> None:
        here, pairs = where.unsqueeze(-1), zip(tasks, self.tasks, strict=True)
        self.tasks = Divers(*(torch.where(here, new, old) for new, old in pairs))
