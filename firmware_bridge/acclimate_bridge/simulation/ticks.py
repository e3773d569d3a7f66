"""A machine that knows only ticks, as a plant in continuous time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.errors import AcclimateError, UsageError
from acclimate.task.spec import TaskSpec
from acclimate.task.world import Machine

from acclimate_bridge.simulation.profile import Profile, profile_of
from acclimate_bridge.simulation.specimen import ANY

_AFTER = 0.25  # periods from a command's arrival to the end of the tick that it drives
_APART = 0.5  # periods between two ticks, at least
_PATIENCE = 1.5  # periods without a command after which the last one is held for another tick
_EARLY = 1e-9  # s; due times are sums of floating-point numbers


class TickPlant:
    """A `Machine` whose ticks begin with the commands that drive them.

    A tick ends a quarter of a period after its command has arrived. So whatever the phase between host and device, and
    with any jitter that is smaller, the host sees at its next tick what the command has led to: the transition that
    policies are trained on. Without commands the last one is held, period by period; until the first, nothing moves,
    however long a host idles in neutral: a quadrotor would have fallen before it is flown.
    """

    def __init__(self, machine: Machine, spec: TaskSpec, rng: np.random.Generator) -> None:
        self._machine, self._spec, self._rng = machine, spec, rng
        self._dt = spec.control_dt
        self.time = 0.0  # s
        self._values: FloatArray
        self._commanded, self._ended = False, -math.inf
        self.begin()

    @property
    def parameters(self) -> Mapping[str, float]:
        """What is true of the machine now, by the spec's names."""
        return self._machine.parameters

    def set_targets(self, targets: tuple[float, ...], now: float) -> None:
        """Take targets that arrive at `now`: the first of a tick says when it ends, the last what drives it."""
        self._targets = np.array(targets, np.float32)
        if not self._commanded:
            self._commanded = True
            self._due = max(now + _AFTER * self._dt, self._ended + _APART * self._dt)

    def rest(self, targets: tuple[float, ...], now: float) -> None:
        """As targets where an episode is under way; before its first command time stands still."""
        if math.isfinite(self._due):
            self.set_targets(targets, now)

    def advance(self, now: float) -> None:
        """Make the ticks that end until `now`."""
        while self._due <= now + _EARLY:
            self._values = self._read(lambda: self._machine.step(self._targets), "step")
            self._ended = self._due
            self._due += (_PATIENCE if self._commanded else 1.0) * self._dt
            self._commanded = False
        self.time = max(now, self.time)

    def measure(self) -> tuple[float, ...]:
        """What the sensors read after the last tick."""
        return tuple(self._values.tolist())

    def begin(self) -> bool:
        """Begin an episode; time stands still until the first command."""
        self._values = self._read(lambda: self._machine.reset(self._rng), "reset")
        self._targets = np.zeros(self._spec.n_act, np.float32)  # until the first command nothing moves
        self._commanded, self._due, self._ended = False, math.inf, -math.inf
        return True

    def change(self, kind: str, rng: np.random.Generator) -> None:
        """Let something happen to the machine, as in training."""
        del kind  # there is one
        self._machine.change(rng)

    def described(self) -> str:
        """The true parameters, in words."""
        units = {p.name: "" if p.unit == "1" else f" {p.unit}" for p in self._spec.parameters}
        truth = ", ".join(f"{k} {v:.4g}{units.get(k, '')}" for k, v in self.parameters.items())
        return truth or "nothing differs"

    def _read(self, of: Callable[[], FloatArray], what: str) -> FloatArray:
        """What the machine's code gives. Raises UsageError where that is not what its sensors are."""
        try:
            values = of()
        except AcclimateError:
            raise
        except Exception as error:
            raise UsageError(
                f"a machine of family {self._spec.name!r} failed in a {what}: {type(error).__name__}: {error}"
            ) from error
        if values.shape != (self._spec.n_sensors,):
            raise UsageError(
                f"a machine of family {self._spec.name!r} gave shape {list(values.shape)} in a {what}, expected "
                f"[{self._spec.n_sensors}], a number for each of its sensors"
            )
        return values


@dataclass(frozen=True)
class TickSpecimen:
    """One machine of a world; `make` gives it anew."""

    name: str
    spec: TaskSpec
    make: Callable[[], Machine]

    @cached_property
    def profile(self) -> Profile:
        """As the spec has it. Raises UsageError for what the wire cannot carry."""
        return profile_of(self.spec)

    @cached_property
    def changes(self) -> tuple[str, ...]:
        """Found by trying."""
        machine, rng = self.make(), np.random.default_rng(0)
        machine.reset(rng)
        return (ANY,) if machine.change(rng) else ()

    def start(self, rng: np.random.Generator) -> TickPlant:
        return TickPlant(self.make(), self.spec, rng)
