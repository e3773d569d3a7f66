"""Checks of what a family adds: shapes, finite values, and one graph for all data where a device computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from acclimate_trainer.contract.family import (
    Believing,
    Cost,
    Criticised,
    HasBaseline,
    HasCosts,
    HasFeatures,
    HasInputs,
    Resumable,
    Rewarded,
)
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.testing import tracing
from acclimate_trainer.testing.subject import Subject, differ, faults, unknown


def inputs(s: Subject) -> Iterator[str]:
    """Network inputs of any observations, those at the ends of their channels included."""
    family = s.family
    if not isinstance(family, HasInputs):
        return
    obs = s.observations((s.machines, s.episodes))
    found = s.call("inputs", lambda: family.inputs(obs))
    width = found.shape[-1] if isinstance(found, Tensor) and found.dim() else 0
    yield from faults("inputs", found, (s.machines, s.episodes, width), torch.float32)
    if not width:
        yield "inputs gave nothing, expected at least one number"
    for end in s.ranges(sensors=False):
        at_end = s.call("inputs", partial(family.inputs, end))
        yield from faults(
            "inputs of one observation at the ends of its channels", at_end, (width,), torch.float32
        )
    other = s.observations((s.machines, s.episodes), seed=1)
    yield from tracing.faults(s, "inputs", lambda: lambda seen: (family.inputs(seen),), (obs,), (other,))


def reward(s: Subject) -> Iterator[str]:
    """The reward of every transition."""
    family = s.family
    if isinstance(family, Rewarded):
        shape = (s.machines, s.episodes, s.steps)
        found = s.call("reward", lambda: family.reward(s.window()))
        yield from faults("reward", found, shape, torch.float32)
        of = _of_window(family.reward)
        yield from tracing.faults(s, "reward", lambda: of, s.window(), s.window(seed=1))


def baseline(s: Subject) -> Iterator[str]:
    """Regressors of every transition's return."""
    family = s.family
    if isinstance(family, HasBaseline):
        discount = torch.tril(torch.full((s.steps, s.steps), 0.9))
        found = s.call("baseline", lambda: family.baseline(s.window(), discount))
        width = found.shape[-1] if isinstance(found, Tensor) and found.dim() else 0
        yield from faults("baseline", found, (s.machines, s.episodes, s.steps, width), torch.float32)
        of = _of_window(lambda window: family.baseline(window, discount))
        yield from tracing.faults(s, "baseline", lambda: of, s.window(), s.window(seed=1))


def costs(s: Subject) -> Iterator[str]:
    """What training minimises, at every tick."""
    family = s.family
    if not isinstance(family, HasCosts):
        return
    shape = (s.machines, s.episodes, s.steps)
    window = s.window()
    live = window._replace(obs=window.obs.requires_grad_(), action=window.action.requires_grad_())
    found = s.call("costs", lambda: family.costs(live, torch.zeros(shape)))
    if not (isinstance(found, tuple) and found and all(isinstance(c, Cost) for c in found)):
        yield f"costs gave {type(found).__name__}, expected a tuple of Cost, at least one"
        return
    for cost in found:
        yield from faults(f"costs: {cost.name}", cost.values, shape, torch.float32)
        if cost.root and not (cost.values >= 0.0).all():
            yield f"costs: {cost.name} is {cost.values.min():g}, expected at least 0, as its root is taken"
    if s.spec.differentiable and not any(cost.values.requires_grad for cost in found):
        yield "costs has no gradient by observations or actions, expected torch operations, without detach"


def features(s: Subject) -> Iterator[str]:
    """φ of every transition, one number for each feature of the specification, and which of them are known."""
    family = s.family
    if isinstance(family, HasFeatures):
        shape = (s.machines, s.episodes, s.steps)
        found = unknown(s.call("features", lambda: family.features(s.window())))
        if not (isinstance(found, tuple) and len(found) == 2):
            yield f"features gave {type(found).__name__}, expected φ and its mask"
            return
        yield from faults("features: φ", found[0], (*shape, len(s.spec.features)), torch.float32)
        yield from faults("features: the mask", found[1], shape, torch.float32)


def critic(s: Subject) -> Iterator[str]:
    """True facts for a value function."""
    family = s.family
    if isinstance(family, Criticised):
        tasks = s.tasks()
        session = s.open(tasks)
        s.play(session, s.actions(steps=2))
        found = s.call("critic", lambda: family.critic(tasks, session))
        yield from faults("critic", found, (s.machines, s.episodes, family.n_critic), torch.float32)


def prior(s: Subject) -> Iterator[str]:
    """What rewards are expected to be, and how firmly."""
    family = s.family
    if isinstance(family, Believing):
        found = unknown(s.call("reward_prior", lambda: family.reward_prior))
        if not (isinstance(found, tuple) and len(found) == 2 and found[1] > 0.0):
            yield f"reward_prior is {found!r}, expected (mean, how many rewards it is worth, above 0)"


def resumed(s: Subject) -> Iterator[str]:
    """Machines made by their parameters, and sessions that go on from what was measured."""
    family = s.family
    if not isinstance(family, Resumable):
        return
    told = s.parameters(s.tasks())
    again = s.parameters(s.call("made", lambda: family.made(told)))
    if differ(again, told, told.abs().clamp_min(1.0)):
        yield "made gave machines whose parameters are others than they were made by"
    sensors = [s.spec.index(name) for channel in s.spec.sensors for name in channel.scalars]
    actions = s.actions(steps=family.n_past + s.steps)

    def ahead(parameters: Tensor, measured: Tensor, past: Tensor, coming: Tensor) -> tuple[Tensor, ...]:
        session = family.resume(family.made(parameters), measured, past, s.steps)
        seen = [session.obs]
        for action in coming.unbind(2):
            session.step(action)
            seen.append(session.obs)
        return (torch.stack(seen, dim=2),)

    def example(seed: int) -> tuple[Tensor, ...]:
        measured = 0.5 * s.observations((s.machines, s.episodes), seed)[..., sensors]
        return told, measured, actions[:, :, : family.n_past], actions[:, :, family.n_past :]

    given = example(0)
    (found,) = s.call("resume", lambda: ahead(*given))
    shape = (s.machines, s.episodes, s.steps + 1, len(sensors))
    yield from faults("a session resumed", found, shape, torch.float32)
    if differ(found[:, :, 0], given[1], given[1].abs().clamp_min(1.0)):
        yield "resume gave a session that observes something else than was measured"
    yield from tracing.faults(s, "resume", lambda: ahead, given, example(1))


def _of_window(run: Callable[[Window], Tensor]) -> tracing.Function:
    return lambda *parts: (run(Window(*parts)),)
