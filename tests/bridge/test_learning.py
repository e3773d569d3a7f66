"""Bundles that adapt while they drive, through the verbs: they take no shots, and learn in every way of driving."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from acclimate.bundle.file import load
from acclimate.bundle.manifest import Manifest
from acclimate.policy.policy import Policy
from acclimate_bridge.evaluation.courses import Course, drive_main
from acclimate_bridge.evaluation.episodes import allowed_shots, episode_steps
from acclimate_bridge.evaluation.evaluation import Plan, evaluate_all, open_plan
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_bridge.simulation.servo.servos import BUILT_IN

from .conftest import Acclimate

WIRED = ("--port", "sim:MX-64", "--json")


def _manifest(bundles: Path) -> Manifest:
    return load(bundles / "continual.acclimate").manifest


@pytest.mark.parametrize("options", [("--seconds", "1.5"), ("--episodes", "2")])
def test_it_adapts_while_it_drives(acclimate: Acclimate, bundles: Path, options: tuple[str, ...]) -> None:
    done = acclimate("run", bundles / "continual.acclimate", *WIRED, *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    windows = report["windows"]
    assert windows["accepted"] + windows["refused"] + windows["missed"] >= 5
    assert report.get("shots", []) == []


def test_a_reset_on_the_way_waits_for_what_is_being_adapted_to(acclimate: Acclimate, bundles: Path) -> None:
    resets = [word for k in range(1, 8) for word in ("--reset", f"trial@{0.2 * k:g}")]
    done = acclimate("run", bundles / "continual.acclimate", *WIRED, "--seconds", "1.6", *resets)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["resets"]) == 7


def test_in_a_dry_run_nothing_is_learned(acclimate: Acclimate, bundles: Path) -> None:
    """What is told to move and does not move would teach something wrong."""
    done = acclimate("run", bundles / "continual.acclimate", *WIRED, "--dry-run", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert "windows" not in json.loads(done.stdout) or not any(
        json.loads(done.stdout)["windows"][key] for key in ("accepted", "refused", "missed")
    )


def test_it_takes_no_shots(here: Acclimate, bundles: Path) -> None:
    assert allowed_shots(_manifest(bundles), None) == 0
    done = here("run", bundles / "continual.acclimate", "--port", "sim:", "--shots", "1")
    assert done.returncode == 2
    assert (
        "bundle 'continual' adapts while it drives, without shots; leave out --shots, found 1" in done.stderr
    )


def test_its_episodes_are_the_tasks_and_not_its_windows(bundles: Path) -> None:
    manifest = _manifest(bundles)
    assert manifest.window is not None
    assert episode_steps(manifest) == manifest.task.horizon != manifest.window.steps


def test_it_adapts_in_evaluations_and_begins_anew_on_every_machine(bundles: Path) -> None:
    plan = Plan(bundles / "continual.acclimate", ServoFleet((BUILT_IN["MX-64"],)), (), machines=2)
    opened = open_plan(plan)
    policy = opened.contest.policies["model"]
    assert isinstance(policy, Policy)
    drive_main(Course(4.0), opened.contest, opened.place((0, 0)))
    assert policy.state("shots")[0] > 0.0
    twice = [evaluate_all(plan).machines[1].figures["model"] for _ in range(2)]
    assert twice[0] == twice[1]
    alone = opened.contest.run(opened.place((0, 1))).figures["model"]
    np.testing.assert_allclose(list(alone[0].values()), list(twice[0][0].values()), rtol=1e-6)


def test_what_cannot_keep_its_rate_is_refused_before_a_device_is_opened(
    here: Acclimate, tiny: ModuleType, tmp_path: Path
) -> None:
    manifest = tiny.manifest()
    hasty = replace(manifest, task=replace(manifest.task, control_dt=1e-6))
    tiny.write_tiny(tmp_path / "hasty.acclimate", hasty)
    command = ("run", tmp_path / "hasty.acclimate", "--port", "/dev/nowhere", "--engine", "onnxruntime")
    refused, allowed = here(*command), here(*command, "--allow-late")
    assert (refused.returncode, allowed.returncode) == (2, 2)
    assert "it cannot keep its rate" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "/dev/nowhere" in allowed.stderr
