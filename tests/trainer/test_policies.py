"""Every algorithm's policy passes the conformance suite, on servos and on gliders, and explores as it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.features.features import Features, FeaturesConfig
from acclimate_trainer.algorithms.features.policy import FeaturesPolicy
from acclimate_trainer.algorithms.maml.maml import Maml, MamlConfig, MamlPolicy
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig, ReactivePolicy
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config, Rl2Policy
from acclimate_trainer.algorithms.successor import task_vector
from acclimate_trainer.algorithms.successor.objective_policies import ObjectivesPolicy
from acclimate_trainer.algorithms.successor.objectives import Objectives, ObjectivesConfig
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.contract.policy import Act, Policy, Tensors, stacked
from acclimate_trainer.networks.feedforward import SIGMA_FLOOR
from torch import Tensor
from torch.testing import assert_close

from .families import GliderFamily, HomingFamily
from .policy_conformance import AdaptivePolicyConformance, PolicyConformance
from .servo_tasks import FAMILY

SMALL = MamlConfig(hidden=8, support_episodes=3, episode_steps=30)
GLIDERS = GliderFamily()


def maml(config: MamlConfig = SMALL, family: TaskFamily[Any] = FAMILY) -> MamlPolicy:
    algorithm = Maml(family, config)
    meta = algorithm.initial(np.random.default_rng(0))
    rng = torch.Generator().manual_seed(0)
    for name, value in meta.items():
        if "." in name:  # what the inner step has learned; at the start, some of it is zero
            value += 0.1 * torch.rand(value.shape, generator=rng)
    return algorithm.policy(meta)


def reactive(*, oracle: bool, family: TaskFamily[Any] = FAMILY) -> Policy:
    algorithm = Reactive(family, ReactiveConfig(hidden=8), oracle=oracle)
    return algorithm.policy(algorithm.initial(np.random.default_rng(0)))


class TestMaml(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return maml()


class TestMamlThatExploresSmoothly(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return maml(replace(SMALL, exploration_memory=0.6))


def rl2(*, oracle: bool = False, family: TaskFamily[Any] = FAMILY) -> Rl2Policy:
    algorithm = Rl2(family, Rl2Config(hidden=8), oracle=oracle)
    return algorithm.policy(algorithm.initial(np.random.default_rng(0)))


class TestRl2(PolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return rl2()


def objectives(family: TaskFamily[Any] = FAMILY) -> ObjectivesPolicy:
    algorithm = Objectives(family, ObjectivesConfig(hidden=8, mixing=6, critic=8))
    return algorithm.policy(algorithm.initial(np.random.default_rng(0)))


class TestObjectives(AdaptivePolicyConformance):
    counters = tuple(
        t.name for t in task_vector.state_tensors(1) if t.name != "task_vector"
    )  # what w comes from

    def state(self, policy: Policy, tasks: int, episodes: int, *, seed: int) -> dict[str, Tensor]:
        """At the begin of a trial: what has been seen is a triangle, and not anything near it."""
        kept = {name: stacked(policy, tasks, episodes)[name].contiguous() for name in self.counters}
        return PolicyConformance.state(self, policy, tasks, episodes, seed=seed) | kept

    @pytest.fixture
    def policy(self) -> Policy:
        return objectives()


def frozen(family: TaskFamily[Any] = FAMILY) -> FeaturesPolicy:
    algorithm = Features(family, FeaturesConfig(width=4, hidden=8, support_episodes=3, episode_steps=30))
    return algorithm.policy(algorithm.initial(np.random.default_rng(0)))


class TestFeatures(AdaptivePolicyConformance):
    counters = ("precision",)  # how sure it is, and no step

    def state(self, policy: Policy, tasks: int, episodes: int, *, seed: int) -> dict[str, Tensor]:
        """As after a window: what is known of a head is symmetric, and more than was known at first."""
        state = PolicyConformance.state(self, policy, tasks, episodes, seed=seed)
        root = torch.rand(state["precision"].shape, generator=torch.Generator().manual_seed(seed))
        return {**state, "precision": policy.initial()["precision"] + root @ root.mT}

    @pytest.fixture
    def policy(self) -> Policy:
        return frozen()


class TestRobust(PolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return reactive(oracle=False)


class TestOracle(PolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return reactive(oracle=True)


class TestRecurrentOracle(PolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return rl2(oracle=True)


class TestRobustOnGliders(PolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return reactive(oracle=False, family=GLIDERS)


class TestOracleOnGliders(PolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return reactive(oracle=True, family=GLIDERS)


class TestRl2OnGliders(PolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return rl2(family=GLIDERS)


class TestRecurrentOracleOnGliders(PolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return rl2(oracle=True, family=GLIDERS)


class TestMamlOnGliders(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return maml(replace(SMALL, exploration_memory=0.3), GLIDERS)


class TestMamlOnAMachineThatMeasuresItsReward(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return maml(family=HomingFamily())


class TestFeaturesOnGliders(TestFeatures):
    @pytest.fixture
    def policy(self) -> Policy:
        return frozen(GLIDERS)


class TestObjectivesOnGliders(TestObjectives):
    @pytest.fixture
    def policy(self) -> Policy:
        return objectives(GLIDERS)


EXPLORERS: dict[str, Callable[..., Policy]] = {
    "maml": maml,
    "robust": partial(reactive, oracle=False),
    "rl2": rl2,
    "objectives": objectives,
    "features": frozen,
}


def explored(make: Callable[..., Policy], sigma: float, ticks: int = 1, episodes: int = 4000) -> Tensor:
    """How far noise moves the actions of a policy whose state holds `sigma`, of full scale: (ticks, episodes, 2)."""
    policy, rng = make(family=GLIDERS), torch.Generator().manual_seed(0)
    begin: dict[str, Tensor] = stacked(policy, 1, episodes)
    begin["sigma"] = torch.full_like(begin["sigma"], sigma)
    noisy, still, out = dict(begin), dict(begin), []
    obs = torch.zeros(1, episodes, policy.spec.n_obs)
    for _ in range(ticks):
        noise = torch.randn(1, episodes, 2, generator=rng)
        acts = policy.act(noisy, obs, noise), policy.act(still, obs, 0.0 * noise)
        out.append((acts[0].action - acts[1].action)[0] / torch.tensor([0.2, 1.5]))
        noisy |= {"deviation": acts[0].next["deviation"]} if "deviation" in noisy else {}
    return torch.stack(out)


@pytest.mark.parametrize("name", EXPLORERS)
@pytest.mark.parametrize("sigma", [0.3, 0.6])
def test_exploration_is_as_wide_as_the_state_says_on_every_actuator(name: str, sigma: float) -> None:
    deviation = explored(EXPLORERS[name], sigma)[0]
    assert_close(deviation.std(0), torch.full((2,), sigma), rtol=0.05, atol=0)
    assert deviation.mean(0).abs().max() < 0.03
    assert torch.corrcoef(deviation.T)[0, 1].abs() < 0.06


@pytest.mark.parametrize("name", EXPLORERS)
def test_exploration_never_ends(name: str) -> None:
    assert_close(explored(EXPLORERS[name], -3.0)[0].std(0), torch.full((2,), SIGMA_FLOOR), rtol=0.05, atol=0)


def test_exploration_that_remembers_becomes_as_wide_as_the_state_says() -> None:
    """Autoregressive: correlated from tick to tick, and of the same variance once the start is forgotten."""
    smooth = partial(maml, replace(SMALL, exploration_memory=0.8))
    deviation = explored(smooth, 0.5, ticks=25)[..., 0]
    for t, share in ((0, 1.0 - 0.8**2), (1, 1.0 - 0.8**4), (24, 1.0)):
        assert deviation[t].std().item() == pytest.approx(0.5 * share**0.5, rel=0.05)
    assert torch.corrcoef(deviation[-2:])[0, 1].item() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
@pytest.mark.parametrize("oracle", [reactive, rl2])
def test_an_oracle_uses_what_it_is_told(oracle: Callable[..., Policy], family: TaskFamily[Any]) -> None:
    policy = oracle(oracle=True, family=family)
    assert policy.algorithm == "oracle"
    assert policy.privileged == tuple(parameter.name for parameter in family.spec.parameters)
    state, obs = stacked(policy, 1, 1), torch.full((1, 1, 4), 0.3)
    noise = torch.zeros(1, 1, policy.n_noise)
    usual = policy.act(state, obs, noise).action
    for i in range(len(policy.privileged)):
        told = state["task"].clone()
        told[0, i] *= 1.5
        assert not torch.equal(policy.act({**state, "task": told}, obs, noise).action, usual)


@pytest.mark.parametrize("family", [FAMILY, GLIDERS])
def test_who_is_no_oracle_is_told_nothing(family: TaskFamily[Any]) -> None:
    for policy in (reactive(oracle=False, family=family), rl2(family=family), maml(family=family)):
        assert policy.privileged == ()
        assert "task" not in policy.initial()


def test_an_oracle_is_trained_on_what_is_true_of_each_servo(monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm = Reactive(FAMILY, ReactiveConfig(hidden=8, episodes=1, episode_steps=2), oracle=True)
    act, told = ReactivePolicy.act, []

    def watched(self: ReactivePolicy, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
        told.append(state["task"])
        return act(self, state, obs, noise)

    monkeypatch.setattr(ReactivePolicy, "act", watched)
    meta = {n: v.expand(3, *v.shape) for n, v in algorithm.initial(np.random.default_rng(0)).items()}
    algorithm.losses(meta, 3, np.random.default_rng(5), 0.99)
    assert torch.equal(told[0], FAMILY.parameters(FAMILY.sample(3, np.random.default_rng(5))))


@pytest.mark.parametrize("oracle", [reactive, rl2])
@pytest.mark.parametrize("family", [FAMILY, GliderFamily(mirrored=False)])
def test_the_oracles_typical_task_is_in_the_middle_of_the_family(
    oracle: Callable[..., Policy], family: TaskFamily[Any]
) -> None:
    task = oracle(oracle=True, family=family).initial()["task"]
    drawn = family.parameters(family.sample(2000, np.random.default_rng(1))).numpy()
    low, high = np.quantile(drawn, (0.2, 0.8), axis=0)
    assert (low <= task.numpy() * 1.000001).all()
    assert (task.numpy() <= high * 1.000001).all()
