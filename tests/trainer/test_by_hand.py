"""What networks and policies compute, once more: row by row in numpy, from the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.model import network as model_network
from acclimate_trainer.algorithms.model.model import Model, ModelConfig
from acclimate_trainer.algorithms.model.planner import PlanningPolicy
from acclimate_trainer.algorithms.rl2 import ppo
from acclimate_trainer.algorithms.rl2.critic import Critic
from acclimate_trainer.algorithms.rl2.ppo import Ppo, PpoConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.algorithms.successor.objectives import Objectives, ObjectivesConfig
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.contract.policy import Policy, Tensors, stacked
from acclimate_trainer.networks import psi
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import FOR_TRAINING
from acclimate_trainer.tasks.point import PointFrameFamily
from numpy.typing import NDArray
from torch import Tensor

from .families import GliderFamily
from .servo_tasks import FAMILY

Array: TypeAlias = NDArray[np.float64]
T, E = 2, 3
FAMILIES = [FAMILY, GliderFamily()]


def shaken(meta: Tensors, seed: int = 0) -> dict[str, Tensor]:
    """Every parameter another than as training begins: none is 0, or 1."""
    generator = torch.Generator().manual_seed(seed)
    return {n: v + 0.3 * torch.rand(v.shape, generator=generator) for n, v in meta.items()}


def numbers(values: Tensors, task: int, row: int, policy: Policy) -> dict[str, Array]:
    """Those of one device."""
    written = {t.name for t in policy.state if t.written_by == "act"}
    return {
        n: (v[task, row] if n in written else v[task]).numpy().astype(np.float64) for n, v in values.items()
    }


def random_state(policy: Policy, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: v + 0.2 * torch.rand(v.shape, generator=generator) for n, v in stacked(policy, T, E).items()}


def sigmoid(x: Array) -> Array:
    out: Array = 1.0 / (1.0 + np.exp(-x))
    return out


def squashed(y: Array) -> Array:
    out: Array = y / np.sqrt(1.0 + y**2)
    return out


def gru_by_hand(p: dict[str, Array], x: Array, h: Array) -> Array:
    of_x, of_h = x @ p["input"] + p["input_bias"][0], h @ p["recurrent"] + p["recurrent_bias"][0]
    n = len(h)
    r, z = sigmoid(of_x[:n] + of_h[:n]), sigmoid(of_x[n : 2 * n] + of_h[n : 2 * n])
    new = np.tanh(of_x[2 * n :] + r * of_h[2 * n :])
    out: Array = (1.0 - z) * new + z * h
    return out


def seen_by_hand(view: View, obs: Tensor, p: dict[str, Array]) -> Array:
    own = view.family.inputs(obs[None]).numpy()[0].astype(np.float64)
    out: Array = np.tanh(np.concatenate([own, 0.7 * p["previous_action"], p["begins"]]))
    return out


def within(view: View, action: Array) -> tuple[Array, Array]:
    """In the channels' units, and what is remembered of it."""
    low, high = (np.array(ends, np.float64) for ends in view.family.spec.limits())
    return 0.5 * (low + high) + action * 0.5 * (high - low), np.clip(action, -1.0, 1.0)


