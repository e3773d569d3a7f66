"""From a config to what it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from acclimate.errors import UsageError

from acclimate_trainer.algorithms.entropy.entropy import Entropy
from acclimate_trainer.algorithms.identify.identify import Identify
from acclimate_trainer.algorithms.maml.maml import Maml
from acclimate_trainer.algorithms.needs import refusal
from acclimate_trainer.algorithms.reactive import Reactive
from acclimate_trainer.algorithms.rl2.ppo import Ppo
from acclimate_trainer.algorithms.rl2.rl2 import Rl2
from acclimate_trainer.algorithms.rl2.student import Student
from acclimate_trainer.algorithms.successor.library import Successor
from acclimate_trainer.algorithms.successor.objectives import Objectives
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Policy
from acclimate_trainer.outer_loop.training import Algorithm
from acclimate_trainer.runs.configuration import Config
from acclimate_trainer.runs.run_directory import CONFIG, RunDirectory

Section = TypeVar("Section")
_Make: TypeAlias = Callable[[Complete[object], Config], Algorithm]
_MADE: Mapping[str, _Make] = {
    "maml": lambda family, c: Maml(family, _given(c.maml)),
    "rl2": lambda family, c: Rl2(family, _given(c.rl2)),
    "rl2_oracle": lambda family, c: Rl2(family, _given(c.rl2_oracle), oracle=True),
    "identify": lambda family, c: Identify(family, _given(c.identify)),
    "objectives": lambda family, c: Objectives(family, _given(c.objectives)),
    "student": lambda family, c: Student(family, _given(c.student), partial(teacher_of, c)),
    "ppo": lambda family, c: Ppo(family, _given(c.ppo)),
    "robust": lambda family, c: Reactive(family, _given(c.robust), oracle=False),
    "oracle": lambda family, c: Reactive(family, _given(c.oracle), oracle=True),
    "successor": lambda family, c: Successor(family, _given(c.successor)),
    "entropy": lambda family, c: Entropy(family, _given(c.entropy)),
}


def algorithm_of(config: Config) -> Algorithm:
    """What a config trains. Raises UsageError where its family lacks what the algorithm needs."""
    family = Complete.of(config.opened.family)
    refused = refusal(config.algorithm, family)
    if refused:
        raise UsageError(refused)
    return _MADE[config.algorithm](family, config)


def teacher_of(config: Config) -> Policy:
    """The oracle that a student's config names. Raises UsageError where there is none for its family."""
    path = Path(_given(config.student).teacher)
    if not (path / CONFIG).is_file():
        raise UsageError(
            f"[student] teacher: there is no run {path}; train an oracle of the same family first, as in "
            "acclimate train servo_wide_oracle"
        )
    run = RunDirectory.open(path)
    taught, progress = run.config, run.load()
    if taught.oracle is None:
        raise UsageError(f"[student] teacher: {path} trained [{taught.algorithm}], expected [oracle]")
    ours, theirs = config.opened.family.spec, taught.opened.family.spec
    if replace(ours, differentiable=True) != replace(
        theirs, differentiable=True
    ):  # a teacher may know a model of it
        raise UsageError(
            f"[student] teacher: {path} was trained on the family {theirs.name} with other ranges or channels than "
            f"{config.name} is for ({ours.name}); train an oracle with the same [family]"
        )
    if progress is None:
        raise UsageError(f"[student] teacher: nothing is trained in {path} yet; `acclimate train` does it")
    meta = {name: value.detach() for name, value in progress.chosen.items()}
    return Reactive(taught.opened.family, taught.oracle, oracle=True).policy(meta)


def _given(section: Section | None) -> Section:
    assert section is not None  # a config has the section of what it trains
    return section
