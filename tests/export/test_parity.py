"""Parity: what agrees passes, and whatever is wrong in a bundle is found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle, load
from acclimate.errors import UsageError
from acclimate_export.bundle.trained import META, Trained, from_bundle
from acclimate_export.check.parity import LIMIT, Parity, Row, check_same_state, compare

from tests.export import broken

INPUTS = 60
ENGINES = ("native", "litert", "onnxruntime")


def _row(parity: Parity, graph: str) -> Row:
    return next(row for row in parity.rows if row.graph == graph)


def test_a_bundle_agrees_with_its_policy(bundle: Bundle, trained: Trained) -> None:
    parity = compare(trained, bundle, INPUTS, seed=0)
    assert parity.ok, parity
    assert (parity.state, parity.golden) == ("", "")
    graphs = ["act", "adapt"] if bundle.manifest.graphs.adapt else ["act"]
    assert [(row.engine, row.graph) for row in parity.rows] == [
        (engine, graph) for engine in ENGINES for graph in graphs
    ]
    assert parity.unchecked == {}
    for row in parity.rows:
        assert 0.0 <= row.max_rel <= LIMIT
        assert row.max_rel > 0.0 or row.engine != "litert"  # it sums in another order than torch
        assert row.inputs >= (INPUTS if row.graph == "act" else INPUTS // 10)


def test_the_same_seed_gives_the_same_rows(adaptive: Bundle, adaptive_policy: Trained) -> None:
    first, again, other = (compare(adaptive_policy, adaptive, INPUTS, seed).rows for seed in (1, 1, 2))
    assert first == again
    assert first != other


def _bent(values: FloatArray) -> FloatArray:
    """By up to a thousandth, unevenly: advantages do not depend on the scale of returns."""
    bend = 1e-3 * np.sin(np.arange(values.size).reshape(values.shape))
    return (values * (1.0 + bend)).astype(np.float32)


@pytest.mark.parametrize("graph", ["act", "adapt"])
def test_a_constant_that_is_off_is_found(
    adaptive: Bundle, adaptive_policy: Trained, tmp_path: Path, graph: str
) -> None:
    wrong = broken.with_constant(adaptive, tmp_path, graph, _bent)
    parity = compare(adaptive_policy, wrong, INPUTS, seed=0)
    assert not parity.ok
    assert _row(parity, graph).max_rel > 3.0 * LIMIT
    assert _row(parity, "adapt" if graph == "act" else "act").ok


def test_a_nan_is_found(adaptive: Bundle, adaptive_policy: Trained, tmp_path: Path) -> None:
    wrong = broken.with_constant(adaptive, tmp_path, "act", lambda values: values * np.float32(math.nan))
    row = _row(compare(adaptive_policy, wrong, INPUTS, seed=0), "act")
    assert math.isnan(row.max_rel)
    assert not row.ok


def test_an_initial_weight_that_is_off_is_found(
    adaptive: Bundle, adaptive_policy: Trained, tmp_path: Path
) -> None:
    wrong = broken.with_array(adaptive, tmp_path, "state.npz", "w1", 1e-6)
    parity = compare(adaptive_policy, wrong, INPUTS, seed=0)
    assert all(row.ok for row in parity.rows)
    assert "state.npz: 'w1' is not as trained, by up to 1e-06" in parity.state
    assert not parity.ok


def test_a_golden_sequence_that_is_off_is_found(
    adaptive: Bundle, adaptive_policy: Trained, tmp_path: Path
) -> None:
    wrong = broken.with_array(adaptive, tmp_path, "golden.npz", "act.action", 1e-3)
    parity = compare(adaptive_policy, wrong, INPUTS, seed=0)
    assert all(row.ok for row in parity.rows)
    assert "golden check of act: 'action'" in parity.golden
    assert not parity.ok


def test_meta_parameters_that_are_off_are_found(adaptive: Bundle, tmp_path: Path) -> None:
    """Also those that no graph reads as a state: they are constants of adapt."""
    wrong = broken.with_array(adaptive, tmp_path, META, "rate0.b1", 1e-2)
    parity = compare(from_bundle(wrong), wrong, INPUTS, seed=0)
    assert _row(parity, "act").ok
    assert not _row(parity, "adapt").ok
    assert _row(parity, "adapt").tensor == "next.b1"


def test_bundles_of_other_policies_are_refused(
    exported: Mapping[str, Path], adaptive_policy: Trained
) -> None:
    other = load(exported["robust"])
    with pytest.raises(
        UsageError, match=r"robust\.acclimate \(robust\) was not exported from runs/x \(maml\)"
    ):
        check_same_state(adaptive_policy, other, "runs/x")


def test_the_measure_is_relative_to_each_tensors_largest_value(
    adaptive: Bundle, adaptive_policy: Trained
) -> None:
    row = _row(compare(adaptive_policy, adaptive, INPUTS, seed=0), "act")
    assert row.tensor in {tensor.name for tensor in adaptive.manifest.graphs.act.outputs}
    assert 0.0 < row.max_abs < 1e-5
    assert row.max_rel < 10.0 * row.max_abs  # actions reach well beyond a tenth
