"""Episodes of a policy on the machines of a family, all tasks and episodes in one tensor program.

References are drawn here, by the spec, as the host draws them on a device. Through a differentiable session the
gradient passes, and fades by `adjoint_decay`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, NamedTuple

import numpy as np
import torch
from acclimate.task import references
from acclimate.task.spec import TaskSpec
from torch import Tensor
from torch.autograd.function import FunctionCtx

from acclimate_trainer.compiled import driving as compiled
from acclimate_trainer.compiled.ride import Change, Ridden, Ride, begun, rewarded
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Cost, Differentiable, Session, Step, TaskFamily, Tasks
from acclimate_trainer.contract.policy import Policy, Tensors, Window

_FLOOR = 1e-8  # of a mean square; keeps its root differentiable


class Surroundings(NamedTuple, Generic[Tasks]):
    """E episodes of S steps on each of T tasks that are about to begin, with everything random about them.

    They can be played once: a session goes on from where it is.
    """

    session: Session[Tasks]
    reference: Tensor  # (T, E, S + 1, n_references)
    noise: Tensor  # for `act`: standard normal in exploring episodes, zero in the others (T, E, S, n_noise)
    tiny: Callable[[], Session[Tasks]] | None = None  # makes another such session, of one episode on one task

    @property
    def steps(self) -> int:
        return self.noise.shape[2]


class Episodes(NamedTuple):
    """E recorded episodes of S steps on each of T tasks."""

    obs: Tensor  # (T, E, S + 1, n_obs)
    action: Tensor  # as sampled, before the device's limits (T, E, S, n_act)
    reward: Tensor  # the session's (T, E, S)
    ended: Tensor  # whether an episode ended in this step, and what is observed next is another's, bool (T, E, S)

    def window(self) -> Window:
        """All of them; a transition into another episode is masked."""
        return Window(self.obs, self.action, (~self.ended).to(self.action.dtype))

    def some(self, which: slice) -> Episodes:
        """Those of some of the episodes side by side."""
        return Episodes(*(column[:, which] for column in self))


def draw(
    family: TaskFamily[Tasks] | Complete[Tasks],
    tasks: Tasks,
    rng: np.random.Generator,
    *,
    explore: int,
    measure: int,
    steps: int,
    n_noise: int | None = None,
) -> Surroundings[Tasks]:
    """Surroundings of `explore` exploring episodes followed by `measure` noise-free ones.

    n_noise: entries of the policy's noise; as many as actions, unless it says otherwise.
    """
    episodes, spec = explore + measure, family.spec
    session = family.open(tasks, episodes, steps, rng)
    shape = (*session.obs.shape[:2], steps, spec.n_act if n_noise is None else n_noise)
    noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    noise[:, explore:] = 0.0
    tiny = partial(one_machine, family, tasks, steps)
    return Surroundings(session, references_from(spec, session.obs, steps, rng), noise, tiny)


def one_machine(family: TaskFamily[Tasks] | Complete[Tasks], tasks: Tasks, steps: int) -> Session[Tasks]:
    """A session of one episode on the first of `tasks`, for a trace."""
    first: Tasks = type(tasks)(*(column[:1] for column in tasks))  # type: ignore[attr-defined]
    return family.open(first, 1, steps, np.random.default_rng(0))


def references_from(spec: TaskSpec, obs: Tensor, steps: int, rng: np.random.Generator) -> Tensor:
    """References that begin where each machine stands, (T, E, steps + 1, n_references)."""
    start = obs.detach().numpy()
    drawn = references.draw(spec, rng, start.reshape(-1, start.shape[-1]), steps)
    return torch.from_numpy(drawn).view(*start.shape[:2], steps + 1, -1)


def rollout(
    policy: Policy,
    state: Tensors,
    spec: TaskSpec,
    surroundings: Surroundings[Tasks],
    adjoint_decay: float = 1.0,
) -> Episodes:
    """Run all episodes of `surroundings`; what `act` writes starts from its initial value.

    state: the tensors that `act` does not write, stacked over tasks.
    adjoint_decay: factor per tick, going backwards, on the gradient through the machine's state and the policy's own.
        Below one it forgets what chaotic episodes would amplify beyond use, at the price of a bias.
    """
    live = {**state, **initial_of(policy, surroundings.session.obs.shape[:2])}
    return drive(policy, live, spec, surroundings, adjoint_decay)[0]


def drive(
    policy: Policy,
    live: Tensors,
    spec: TaskSpec,
    surroundings: Surroundings[Tasks],
    adjoint_decay: float = 1.0,
    change: Change | None = None,
    earned: Tensor | None = None,
) -> tuple[Episodes, dict[str, Tensor]]:
    """As `rollout`, from the whole state `live`; returns the episodes, and the state at their end.

    adjoint_decay: with 0 no gradient passes through the machine, and the policy's own memory keeps all of it.
    change: what happens to the machines meanwhile.
    earned: (T, E) reward of the tick before the first, where rewards are observed: the last one of the episode before.
    """
    session = surroundings.session
    asked = Ride(
        policy=policy,
        live=live,
        anew=initial_of(policy, surroundings.noise.shape[:2], ("episode",)),
        session=session,
        tiny=surroundings.tiny,
        compose=composer(spec),
        reference=surroundings.reference,
        noise=surroundings.noise,
        decay=adjoint_decay,
        change=change,
        earned=None if spec.reward is None else earned,
    )
    *columns, live = compiled.drive(asked, _by_torch)
    return Episodes(*columns), live


def _by_torch(asked: Ride) -> Ridden:
    """Tick by tick."""
    session, change = asked.session, asked.change
    passed = session if isinstance(session, Differentiable) and asked.decay > 0.0 else None
    fades = asked.decay < 1.0
    live, moments = dict(asked.live), _moments(asked)
    reference, noise = asked.reference.unbind(2), asked.noise.unbind(2)
    obs = asked.compose(session.obs, reference[0])
    obs = obs if asked.earned is None else rewarded(asked.policy.spec, obs, asked.earned)
    seen, done, steps = [obs], list[Tensor](), list[Step]()
    for t, now in enumerate(noise):
        act = asked.policy.act(live, obs, now)
        if change is not None and t in moments:
            change.become(session, change.at <= t)
        steps.append(session.step(act.action.detach() if passed is None else act.action))
        live |= act.next
        if change is not None and t in moments:
            live |= change.told_at(t)
        if fades and passed is not None:
            state = passed.state
            carried = _Decay.apply(asked.decay, *state, *act.next.values())  # type: ignore[no-untyped-call]
            passed.state = carried[: len(state)]
            live |= dict(zip(act.next, carried[len(state) :], strict=True))
        ended = steps[-1].terminated | steps[-1].truncated
        if bool(ended.any()):
            live |= begun(live, asked.anew, ended)
        obs = asked.compose(session.obs, reference[t + 1])
        seen.append(obs)
        done.append(act.action)
    reward, terminated, truncated = (torch.stack(column, dim=2) for column in zip(*steps, strict=True))
    return Ridden(torch.stack(seen, dim=2), torch.stack(done, dim=2), reward, terminated | truncated, live)


def _moments(asked: Ride) -> set[int]:
    """Ticks before whose step something happens."""
    if asked.change is None:
        return set()
    at = asked.change.at
    early = {0} if bool((at <= 0).any()) else set[int]()
    return early | {int(tick) for tick in at if 0 < tick < asked.ticks}


def composer(spec: TaskSpec) -> Callable[[Tensor, Tensor], Tensor]:
    """Makes an observation (…, n_obs) of what is measured (…, n_sensors) and the reference (…, n_references)."""
    sources = [c.source == "reference" for c in spec.observation for _ in range(c.size)]
    if not any(sources):
        return lambda measured, _: measured
    if sources == sorted(sources):  # sensors first, as in most families
        return lambda measured, reference: torch.cat([measured, reference], dim=-1)
    order = torch.tensor([*np.flatnonzero(~np.array(sources)), *np.flatnonzero(sources)]).argsort()
    return lambda measured, reference: torch.cat([measured, reference], dim=-1)[..., order]


def initial_of(
    policy: Policy, axes: Sequence[int], rules: Sequence[str] = ("trial", "episode")
) -> dict[str, Tensor]:
    """Initial values, with `axes` in front, of what `act` writes and one of these reset rules applies to."""
    initial = policy.initial()
    names = [t.name for t in policy.state if t.written_by == "act" and t.reset in rules]
    return {name: initial[name].expand(*axes, *initial[name].shape) for name in names}


def total_cost(costs: Sequence[Cost], block: int | None = None) -> Tensor:
    """The loss of each task, (T,): the weighted sum of the terms' means, or of the roots of these.

    block: ticks over which a term is averaged before its root is taken; the roots are averaged over blocks then.
    """
    parts = [_weighted(cost, block) for cost in costs]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _weighted(cost: Cost, block: int | None) -> Tensor:
    blocks = [cost.values] if block is None else torch.split(cost.values, block, dim=2)
    means = [values.mean(dim=(1, 2)) for values in blocks]
    each = [torch.sqrt(mean + _FLOOR) for mean in means] if cost.root else means
    total = each[0] if block is None else torch.stack(each).mean(0)
    return total if cost.weight == 1.0 else cost.weight * total


def joined(costs: Sequence[Sequence[Cost]]) -> list[Cost]:
    """The costs of several episodes, one after the other in time, as those of one."""
    return [
        each[0]._replace(values=torch.cat([cost.values for cost in each], dim=2))
        for each in zip(*costs, strict=True)
    ]


def headline(cost: Cost) -> Tensor:
    """A cost in its own unit, averaged over the episodes of each task, for reports: (T,)."""
    mean = cost.values.mean(dim=(1, 2))
    return mean.sqrt() if cost.root else mean


class _Decay(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: FunctionCtx, factor: float, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.factor = factor  # type: ignore[attr-defined]
        return tuple(value.view_as(value) for value in values)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(gradients, ctx.factor)  # type: ignore[attr-defined]
