"""RL² (Duan et al. 2016, Wang et al. 2016) on servos: a recurrent policy that adapts in its hidden state.

The servo is the hidden part of a POMDP's state. What the policy can know of it is what it has seen and done, and so
each tick brings the previous action, the reward and whether an episode has just begun (Duan et al., section 2.2).
On a servo the reward is the tracking error, which the graph computes from the observation. The hidden state lives
through a trial, the ends of its episodes included.

Trained by backpropagation through the simulator: the loss is the tracking error itself, over trials in which
something may happen to the servo at any moment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from torch import Tensor

from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.feedforward import (
    FEATURE_SCALES,
    FEATURES,
    N_FEATURES,
    SIGMA_START,
    bounded,
    sigma,
)
from acclimate_trainer.networks.recurrent import gru, initial_gru
from acclimate_trainer.outer_loop.limits import COUNT, SHARE, require
from acclimate_trainer.outer_loop.training import Losses
from acclimate_trainer.play.trials import Trial, draw_trial, run_trial, squared_errors
from acclimate_trainer.tasks.servo import ServoFamily

# What the network sees: the tracking features, the first of which is the reward; whether an episode has just begun.
_FEATURES = F.pad(FEATURES, (0, 1, 0, 1))
_FEATURES[-1, -1] = 1.0
_SCALES = torch.cat([FEATURE_SCALES, torch.ones(1)])
N_IN = N_FEATURES + 1
_INPUT_SCALE = 2.6  # of the initial weights, relative to 1/√n_in: the errors of a good controller are small
_FLOOR = 1e-8  # rad²; keeps the square root differentiable
_OUTPUT_SCALE = 0.1  # of the last layer's initial weights


@dataclass(frozen=True)
class RecurrentConfig:
    """What the sections of all routes to an `Rl2Policy` share."""

    hidden: int = 17
    """Width of the GRU; 17 makes 1,318 parameters, as many as the other networks here have."""
    episodes: int = 2
    """Episodes of a trial."""
    episode_steps: int = 75
    """Ticks of an episode."""
    side_by_side: int = 6
    """Trials on each task in every iteration."""
    change: float = 0.7
    """Share of trials in the middle of which something happens to the servo."""
    curriculum: tuple[float, float] = (0.0, 0.5)
    """Shares of training between which reversed servos become as frequent as in the family, where it has such."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        counts = dict.fromkeys(("hidden", "episodes", "episode_steps", "side_by_side"), COUNT)
        require(self, {**counts, "change": SHARE})


