"""The family contract: what a machine has to give so that every algorithm here trains policies for it.

Three things: a `TaskSpec` (values; `acclimate.task.spec`), a `TaskFamily` that draws machines and opens sessions on
them, and a `Session`: T machines with E episodes each, side by side. All tensors are float32, tasks first:

    obs (T, E, n_sensors)     what the devices measure, in the spec's order; references are not among it
    action (T, E, n_act)      in the channels' units; a session clamps it to their limits, as a device does
    reward (T, E)             of the step just made; zeros where the family computes it from a window (`Rewarded`)

References are the player's: whoever plays draws them by the spec, in training as on the device, and a session does
not see them. So one generator says what "following" means, and a session is just the machine.

Everything random comes from the generator that `sample`, `open` and `change` are given; the same generator state gives
the same numbers. What a family may add are the protocols below, each found by `isinstance`; what it does not add has a
default, or the algorithms that need it say so in one sentence.

`acclimate_trainer.testing` has the conformance suite that every family passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from acclimate.task.spec import TaskSpec
from numpy.typing import NDArray
from torch import Tensor

from acclimate_trainer.contract.policy import Window

Tasks = TypeVar("Tasks")
Made = TypeVar("Made", covariant=True)
Other = TypeVar("Other", contravariant=True)
"""T machines: a NamedTuple of tensors with tasks first, (T, …), so that some of them can be taken by index."""


class Step(NamedTuple):
    """What one action led to; what is measured after it is the session's `obs`."""

    reward: Tensor  # (T, E)
    terminated: Tensor  # the episode ended in itself, bool (T, E)
    truncated: Tensor  # the episode ended at its time limit, bool (T, E)


class Session(Protocol[Other]):
    """T machines with E episodes each, side by side. Stateful: whatever it needs between two steps it keeps."""

    @property
    def obs(self) -> Tensor:
        """What is measured now, (T, E, n_sensors); where an episode has just ended, the first of the next one.

        Of a differentiable session it is computed from `state` as it is now, also where that was set meanwhile.
        """
        ...

    def step(self, action: Tensor) -> Step:
        """One control period under `action` (T, E, n_act)."""
        ...

    def become(self, tasks: Other, where: Tensor) -> None:
        """Machines `where` (T,) bool are those of `tasks` from the next step on; their state stays as it is."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A session through which a gradient passes, from its actions to what is measured and rewarded later.

    Its step is a pure, traceable function of tensors with static shapes: no branching on data. `state` is all that
    changes from step to step, and may be set, so that whoever plays can let the gradient through it fade, or cut it.
    """

    state: tuple[Tensor, ...]


class TaskFamily(Protocol[Tasks]):
    """Draws machines, tells what is true of them, and lets them be driven."""

    @property
    def spec(self) -> TaskSpec: ...

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Tasks:
        """Draw n machines. progress: from 0, the easier ones to begin training with, to 1, all of them."""
        ...

    def parameters(self, tasks: Tasks) -> Tensor:
        """What an oracle is told: (T, P) in the order of the spec, in physical units."""
        ...

    def open(self, tasks: Tasks, episodes: int, steps: int, rng: np.random.Generator) -> Session[Tasks]:
        """A session of `episodes` episodes on each of `tasks`, of `steps` steps at most, with all its randomness."""
        ...


@runtime_checkable
class HasInputs(Protocol):
    """Default: every observed scalar, and the difference of every pair of the headline metric, scaled by ranges."""

    def inputs(self, obs: Tensor) -> Tensor:
        """What a network sees of observations (…, n_obs), about 1 in size, (…, n_in); traceable.

        Whatever uses it squashes it by a tanh, and appends the previous action.
        """
        ...


@runtime_checkable
class Rewarded(Protocol):
    """Default: the reward channel of the spec, or how near the headline's pairs are; else only training has rewards."""

    def reward(self, window: Window) -> Tensor:
        """Reward of every transition, (T, K, S), from what a device can know; traceable."""
        ...


@runtime_checkable
class HasBaseline(Protocol):
    """Default: from the inputs, their squares, the time to go, and what the reference is going to do."""

    def baseline(self, window: Window, discount: Tensor) -> Tensor:
        """Regressors of the returns by `discount` (S, S) that follow each state, (T, K, S, F); traceable."""
        ...


