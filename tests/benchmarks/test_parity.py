"""The benchmark `parity`: another Python computes the same, and what differs is measured."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import parity
from tests.runtime import bundles

COUNT = 5


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return bundles.write_tiny(tmp_path / "tiny.acclimate")


@pytest.fixture
def case() -> parity.Batch:
    """Of act; the outputs are numpy's."""
    rng = np.random.default_rng(0)
    spec = bundles.manifest().graphs.act
    given = {t.name: rng.standard_normal((COUNT, *t.shape), dtype=np.float32) for t in spec.inputs}
    actions = []
    for i in range(COUNT):
        state = {name.removeprefix("state."): array[i] for name, array in given.items()}
        actions.append(bundles.act_numpy(state, given["obs"][i], given["noise"][i]))
    action = np.stack(actions)
    ticks = given["state.ticks"] + np.float32(1)
    expected = {"action": action, "next.previous": action, "next.ticks": ticks, "info.size": np.abs(action)}
    return parity.Batch("act", given, expected)


def test_another_python_computes_the_same(bundle: Path, case: parity.Batch) -> None:
    here = parity._here("onnxruntime", bundle, "act", case.given)
    elsewhere = parity._elsewhere(sys.executable, bundle, "act", case.given, "onnxruntime")
    assert here.keys() == elsewhere.keys()
    for name, array in here.items():
        np.testing.assert_array_equal(array, elsewhere[name])


def test_what_agrees_is_within_rounding_and_what_does_not_is_found(bundle: Path, case: parity.Batch) -> None:
    def wrong(path: Path, graph: str, inputs: parity.Arrays) -> parity.Arrays:
        found = parity._here("onnxruntime", path, graph, inputs)
        found["next.ticks"][3] += 0.5
        return found

    def right(path: Path, graph: str, inputs: parity.Arrays) -> parity.Arrays:
        return parity._here("onnxruntime", path, graph, inputs)

    figures = parity._differences("tiny", "onnxruntime", right, bundle, [case])
    assert set(figures) == {"max_abs.onnxruntime.tiny.act", "max_rel.onnxruntime.tiny.act"}
    assert all(value < 1e-6 for value in figures.values())
    figures = parity._differences("tiny", "bent", wrong, bundle, [case])
    assert figures["max_abs.bent.tiny.act"] == pytest.approx(0.5, rel=1e-4)
    largest = float(np.abs(case.expected["next.ticks"]).max())
    assert figures["max_rel.bent.tiny.act"] == pytest.approx(0.5 / largest, rel=1e-4)


def test_nan_stays_what_it_is(bundle: Path, case: parity.Batch) -> None:
    def broken(path: Path, graph: str, inputs: parity.Arrays) -> parity.Arrays:
        found = parity._here("onnxruntime", path, graph, inputs)
        found["action"][0] = np.nan
        return found

    figures = parity._differences("tiny", "broken", broken, bundle, [case, case])
    assert np.isnan(figures["max_rel.broken.tiny.act"])