@dataclass(frozen=True)
class Rl2Config(RecurrentConfig):
    """Section [rl2] of a config."""

    adjoint_decay: float = 0.97
    """Factor on the gradient through the simulated state and the hidden one, per tick backwards."""
    block: int = 25
    """Ticks over which the error is averaged before its root is taken: short ones make small errors count."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        super().__post_init__()
        require(self, {"block": COUNT, "adjoint_decay": SHARE})


class Rl2Policy:
    """act only: a linear controller on the input, whose gain and offset a GRU corrects by what it remembers.

    A gain is what servos of different strength need different ones of, and its sign is the motor's polarity.
    """

    algorithm = "rl2"
    n_noise = 1
    window: WindowSpec | None = None
    adaptation: AdaptationSpec | None = None
    privileged: tuple[str, ...] = ()

    def __init__(self, params: Tensors) -> None:
        """`params`: as `initial_parameters` names them; stacked over tasks or not."""
        self._params = params
        self._hidden = params["recurrent"].shape[-2]

    @property
    def state(self) -> tuple[StateTensor, ...]:
        return (
            *(StateTensor(name, tuple(p.shape), "never") for name, p in self._params.items()),
            StateTensor("hidden", (self._hidden,), "trial", "act"),
            StateTensor("previous_action", (1,), "episode", "act"),
            StateTensor("begins", (1,), "episode", "act"),
        )

    def initial(self) -> dict[str, Tensor]:
        running = {
            "hidden": torch.zeros(self._hidden),
            "previous_action": torch.zeros(1),
            "begins": torch.ones(1),
        }
        return {**self._params, **running}

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        x = features(obs, state["previous_action"], state["begins"])
        hidden = gru(state, x, state["hidden"])
        action = torch.addcmul(mean_action(state, x, hidden), sigma(state), noise)
        following = {
            "hidden": hidden,
            "previous_action": F.hardtanh(action),
            "begins": torch.zeros_like(state["begins"]),
        }
        return Act(action, following, {})

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        raise NotImplementedError("an rl2 policy adapts in its hidden state, in act")


def features(obs: Tensor, previous: Tensor, begins: Tensor) -> Tensor:
    """Network input (…, N_IN) from obs (…, 4), the previous action (…, 1) and whether an episode begins (…, 1)."""
    return torch.tanh(torch.cat([obs, previous, begins], dim=-1) @ _FEATURES * _SCALES)


def mean_action(params: Tensors, x: Tensor, hidden: Tensor) -> Tensor:
    """Mean of the action, within ±1, (T, rows, 1), from features x (T, rows, N_IN) and the hidden state after them."""
    direct = torch.bmm(x, params["direct"]) * torch.baddbmm(params["gain_bias"], hidden, params["gain"])
    return bounded(torch.baddbmm(params["offset_bias"], hidden, params["offset"]) + direct)


def initial_parameters(hidden: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """The GRU's parameters; those of the `direct` controller, of its `gain`, at first 1, and `offset`; `sigma`."""
    params = initial_gru(N_IN, hidden, rng)
    params["input"] *= _INPUT_SCALE * math.sqrt(hidden / N_IN)
    for name, width in {"direct": N_IN, "offset": hidden}.items():
        weights = _OUTPUT_SCALE / math.sqrt(width) * rng.standard_normal((width, 1))
        params[name] = torch.tensor(weights, dtype=torch.float32)
    gain = {"gain": torch.zeros(hidden, 1), "gain_bias": torch.ones(1, 1)}
    return params | gain | {"offset_bias": torch.zeros(1, 1), "sigma": torch.full((1, 1), SIGMA_START)}


class Rl2:
    """Trains an `Rl2Policy` by backpropagation through the simulator."""

    def __init__(self, family: ServoFamily, config: Rl2Config) -> None:
        self._family, self._config = family, config

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return initial_parameters(self._config.hidden, rng)

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """Root mean square of the tracking error by block, averaged over the trial; each task's own."""
        c, trial = self._config, self.trial(tasks, rng, progress)
        error = squared_errors(run_trial(self.policy(meta), meta, self._family, trial, c.adjoint_decay))
        return Losses(by_block(error, c.block), {"error": error.mean(dim=(1, 2)).sqrt()})

    def trial(self, tasks: int, rng: np.random.Generator, progress: float, explore: int = 0) -> Trial:
        """A trial on newly drawn servos, as they come at that share of training."""
        return new_trial(self._family, self._config, tasks, rng, progress, explore)

    def policy(self, meta: Tensors) -> Rl2Policy:
        return Rl2Policy(meta)


def new_trial(
    family: ServoFamily,
    config: RecurrentConfig,
    tasks: int,
    rng: np.random.Generator,
    progress: float,
    explore: int = 0,
) -> Trial:
    """A trial on newly drawn servos, as they come at that share of training; `explore` is that of `draw_trial`."""
    return draw_trial(
        family,
        tasks,
        rng,
        side_by_side=config.side_by_side,
        episodes=config.episodes,
        steps=config.episode_steps,
        change=config.change,
        miswired=0.5 * risen(progress, config.curriculum),
        explore=explore,
    )


def by_block(squared: Tensor, block: int) -> Tensor:
    """Root mean square of errors (T, E, ticks), squared, over each block of ticks, averaged over blocks: (T,)."""
    parts = torch.split(squared, block, dim=2)
    return torch.stack([(part.mean(dim=(1, 2)) + _FLOOR).sqrt() for part in parts]).mean(0)


def risen(progress: float, between: tuple[float, float]) -> float:
    """From 0 to 1 over a part of training.

    Where polarity is unknown, a policy that meets reversed servos from the start learns to do nothing at all.
    """
    begin, end = between
    return min(max((progress - begin) / max(end - begin, 1e-9), 0.0), 1.0)
