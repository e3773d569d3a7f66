"""The network: what it computes, row by row, and what it starts as."""

from __future__ import annotations

import numpy as np
import torch
from acclimate_trainer.networks.feedforward import (
    N_FEATURES,
    SIGMA_FLOOR,
    initial_parameters,
    layer_shapes,
    mean_action,
    sigma,
    tracking_features,
)
from torch.testing import assert_close

SHAPES = layer_shapes(N_FEATURES, 6, 1)


def random_parameters(tasks: int) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {name: torch.randn(tasks, *shape, generator=rng) for name, shape in SHAPES.items()}


def test_the_mean_is_two_layers_of_tanh_softly_bounded() -> None:
    params, x = (
        random_parameters(2),
        torch.randn(2, 7, N_FEATURES, generator=torch.Generator().manual_seed(1)),
    )
    found = mean_action(params, x)
    for task in range(2):
        p = {name: value[task].numpy() for name, value in params.items()}
        h = np.tanh(x[task].numpy() * p["scale"] @ p["w0"] + p["b0"])
        y = (np.tanh(h @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]) * p["gain"]
        np.testing.assert_allclose(found[task].numpy(), y / np.sqrt(1.0 + y * y), rtol=1e-4, atol=1e-5)


def test_the_mean_stays_within_the_limits_of_duty() -> None:
    params = {name: 30.0 * value for name, value in random_parameters(1).items()}
    x = torch.randn(1, 500, N_FEATURES, generator=torch.Generator().manual_seed(1))
    assert mean_action(params, x).abs().max() <= 1.0


def test_features_are_bounded_and_tell_every_observation_from_every_other() -> None:
    rng = torch.Generator().manual_seed(0)
    obs, previous = torch.rand(200, 4, generator=rng) - 0.5, torch.rand(200, 1, generator=rng) - 0.5
    features = tracking_features(obs, previous)
    assert features.shape == (200, N_FEATURES)
    assert features.abs().max() < 1.0
    assert torch.linalg.matrix_rank(torch.atanh(features)) == 5  # as many as there are inputs


def test_the_standard_deviation_has_a_floor() -> None:
    assert_close(
        sigma({"sigma": torch.tensor([[-1.0, 0.0, 0.7]])}), torch.tensor([[SIGMA_FLOOR, SIGMA_FLOOR, 0.7]])
    )


def test_the_start_is_seeded() -> None:
    first, again, other = (initial_parameters(SHAPES, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert {name: tuple(value.shape) for name, value in first.items()} == SHAPES
    assert all(torch.equal(first[name], again[name]) for name in SHAPES)
    assert not torch.equal(first["w0"], other["w0"])
