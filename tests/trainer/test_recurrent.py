"""The GRU is torch's, stacked over tasks."""

from __future__ import annotations

import numpy as np
import torch
from acclimate_trainer.networks.recurrent import gru, gru_over_time, gru_shapes, initial_gru
from torch import Tensor
from torch.testing import assert_close

TASKS, ROWS, N_IN, HIDDEN, STEPS = 3, 4, 5, 7, 20
_TORCH = {
    "weight_ih_l0": "input",
    "bias_ih_l0": "input_bias",
    "weight_hh_l0": "recurrent",
    "bias_hh_l0": "recurrent_bias",
}


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _parameters(seed: int) -> dict[str, Tensor]:
    """Of TASKS units, all different, biases included."""
    shapes = gru_shapes(N_IN, HIDDEN)
    return {
        name: 0.5 * _random(TASKS, *shape, seed=seed + i) for i, (name, shape) in enumerate(shapes.items())
    }


def _torchs(params: dict[str, Tensor], task: int) -> torch.nn.GRU:
    unit = torch.nn.GRU(N_IN, HIDDEN, batch_first=True)
    with torch.no_grad():
        for theirs, ours in _TORCH.items():
            value = params[ours][task]
            getattr(unit, theirs).copy_(value[0] if ours.endswith("bias") else value.T)
    return unit


def _unrolled(params: dict[str, Tensor], x: Tensor) -> Tensor:
    """Hidden states (TASKS, ROWS, STEPS, HIDDEN), from zero."""
    h, seen = torch.zeros(TASKS, ROWS, HIDDEN), []
    for t in range(x.shape[2]):
        h = gru(params, x[:, :, t], h)
        seen.append(h)
    return torch.stack(seen, dim=2)


def test_it_computes_what_torchs_computes() -> None:
    params, x = _parameters(0), _random(TASKS, ROWS, STEPS, N_IN, seed=9)
    found = _unrolled(params, x)
    for task in range(TASKS):
        expected, _ = _torchs(params, task)(x[task])
        assert_close(found[task], expected, rtol=1e-5, atol=1e-6)


def test_its_gradient_is_torchs() -> None:
    params, x = _parameters(0), _random(TASKS, ROWS, STEPS, N_IN, seed=9)
    mine = {name: value.clone().requires_grad_() for name, value in params.items()}
    _unrolled(mine, x).square().sum().backward()
    unit = _torchs(params, 1)
    unit(x[1])[0].square().sum().backward()
    for theirs, ours in _TORCH.items():
        gradient, expected = mine[ours].grad, getattr(unit, theirs).grad
        assert gradient is not None
        assert_close(gradient[1].mT.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)


def test_it_begins_as_torchs_does_but_without_bias() -> None:
    params = initial_gru(N_IN, 64, np.random.default_rng(0))
    assert {name: tuple(value.shape) for name, value in params.items()} == gru_shapes(N_IN, 64)
    for name, value in params.items():
        if name.endswith("bias"):
            assert (value == 0.0).all()
        else:
            assert 0.1 < value.abs().max().item() <= 0.125
            assert abs(value.mean().item()) < 0.01


def test_in_one_go_it_computes_what_it_does_step_by_step() -> None:
    params, x = _parameters(0), _random(TASKS, ROWS, 2 * STEPS, N_IN, seed=9)
    expected = _unrolled(params, x)
    for task in range(TASKS):
        alone = {name: value[task] for name, value in params.items()}
        seen = x[task].transpose(0, 1)
        first = gru_over_time(alone, seen[:STEPS], torch.zeros(1, ROWS, HIDDEN))
        second = gru_over_time(alone, seen[STEPS:], first[-1:])
        assert_close(torch.cat([first, second]).transpose(0, 1), expected[task], rtol=1e-4, atol=1e-5)
