"""A run and a bundle of every algorithm, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from acclimate.bundle.file import Bundle, load
from acclimate_export.bundle.trained import Trained, from_bundle

from tests.export import runs

ALGORITHMS = tuple(runs.NAMES)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trained_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run folders by algorithm."""
    folder = tmp_path_factory.mktemp("runs")
    return {algorithm: runs.train(folder, algorithm) for algorithm in ALGORITHMS}


@pytest.fixture(scope="session")
def exported(trained_runs: dict[str, Path]) -> dict[str, Path]:
    """Bundles by algorithm, each in its run's folder."""
    return {algorithm: runs.export(run, algorithm) for algorithm, run in trained_runs.items()}


@pytest.fixture(scope="session")
def in_tflite(trained_runs: dict[str, Path]) -> dict[str, Path]:
    """Bundles by algorithm, with TFLite members."""
    return {algorithm: runs.export_as(run, "onnx,tflite") for algorithm, run in trained_runs.items()}


@pytest.fixture(scope="session")
def quantised(trained_runs: dict[str, Path]) -> Path:
    """A policy that remembers, with its weights in 8 bits."""
    return runs.export_as(trained_runs["rl2"], "onnx,tflite", "--quantize", "dynamic")


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
