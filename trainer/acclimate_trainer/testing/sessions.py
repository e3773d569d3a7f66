"""Checks of sessions: what every roll-out, every recording and every simulated device takes for granted."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from acclimate_trainer.contract.family import Step
from acclimate_trainer.testing.subject import BEYOND, Subject, Trajectory, differ, faults, unknown


def shapes(s: Subject) -> Iterator[str]:
    """Observations and steps have the shapes and types of the contract."""
    session = s.open(s.tasks())
    lanes = (s.machines, s.episodes)
    yield from faults("obs of a new session", s.obs(session), (*lanes, s.spec.n_sensors), torch.float32)
    for action in s.actions(steps=2).unbind(2):
        step = unknown(s.step(session, action))
        if not isinstance(step, Step):
            yield f"step gave {type(step).__name__}, expected a Step"
            return
        yield from faults("step: reward", step.reward, lanes, torch.float32)
        for name in ("terminated", "truncated"):
            yield from faults(f"step: {name}", getattr(step, name), lanes, torch.bool)
        yield from faults("obs after a step", s.obs(session), (*lanes, s.spec.n_sensors), torch.float32)


def within_channels(s: Subject) -> Iterator[str]:
    """Whatever is done, an observation stays finite and inside its channel, as devices refuse what does not."""
    steps = s.steps if s.quick else s.spec.horizon
    low, high = s.ranges(sensors=True)
    slack = BEYOND * (high - low)
    actions = s.actions(steps)
    extreme = actions if s.spec.choices else _at_limits(s, actions)
    held = extreme[:, :, :1].expand_as(extreme)
    for tried in (actions, extreme, held):
        seen = s.play(s.open(s.tasks(), steps=steps), tried)
        yield from faults("obs", seen.obs, tuple(seen.obs.shape), torch.float32)
        yield from faults("step: reward", seen.reward, tuple(seen.reward.shape), torch.float32)
        beyond = ((seen.obs < low - slack) | (seen.obs > high + slack)).any(2).any(1).any(0)
        for i in beyond.nonzero().flatten().tolist():
            c, values = s.channels(sensors=True)[i], seen.obs[..., i]
            worst = values.max() if values.max() > c.maximum else values.min()
            yield (
                f"obs: {c.name} reads {worst:g} {c.unit} within {steps} steps, expected its channel's range, "
                f"{c.minimum:g} to {c.maximum:g}"
            )


def reward_channel(s: Subject) -> Iterator[str]:
    """A reward that is observed is that of the step just made."""
    if s.spec.reward is None:
        return
    at = [c.name for c in s.channels(sensors=True)].index(s.spec.reward)
    seen = s.play(s.open(s.tasks()), s.actions())
    same = (seen.obs[:, :, 1:, at] - seen.reward).abs() <= 1e-5 * (1.0 + seen.reward.abs())
    if not (same | seen.ended).all():
        yield f"obs: {s.spec.reward!r} is not the reward of the step just made, expected its channel to be that"


def by_seed(s: Subject) -> Iterator[str]:
    """The generator given to `open` decides all that is random."""
    one, same = (s.play(s.open(s.tasks(), seed=4), s.actions()) for _ in range(2))
    yield from _differences(s, one, same, "two sessions of the same seed under the same actions")


def clamped(s: Subject) -> Iterator[str]:
    """What lies beyond the limits does what they do, as on a device."""
    if s.spec.choices:
        return
    wild = s.actions(share=3.0)
    tame = torch.minimum(torch.maximum(wild, s.limits()[0]), s.limits()[1])
    one, same = (s.play(s.open(s.tasks(), seed=5), actions) for actions in (wild, tame))
    what = "an action beyond its limits and one at them"
    yield from _differences(s, one, same, what, "step to clamp actions to the limits of spec.action")


def independent(s: Subject) -> Iterator[str]:
    """A machine does not feel which others are in the batch, nor what those do."""
    tasks, others, actions = s.tasks(seed=1), s.tasks(seed=2), s.actions()
    first = torch.arange(s.machines) == 0
    mixed = type(tasks)(*(_mixed(first, a, b) for a, b in zip(tasks, others, strict=True)))
    elsewhere = _mixed(first, actions, s.actions(seed=6))
    one = s.play(s.open(tasks, seed=3), actions)
    same = s.play(s.open(mixed, seed=3), elsewhere)
    alone, among = (Trajectory(*(x[:1] for x in t)) for t in (one, same))
    yield from _differences(
        s, alone, among, "a machine among some machines and among others", "machines to be independent"
    )


def becomes_itself(s: Subject) -> Iterator[str]:
    """A machine that becomes what it is goes on as if nothing had been."""
    tasks, actions, everywhere = s.tasks(), s.actions(), torch.ones(s.machines, dtype=torch.bool)
    one, same = s.open(tasks, seed=7), s.open(tasks, seed=7)
    s.play(one, actions[:, :, :2]), s.play(same, actions[:, :, :2])
    s.call("become", lambda: same.become(tasks, everywhere))
    seen, again = (s.play(session, actions[:, :, 2:]) for session in (one, same))
    yield from _differences(s, seen, again, "a session and one whose machines became what they were")


def becomes(s: Subject) -> Iterator[str]:
    """Machines change where asked, from the next step on, and keep their state; the others do not change."""
    tasks, other, actions = s.tasks(seed=1), s.tasks(seed=2), s.actions()
    where = torch.arange(s.machines) % 2 == 1
    one, changed = s.open(tasks, seed=8), s.open(tasks, seed=8)
    s.play(one, actions[:, :, :2]), s.play(changed, actions[:, :, :2])
    before = s.obs(changed).clone()
    s.call("become", lambda: changed.become(other, where))
    if differ(before, s.obs(changed), _spans(s)):
        yield "become changed the observation at once, expected the state to stay as it is"
    seen, after = (s.play(session, actions[:, :, 2:]) for session in (one, changed))
    kept, still = (Trajectory(*(x[~where] for x in t)) for t in (seen, after))
    yield from _differences(s, kept, still, "machines that nothing became of and the same in another session")
    moved = differ(seen.obs[where], after.obs[where], _spans(s)) or differ(
        seen.reward[where], after.reward[where]
    )
    if s.spec.parameters and not moved:
        yield "become changes nothing, expected other machines to behave otherwise from the next step on"


def _at_limits(s: Subject, actions: Tensor) -> Tensor:
    """Each action at the limit that it is nearer to."""
    low, high = s.limits()
    return torch.where(actions > 0.5 * (low + high), high, low)


def _mixed(first: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(first.view(-1, *[1] * (a.dim() - 1)), a, b)


def _spans(s: Subject) -> Tensor:
    low, high = s.ranges(sensors=True)
    return high - low


def _differences(
    s: Subject, one: Trajectory, same: Trajectory, what: str, expected: str = ""
) -> Iterator[str]:
    wanted = expected or "them to be equal"
    if differ(one.obs, same.obs, _spans(s)):
        at = ((one.obs - same.obs).abs() / _spans(s)).amax((0, 1, 2)).argmax()
        yield f"obs: {s.channels(sensors=True)[int(at)].name} differs between {what}, expected {wanted}"
    if differ(one.reward, same.reward, 1.0 + one.reward.abs()):
        yield f"step: reward differs between {what}, expected {wanted}"
    if not torch.equal(one.ended, same.ended):
        yield f"step: terminated or truncated differs between {what}, expected {wanted}"
