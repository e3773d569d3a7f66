"""The servo family: position servos of every size, driven by duty cycle at 100 Hz, tracking a random reference.

Motor and joint follow Duclusaud and Passault, "Extended Friction Models for the Physics Simulation of Servo
Actuators" (ICRA 2025), model m1 (Coulomb and viscous friction):

    (J_load + armature)·dω/dt = kt·V·duty/R − kt²·ω/R + gravity·sin(q) − friction

Over one control period h the command is held, so the linear part is solved exactly, and friction, bounded by what
stops the joint, becomes a soft threshold. With λ = (kt²/R + viscous)/J, φ = exp(−λh) and ψ = (1 − φ)/λ:

    ω' = shrink(φ·ω + ψ·(kt·V·duty/R + gravity·sin(q))/J, ψ·coulomb/J)        shrink(x, f) = sign(x)·max(|x| − f, 0)
    q' = q + (ψ − c·φ)·ω + c·ω',  c = (h − ψ)/(λψ)

This is stable at any h, differentiable almost everywhere, and batched over [tasks, episodes]. There is no exact
optimum; the oracle is a policy told the true parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from acclimate.errors import UsageError
from acclimate.names import did_you_mean
from acclimate.task.spec import TaskSpec
from numpy.typing import NDArray
from torch import Tensor

from acclimate_trainer.contract.costs import change_cost, headline_cost
from acclimate_trainer.contract.family import Cost, Property
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.settings.tables import Value, read_table
from acclimate_trainer.tasks.pid_search import Joint, PidSearch, search
from acclimate_trainer.tasks.servo import perception
from acclimate_trainer.tasks.servo.dynamics import PRIVILEGED, ServoSession, ServoTasks, at_rest, under_way
from acclimate_trainer.tasks.servo.ranges import MAX_LAG, PRESETS, PROPERTIES, ServoRanges, properties
from acclimate_trainer.tasks.servo.spec import SAG, servo_spec

Floats: TypeAlias = NDArray[np.float64]
_JOINT = Joint("position", "velocity", "target", "target_velocity")


@dataclass(frozen=True)
class ServoFamily:
    """Draws servos; see the module. Its fields are the section [family.options] of a config."""

    preset: str = "wide"
    """Ranges to begin with: wide (polarity known, drive gain not) or miswired (polarity unknown as well)."""
    ranges: Mapping[str, Value] = field(default_factory=dict)
    """Ranges that differ from the preset's, by the names of `ServoRanges`."""
    price: float = 0.02
    """What the change of the duty from tick to tick costs in training, rad per unit of its RMS; 0: nothing."""
    through_stops: bool = False
    """Whether the gradient of a joint at an end stop is that of one that would move on; see `ServoSession`."""

    def __post_init__(self) -> None:
        """Raises UsageError for a preset that there is not, and for ranges that no servo can have."""
        if self.preset not in PRESETS:
            raise UsageError(f"preset is {self.preset!r}{did_you_mean(self.preset, PRESETS, of='valid')}")
        if not 0.0 <= self.price < math.inf:
            raise UsageError(f"price must be at least 0 and finite, found {self.price:g}")
        _ = self.training

    @cached_property
    def training(self) -> ServoRanges:
        """The ranges that servos are drawn from."""
        table = PRESETS[self.preset].as_dict() | dict(self.ranges)
        return read_table(ServoRanges, table, "ranges")

    @cached_property
    def spec(self) -> TaskSpec:
        return servo_spec(self.training)

    def options(self) -> dict[str, Value]:
        """The fields with every range written out, from which the same family is made anew."""
        ranges: dict[str, Value] = {**self.training.as_dict()}
        own: dict[str, Value] = {"price": self.price, "through_stops": self.through_stops}
        named: dict[str, Value] = {"preset": self.preset, "ranges": ranges}
        return named | own

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> ServoTasks:
        """Draw n servos jointly over the training ranges.

        progress: reversed servos, in a family that has such, rise from none to half of all. A policy without memory
        that meets them from the start learns to do nothing at all.
        """
        places = rng.random((len(PROPERTIES), n)).T
        return self._servos(places, 0.5 * progress)

    @property
    def properties(self) -> tuple[Property, ...]:
        return properties(self.training)

    def placed(self, places: Floats, rng: np.random.Generator) -> ServoTasks:
        del rng
        return self._servos(places, 0.5)

    def _servos(self, places: Floats, flipped: float) -> ServoTasks:
        """Servos by the places (n, properties) in their ranges; those below `flipped` in polarity are reversed."""
        r, at = self.training, dict(zip(PROPERTIES, places.T, strict=True))
        size = at["size"]

        def motor(name: str) -> Floats:
            small, large = (math.log(end) for end in getattr(r, name))
            spread = np.exp((-1.0 + 2.0 * at[name]) * math.log(r.spread))
            sized: Floats = np.exp((1 - size) * small + size * large) * spread
            return sized

        def drawn(name: str) -> Floats:
            return _placed(at[name], getattr(r, name))

        kt, resistance, armature = motor("kt"), motor("resistance"), motor("armature")
        voltage = motor("voltage") * drawn("drive_gain")
        gravity = drawn("gravity_fraction") * kt * voltage / resistance
        inertia = armature * (1 + drawn("inertia_ratio"))
        reversed_ = (at["polarity"] < flipped) & (r.polarity[0] < 0)
        columns = (kt, resistance, voltage, inertia, motor("coulomb"), motor("viscous"), gravity, drawn("delay"),
                   np.where(reversed_, -1.0, 1.0), drawn("noise"), armature)  # fmt: skip
        return ServoTasks(*(torch.tensor(c, dtype=torch.float32).unsqueeze(-1) for c in columns))

    def change(self, tasks: ServoTasks, rng: np.random.Generator, progress: float = 1.0) -> ServoTasks:
        """The same servos after something happened to each of them, one thing or several.

        Their payload is dropped or another one (half of them), their supply has sagged (a third), or the motor's
        wires were swapped (half of those in a family that has such, times progress). Parameters sampled anew in
        mid-episode are how Kumar et al. 2021 ("RMA", section IV) train for what changes.
        """
        r, n = self.training, tasks.kt.shape[0]
        what = rng.random((3, n)) < np.array(
            [[0.5], [1.0 / 3.0], [0.5 * progress if r.polarity[0] < 0 else 0.0]]
        )
        what[0] |= ~what.any(axis=0)  # something does happen
        payload, sags, swapped = (torch.from_numpy(row).unsqueeze(-1) for row in what)
        left, fraction, ratio = (
            torch.tensor(_draw(rng, ends, n), dtype=torch.float32).unsqueeze(-1)
            for ends in (SAG, r.gravity_fraction, r.inertia_ratio)
        )
        holds = torch.from_numpy(rng.random((n, 1)) < 0.5).float()  # else the payload is dropped
        fraction, ratio = holds * fraction, holds * ratio
        lifted = fraction * tasks.kt * tasks.voltage / tasks.resistance
        return tasks._replace(
            voltage=torch.where(sags, left * tasks.voltage, tasks.voltage),
            gravity=torch.where(payload, lifted, tasks.gravity),
            inertia=torch.where(payload, tasks.armature * (1.0 + ratio), tasks.inertia),
            polarity=torch.where(swapped, -tasks.polarity, tasks.polarity),
        )

    def parameters(self, tasks: ServoTasks) -> Tensor:
        """What an oracle is told, (T, 9), in physical units."""
        return tasks.privileged()

    def open(self, tasks: ServoTasks, episodes: int, steps: int, rng: np.random.Generator) -> ServoSession:
        """Servos at rest anywhere between the end stops, a fair share of them at a stop."""
        start = at_rest(tasks, episodes, rng)
        shape = (*start.q.shape, steps)
        encoder = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)) * tasks.noise.unsqueeze(-1)
        return ServoSession(tasks, start, encoder, through_stops=self.through_stops)

    @property
    def n_past(self) -> int:
        return MAX_LAG - 1

    def made(self, parameters: Tensor) -> ServoTasks:
        """Servos that end where their load begins: the armature is none of the parameters, and no drive shows it."""
        told = dict(zip(PRIVILEGED, parameters.unsqueeze(-1).unbind(-2), strict=True))
        return ServoTasks(**told, noise=torch.zeros_like(told["kt"]), armature=told["inertia"])

    def resume(self, tasks: ServoTasks, measured: Tensor, past: Tensor, steps: int) -> ServoSession:
        here, before = under_way(measured, past)
        silent = torch.zeros(*measured.shape[:2], steps, dtype=measured.dtype)
        return ServoSession(tasks, here, silent, before=before)

    def inputs(self, obs: Tensor) -> Tensor:
        return perception.inputs(obs)

    def reward(self, window: Window) -> Tensor:
        return perception.reward(window)

    def baseline(self, window: Window, discount: Tensor) -> Tensor:
        return perception.baseline(window, discount)

    def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
        """The tracking error, and what the change of the duty costs; each to the root."""
        error = headline_cost(self.spec, window, reward)
        return (error, change_cost(self.spec, window, self.price)) if self.price else (error,)

    def classical(self, rng: np.random.Generator) -> dict[str, dict[str, float]]:
        """A PID controller, its gains found by search over the family; with a sign test where polarity is unknown."""
        settings = PidSearch(price=self.price)
        upright = self.sample(settings.tasks, rng, progress=0.0)
        found = search(self, (_JOINT,), upright, settings, rng).settings(self.spec.action_scalars)
        return {"pid": found | {"sign_test": float(self.training.polarity[0] < 0.0)}}


def _draw(rng: np.random.Generator, ends: tuple[float, float], n: int) -> Floats:
    return _placed(rng.random(n), ends)


def _placed(place: Floats, ends: tuple[float, float]) -> Floats:
    """The values at these places of a range."""
    low, high = ends
    if low > 0:
        low, high = math.log(low), math.log(high)
        return np.exp(low + (high - low) * place)
    return low + (high - low) * place
