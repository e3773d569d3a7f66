"""All checks, and the two ways to run them: a function that raises, and a class of tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch

from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.testing import capabilities, gradients, machines, sessions
from acclimate_trainer.testing.subject import Subject

Check: TypeAlias = Callable[[Subject], Iterator[str]]
"""What a family breaks, a sentence each; later ones may follow from the first."""

CHECKS: Mapping[str, Check] = {
    "has_all_members": machines.members,
    "samples_machines": machines.sampled,
    "samples_by_seed": machines.sampled_by_seed,
    "tells_parameters": machines.told,
    "has_shapes": sessions.shapes,
    "is_a_session": gradients.state,
    "stays_within_channels": sessions.within_channels,
    "observes_its_reward": sessions.reward_channel,
    "plays_by_seed": sessions.by_seed,
    "clamps_actions": sessions.clamped,
    "has_independent_machines": sessions.independent,
    "becomes_itself": sessions.becomes_itself,
    "becomes_others": sessions.becomes,
    "has_a_gradient": gradients.gradient,
    "has_the_right_gradient": gradients.finite_differences,
    "is_traceable": gradients.traceable,
    "changes": machines.changed,
    "makes_machines_by_place": machines.placed,
    "holds_out_machines": machines.held_out,
    "can_be_resumed": capabilities.resumed,
    "gives_inputs": capabilities.inputs,
    "gives_reward": capabilities.reward,
    "gives_baseline": capabilities.baseline,
    "gives_costs": capabilities.costs,
    "gives_features": capabilities.features,
    "gives_critic": capabilities.critic,
    "gives_prior": capabilities.prior,
}
"""By name, in an order in which each may rely on those before it."""


def check_family(family: TaskFamily[Any], where: str | None = None, *, quick: bool = False) -> None:
    """Raises ContractError for the first check that `family` does not pass.

    where: what to call it in the sentence, such as robot.py:Arm; by default its file and class.
    quick: on few machines and short episodes, for what is about to be trained.
    """
    subject = Subject(family, where, quick=quick)
    for check in CHECKS.values():
        _run(check, subject)


class FamilyConformance:
    """A test for every check. Subclasses override `family`; see the package."""

    def family(self) -> TaskFamily[Any]:
        raise NotImplementedError("a subclass of FamilyConformance says which family it tests")


def _run(check: Check, subject: Subject) -> None:
    with torch.random.fork_rng(
        devices=()
    ):  # a family that draws from torch's own generator changes it for nobody
        for sentence in check(subject):
            raise subject.broken(sentence)


def _test(check: Check) -> Callable[[FamilyConformance], None]:
    def test(self: FamilyConformance) -> None:
        _run(check, Subject(self.family()))

    test.__doc__ = check.__doc__
    return test


for _name, _check in CHECKS.items():
    setattr(FamilyConformance, f"test_{_name}", _test(_check))
