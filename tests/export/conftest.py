"""A run and a bundle of every algorithm, made once, by whichever worker comes first to need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
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


@pytest.fixture(autouse=True, scope="session")
def _operators_read_once() -> Iterator[None]:
    """torch reads the sources of all 500 operators that it can write as ONNX anew for each graph, in half a second."""
    from torch.onnx._internal.exporter._registration import onnxscript_apis

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxscript_apis, "get_torchlib_ops", cache(onnxscript_apis.get_torchlib_ops))
        yield


class OnDemand(Mapping[str, Path]):
    """By algorithm, what `make` gives; made when it is first asked for."""

    def __init__(self, make: Callable[[str], Path]) -> None:
        self._make = make

    def __getitem__(self, algorithm: str) -> Path:
        return self._make(algorithm)

    def __iter__(self) -> Iterator[str]:
        return iter(ALGORITHMS)

    def __len__(self) -> int:
        return len(ALGORITHMS)


@pytest.fixture(scope="session")
def trained_runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Run folders by algorithm."""

    def run(algorithm: str) -> Path:
        made = made_once(tmp_path_factory, f"run_{algorithm}", lambda folder: runs.train(folder, algorithm))
        return made / algorithm

    return OnDemand(run)


@pytest.fixture(scope="session")
def exported(
    trained_runs: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Path]:
    """Bundles by algorithm, each in its run's folder, in every form."""

    def bundle(algorithm: str) -> Path:
        run = trained_runs[algorithm]
        made_once(tmp_path_factory, f"exported_{algorithm}", lambda _: runs.export(run, algorithm))
        return runs.bundle_of(run, algorithm)

    return OnDemand(bundle)


@pytest.fixture(scope="session")
def quantised(trained_runs: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that remembers, with its weights in 8 bits."""

    def export(folder: Path) -> None:
        out = folder / "rl2.acclimate"
        runs.export_as(trained_runs["rl2"], "onnx,tflite", "--quantize", "dynamic", out=out)

    return made_once(tmp_path_factory, "quantised", export) / "rl2.acclimate"


@pytest.fixture(params=ALGORITHMS)
def bundle(request: pytest.FixtureRequest, exported: Mapping[str, Path]) -> Bundle:
    """The bundle of each algorithm."""
    return load(exported[request.param])


@pytest.fixture
def trained(bundle: Bundle) -> Trained:
    """The policy of that bundle, in torch."""
    return from_bundle(bundle)


@pytest.fixture
def adaptive(exported: Mapping[str, Path]) -> Bundle:
    return load(exported["maml"])


@pytest.fixture
def adaptive_policy(adaptive: Bundle) -> Trained:
    """The policy that adapts, in torch."""
    return from_bundle(adaptive)
