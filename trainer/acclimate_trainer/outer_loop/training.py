"""The outer loop that all algorithms share: stacked tasks, clipped per task, Adam, resumable at any iteration."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.compiled.stopwatch import OPTIMIZER, STOPWATCH
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.settings.limits import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require

_LATE = 0.9  # of training: whatever is warmed up is by then
_APART = 20  # iterations between two validations, at least
_BATCHES, _KEPT = 4, 1 << 20  # of machines for validation; and the first of the seeds that draw them
FOR_TRAINING = "training."
"""How the names of meta-parameters begin that only training has, as those of a critic: no bundle holds them."""


class Losses(NamedTuple):
    """What one iteration's tasks gave: the loss to minimise, and named figures to report, each (T,)."""

    total: Tensor
    report: Tensors


class PerTask(Protocol):
    """An algorithm with a loss for each task. Meta-parameters are named tensors; `losses` gets them stacked."""

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]: ...

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """`progress` is the share of training done, in [0, 1)."""
        ...

    def policy(self, meta: Tensors) -> Policy: ...


@runtime_checkable
class Iterative(Protocol):
    """An algorithm that takes several steps of the optimizer on what one iteration brought."""

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]: ...

    def updates(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Iterator[Mapping[str, float]]:
        """Write `.grad` of `meta`, yield figures to report, and again, once per step; `progress` as above."""
        ...

    def policy(self, meta: Tensors) -> Policy: ...


LossesOf: TypeAlias = Callable[[Tensors], Losses]
"""The losses of some tasks under meta-parameters, stacked."""


@runtime_checkable
class Piecewise(Protocol):
    """An algorithm with a loss for each task, whose iteration comes in pieces: a step of the optimizer after each."""

    def pieces(self, tasks: int, rng: np.random.Generator, progress: float) -> Iterator[LossesOf]:
        """As `PerTask.losses`; each piece is called once, before the next one is asked for."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """An algorithm that looks at how it does before each iteration, and may change what it trains on."""

    def prepare(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Mapping[str, float]:
        """May write, in place, into what only training has; figures to report."""
        ...


Algorithm: TypeAlias = PerTask | Iterative


@dataclass(frozen=True)
class TrainingConfig:
    """Section [training] of a config."""

    iterations: int = 400
    """Steps of the outer loop."""
    meta_batch_size: int = 32
    """Tasks per iteration."""
    outer_lr: float = 0.02
    """Adam's step size at the start; it falls along a cosine to `final_lr` of that."""
    final_lr: float = 0.02
    """Share of `outer_lr` at the end."""
    task_clip: float = 0.1
    """Largest norm of one task's gradient: a device that cannot be driven well must not drown the others.
    Of no effect with [ppo], whose gradients are not taken task by task."""
    clip: float = 0.3
    """Largest norm of the gradient of one step."""
    validations: int = 10
    """Times, evenly spread over the second half of training and at least 20 iterations apart, at which the policy is
    judged on machines that are kept for that; the best is what is exported. With 0, and with [ppo] and [successor], it
    is the last."""
    compiled: bool = True
    """Whether roll-outs and their gradients run as compiled C, in a run of 50 iterations or more, where there is a
    compiler; else by torch."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        counts = dict.fromkeys(("iterations", "meta_batch_size"), COUNT)
        steps = dict.fromkeys(("outer_lr", "task_clip", "clip"), POSITIVE)
        require(self, {**counts, **steps, "final_lr": SHARE, "validations": NOT_NEGATIVE})

    def validates(self, iteration: int) -> bool:
        """Whether the policy is judged after so many iterations."""
        half = self.iterations // 2
        times = min(self.validations, half // _APART)
        return any(iteration == self.iterations - k * half // times for k in range(times))


class Best(NamedTuple):
    """What did best on the machines that are kept for validation: after which iteration, and with what loss."""

    iteration: int
    meta: Tensors
    loss: float


@dataclass(frozen=True)
class Progress:
    """State of a run after `iteration` iterations: all that is needed to go on as if it had never stopped."""

    iteration: int
    meta: Tensors
    optimizer: Mapping[str, object]
    best: Best | None = None

    @property
    def chosen(self) -> Tensors:
        """The meta-parameters to use: the best on validation, or else the newest."""
        return self.meta if self.best is None else self.best.meta


def start(algorithm: Algorithm, seed: int) -> Progress:
    """A run that has not begun."""
    return Progress(0, algorithm.initial(np.random.default_rng([seed, 0])), {})


def train(
    algorithm: Algorithm,
    config: TrainingConfig,
    seed: int,
    progress: Progress,
    report: Callable[[Progress, Mapping[str, float]], None],
) -> None:
    """Go on from `progress` up to `config.iterations`; `report` gets a copy of the state after every iteration.

    Every iteration draws from a generator of its own, made of the seed and its number, so that an interrupted
    and resumed run computes what an uninterrupted one does. An interrupt may come at any instruction, also
    inside Adam's step, and so nobody but this function sees the tensors that are being changed.
    """
    meta = {name: value.clone().requires_grad_() for name, value in progress.meta.items()}
    adam = torch.optim.Adam(meta.values(), lr=config.outer_lr)
    if progress.optimizer:
        adam.load_state_dict(copy.deepcopy(dict(progress.optimizer)))
    best = progress.best
    for iteration in range(progress.iteration, config.iterations):
        done = iteration / config.iterations
        for group in adam.param_groups:
            group["lr"] = config.outer_lr * _cosine(done, config.final_lr)
        rng = np.random.default_rng([seed, 1 + iteration])
        beside = algorithm.prepare(meta, config, rng, done) if isinstance(algorithm, Prepared) else {}
        steps = _gradients(algorithm, meta, config, rng, done)
        figures = _means([_stepped(adam, found) for found in steps]) | dict(beside)
        now = _copy(iteration + 1, meta, adam)
        if not isinstance(algorithm, Iterative) and config.validates(now.iteration):
            loss = validation(algorithm, now.meta, config, seed)
            figures["validation"] = loss
            if best is None or not loss >= best.loss:
                best = Best(now.iteration, now.meta, loss)
        report(replace(now, best=best), figures)


def validation(algorithm: PerTask, meta: Tensors, config: TrainingConfig, seed: int) -> float:
    """The mean loss at the end of training on machines that no iteration draws: the same ones every time.

    A machine whose loss is not finite counts as the worst of the others.
    """
    tasks, last = config.meta_batch_size, 1.0 - 1.0 / config.iterations
    copies = {name: value.expand(tasks, *value.shape).clone() for name, value in meta.items()}
    found = []
    for number in range(_BATCHES):
        rng = np.random.default_rng([seed, 0, _KEPT + number])
        with torch.no_grad():
            found.append(algorithm.losses(copies, tasks, rng, last).total.detach())
    losses = torch.cat(found)
    finite = losses[torch.isfinite(losses)]
    return (
        float(torch.where(torch.isfinite(losses), losses, finite.max()).mean()) if len(finite) else math.inf
    )


def ticks_per_iteration(algorithm: Algorithm, config: TrainingConfig, seed: int) -> int:
    """How many control ticks an iteration simulates late in training: found by making one."""
    before, rng = STOPWATCH.ticks, np.random.default_rng([seed, 1])
    meta = {
        name: v.requires_grad_() for name, v in algorithm.initial(np.random.default_rng([seed, 0])).items()
    }
    if isinstance(algorithm, Prepared):
        algorithm.prepare(meta, config, rng, _LATE)
    for _ in _gradients(algorithm, meta, config, rng, _LATE):
        pass
    return STOPWATCH.ticks - before


def _gradients(
    algorithm: Algorithm, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
) -> Iterator[Mapping[str, float]]:
    if isinstance(algorithm, Iterative):
        yield from algorithm.updates(meta, config, rng, progress)
    elif isinstance(algorithm, Piecewise):
        for losses in algorithm.pieces(config.meta_batch_size, rng, progress):
            yield gradient_of(losses, meta, config)
    else:
        yield meta_gradient(algorithm, meta, config, rng, progress)


def _stepped(adam: torch.optim.Adam, figures: Mapping[str, float]) -> Mapping[str, float]:
    """Raises UsageError for a gradient that no step leads back from; what was reported before stays."""
    if not math.isfinite(figures.get("grad_norm", 0.0)):
        raise UsageError(
            f"training diverges: its gradient is not finite any more; outer_lr is {adam.defaults['lr']:g}, try less"
        )
    with STOPWATCH.on(OPTIMIZER):
        adam.step()
    return figures


def _means(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(step[name] for step in figures) / len(figures) for name in figures[0]}


def clip_gradient(loss: Tensor, meta: Tensors, limit: float) -> float:
    """Write the gradient of a loss, clipped, into `.grad` of `meta`; return its norm before."""
    values = list(meta.values())
    for value, gradient in zip(values, torch.autograd.grad(loss, values), strict=True):
        value.grad = gradient
    return float(torch.nn.utils.clip_grad_norm_(values, limit))


def meta_gradient(
    algorithm: PerTask, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
) -> dict[str, float]:
    """Write the mean over tasks of the clipped gradient into `.grad` of `meta`; return the mean figures."""
    tasks = config.meta_batch_size
    return gradient_of(lambda copies: algorithm.losses(copies, tasks, rng, progress), meta, config)


def gradient_of(losses_of: LossesOf, meta: Tensors, config: TrainingConfig) -> dict[str, float]:
    """As `meta_gradient`.

    Each task has a copy of the meta-parameters, so that its gradient can be seen, and clipped, by itself. A
    task whose gradient is not finite is left out.
    """
    tasks = config.meta_batch_size
    copies = {
        name: value.detach().expand(tasks, *value.shape).clone().requires_grad_()
        for name, value in meta.items()
    }
    losses = losses_of(copies)
    gradients = torch.autograd.grad(losses.total.sum(), list(copies.values()), materialize_grads=True)
    norm = torch.stack([g.flatten(1).square().sum(-1) for g in gradients]).sum(0).sqrt()  # (T,)
    finite = torch.isfinite(norm)
    scale = torch.where(finite, (config.task_clip / norm.clamp_min(1e-12)).clamp_max(1.0), 0.0)
    kept = gradients if bool(finite.all()) else [_where(finite, gradient) for gradient in gradients]
    for value, gradient in zip(meta.values(), kept, strict=True):
        value.grad = torch.tensordot(scale, gradient, dims=1) / tasks
    total = torch.nn.utils.clip_grad_norm_(list(meta.values()), config.clip)
    figures = {name: float(value.detach().nanmean()) for name, value in losses.report.items()}
    return figures | {"grad_norm": float(total), "skipped": float((~finite).sum())}


def _where(kept: Tensor, gradient: Tensor) -> Tensor:
    """Zeros in place of the gradient of other tasks."""
    return torch.where(kept.view(-1, *[1] * (gradient.dim() - 1)), gradient, 0.0)


def _copy(iteration: int, meta: Tensors, adam: torch.optim.Adam) -> Progress:
    values = {name: value.detach().clone() for name, value in meta.items()}
    return Progress(iteration, values, copy.deepcopy(adam.state_dict()))


def _cosine(done: float, final: float) -> float:
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * done))
