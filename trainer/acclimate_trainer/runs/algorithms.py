"""From a config to what it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from acclimate.errors import UsageError

from acclimate_trainer.algorithms.distillation.imitation import Imitation
from acclimate_trainer.algorithms.distillation.mimic import Mimic
from acclimate_trainer.algorithms.distillation.student import Student
from acclimate_trainer.algorithms.entropy.entropy import Entropy
from acclimate_trainer.algorithms.features.features import Features
from acclimate_trainer.algorithms.identify.identify import Identify
from acclimate_trainer.algorithms.maml.maml import Maml
from acclimate_trainer.algorithms.model.model import Model
from acclimate_trainer.algorithms.needs import refusal
from acclimate_trainer.algorithms.reactive import Reactive
from acclimate_trainer.algorithms.rl2.ppo import Ppo
from acclimate_trainer.algorithms.rl2.rl2 import Rl2
from acclimate_trainer.algorithms.successor.library import Successor
from acclimate_trainer.algorithms.successor.objectives import Objectives
from acclimate_trainer.algorithms.widening import Narrowed, Widened
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Policy
from acclimate_trainer.outer_loop.training import Algorithm, Iterative
from acclimate_trainer.runs.configuration import Config
from acclimate_trainer.runs.run_directory import CONFIG, RunDirectory

Section = TypeVar("Section")
_Make: TypeAlias = Callable[[Complete[object], Config], Algorithm]
_MADE: Mapping[str, _Make] = {
    "maml": lambda family, c: Maml(family, _given(c.maml)),
    "rl2": lambda family, c: Rl2(family, _given(c.rl2)),
    "rl2_oracle": lambda family, c: Rl2(family, _given(c.rl2_oracle), oracle=True),
    "identify": lambda family, c: Identify(family, _given(c.identify)),
    "model": lambda family, c: Model(family, _given(c.model)),
    "objectives": lambda family, c: Objectives(family, _given(c.objectives)),
    "student": lambda family, c: Student(family, _given(c.student), partial(teacher_of, c)),
    "imitation": lambda family, c: Imitation(family, _given(c.imitation)),
    "features": lambda family, c: Features(family, _given(c.features)),
    "mimic": lambda family, c: Mimic(family, _given(c.mimic), partial(teacher_of, c)),
    "ppo": lambda family, c: Ppo(family, _given(c.ppo)),
    "robust": lambda family, c: Reactive(family, _given(c.robust), oracle=False),
    "oracle": lambda family, c: Reactive(family, _given(c.oracle), oracle=True),
    "successor": lambda family, c: Successor(family, _given(c.successor)),
    "entropy": lambda family, c: Entropy(family, _given(c.entropy)),
}


PER_MACHINE = ("maml", "rl2", "rl2_oracle", "identify", "model", "student", "features", "robust", "oracle")
"""Those with a loss for each machine, by which ranges can be widened."""


def algorithm_of(config: Config) -> Algorithm:
    """What a config trains. Raises UsageError where its family lacks what the algorithm needs."""
    family = Complete.of(config.opened.family)
    refused = refusal(config.algorithm, family)
    if refused:
        raise UsageError(refused)
    make = _MADE[config.algorithm]
    return make(family, config) if config.widening is None else _widened(make, family, config)


def _widened(make: _Make, family: Complete[object], config: Config) -> Algorithm:
    """What a config trains, on ranges that widen. Raises UsageError where machines cannot be judged one by one."""
    narrowed = Narrowed(family)
    algorithm = make(narrowed, config)
    if isinstance(algorithm, Iterative):
        raise UsageError(
            f"[widening] judges machines one by one, and [{config.algorithm}] has no loss for each of them; "
            f"it goes with: {', '.join(f'[{name}]' for name in PER_MACHINE)}"
        )
    return Widened(narrowed, algorithm, _given(config.widening))


def taught_by(config: Config) -> str:
    """The folder of the run whose oracle teaches what a config trains; empty where none does."""
    section = config.student or config.mimic
    return "" if section is None else section.teacher


def teacher_of(config: Config) -> Policy:
    """The policy that the config of a student names: an oracle, or where actions are choices a library of successor
    features. Raises UsageError where there is none for its family."""
    path, where = Path(taught_by(config)), f"[{config.algorithm}] teacher:"
    spec = config.opened.family.spec
    kind, example = ("successor", "reacher_library") if spec.discrete else ("oracle", "servo_wide_oracle")
    if not (path / CONFIG).is_file():
        raise UsageError(
            f"{where} there is no run {path}; train one with [{kind}] on the same family first, as in acclimate train "
            f"{example}"
        )
    run = RunDirectory.open(path)
    taught, progress = run.config, run.load()
    if taught.algorithm != kind:
        raise UsageError(f"{where} {path} trained [{taught.algorithm}], expected [{kind}]")
    theirs = taught.opened.family.spec
    if replace(spec, differentiable=True) != replace(
        theirs, differentiable=True
    ):  # a teacher may know a model of it
        raise UsageError(
            f"{where} {path} was trained on the family {theirs.name} with other ranges or channels than "
            f"{config.name} is for ({spec.name}); train [{kind}] with the same [family]"
        )
    if progress is None:
        raise UsageError(f"{where} nothing is trained in {path} yet; `acclimate train` does it")
    meta = {name: value.detach() for name, value in progress.chosen.items()}
    return algorithm_of(taught).policy(meta)


def _given(section: Section | None) -> Section:
    assert section is not None  # a config has the section of what it trains
    return section
