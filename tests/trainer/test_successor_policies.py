"""Successor features on a device: both kinds pass the conformance suite, infer w, and act and refine as they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.successor.library import Successor, SuccessorConfig, task_vector
from acclimate_trainer.algorithms.successor.policies import UNIT, LibraryPolicy, PolicyConfig, inputs
from acclimate_trainer.contract.policy import Act, Adapt, Policy, Tensors, Window, stacked
from acclimate_trainer.networks.psi import initial_library, library_psi
from acclimate_trainer.tasks import reacher
from torch import Tensor
from torch.testing import assert_close

from .policy_conformance import EPISODES, AdaptivePolicyConformance, PolicyConformance

# What w is inferred from, and so not part of a step.
KEPT = tuple(t.name for t in task_vector.state_tensors(1) if t.name != "task_vector")


def successor_policy(**settings: object) -> Policy:
    config = SuccessorConfig(hidden=8, replay=10, **settings)  # type: ignore[arg-type]
    algorithm = Successor(range(4), 10, config)
    return algorithm.policy(algorithm.initial(np.random.default_rng(0)))


class ReacherConformance(AdaptivePolicyConformance):
    observation = reacher.OBSERVATION
    action = reacher.ACTION
    control_dt = reacher.CONTROL_DT
    counters = KEPT

    def window(self, policy: Policy, tasks: int, *, seed: int) -> Window:
        """Of torques that there are, and not just any."""
        window = super().window(policy, tasks, seed=seed)
        rng = torch.Generator().manual_seed(seed)
        action = reacher.ACTIONS[torch.randint(9, window.mask.shape, generator=rng)]
        return window._replace(action=action)

    def state(self, policy: Policy, tasks: int, episodes: int, *, seed: int) -> dict[str, Tensor]:
        """At the begin of a trial: what has been seen is a triangle, and not anything near it."""
        kept = {name: stacked(policy, tasks, episodes)[name].contiguous() for name in KEPT}
        return PolicyConformance.state(self, policy, tasks, episodes, seed=seed) | kept

    def _act(self, policy: Policy, state: Tensors, *, seed: int) -> Act:
        """On as many tasks as the state is of: nothing of it is written by `act`."""
        axes = (len(state["task_vector"]), EPISODES)
        return policy.act(state, self.obs(*axes, seed=seed), self.noise(policy, *axes, seed=seed))


class TestLibrary(ReacherConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return successor_policy()


class TestLibraryThatRefines(ReacherConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return successor_policy(refine_steps=2)


class TestLibraryOfLearnedFeatures(ReacherConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return successor_policy(features="learned", n_features=3)


class TestUniversal(ReacherConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return successor_policy(network="universal")


def test_psi_in_a_graphs_layout_is_the_networks() -> None:
    """Whose first layers lie side by side; for many rows as for one."""
    params = initial_library(
        3, Successor(range(3), 10, SuccessorConfig(hidden=8)).sizes, np.random.default_rng(0)
    )
    policy = LibraryPolicy(params, torch.zeros(12), 0.9, PolicyConfig())
    for rows in (1, 7):
        x = torch.randn(2, rows, reacher.N_INPUTS, generator=torch.Generator().manual_seed(1))
        found = policy.psi(stacked(policy, 2, rows), x)
        assert found.shape == (2, rows, 3, 9, 12)
        for task in range(2):
            expected = UNIT * library_psi(params, x[task].expand(3, -1, -1), 9)  # (P, rows, A, d)
            assert_close(found[task], expected.transpose(0, 1))


def explored(target: int, episodes: int = 5, steps: int = 10, seed: int = 0) -> Window:
    """Random torques on one task, whose reward is that target's feature."""
    rng = np.random.default_rng(seed)
    arms, obs, actions = reacher.reset((1, episodes), rng), [], []
    obs.append(reacher.observe(arms, torch.zeros(1, episodes)))
    for _ in range(steps):
        action = torch.from_numpy(rng.integers(0, 9, (1, episodes)))
        arms = reacher.step(arms, action)
        reward = reacher.features(reacher.directions(arms.angle))[..., target]
        obs.append(reacher.observe(arms, reward))
        actions.append(reacher.ACTIONS[action])
    return Window(torch.stack(obs, 2), torch.stack(actions, 2), torch.ones(1, episodes, steps))


def adapted(policy: Policy, target: int, **shape: int) -> Adapt:
    return policy.adapt(stacked(policy, 1, 1), explored(target, **shape))


def test_w_of_a_target_that_was_not_trained_for_is_inferred_from_fifty_transitions() -> None:
    adapt = adapted(successor_policy(), 9, episodes=10, steps=5)
    assert float(adapt.info["rank"]) == 12.0
    assert_close(adapt.next["task_vector"], reacher.one_hot(torch.tensor([9])), rtol=0, atol=1e-3)


def test_rewards_that_do_not_span_leave_w_and_say_so() -> None:
    policy = successor_policy()
    adapt = adapted(policy, 9, episodes=1, steps=5)
    assert float(adapt.info["rank"]) < 12.0
    assert torch.equal(adapt.next["task_vector"], stacked(policy, 1, 1)["task_vector"])


def test_noise_is_added_to_what_actions_are_worth() -> None:
    policy, obs = successor_policy(), torch.zeros(1, 9, 5)
    wanted = 100.0 * torch.eye(9).unsqueeze(0)
    assert torch.equal(policy.act(stacked(policy, 1, 9), obs, wanted).action[0], reacher.ACTIONS)


def test_the_last_layer_of_one_policy_is_refined_and_its_error_falls() -> None:
    policy = successor_policy(refine_steps=5, refine_lr=0.5)
    assert isinstance(policy, LibraryPolicy)
    window, before = explored(9, 10, 5), stacked(policy, 1, 1)
    adapt = policy.adapt(before, window)
    changed = (adapt.next["w2"] != before["w2"]).flatten(2).any(-1)[0]  # (P,)
    assert int(changed.sum()) == 1
    best = int(changed.float().argmax())

    def error(state: dict[str, Tensor]) -> float:
        """Of ψ against what follows, with a fixed next action: that of the refined state."""
        psi = [
            policy.psi(state, inputs(o.flatten(1, 2)))[0, :, best]
            for o in (window.obs[:, :, :-1], window.obs[:, :, 1:])
        ]
        phi = [policy.features(o.flatten(1, 2))[0] for o in (window.obs[:, :, :-1], window.obs[:, :, 1:])]
        values = (
            policy.psi(state, inputs(window.obs[:, :, 1:].flatten(1, 2)))[0] @ adapt.next["task_vector"][0]
        )
        action = (window.action.flatten(1, 2)[0].unsqueeze(1) - reacher.ACTIONS).abs().sum(-1).argmin(-1)
        rows = torch.arange(len(action))
        target = phi[1] - phi[0] + 0.9 * psi[1][rows, values.amax(1).argmax(-1)]
        return float((psi[0][rows, action] - target).square().mean())

    assert error({**before, **adapt.next}) < 0.9 * error({**before, "task_vector": adapt.next["task_vector"]})


def test_nothing_is_refined_before_w_is_known() -> None:
    policy = successor_policy(refine_steps=3)
    adapt = adapted(policy, 9, episodes=1, steps=5)
    assert torch.equal(adapt.next["w2"], stacked(policy, 1, 1)["w2"])
