"""The regression for w as the graph of a device: standard operators, and the numbers of torch and of numpy."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from acclimate_export.graphs.onnx import OPSET
from acclimate_trainer.algorithms.successor.task_vector import initial_state, regress

from benchmarks._regression import INFO, Device, export_regression
from tests.sharing import made_once

D, STEPS = 6, 25


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    def export(folder: Path) -> None:
        (folder / "graph").write_bytes(pickle.dumps(export_regression(D, STEPS)))

    made = made_once(tmp_path_factory, "regression", export)
    return Device(pickle.loads((made / "graph").read_bytes()), D, STEPS)


def transitions(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlated features of very different units, w and noisy rewards."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((D, D)) * 10.0 ** rng.uniform(-2, 2, D)
    features = (rng.standard_normal((n, D)) @ mix).astype(np.float32)
    w = rng.standard_normal(D) / np.abs(features).mean(0)
    reward = features.astype(float) @ w + 0.1 * rng.standard_normal(n)
    return features, w, reward.astype(np.float32)


@pytest.mark.parametrize("n", [25, 90])
def test_the_graph_finds_the_least_squares_solution_of_numpy(device: Device, n: int) -> None:
    features, _, reward = transitions(n, seed=n)
    device.reset(np.zeros(D, np.float32))
    device.adapt(features, reward)
    expected = np.linalg.lstsq(features.astype(float), reward.astype(float), rcond=None)[0]
    scale = np.abs(features).mean(0)
    np.testing.assert_allclose(device.task_vector * scale, expected * scale, atol=1e-4)
    assert device.info("rank") == D


def test_the_graph_computes_what_torch_computes(device: Device) -> None:
    """Two windows that span and one before them that does not, the last one partly masked."""
    features, _, reward = transitions(3 + 2 * STEPS - 7, seed=1)
    default = np.arange(D, dtype=np.float32)
    device.reset(default)
    state = {name: value[None] for name, value in initial_state(torch.from_numpy(default)).items()}
    begin = 0
    for end in (3, 3 + STEPS, len(reward)):
        part = slice(begin, end)
        device.adapt(features[part], reward[part])
        padded = torch.zeros(1, STEPS, D + 2)
        padded[0, : end - begin] = torch.from_numpy(
            np.column_stack([features[part], reward[part], np.ones(end - begin)])
        )
        expected = regress(state, padded[:, :, :D], padded[:, :, D], padded[:, :, D + 1])
        np.testing.assert_allclose(device.task_vector, expected.next["task_vector"][0], rtol=1e-4, atol=1e-5)
        for name in INFO:
            assert device.info(name) == pytest.approx(float(expected.info[name]), rel=1e-4, abs=1e-5)
        state, begin = dict(expected.next), end
    assert (device.info("rank"), device.info("valid")) == (D, STEPS - 7)


def test_it_is_made_of_few_standard_operators(device: Device) -> None:
    model = onnx.load_from_string(device.model)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert not model.functions
    assert not {node.op_type for node in model.graph.node} & {"If", "Loop", "Scan"}
    assert len(model.graph.node) < 65 * D