def close(found: Tensor, expected: Array) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("oracle", [False, True])
def test_rl2_corrects_gain_and_offset_of_a_linear_controller_by_what_it_remembers(
    family: TaskFamily[Any], oracle: bool
) -> None:
    algorithm, view = Rl2(family, Rl2Config(hidden=5), oracle=oracle), View.of(family)
    policy = algorithm.policy(shaken(algorithm.initial(np.random.default_rng(0))))
    state, generator = random_state(policy), torch.Generator().manual_seed(2)
    obs = torch.randn(T, E, view.n_obs, generator=generator)
    noise = torch.randn(T, E, view.n_act, generator=generator)
    act = policy.act(state, obs, noise)
    for task in range(T):
        for row in range(E):
            p = numbers(state, task, row, policy)
            x = seen_by_hand(view, obs[task, row], p)
            told = [view.family.standard(state["task"][task : task + 1])[0].numpy()] if oracle else []
            hidden = gru_by_hand(p, np.concatenate([x, *told]), p["hidden"])
            gain = hidden @ p["gain"] + p["gain_bias"][0]
            offset = hidden @ p["offset"] + p["offset_bias"][0]
            mean = squashed(offset + (x @ p["direct"]) * gain)
            spread = np.maximum(p["sigma"][0], 0.1)
            action, kept = within(view, mean + spread * noise[task, row].numpy())
            close(act.action[task, row], action)
            close(act.next["hidden"][task, row], hidden)
            close(act.next["previous_action"][task, row], kept)
            assert float(act.next["begins"][task, row]) == 0.0


def objective_by_hand(w: Array) -> Array:
    positive = np.maximum(w, 0.0)
    out: Array = np.sqrt(positive / positive.sum())
    return out


@pytest.mark.parametrize("family", FAMILIES)
def test_objectives_are_blended_by_what_their_policies_are_worth(family: TaskFamily[Any]) -> None:
    """Each proposes an action, ψ says what it will earn under w, and a softmax of that shares them out."""
    algorithm, view = Objectives(family, ObjectivesConfig(hidden=4, mixing=3, critic=5)), View.of(family)
    policy = algorithm.policy(shaken(algorithm.initial(np.random.default_rng(0))))
    state, generator = random_state(policy), torch.Generator().manual_seed(2)
    state["psi"] = 0.2 * state["psi"]  # else one policy is worth all
    obs = torch.randn(T, E, view.n_obs + 1, generator=generator)
    noise = torch.randn(T, E, view.n_act, generator=generator)
    act = policy.act(state, obs, noise)
    for task in range(T):
        for row in range(E):
            p = numbers(state, task, row, policy)
            x = seen_by_hand(view, obs[task, row, : view.n_obs], p)
            hidden = gru_by_hand(p, x, p["hidden"])
            proposed, worth, w = list[Array](), list[float](), p["task_vector"]
            for z in map(objective_by_hand, (*p["library"], w)):
                mixed = np.tanh(hidden @ p["mix_hidden"] + p["mix_bias"][0] + z @ p["mix_objective"])
                made = (mixed @ p["controller"] + p["controller_bias"][0]).reshape(view.n_act, -1)
                action = squashed((made[:, :-2] @ x) * made[:, -2] + made[:, -1])
                first = np.concatenate([x, hidden]) @ p["psi_seen"] + p["psi_bias0"][0]
                both = first + z @ p["psi_objective"] + action @ p["psi_action"]
                last = np.tanh(np.tanh(both) @ p["psi_hidden"] + p["psi_bias1"][0])
                proposed.append(action)
                worth.append(float(last @ p["psi"] @ (w / np.abs(w).sum())))
            share = np.exp((np.array(worth) - max(worth)) / 0.05)
            share /= share.sum()
            mean = (share[:, None] * np.stack(proposed)).sum(0)
            action, kept = within(view, mean + np.maximum(p["sigma"][0], 0.1) * noise[task, row].numpy())
            assert 0.01 < share.max() < 0.99
            np.testing.assert_allclose(act.action[task, row].numpy(), action, rtol=5e-3, atol=5e-4)
            close(act.next["hidden"][task, row], hidden)
            np.testing.assert_allclose(
                act.next["previous_action"][task, row].numpy(), kept, rtol=5e-3, atol=5e-4
            )
            assert float(act.info["library"][task, row]) == pytest.approx(1.0 - share[-1], abs=5e-3)


