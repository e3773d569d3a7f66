"""Trials in which every machine is driven by one and the same policy, and what only training knows is written down.

Machines and episodes of a trial become the rows of one batch, so that a network is one product for all of them. Before
each step a critic's facts are noted; the policy does not see them. Where these are no more than the parameters, nobody
has to look, and the trial may be compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple

import torch
from torch import Tensor

from acclimate_trainer.compiled import driving as compiled
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Criticised, Session, Step, Tasks
from acclimate_trainer.contract.policy import Policy
from acclimate_trainer.play.rollouts import Episodes
from acclimate_trainer.play.trials import Trial, run_trial


class Played(NamedTuple):
    """A trial of L ticks in N rows, the machines' E episodes side by side: row = machine · E + episode."""

    episodes: tuple[Episodes, ...]  # of the trial, in order, each (1, N, S, …)
    facts: Tensor  # what a critic may know before each step (L, N, n_facts)


class Watched(Generic[Tasks]):
    """A session of T machines with E episodes each as one of 1 machine with T·E episodes; notes facts before each step.

    It cannot be differentiated, whatever is inside.
    """

    def __init__(self, session: Session[Tasks], family: Complete[Tasks], tasks: Tasks) -> None:
        self._session, self._family, self._tasks = session, family, tasks
        self.facts: list[Tensor] = []  # (T·E, n_facts) each

    @property
    def obs(self) -> Tensor:
        return self._session.obs.flatten(0, 1).unsqueeze(0)

    def step(self, action: Tensor) -> Step:
        """`action` (1, T·E, n_act)."""
        axes = self._session.obs.shape[:2]
        self.facts.append(facts(self._family, self._tasks, self._session).flatten(0, 1))
        step = self._session.step(action.view(*axes, -1))
        return Step(*(column.flatten().unsqueeze(0) for column in step))

    def become(self, tasks: Tasks, where: Tensor) -> None:
        self._session.become(tasks, where)
        self._tasks = chosen(where, tasks, self._tasks)


def over_time(parts: Sequence[Tensor]) -> Tensor:
    """Columns of a trial's episodes, each (1, N, S, …), one after the other, time first: (L, N, …)."""
    return torch.cat([part.squeeze(0).transpose(0, 1) for part in parts])


@torch.no_grad()
def play(policy: Policy, family: Complete[Tasks], trial: Trial[Tasks], scale: Tensor | None = None) -> Played:
    """Drive a trial as devices would: through the policy's `act`, tick by tick.

    scale: (n_noise,) factor on the policy's noise.
    """
    if scale is not None:
        parts = (part._replace(noise=part.noise * scale) for part in trial.episodes)
        trial = trial._replace(episodes=tuple(parts))
    session = trial.episodes[0].session
    if isinstance(family.family, Criticised):
        if compiled.wanted(policy, session):
            compiled.refuse(policy, session, "the family tells its critic something of every step")
    elif compiled.wanted(policy, session):
        return _unwatched(policy, family, trial)
    return _watched(policy, family, trial)


def _unwatched(policy: Policy, family: Complete[Tasks], trial: Trial[Tasks]) -> Played:
    """With facts that are known without looking: compiled, unless that turns out to be impossible."""
    tasks, side_by_side = trial.episodes[0].session.obs.shape[:2]
    episodes = run_trial(policy, _weights(policy, tasks), family, trial)
    rows = (Episodes(*(column.flatten(0, 1).unsqueeze(0) for column in part)) for part in episodes)
    told = family.standard(trial.course.told(family, torch.arange(trial.ticks).unsqueeze(1)))  # (L, T, P)
    return Played(tuple(rows), told.repeat_interleave(side_by_side, dim=1))


def _weights(policy: Policy, tasks: int) -> dict[str, Tensor]:
    """The initial values of what `act` does not write, stacked."""
    initial = policy.initial()
    names = [t.name for t in policy.state if t.written_by != "act"]
    return {name: initial[name].expand(tasks, *initial[name].shape) for name in names}


def _watched(policy: Policy, family: Complete[Tasks], trial: Trial[Tasks]) -> Played:
    """By torch, looking at every step."""
    watched = [Watched(part.session, family, trial.course.before) for part in trial.episodes]
    parts = (
        part._replace(
            session=session,
            reference=part.reference.flatten(0, 1).unsqueeze(0),
            noise=part.noise.flatten(0, 1).unsqueeze(0),
        )
        for part, session in zip(trial.episodes, watched, strict=True)
    )
    with compiled.compiling(False):  # what a session notes is no part of its step
        episodes = run_trial(policy, _weights(policy, 1), family, trial._replace(episodes=tuple(parts)))
    return Played(tuple(episodes), torch.stack([fact for session in watched for fact in session.facts]))


def facts(family: Complete[Tasks], tasks: Tasks, session: Session[Tasks]) -> Tensor:
    """What a critic may know of machine and state, (T, E, n): the family's own, or the parameters in typical units."""
    if isinstance(family.family, Criticised):
        return family.family.critic(tasks, session)
    told = family.standard(family.parameters(tasks))
    return told.unsqueeze(1).expand(-1, session.obs.shape[1], -1)


def chosen(where: Tensor, these: Tasks, others: Tasks) -> Tasks:
    """Machine by machine these tasks `where` (T,) says so, and the others elsewhere."""
    pairs: Sequence[tuple[Tensor, Tensor]] = list(zip(these, others, strict=True))  # type: ignore[call-overload]
    columns = (torch.where(where.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in pairs)
    kind: type[Tasks] = type(others)
    return kind(*columns)
