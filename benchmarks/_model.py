"""What `transfer_model` measures on one machine: how wrong the model is before and after a step, and how the policy
drives where it never takes one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from acclimate.arrays import FloatArray
from acclimate.bundle.file import load, write_bundle
from acclimate.control.drive import Drive
from acclimate.control.trial import EpisodeKey
from acclimate.policy.policy import Policy
from acclimate_bridge.evaluation.rig import Contest, Place
from acclimate_export.bundle.bundling import make_parts
from acclimate_export.bundle.trained import Trained, from_bundle, from_run
from acclimate_export.command.export import export
from acclimate_trainer.algorithms.model.policies import ModelPolicy
from acclimate_trainer.api import train
from acclimate_trainer.contract.policy import Tensors, Window
from acclimate_trainer.runs.run_directory import RunDirectory

FOLDER = Path("runs/bench/model")
_SECONDS = 6.0  # of driving without a step
_AFTER, _UNTIL = 1.0, 2.0  # s, between which it is judged


class Predicted(NamedTuple):
    """The model's error on windows of one machine: as exported, after a step on the window before each, and after one
    on every window before; and the headline from 1 s to 2 s of driving that never adapts.

    An error is the root mean square over the sensors, each in units of what it usually changes by in the family.
    """

    before: FloatArray  # (windows,)
    after: FloatArray
    settled: FloatArray
    never: float


def bundle_of(config: str, seed: int, name: str = "", changes: Mapping[str, str | int] | None = None) -> Path:
    """Train and export what is not there yet; under another name, with changes to the config by SECTION.KEY."""
    run = FOLDER / f"{name or config}_{seed}"
    path = run.with_suffix(".acclimate")
    if not path.is_file():
        trained = train(config, out=run, seed=seed, changes=changes or {})
        export(trained.path, out=path, forms="onnx")
    return path


def planner_of(config: str, seed: int) -> Path:
    """The planner that drives by the model of a run whose policy is told it: their training is the same."""
    path = FOLDER / f"{config}_planner_{seed}.acclimate"
    if not path.is_file():
        bundle_of(config, seed)
        found, _ = from_run(RunDirectory.open(FOLDER / f"{config}_{seed}"))
        assert found.config.model is not None
        planning = replace(found.config, model=replace(found.config.model, act="planner"))
        parts = make_parts(Trained.of(planning, found.meta, str(path)), {}, {})
        write_bundle(path, parts.manifest, parts.members)
    return path


@torch.no_grad()
def predict(contest: Contest, place: Place) -> Predicted:
    """Drive a machine by the main bundle, which adapts to nothing meanwhile; then go through its windows in torch."""
    policy = contest.policies[contest.main]
    drive = _driven(contest, place, policy)
    model = _model_of(policy.bundle.path)
    windows, begin = list(_windows(drive, policy)), model.begin(1)
    pairs = list(pairwise(windows))
    before = [_error(model, begin, coming) for _, coming in pairs]
    after = [_error(model, model.learned(begin, seen), coming) for seen, coming in pairs]
    settled, thought = list[float](), begin
    for seen, coming in pairs:
        thought = model.learned(thought, seen)
        settled.append(_error(model, thought, coming))
    dt = policy.manifest.control_dt
    figures = drive.metrics(round(_AFTER / dt), round(_UNTIL / dt))
    never = figures[policy.manifest.task.headline.name]
    errors = [np.array(each, np.float32) for each in (before, after, settled)]
    return Predicted(errors[0], errors[1], errors[2], never)


@cache
def _model_of(path: Path) -> ModelPolicy:
    torch.set_num_threads(1)  # there is a process for every core
    policy = from_bundle(load(path)).policy
    assert isinstance(policy, ModelPolicy)
    return policy


def _error(model: ModelPolicy, thought: Tensors, window: Window) -> float:
    return float(model.errors(thought, window).mean().sqrt())


def _driven(contest: Contest, place: Place, policy: Policy) -> Drive:
    policy.restore()
    ticks = round(_SECONDS / policy.manifest.control_dt)
    with contest.rig(policy, place, policy.manifest) as rig:
        rig.loop.learner = None
        episodes = contest.references(place, ticks, rig.link)
        drive = Drive(rig.loop, episodes(rig.loop.measure(), EpisodeKey(0, "measure", 0)))
        drive.on(ticks + 1)
        return drive


def _windows(drive: Drive, policy: Policy) -> Iterator[Window]:
    """Those of a drive, one after the other."""
    spec = policy.manifest.window
    assert spec is not None  # a model adapts
    steps = spec.steps
    obs, action = torch.from_numpy(drive.obs), torch.from_numpy(drive.applied)
    for begin in range(0, len(obs) - steps - 1, steps):
        window = obs[begin : begin + steps + 1], action[begin : begin + steps], torch.ones(steps)
        yield Window(*(part[None, None] for part in window))
