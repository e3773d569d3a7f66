"""What a bundle says: of channels, ranges, training, and of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from acclimate.bundle.file import Bundle
from acclimate.control.channel_map import differences
from acclimate.control.device import Channel, DeviceCaps
from acclimate.errors import UsageError
from acclimate.policy.policy import Policy
from acclimate_bridge.simulation.servo.machine import SCHEMA
from acclimate_export.bundle.bundling import GOLDEN_TICKS, record_golden, trust_radius
from acclimate_export.bundle.practice import practise
from acclimate_export.bundle.trained import META, Trained
from acclimate_trainer.runs.configuration import parse_config
from acclimate_trainer.runs.run_directory import RunDirectory
from acclimate_trainer.tasks.servo import PRIVILEGED

from tests.export import runs


def _kind(bundle: Bundle) -> str:
    """Under which name its run was made."""
    return bundle.path.parent.name


def test_channels_are_those_of_the_simulated_device(bundle: Bundle) -> None:
    m = bundle.manifest
    sensors, actuators = (
        tuple(Channel(c.name, c.unit, c.minimum, c.maximum) for c in channels)
        for channels in (SCHEMA.sensors, SCHEMA.actuators)
    )
    assert differences(m, DeviceCaps(sensors, actuators, 100.0, 1, "test")) == []
    rewards = [] if m.objectives is None else [("reward", "1", "reward")]
    assert [(c.name, c.unit, c.source) for c in m.observation] == [
        ("position", "rad", "device"),
        ("velocity", "rad/s", "device"),
        ("target", "rad", "reference"),
        ("target_velocity", "rad/s", "reference"),
        *rewards,
    ]
    assert [(c.name, c.unit, c.minimum, c.maximum) for c in m.action] == [("duty", "1", -1.0, 1.0)]
    assert m.control_dt == 0.01
    assert m.limits.slew_rate == {}


def test_members_and_algorithm(bundle: Bundle) -> None:
    expected = {"act.onnx", "state.npz", "golden.npz", META}
    m = bundle.manifest
    if m.algorithm == "maml":
        expected |= {"adapt.onnx"}
        assert m.window is not None
        assert (m.window.episodes, m.window.steps) == (runs.EPISODES, runs.STEPS)
        assert m.adaptation is not None
        assert m.adaptation.max_steps == 2
    if m.algorithm == "successor_features":
        expected |= {"adapt.onnx"}
        assert m.objectives is not None
        assert [f.name for f in m.features] == ["accurate", "frugal", "smooth", "quiet", "fast"]
        assert (m.objectives.state, m.objectives.reward) == ("task_vector", "reward")
    assert set(bundle.members) == expected
    assert m.name == f"tiny_{_kind(bundle)}"
    assert m.privileged == (PRIVILEGED if m.algorithm == "oracle" else ())


def test_ranges_hold_what_is_sampled(bundle: Bundle, trained: Trained) -> None:
    ranges = {p.name: (p.low, p.high) for p in bundle.manifest.task.parameters}
    servos = trained.family.sample(4096, np.random.default_rng(0))
    assert tuple(ranges) == PRIVILEGED
    for name, (low, high) in ranges.items():
        drawn = getattr(servos, name)
        assert low * (1 - 1e-6) <= float(drawn.min())
        assert float(drawn.max()) <= high * (1 + 1e-6)
        if name in (
            "kt",
            "resistance",
            "coulomb",
            "viscous",
            "delay",
            "polarity",
        ):  # drawn from these very ends
            assert float(drawn.max() - drawn.min()) >= 0.8 * (high - low)


def test_the_pid_of_the_run_comes_along(bundle: Bundle, trained_runs: dict[str, Path]) -> None:
    found = RunDirectory.open(trained_runs[_kind(bundle)]).pid()
    assert found is not None
    assert bundle.manifest.baselines == {"pid": found.settings()}


def test_provenance_suffices_to_train_the_same_again(bundle: Bundle, trained_runs: dict[str, Path]) -> None:
    provenance = bundle.manifest.provenance
    config = parse_config(provenance["config"], "provenance")  # type: ignore[arg-type]
    original = RunDirectory.open(trained_runs[_kind(bundle)]).config
    assert replace(config, family=original.family) == original
    assert provenance["seed"] == 3
    figures, versions = provenance["figures"], provenance["versions"]
    assert isinstance(figures, dict)
    assert figures["iterations"] == 2
    assert any(name.startswith(("error", "return")) and value for name, value in figures.items())
    assert isinstance(versions, dict)
    assert versions["torch"] == torch.__version__


def test_steps_of_the_family_are_well_within_the_trust_radius(
    adaptive: Bundle, adaptive_policy: Trained
) -> None:
    radius = adaptive.manifest.limits.trust_radius
    stages = practise(adaptive_policy, 64, np.random.default_rng(11))
    largest = max(float(stage.adapted.info["step_norm"].max()) for stage in stages if stage.adapted)
    assert largest < radius < 30.0 * largest
    assert radius == trust_radius(adaptive_policy)
    assert float(f"{radius:.2g}") == radius


def test_the_golden_sequence_is_a_closed_loop_that_explores(bundle: Bundle, trained: Trained) -> None:
    golden = bundle.golden
    assert golden.ticks == GOLDEN_TICKS
    assert 0.7 < float(golden.noise.std()) < 1.3
    assert float(np.ptp(golden.obs[:, 0])) > 0.01
    np.testing.assert_array_equal(golden.next["previous_action"], np.clip(golden.action, -1.0, 1.0))
    np.testing.assert_array_equal(record_golden(trained).action, golden.action)
    if golden.adapt is not None:
        counted = "shots" if bundle.manifest.algorithm == "maml" else "count"
        assert float(golden.adapt.next[counted][0]) >= 1.0
        assert float(golden.adapt.info["step_norm"][0]) > 0.0


def test_the_runtime_accepts_it(bundle: Bundle) -> None:
    policy = Policy(bundle)
    assert max(deviation.max_rel for deviation in policy.deviations) < 1e-4
    assert policy.can_adapt == (bundle.manifest.algorithm in ("maml", "successor_features"))


def test_the_same_run_gives_the_same_bytes_elsewhere(
    trained_runs: dict[str, Path], exported: dict[str, Path], tmp_path: Path
) -> None:
    """In another process, folder and hash seed."""
    out = tmp_path / "elsewhere.acclimate"
    command = [sys.executable, "-m", "acclimate", "export", str(trained_runs["maml"]), "--out", str(out)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == exported["maml"].read_bytes()


def test_steps_that_are_not_finite_are_refused(adaptive_policy: Trained) -> None:
    meta = dict(adaptive_policy.meta) | {"rate0.w0": adaptive_policy.meta["rate0.w0"] * 1e30}
    wild = Trained.of(adaptive_policy.config, meta, "x")
    with pytest.raises(UsageError, match=r"of 512 adaptation steps of this policy are not finite"):
        trust_radius(wild)
