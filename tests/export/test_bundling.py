"""What a bundle says: of channels, ranges, training, and of itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from acclimate.bundle.file import Bundle, load
from acclimate.engines import ENGINES
from acclimate.errors import UsageError
from acclimate.policy.policy import Policy
from acclimate_export import export
from acclimate_export.bundle.bundling import GOLDEN_TICKS, record_golden, trust_radius
from acclimate_export.bundle.practice import practise
from acclimate_export.bundle.trained import META, Trained
from acclimate_trainer.runs.configuration import parse_config
from acclimate_trainer.runs.run_directory import RunDirectory

from tests.export import runs


def _kind(bundle: Bundle) -> str:
    """Under which name its run was made."""
    return bundle.path.parent.name


def test_the_task_is_the_familys(bundle: Bundle, trained: Trained) -> None:
    m, family = bundle.manifest, trained.family.spec
    assert m.task == trained.policy.spec
    assert m.task.observation[: len(family.observation)] == family.observation
    rewards = [] if m.objectives is None else [("reward", "1", "reward")]
    assert [(c.name, c.unit, c.source) for c in m.observation[len(family.observation) :]] == rewards
    for part in ("action", "parameters", "metrics", "reference", "features", "control_dt"):
        assert getattr(m.task, part) == getattr(family, part)
    assert m.limits.slew_rate == {}


def test_where_the_machines_come_from(bundle: Bundle) -> None:
    family = bundle.manifest.family
    assert (family.name, family.use, family.sha256) == ("servo", None, None)
    assert family.options["preset"] == "wide"
    assert isinstance(ranges := family.options["ranges"], dict)
    assert "kt" in ranges


def test_members_and_algorithm(bundle: Bundle) -> None:
    expected = {"act.onnx", "act.c", "act.tflite", "state.npz", "golden.npz", META}
    m = bundle.manifest
    if m.algorithm == "maml":
        expected |= {"adapt.onnx", "adapt.c", "adapt.tflite"}
        assert m.window is not None
        assert (m.window.episodes, m.window.steps) == (runs.EPISODES, runs.STEPS)
        assert m.adaptation is not None
        assert m.adaptation.max_steps == 2
    if m.algorithm == "successor_features":
        expected |= {"adapt.onnx", "adapt.c", "adapt.tflite"}
        assert m.objectives is not None
        assert [f.name for f in m.features] == ["accurate", "frugal", "smooth", "quiet", "fast"]
        assert (m.objectives.state, m.objectives.reward) == ("task_vector", "reward")
    assert set(bundle.members) == expected
    assert m.name == f"tiny_{_kind(bundle)}"
    assert m.privileged == (tuple(p.name for p in m.task.parameters) if m.algorithm == "oracle" else ())


def test_parameters_hold_what_is_sampled(bundle: Bundle, trained: Trained) -> None:
    rng = np.random.default_rng(0)
    tasks = trained.family.sample(4096, rng)
    for drawn in (tasks, trained.family.change(tasks, rng)):
        values = trained.family.parameters(drawn)
        for parameter, column in zip(bundle.manifest.task.parameters, values.unbind(-1), strict=True):
            assert parameter.low * (1 - 1e-6) <= float(column.min()), parameter.name
            assert float(column.max()) <= parameter.high * (1 + 1e-6), parameter.name


def test_classical_controllers_of_the_run_come_along(
    trained_runs: Mapping[str, Path], tmp_path: Path
) -> None:
    run = RunDirectory.open(shutil.copytree(trained_runs["robust"], tmp_path / "run"))
    settings = {"pid": {"kp": 3.0, "ki": 0.25}}
    run.save_classical(settings)
    exported = export(run.path, forms="onnx")
    assert exported.bundle.manifest.baselines == settings


def test_provenance_suffices_to_train_the_same_again(
    bundle: Bundle, trained_runs: Mapping[str, Path]
) -> None:
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


def test_the_runtime_accepts_it_on_every_engine(bundle: Bundle) -> None:
    for engine in ENGINES:
        policy = Policy(bundle, engine)
        assert max(deviation.max_rel for deviation in policy.deviations) < 1e-4
        assert policy.can_adapt == (bundle.manifest.algorithm in ("maml", "successor_features"))


@pytest.mark.parametrize("algorithm", ["maml", "robust"])
def test_the_same_run_gives_the_same_bytes_elsewhere(
    trained_runs: Mapping[str, Path], exported: Mapping[str, Path], tmp_path: Path, algorithm: str
) -> None:
    """In another process, folder and hash seed; of the adaptive one, in ONNX, which the other forms are made of."""
    out = tmp_path / "elsewhere.acclimate"
    forms = () if algorithm == "robust" else ("--format", "onnx")
    command = [
        sys.executable,
        "-m",
        "acclimate",
        "export",
        str(trained_runs[algorithm]),
        "--out",
        str(out),
        *forms,
    ]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    if not forms:
        assert out.read_bytes() == exported[algorithm].read_bytes()
    found, before = load(out), load(exported[algorithm])
    assert found.members == {name: before.members[name] for name in found.members}
    assert replace(found.manifest, files={}) == replace(before.manifest, files={})


def test_steps_that_are_not_finite_are_refused(adaptive_policy: Trained) -> None:
    meta = dict(adaptive_policy.meta) | {"rate0.w0": adaptive_policy.meta["rate0.w0"] * 1e30}
    wild = Trained.of(adaptive_policy.config, meta, "x")
    with pytest.raises(UsageError, match=r"of 512 adaptation steps of this policy are not finite"):
        trust_radius(wild)


def test_episodes_of_the_family_begin_within_the_start_envelope(bundle: Bundle, trained: Trained) -> None:
    """Of new machines, too; and it says something: it does not hold all that a channel may read."""
    family, rng = trained.family, np.random.default_rng(7)
    session = family.open(family.sample(200, rng), 1, 1, rng)
    first = session.obs[:, 0].numpy()
    start, spec = bundle.manifest.start, family.spec
    device = [c for c in spec.sensors if c.source == "device"]
    assert list(start) == [name for channel in device for name in channel.scalars]
    for name, (low, high) in start.items():
        seen = first[:, spec.index(name)]
        assert low <= seen.min()
        assert seen.max() <= high
    wide = {name: channel.maximum - channel.minimum for channel in device for name in channel.scalars}
    assert any(high - low < 0.9 * wide[name] for name, (low, high) in start.items())
