"""The network: what it computes, row by row, and what it starts as; and what it sees and does of a family."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate_trainer.networks.feedforward import (
    SIGMA_FLOOR,
    Activation,
    depth,
    initial_parameters,
    layer_shapes,
    mean_action,
    sampled_action,
    sigma,
)
from acclimate_trainer.networks.view import View
from torch import Tensor
from torch.testing import assert_close

from .families import GliderFamily, HomingFamily
from .servo_tasks import FAMILY

N_IN = 5
SHAPES = layer_shapes(N_IN, 6, 2)
BENDS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0.0, x, np.expm1(x)),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
}


def random_parameters(tasks: int, shapes: dict[str, tuple[int, ...]] = SHAPES) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {name: torch.randn(tasks, *shape, generator=rng) for name, shape in shapes.items()}


def random_inputs(tasks: int, rows: int) -> Tensor:
    return torch.randn(tasks, rows, N_IN, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("activation", ["tanh", "relu", "elu", "silu"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_mean_is_layers_of_units_softly_bounded(layers: int, activation: Activation) -> None:
    params = random_parameters(2, layer_shapes(N_IN, 6, 2, layers))
    x = random_inputs(2, 7)
    assert depth(params) == layers
    found = mean_action(params, x, activation)
    for task in range(2):
        p = {name: value[task].numpy() for name, value in params.items()}
        h = x[task].numpy() * p["scale"]
        for i in range(layers):
            h = BENDS[activation](h @ p[f"w{i}"] + p[f"b{i}"])
        y = (h @ p[f"w{layers}"] + p[f"b{layers}"]) * p["gain"]
        np.testing.assert_allclose(found[task].numpy(), y / np.sqrt(1.0 + y * y), rtol=1e-4, atol=1e-5)


def test_the_mean_stays_within_full_scale() -> None:
    params = {name: 30.0 * value for name, value in random_parameters(1).items()}
    assert mean_action(params, random_inputs(1, 500)).abs().max() <= 1.0


def test_noise_moves_the_action_by_standard_deviations() -> None:
    params, x = random_parameters(2), random_inputs(2, 7)
    noise = torch.randn(2, 7, 2, generator=torch.Generator().manual_seed(2))
    expected = mean_action(params, x) + sigma(params) * noise
    assert_close(sampled_action(params, x, noise), expected)


def test_the_standard_deviation_has_a_floor() -> None:
    assert_close(
        sigma({"sigma": torch.tensor([[-1.0, 0.0, 0.7]])}), torch.tensor([[SIGMA_FLOOR, SIGMA_FLOOR, 0.7]])
    )


def test_the_start_is_seeded() -> None:
    first, again, other = (initial_parameters(SHAPES, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert {name: tuple(value.shape) for name, value in first.items()} == SHAPES
    assert all(torch.equal(first[name], again[name]) for name in SHAPES)
    assert not torch.equal(first["w0"], other["w0"])


def test_it_starts_with_a_gain_of_one_and_next_to_no_action() -> None:
    params = {
        n: v[None] for n, v in initial_parameters(layer_shapes(N_IN, 32, 2), np.random.default_rng(0)).items()
    }
    assert (params["gain"] == 1.0).all()
    assert (params["scale"] == 1.0).all()
    assert mean_action(params, torch.tanh(random_inputs(1, 500))).std() < 0.2


# The view of a family.


@pytest.mark.parametrize("family", [FAMILY, GliderFamily(), HomingFamily()])
def test_inputs_are_bounded_and_tell_every_observation_from_every_other(family: GliderFamily) -> None:
    view, spec = View.of(family), family.spec
    rng = torch.Generator().manual_seed(0)
    channels = [c for c in spec.observation for _ in range(c.size)]
    low, high = (torch.tensor([getattr(c, end) for c in channels]) for end in ("minimum", "maximum"))
    obs = low + (high - low) * (0.4 + 0.2 * torch.rand(400, spec.n_obs, generator=rng))
    previous = torch.rand(400, spec.n_act, generator=rng) - 0.5
    inputs = view.inputs(obs, previous)
    assert inputs.shape == (400, view.n_in)
    assert inputs.abs().max() <= 1.0
    centred = torch.atanh(inputs.double().clamp(-1 + 1e-12, 1 - 1e-12))
    assert torch.linalg.matrix_rank(centred - centred.mean(0), rtol=1e-4) == spec.n_obs + spec.n_act


def test_more_inputs_come_last() -> None:
    view = View.of(GliderFamily())
    obs, previous, more = torch.rand(3, 4), torch.rand(3, 2), torch.rand(3, 1)
    seen = view.inputs(obs, previous, more)
    assert torch.equal(seen[:, :-1], view.inputs(obs, previous))
    assert_close(seen[:, -1:], torch.tanh(more))
    assert_close(seen[:, -3:-1], torch.tanh(0.7 * previous))


def test_actions_are_scaled_by_their_channels_limits_and_back() -> None:
    view = View.of(GliderFamily())
    full = torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [0.5, -2.0]])
    physical = torch.tensor([[-0.2, 0.0], [0.0, 1.5], [0.2, 3.0], [0.1, -1.5]])
    assert_close(view.physical(full), physical)
    assert_close(view.normal(physical), full)
    assert_close(view.taken(physical), full.clamp(-1.0, 1.0))


def test_where_actions_are_within_one_anyway_they_stay_as_they_are() -> None:
    action = torch.randn(5, 1)
    view = View.of(FAMILY)
    assert view.physical(action) is action
    assert view.normal(action) is action


def test_an_oracle_is_told_in_typical_units() -> None:
    """Mean 0 and a standard deviation of 1 over the family; logarithms where only ratios matter."""
    for family in (FAMILY, GliderFamily()):
        view = View.of(family)
        drawn = family.parameters(family.sample(4000, np.random.default_rng(5)))
        told = view.told(drawn, 3)
        assert told.shape == (4000, 3, len(family.spec.parameters))
        varied = drawn.std(0) > 0.0
        assert_close(told[:, 0].mean(0), torch.zeros(told.shape[-1]), rtol=0, atol=0.08)
        assert_close(told[:, 0].std(0)[varied], torch.ones(int(varied.sum())), rtol=0.08, atol=0)
        typical = view.told(view.typical_task()[None], 1).flatten()
        assert_close(typical, torch.zeros_like(typical), rtol=0, atol=1e-4)
        twice = drawn.clone()
        twice[:, 0] *= 2.0  # a factor on a log scale is the same step everywhere
        step = (view.told(twice, 1) - view.told(drawn, 1))[:, 0, 0]
        assert step.std() < 1e-3 * step.mean()
