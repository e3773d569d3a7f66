"""Checks of differentiable sessions: their state, the gradient through them, and whether a step can be traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.contract.family import Differentiable, Session
from acclimate_trainer.testing import tracing
from acclimate_trainer.testing.subject import Subject, Tasks, differ

_LAGS = 8  # ticks within which an action must have had an effect
_AGREEING = (
    1.0 / 3.0
)  # share of machines: a kink, such as an end stop, may spoil the others' finite differences


def state(s: Subject) -> Iterator[str]:
    """A session is differentiable where the specification says so; its state is all that changes, and can be set."""
    tasks, actions = s.tasks(), s.actions()
    one, same = s.open(tasks, seed=1), s.open(tasks, seed=1)
    if isinstance(one, Differentiable) != s.spec.differentiable:
        says = "says that it is" if s.spec.differentiable else "does not say that it is"
        has = "has no state" if s.spec.differentiable else "has a state"
        yield f"open gave a session that {has}, and spec {says} differentiable; expected both or neither"
    if not (isinstance(one, Differentiable) and isinstance(same, Differentiable)):
        return
    lanes = (s.machines, s.episodes)
    for number, part in enumerate(one.state if isinstance(one.state, tuple) else ()):
        if not isinstance(part, Tensor) or part.shape[:2] != lanes:
            yield f"state[{number}] is no tensor of {list(lanes)} machines and episodes, expected them first"
    if not isinstance(one.state, tuple) or not one.state:
        yield f"state is a {type(one.state).__name__}, expected a tuple of tensors"
        return
    s.play(one, actions[:, :, :2]), s.play(same, -actions[:, :, :2])
    same.state = tuple(part.detach().clone().requires_grad_() for part in one.state)
    if not s.obs(same).requires_grad:
        yield "obs is not that of the state just set, expected it to be computed from the state"
        return
    # What is measured may be a difference from the tick before, which only the next step is sure to know.
    seen, again = (s.play(session, actions[:, :, 2:]) for session in (one, same))
    if differ(seen.obs[:, :, 1:], again.obs[:, :, 1:], 1.0 + seen.obs[:, :, 1:].abs()):
        yield "obs differs between sessions of the same state, expected all that changes from step to step in it"
    if differ(seen.reward, again.reward, 1.0 + seen.reward.abs()):
        yield "step: reward differs between sessions of the same state, expected all that changes in it"


def gradient(s: Subject) -> Iterator[str]:
    """A gradient passes from every action to what is measured or rewarded later, and is finite."""
    if not s.spec.differentiable:
        return
    felt = torch.zeros(s.spec.n_act, dtype=torch.bool)
    for share in (0.0, 0.5):
        actions = s.actions(steps=_LAGS, share=share).requires_grad_()
        seen = s.play(s.open(s.tasks(), steps=_LAGS), actions)
        total = _figure(s, seen.obs, seen.reward).sum()
        if not total.requires_grad:
            yield "step cuts the gradient from its action, expected torch operations all through, without detach"
            return
        (found,) = torch.autograd.grad(total, actions)
        if not found.isfinite().all():
            yield "step: the gradient of later observations by an action is NaN or infinite, expected it finite"
        felt |= (found[:, :, 0] != 0.0).any(0).any(0)
    for name, moves in zip(s.spec.action_scalars, felt.tolist(), strict=True):
        if not moves:
            yield f"step: the gradient of all that follows by {name!r} is zero for {_LAGS} steps, expected an effect"


def finite_differences(s: Subject) -> Iterator[str]:
    """The gradient is that of what really happens, where that is smooth."""
    if not s.spec.differentiable or s.quick:
        return
    double = True
    try:
        by_gradient, by_difference = _derivatives(s, torch.float64)
    except (RuntimeError, ValueError):  # a family that computes in float32 whatever it is given
        double = False
        by_gradient, by_difference = _derivatives(s, torch.float32)
    tolerance = 1e-3 if double else 0.05
    size = by_gradient.abs() + by_difference.abs()
    agree = (by_gradient - by_difference).abs() <= tolerance * size + 1e-3 * float(size.median())
    if agree.double().mean() < _AGREEING:
        yield (
            f"step: the gradient by an action is {by_gradient.flatten()[0]:.3g} where finite differences give "
            f"{by_difference.flatten()[0]:.3g}, expected them to agree"
        )


def _derivatives(s: Subject, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Of all that follows, by a random direction of the actions: by autograd and by differences, (T, E)."""
    small = 1e-5 if dtype is torch.float64 else 1e-2
    low, high = s.limits()
    steps, machines = min(_LAGS, s.steps), 16
    actions = s.actions(steps, seed=1, share=0.5, machines=machines).to(dtype)
    away = (s.actions(steps, seed=2, machines=machines) - 0.5 * (low + high)).to(dtype)

    def follow(tried: Tensor) -> Tensor:
        tasks = s.tasks(machines)
        exact = type(tasks)(*(x.to(dtype) if x.is_floating_point() else x for x in tasks))
        session = s.family.open(exact, s.episodes, steps, _rng())
        if isinstance(session, Differentiable):
            session.state = tuple(x.to(dtype) if x.is_floating_point() else x for x in session.state)
        total = tried.new_zeros(())
        for action in tried.unbind(2):
            step = session.step(action)
            total = total + _figure(s, session.obs.unsqueeze(2), step.reward.unsqueeze(2))
        return total

    leaf = actions.clone().requires_grad_()
    figure = follow(leaf)
    if figure.dtype is not dtype:
        raise ValueError(f"computed in {figure.dtype}")
    (slope,) = torch.autograd.grad(figure.sum(), leaf)
    with torch.no_grad():
        difference = (follow(actions + small * away) - follow(actions - small * away)) / (2.0 * small)
    return (slope * away).sum((2, 3)), difference


def _figure(s: Subject, obs: Tensor, reward: Tensor) -> Tensor:
    """One number of each machine and episode that all observations and rewards (T, E, S) enter into, (T, E)."""
    low, high = s.ranges(sensors=True)
    weights = torch.cos(torch.arange(len(low), dtype=obs.dtype)) / (high - low)  # no two alike
    return (obs * weights).sum((2, 3)) + reward.sum(2)


def traceable(s: Subject) -> Iterator[str]:
    """A step is one graph for all states and actions, so that it can be compiled.

    In the quick form it may branch: what is about to be trained can do without, by torch.
    """
    if not s.spec.differentiable:
        return
    tasks = s.tasks()
    (action,), elsewhere = s.actions(steps=1).unbind(2), s.open(tasks, seed=2)
    s.play(elsewhere, s.actions(steps=3, seed=3))
    if not isinstance(elsewhere, Differentiable):
        return
    found = tracing.faults(
        s,
        "step",
        lambda: _tick_of(s.open(tasks, seed=1)),
        (torch.zeros_like(action) + action.mean(), *_state_of(s.open(tasks, seed=1))),
        (action, *elsewhere.state),
    )
    yield from (fault for fault in found if not (s.quick and tracing.BRANCHES in fault))


def _state_of(session: Session[Tasks]) -> tuple[Tensor, ...]:
    return session.state if isinstance(session, Differentiable) else ()


def _tick_of(session: Session[Tasks]) -> Callable[..., tuple[Tensor, ...]]:
    """A step as a pure function of action and state."""

    def tick(action: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        assert isinstance(session, Differentiable)
        session.state = before
        step = session.step(action)
        return (*session.state, session.obs, step.reward)

    return tick


def _rng() -> np.random.Generator:
    return np.random.default_rng(12)