def planner(family: TaskFamily[Any]) -> PlanningPolicy:
    config = ModelConfig(
        hidden=4, model_hidden=5, size=3, form="context", act="planner", samples=6, blocks=3, refinements=2
    )
    algorithm = Model(family, config)
    policy = algorithm.policy(shaken(algorithm.initial(np.random.default_rng(0))))
    assert isinstance(policy, PlanningPolicy)
    return policy


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plan_is_the_average_of_its_variations_by_what_they_cost(family: TaskFamily[Any]) -> None:
    policy, view = planner(family), View.of(family)
    state, generator = random_state(policy), torch.Generator().manual_seed(2)
    obs = 0.3 * torch.randn(T, E, view.n_obs, generator=generator)
    noise = torch.randn(T, E, view.n_act, generator=generator)
    act = policy.act(state, obs, noise)
    plan, planning = state["plan"].double(), policy._planning
    for k in range(planning.refinements):
        tried = (plan.unsqueeze(2) + 0.5**k * policy._variations).clamp(-1.0, 1.0)
        cost = policy._costs(state, obs, state["recent"], tried.float()).double().numpy()
        for task in range(T):
            for row in range(E):
                above = cost[task, row] - cost[task, row].min()
                scale = planning.temperature * (above.mean() + 0.05 * cost[task, row].mean()) + 1e-8
                share = np.exp(-above / scale)
                share /= share.sum()
                plan[task, row] = torch.from_numpy(np.einsum("i,ibn->bn", share, tried[task, row].numpy()))
    torch.testing.assert_close(act.next["plan"], plan.float(), rtol=1e-3, atol=1e-4)
    done = act.next["plan"][:, :, 0] + 0.1 * noise
    torch.testing.assert_close(act.action, view.physical(done))
    kept = torch.cat([state["recent"][:, :, 1:], done.clamp(-1.0, 1.0).unsqueeze(2)], dim=2)
    torch.testing.assert_close(act.next["recent"], kept)
    table = policy._variations / planning.spread
    assert (table[0] == 0.0).all()
    assert 0.5 < float(table[1:].std()) < 1.5


def test_predictions_are_a_network_with_a_way_around_it() -> None:
    params = {
        n: shaken({n: v})[n] for n, v in model_network.initial(4, 2, 3, 5, np.random.default_rng(0)).items()
    }
    many = model_network.stacked(params, T)
    x, counts = torch.randn(T, E, 4), torch.rand(T, 3)
    found = model_network.mixed(model_network.columns(many, x, 2), counts)
    p = {n: v.double().numpy() for n, v in params.items()}
    for task in range(T):
        for row in range(E):
            h = np.tanh(x[task, row].numpy() @ p["w0"] + p["b0"][0])
            h = np.tanh(h @ p["w1"] + p["b1"][0])
            out = (np.concatenate([x[task, row].numpy(), h]) @ p["w2"] + p["b2"][0]).reshape(2, 3)
            close(found[task, row], out @ counts[task].numpy())


def wide(make: Callable[[np.random.Generator], Tensors]) -> Tensors:
    return make(np.random.default_rng(0))


