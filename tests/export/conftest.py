"""A run and a bundle of every algorithm, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from acclimate.bundle.file import Bundle, load
from acclimate_export.bundle.trained import Trained, from_bundle

from tests.export import runs
from tests.sharing import made_once

ALGORITHMS = tuple(runs.NAMES)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run folders by algorithm."""

    def train(folder: Path) -> None:
        for algorithm in ALGORITHMS:
            runs.train(folder, algorithm)

    folder = made_once(tmp_path_factory, "runs", train)
    return {algorithm: folder / algorithm for algorithm in ALGORITHMS}


@pytest.fixture(scope="session")
def exported(trained_runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles by algorithm, each in its run's folder."""

    def export(_: Path) -> None:
        for algorithm, run in trained_runs.items():
            runs.export(run, algorithm)

    made_once(tmp_path_factory, "exported", export)
    return {algorithm: runs.bundle_of(run, algorithm) for algorithm, run in trained_runs.items()}


@pytest.fixture(scope="session")
def in_tflite(trained_runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles by algorithm, with TFLite members."""

    def export(folder: Path) -> None:
        for algorithm, run in trained_runs.items():
            runs.export_as(run, "onnx,tflite", out=folder / f"{algorithm}.acclimate")

    folder = made_once(tmp_path_factory, "in_tflite", export)
    return {algorithm: folder / f"{algorithm}.acclimate" for algorithm in trained_runs}


@pytest.fixture(scope="session")
def quantised(trained_runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that remembers, with its weights in 8 bits."""

    def export(folder: Path) -> None:
        out = folder / "rl2.acclimate"
        runs.export_as(trained_runs["rl2"], "onnx,tflite", "--quantize", "dynamic", out=out)

    return made_once(tmp_path_factory, "quantised", export) / "rl2.acclimate"


@pytest.fixture(params=ALGORITHMS)
def bundle(request: pytest.FixtureRequest, exported: dict[str, Path]) -> Bundle:
    """The bundle of each algorithm."""
    return load(exported[request.param])


@pytest.fixture
def trained(bundle: Bundle) -> Trained:
    """The policy of that bundle, in torch."""
    return from_bundle(bundle)


@pytest.fixture
def adaptive(exported: dict[str, Path]) -> Bundle:
    return load(exported["maml"])


@pytest.fixture
def adaptive_policy(adaptive: Bundle) -> Trained:
    """The policy that adapts, in torch."""
    return from_bundle(adaptive)
