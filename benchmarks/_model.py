"""What `transfer_model` measures on one machine: how wrong the model is before and after a step, and how the policy
drives where it never takes one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.file import write_bundle
from acclimate.control.drive import Drive
from acclimate.control.trial import EpisodeKey
from acclimate.policy.policy import Policy
from acclimate.task.episode import Window
from acclimate_bridge.evaluation.rig import Contest, Place
from acclimate_export.bundle.bundling import make_parts
from acclimate_export.bundle.trained import Trained, from_run
from acclimate_export.command.export import export
from acclimate_trainer.api import train
from acclimate_trainer.runs.run_directory import RunDirectory

FOLDER = Path("runs/bench/model")
_SECONDS = 6.0  # of driving without a step
_AFTER, _UNTIL = 1.0, 2.0  # s, between which it is judged


class Predicted(NamedTuple):
    """The model's error on windows of one machine, in units of its noise: as exported, after a step on the window
    before each, and after one on every window before; and the headline from 1 s to 2 s of driving that never adapts.
    """

    before: FloatArray  # (windows,)
    after: FloatArray
    settled: FloatArray
    never: float


def bundle_of(config: str, seed: int, iterations: int | None = None, form: str | None = None) -> Path:
    """Train and export what is not there yet; for so many iterations, with another form, than the config says."""
    run = FOLDER / (f"{config}_{seed}" if form is None else f"{config}_{form}_{seed}")
    path = run.with_suffix(".acclimate")
    if not path.is_file():
        changes = {} if form is None else {"model.form": form}
        trained = train(config, out=run, seed=seed, iterations=iterations, changes=changes)
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


def predict(contest: Contest, place: Place) -> Predicted:
    """Drive a machine by the main bundle, which adapts to nothing meanwhile; then go through its windows."""
    policy = contest.policies[contest.main]
    drive = _driven(contest, place, policy)
    windows = list(_windows(drive, policy))
    before, after = [], []
    for seen, coming in pairwise(windows):
        policy.restore()
        before.append(policy.adapt(coming).info["loss"])
        policy.adapt(seen)
        policy.commit()
        after.append(policy.adapt(coming).info["loss"])
    policy.restore()
    settled = []
    for coming in windows:
        settled.append(policy.adapt(coming).info["loss"])
        policy.commit()
    dt = policy.manifest.control_dt
    figures = drive.metrics(round(_AFTER / dt), round(_UNTIL / dt))
    never = figures[policy.manifest.task.headline.name]
    arrays = [np.array(errors, np.float32) for errors in (before, after, settled[1:])]
    return Predicted(arrays[0], arrays[1], arrays[2], never)


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
    for begin in range(0, len(drive.obs) - steps - 1, steps):
        ticks = slice(begin, begin + steps)
        obs = drive.obs[None, begin : begin + steps + 1]
        yield Window(obs, drive.applied[None, ticks], np.ones((1, steps), np.float32))