SIZES = psi.Sizes(inputs=90, hidden=110, actions=20, features=5)
SPREADS = {
    "successor features": (
        wide(lambda rng: psi.initial_library(2, SIZES, rng)),
        {"w0": math.sqrt(2 / 90), "w1": math.sqrt(2 / 110), "w2": 0.3 * math.sqrt(2 / 110), "b1": 0.0, "b2": 0.0},
    ),
    "universal ones": (
        wide(lambda rng: psi.initial_universal(SIZES, rng)),
        {"w0": math.sqrt(2 / 90), "w2": 0.3 * math.sqrt(2 / 110), "wz": math.sqrt(2 / 90)},
    ),
    "learned features": (
        wide(lambda rng: psi.initial_features(90, 40, 30, rng)),
        {"features.w0": 90**-0.5, "features.w1": 32**-0.5, "features.rewards": 40**-0.5, "features.b0": 0.0},
    ),
    "a model": (
        wide(lambda rng: model_network.initial(60, 10, 8, 80, rng)),
        {"w0": 60**-0.5, "w1": 80**-0.5, "w2": 0.3 * 140**-0.5, "b0": 0.0, "b1": 0.0, "b2": 0.0},
    ),
    "a critic": (
        wide(lambda rng: Critic(Complete.of(FAMILY), 200).initial(rng)),
        {f"{FOR_TRAINING}w1": 1 / 8, f"{FOR_TRAINING}w2": 1 / 8, f"{FOR_TRAINING}b0": 0.0, f"{FOR_TRAINING}b2": 0.0},
    ),
    "what is inferred": (
        wide(lambda rng: Ppo(FAMILY, PpoConfig(hidden=150)).initial(rng)),
        {f"{FOR_TRAINING}infer_w": 150**-0.5, f"{FOR_TRAINING}infer_b": 0.0},
    ),
    "rl2": (
        wide(lambda rng: Rl2(FAMILY, Rl2Config(hidden=300)).initial(rng)),
        {"input": 2.6 * 15**-0.5, "recurrent": 900**-0.5, "offset": 0.1 * 300**-0.5, "gain": 0.0},
    ),
    "objectives": (
        wide(lambda rng: Objectives(FAMILY, ObjectivesConfig(hidden=200, mixing=150, critic=160)).initial(rng)),
        {
            "mix_hidden": 200**-0.5, "mix_objective": 5**-0.5, "controller": 0.1 * 150**-0.5, "psi_seen": 205**-0.5,
            "psi_objective": 5**-0.5, "psi_action": 1.0, "psi_hidden": 160**-0.5, "psi": 160**-0.5, "mix_bias": 0.0,
            "psi_bias0": 0.0, "psi_bias1": 0.0, "input": 2.6 * 5**-0.5 * 3**-0.5,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPREADS)
def test_parameters_begin_as_widely_spread_as_keeps_what_passes_about_one(name: str) -> None:
    params, spreads = SPREADS[name]
    for parameter, spread in spreads.items():
        value = params[parameter].double()
        assert float(value.square().mean().sqrt()) == pytest.approx(spread, rel=0.25), parameter
        assert abs(float(value.mean())) <= 0.3 * spread, parameter
        if value.dim() == 3 and spread:  # of a library, all different
            assert not torch.equal(value[0], value[1])


def test_a_controller_begins_with_a_gain_of_one_and_no_offset() -> None:
    meta = Rl2(FAMILY, Rl2Config(hidden=4)).initial(np.random.default_rng(0))
    assert torch.equal(meta["gain_bias"], torch.ones(1, 1))
    assert torch.equal(meta["sigma"], torch.full((1, 1), 0.3))
    algorithm, view = Objectives(GliderFamily(), ObjectivesConfig(hidden=4)), View.of(GliderFamily())
    made = algorithm.initial(np.random.default_rng(0))["controller_bias"].reshape(view.n_act, -1)
    assert made[:, -2:].tolist() == [[1.0, 0.0]] * view.n_act
    assert 0.0 < float(made[:, :-2].abs().max()) < 0.3


def test_returns_are_of_as_many_tasks_as_asked_for_a_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whole trials, and those side by side on one machine averaged."""
    config = PpoConfig(hidden=4, episodes=2, episode_steps=6, side_by_side=2)
    algorithm: Ppo[Any] = Ppo(PointFrameFamily(), config)
    meta = algorithm.initial(np.random.default_rng(0))
    monkeypatch.setattr(ppo, "_AT_ONCE", 4)
    found = algorithm.returns(meta, 10, np.random.default_rng(3))
    rng, expected = np.random.default_rng(3), list[float]()
    for n in (4, 4, 2):
        rewards = algorithm.rewards(
            algorithm.play(meta, algorithm.trial(n, rng, 1.0, explores=False)).episodes
        )
        assert len(rewards) == 12
        expected += [float(rewards[:, 2 * i : 2 * i + 2].sum() / 2) for i in range(n)]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
    explores = algorithm.returns(meta, 10, np.random.default_rng(3), greedy=False)
    assert not torch.equal(explores, found)
