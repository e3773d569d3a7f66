"""RL² (Duan et al. 2016, Wang et al. 2016): a recurrent policy that adapts in its hidden state.

The machine is the hidden part of a POMDP's state. What the policy can know of it is what it has seen and done, and so
each tick brings the previous action, the reward and whether an episode has just begun (Duan et al., section 2.2).
Where there is something to follow, the reward is the error, which is among the inputs anyway; elsewhere it is observed.
The hidden state lives through a trial, the ends of its episodes included.

Trained by backpropagation through the simulator: the loss is what the family says that driving costs, over trials in
which something may happen to the machine at any moment.

The oracle that is compared with it is the same network with the same memory, told the true parameters at every tick.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.errors import UsageError
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.algorithms.reactive import risen
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily, Tasks
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.feedforward import SIGMA_START, bounded, sigma
from acclimate_trainer.networks.recurrent import gru, initial_gru
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import Losses, LossesOf
from acclimate_trainer.play.rollouts import Episodes, headline, total_cost
from acclimate_trainer.play.trials import Trial, draw_trial, run_trial, trial_costs
from acclimate_trainer.play.windows import Windowing, Windows
from acclimate_trainer.settings.limits import COUNT, NOT_NEGATIVE, SHARE, require

_INPUT_SCALE = 2.6  # of the initial weights, relative to 1/√n_in: the errors of a good controller are small
_OUTPUT_SCALE = 0.1  # of the last layer's initial weights


@dataclass(frozen=True)
class RecurrentConfig:
    """What the sections of all routes to an `Rl2Policy` share."""

    hidden: int = 17
    """Width of the GRU; on servos 17 makes 1,318 parameters, as many as the other networks here have."""
    episodes: int = 2
    """Episodes of a trial."""
    episode_steps: int = 75
    """Ticks of an episode."""
    side_by_side: int = 6
    """Trials on each task in every iteration."""
    change: float = 0.7
    """Share of trials in the middle of which something happens to the machine, in a family where anything does."""
    curriculum: tuple[float, float] = (0.0, 0.5)
    """Shares of training between which the family's harder machines become as frequent as in the family."""

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
    window: int = 0
    """Ticks after each of which the optimizer takes a step, and the trial goes on from there without the gradient of
    what was before; whole ones make an episode. With 0, it takes one step per trial, by its whole gradient."""
    trials: int = 4
    """With windows: trials that follow one another in an iteration. Each machine begins at another window of its first
    one, so that some trials begin in every window; the rest of them are whole."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        super().__post_init__()
        require(self, {"block": COUNT, "adjoint_decay": SHARE, "window": NOT_NEGATIVE, "trials": COUNT})
        if self.window and self.episode_steps % self.window:
            raise UsageError(
                f"window must divide episode_steps, {self.episode_steps}, found {self.window}; or 0 for none"
            )


class Rl2Policy:
    """act only: a linear controller on the input, whose gain and offset a GRU corrects by what it remembers.

    A gain is what machines of different strength need different ones of, and its sign is the way a motor is wired. With
    `told`, an oracle: the GRU sees the true parameters, too.
    """

    window: WindowSpec | None = None
    adaptation: AdaptationSpec | None = None

    def __init__(self, params: Tensors, view: View, *, told: bool = False) -> None:
        """`params`: as `initial_parameters` names them; stacked over tasks or not."""
        self._params, self._view, self._told = params, view, told
        self._hidden = params["recurrent"].shape[-2]

    @property
    def algorithm(self) -> str:
        return "oracle" if self._told else "rl2"

    @property
    def spec(self) -> TaskSpec:
        return self._view.family.spec

    @property
    def n_noise(self) -> int:
        return self._view.n_act

    @property
    def privileged(self) -> tuple[str, ...]:
        return tuple(p.name for p in self._view.family.spec.parameters) if self._told else ()

    @property
    def state(self) -> tuple[StateTensor, ...]:
        task = [StateTensor("task", (len(self.privileged),), "trial")] if self._told else []
        return (
            *(StateTensor(name, tuple(p.shape), "never") for name, p in self._params.items()),
            *task,
            StateTensor("hidden", (self._hidden,), "trial", "act"),
            StateTensor("previous_action", (self._view.n_act,), "episode", "act"),
            StateTensor("begins", (1,), "episode", "act"),
        )

    def initial(self) -> dict[str, Tensor]:
        """The initial task is the typical one."""
        running = {
            "hidden": torch.zeros(self._hidden),
            "previous_action": torch.zeros(self._view.n_act),
            "begins": torch.ones(1),
        }
        task = {"task": self._view.typical_task()} if self._told else {}
        return {**self._params, **task, **running}

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        x = inputs(self._view, obs, state["previous_action"], state["begins"])
        seen = torch.cat([x, self._view.told(state["task"], x.shape[1])], dim=-1) if self._told else x
        return _moved_by(self._view, state, x, gru(state, seen, state["hidden"]), noise)

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        raise NotImplementedError(f"an {self.algorithm} policy adapts in its hidden state, in act")


def told_act(view: View, state: Tensors, obs: Tensor, noise: Tensor, told: Tensor) -> Act:
    """`act` of a policy whose GRU sees what it is told of each machine, too, (T, n)."""
    x = inputs(view, obs, state["previous_action"], state["begins"])
    seen = torch.cat([x, told.unsqueeze(1).expand(-1, x.shape[1], -1)], dim=-1)
    return _moved_by(view, state, x, gru(state, seen, state["hidden"]), noise)


def _moved_by(view: View, state: Tensors, x: Tensor, hidden: Tensor, noise: Tensor) -> Act:
    """The action that follows from inputs x and the hidden state after them."""
    action = torch.addcmul(mean_action(state, x, hidden), sigma(state), noise)
    following = {
        "hidden": hidden,
        "previous_action": F.hardtanh(action),
        "begins": torch.zeros_like(state["begins"]),
    }
    return Act(view.physical(action), following, {})


def n_inputs(view: View) -> int:
    """Entries of what the network sees: the inputs, and whether an episode has just begun."""
    return view.n_in + 1


def inputs(view: View, obs: Tensor, previous: Tensor, begins: Tensor) -> Tensor:
    """What the network sees (…, n_inputs) of obs (…, n_obs), the previous action (…, n_act), and begins (…, 1)."""
    return view.inputs(obs, previous, begins)


def mean_action(params: Tensors, x: Tensor, hidden: Tensor) -> Tensor:
    """Mean of the action within ±1, (T, rows, n_act), from inputs x (T, rows, n_in) and the hidden state after them."""
    direct = torch.bmm(x, params["direct"]) * torch.baddbmm(params["gain_bias"], hidden, params["gain"])
    return bounded(torch.baddbmm(params["offset_bias"], hidden, params["offset"]) + direct)


def initial_parameters(
    n_in: int, n_act: int, hidden: int, rng: np.random.Generator, told: int = 0
) -> dict[str, Tensor]:
    """The GRU's parameters; those of the `direct` controller, of its `gain`, at first 1, and `offset`; `sigma`.

    told: how many true parameters the GRU sees, too.
    """
    params = initial_gru(n_in + told, hidden, rng)
    params["input"] *= _INPUT_SCALE * math.sqrt(hidden / (n_in + told))
    for name, width in {"direct": n_in, "offset": hidden}.items():
        weights = _OUTPUT_SCALE / math.sqrt(width) * rng.standard_normal((width, n_act))
        params[name] = torch.tensor(weights, dtype=torch.float32)
    gain = {"gain": torch.zeros(hidden, n_act), "gain_bias": torch.ones(1, n_act)}
    return (
        params | gain | {"offset_bias": torch.zeros(1, n_act), "sigma": torch.full((1, n_act), SIGMA_START)}
    )


class Rl2(Generic[Tasks]):
    """Trains an `Rl2Policy` by backpropagation through the simulator; with `oracle`, one told the parameters."""

    def __init__(
        self, family: TaskFamily[Tasks] | Complete[Tasks], config: Rl2Config, *, oracle: bool = False
    ) -> None:
        self._family: Complete[Tasks] = Complete.of(family)
        self._config, self._oracle = config, oracle
        self._view = View.of(self._family)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        told = len(self._family.spec.parameters) if self._oracle else 0
        return initial_parameters(n_inputs(self._view), self._view.n_act, self._config.hidden, rng, told)

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """The costs by block, roots taken, averaged over the trial; each task's own."""
        return self.losses_in(self.trial(tasks, rng, progress), meta)

    def losses_in(self, trial: Trial[Tasks], meta: Tensors) -> Losses:
        """The same, in a trial that is drawn already."""
        c = self._config
        return self._losses(run_trial(self.policy(meta), meta, self._family, trial, c.adjoint_decay))

    def pieces(self, tasks: int, rng: np.random.Generator, progress: float) -> Iterator[LossesOf]:
        """The whole trial, or windows of several."""
        c = self._config
        if not c.window:
            yield lambda meta: self.losses(meta, tasks, rng, progress)
            return
        windows = Windows(self._family, windowing(c, tasks, progress), rng)
        for _ in range(windows.count):
            yield lambda meta: self._losses([windows.play(self.policy(meta), meta, c.adjoint_decay)])

    def _losses(self, episodes: Sequence[Episodes]) -> Losses:
        costs = trial_costs(self._family, episodes)
        return Losses(total_cost(costs, self._config.block), {costs[0].name: headline(costs[0])})

    def trial(self, tasks: int, rng: np.random.Generator, progress: float, explore: int = 0) -> Trial[Tasks]:
        """A trial on newly drawn machines, as they come at that share of training."""
        return new_trial(self._family, self._config, tasks, rng, progress, explore)

    def policy(self, meta: Tensors) -> Rl2Policy:
        return Rl2Policy(meta, self._view, told=self._oracle)


def windowing(config: Rl2Config, tasks: int, progress: float) -> Windowing:
    """What is played in an iteration at that share of training."""
    return Windowing(
        places=tasks,
        side_by_side=config.side_by_side,
        episodes=config.episodes,
        steps=config.episode_steps,
        window=config.window,
        trials=config.trials,
        change=config.change,
        progress=risen(progress, config.curriculum),
    )


def new_trial(
    family: Complete[Tasks],
    config: RecurrentConfig,
    tasks: int,
    rng: np.random.Generator,
    progress: float,
    explore: int = 0,
    n_noise: int | None = None,
) -> Trial[Tasks]:
    """A trial on newly drawn machines, as they come at that share of training; the last two are of `draw_trial`."""
    return draw_trial(
        family,
        tasks,
        rng,
        side_by_side=config.side_by_side,
        episodes=config.episodes,
        steps=config.episode_steps,
        change=config.change,
        progress=risen(progress, config.curriculum),
        explore=explore,
        n_noise=n_noise,
    )