class Cost(NamedTuple):
    """One term of what training minimises: values per tick that are averaged over ticks; then, with `root`, the root.

    The loss of a task is the sum over terms of weight · √mean, or weight · mean.
    """

    name: str
    values: Tensor  # (T, K, S); at least 0 with `root`
    weight: float = 1.0
    root: bool = True


@runtime_checkable
class HasCosts(Protocol):
    """Default: by the headline metric, the squares of its pairs' differences, or minus the reward.

    What shakes a gear train is not good: a family of motors has a price on the change of the action here.
    """

    def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
        """What training minimises, from episodes and the sessions' rewards (T, K, S); the first is reported."""
        ...


@runtime_checkable
class Changing(Protocol[Tasks]):
    """Machines to which something may happen in mid-trial. Default: nothing ever does."""

    def change(self, tasks: Tasks, rng: np.random.Generator, progress: float = 1.0) -> Tasks:
        """The same machines after something happened to each of them; progress as in `sample`."""
        ...


class Property(NamedTuple):
    """Something that machines of a family differ in, by its place in its range: 0 at the low end, 1 at the high one.

    easiest: the place that training may begin at. lowest, highest: how far beyond the ends a machine can be.
    """

    name: str
    easiest: float = 0.5
    lowest: float = -math.inf
    highest: float = math.inf


@runtime_checkable
class Ranged(Protocol[Made]):
    """Machines that can be made by the places of their properties, so that ranges can be narrower, or wider.

    Default: one property, the `progress` of `sample`, in a family where that makes a difference.
    """

    @property
    def properties(self) -> Sequence[Property]: ...

    def placed(self, places: NDArray[np.float64], rng: np.random.Generator) -> Made:
        """Machines at these places (n, properties); uniform ones in [0, 1] give what `sample` gives."""
        ...


@runtime_checkable
class Criticised(Protocol[Tasks]):
    """Default: the parameters in typical units."""

    @property
    def n_critic(self) -> int: ...

    def critic(self, tasks: Tasks, session: Session[Tasks]) -> Tensor:
        """True facts about machine and state, about 1 in size, (T, E, n_critic), for value functions in training."""
        ...


@runtime_checkable
class Believing(Protocol):
    """A discrete family whose prior is conjugate: returns may take each reward's expectation for it.

    Default: rewards as they come.
    """

    @property
    def reward_prior(self) -> tuple[float, float]:
        """Mean of the prior on an observation's and action's mean reward, and how many rewards it is worth."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """Default: the terms of the spec's features, where each has one."""

    def features(self, window: Window) -> tuple[Tensor, Tensor]:
        """φ of every transition (T, K, S, d), and a mask (T, K, S) of those that enough of the past is known of."""
        ...


@runtime_checkable
class HasClassical(Protocol):
    """Controllers that a good engineer would use instead, tuned on the family. Default: there are none."""

    def classical(self, rng: np.random.Generator) -> Mapping[str, Mapping[str, float]]:
        """Settings by the name of a classical controller that the bridge knows, as {"pid": {"kp": …}}."""
        ...


@runtime_checkable
class HasHeldOut(Protocol):
    """Machines to evaluate on that are not the family's own model, as of richer friction. Default: its own machines."""

    def held_out(self) -> TaskFamily[object]:
        """A family of the same spec whose machines training never meets."""
        ...


@runtime_checkable
class Resumable(Protocol[Tasks]):
    """Machines that can be made by their parameters and put where measurements say, so that these can be fitted.

    Default: a drive cannot be taken up in its middle, and nothing identifies such machines.
    """

    @property
    def n_past(self) -> int:
        """How many actions before a moment still act on what comes after it, as those that a delay holds back."""
        ...

    def made(self, parameters: Tensor) -> Tasks:
        """Machines of these parameters (T, P), in the order of the spec; what these leave open is as usual, noise 0."""
        ...

    def resume(self, tasks: Tasks, measured: Tensor, past: Tensor, steps: int) -> Session[Tasks]:
        """A differentiable session, without noise, for `steps` steps, of machines that are under way; traceable.

        measured: what sensors say now, (T, E, n_sensors); past: the last `n_past` actions, oldest first,
        (T, E, n_past, n_act).
        """
        ...
