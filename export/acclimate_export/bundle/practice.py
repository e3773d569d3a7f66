"""A policy in torch at work on machines of its family: realistic inputs, and what they should give."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from acclimate.bundle.manifest import WindowSpec
from acclimate_trainer.algorithms.successor.objective_policies import rewarded
from acclimate_trainer.contract.policy import Adapt, Policy, Tensors, Window
from acclimate_trainer.networks.view import View
from acclimate_trainer.play.rollouts import draw, rollout
from torch import Tensor

from acclimate_export.bundle.trained import Trained

_AT_ONCE = 8  # machines that adapt in one go
_WITHOUT_WINDOW = WindowSpec(episodes=2, steps=100)  # what a policy drives that has no window


class Stage(NamedTuple):
    """T machines, driven with a state, exploring; and what adapting to that gave, for a policy that adapts."""

    state: Tensors  # stacked over tasks: all that `act` does not write
    noise: Tensor  # (T, K, S, n_noise)
    window: Window
    adapted: Adapt | None


class Ticks(NamedTuple):
    """`act` along recorded episodes: the state that it wrote the tick before, and all that it gave."""

    before: Tensors  # each (T, K, S, *shape)
    after: dict[str, Tensor]  # by output: action, next.NAME, info.NAME; each (T, K, S, *shape)


@torch.no_grad()
def practise(trained: Trained, tasks: int, rng: np.random.Generator, masked: float = 0.0) -> list[Stage]:
    """One trial of each of `tasks` newly drawn machines: a stage per adaptation step, or one without adaptation.

    masked: the share of transitions hidden from `adapt` is drawn from [0, masked], window by window.
    """
    policy, family = trained.policy, trained.family
    machines = family.sample(tasks, rng)
    spec, steps = policy.window or _WITHOUT_WINDOW, policy.adaptation.max_steps if policy.adaptation else 1
    state = _initial(policy, tasks) | ({"task": family.parameters(machines)} if policy.privileged else {})
    unrewarded = policy.spec.reward is not None and family.spec.reward is None
    n_weights = len(family.spec.features) if unrewarded else 0
    wanted = torch.from_numpy(rng.standard_exponential((tasks, n_weights), dtype=np.float32))
    stages = []
    for _ in range(steps):
        around = draw(
            family, machines, rng, explore=spec.episodes, measure=0, steps=spec.steps, n_noise=policy.n_noise
        )
        window = rollout(policy, state, family.spec, around).window()
        if unrewarded:
            window = rewarded(View.of(family), window, wanted)
        window = window._replace(mask=window.mask * _mask(window.mask.shape, masked, rng))
        adapted = _adapted(policy, state, window) if policy.window else None
        stages.append(Stage(state, around.noise, window, adapted))
        state = state | dict(adapted.next) if adapted else state
    return stages


def _adapted(policy: Policy, state: Tensors, window: Window) -> Adapt:
    """A few machines at a time: what a large fit has in between should stay in the processor's caches."""
    found = []
    for first in range(0, len(window.mask), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        few = Window(*(part[rows] for part in window))
        found.append(policy.adapt({name: value[rows] for name, value in state.items()}, few))
    joined = (
        {n: torch.cat([each[n] for each in part]) for n in part[0]} for part in zip(*found, strict=True)
    )
    return Adapt(*joined)


@torch.no_grad()
def replay(policy: Policy, state: Tensors, obs: Tensor, noise: Tensor) -> Ticks:
    """`act` on observations (T, K, S, n_obs) and noise (T, K, S, n_noise), from the start of each episode."""
    initial = policy.initial()
    written = [t.name for t in policy.state if t.written_by == "act"]
    running: Tensors = {name: initial[name].expand(*obs.shape[:2], *initial[name].shape) for name in written}
    before: dict[str, list[Tensor]] = {}
    after: dict[str, list[Tensor]] = {}
    for t in range(obs.shape[2]):
        act = policy.act({**state, **running}, obs[:, :, t], noise[:, :, t])
        _append(before, running)
        _append(after, outputs({"action": act.action}, act.next, act.info))
        running = act.next
    return Ticks(_along_steps(before), _along_steps(after))


def outputs(action: Tensors, following: Tensors, info: Tensors) -> dict[str, Tensor]:
    """Results under the names that a graph gives them; an info gets the one axis that it has there."""
    named = {f"next.{name}": value for name, value in following.items()}
    return {**action, **named, **{f"info.{name}": value.unsqueeze(-1) for name, value in info.items()}}


def _initial(policy: Policy, tasks: int) -> dict[str, Tensor]:
    initial = policy.initial()
    kept = [t.name for t in policy.state if t.written_by != "act"]
    return {name: initial[name].expand(tasks, *initial[name].shape) for name in kept}


def _mask(shape: torch.Size, masked: float, rng: np.random.Generator) -> Tensor:
    """(T, K, S), 1 where a transition may be learned from."""
    share = masked * rng.random((shape[0], 1, 1))
    return torch.from_numpy((rng.random(tuple(shape)) >= share).astype(np.float32))


def _append(lists: dict[str, list[Tensor]], tensors: Tensors) -> None:
    for name, value in tensors.items():
        lists.setdefault(name, []).append(value)


def _along_steps(lists: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack(values, dim=2) for name, values in lists.items()}
