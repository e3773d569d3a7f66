"""Successor features on a device: both kinds pass the conformance suite, infer w, and act and refine as they say."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest
import torch
from acclimate.task.spec import TaskSpec
from acclimate_trainer.algorithms.successor import task_vector
from acclimate_trainer.algorithms.successor.featured import Featured
from acclimate_trainer.algorithms.successor.library import Successor, SuccessorConfig
from acclimate_trainer.algorithms.successor.policies import UNIT, LibraryPolicy, PolicyConfig, readings
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Act, Adapt, Policy, Tensors, Window, stacked
from acclimate_trainer.networks.psi import Sizes, initial_library, library_psi
from acclimate_trainer.tasks import reacher
from acclimate_trainer.tasks.four_rooms import FourRoomsFamily, RoomsTasks
from acclimate_trainer.tasks.reacher import ReacherFamily, ReacherTasks
from torch import Tensor
from torch.testing import assert_close

from .policy_conformance import EPISODES, AdaptivePolicyConformance, PolicyConformance

FAMILY = ReacherFamily()
TARGET = reacher.NAMES[9]  # one that was not trained for
# What w is inferred from, and so not part of a step.
KEPT = tuple(t.name for t in task_vector.state_tensors(1) if t.name != "task_vector")


def successor_policy(family: ReacherFamily | FourRoomsFamily = FAMILY, **settings: object) -> Policy:
    features = 4 if family is FAMILY else 2
    names = tuple(feature.name for feature in family.spec.features[:features])
    config = SuccessorConfig(train_on=names, hidden=8, replay=10, **settings)  # type: ignore[arg-type]
    algorithm: Successor[object] = Successor(family, config)  # type: ignore[arg-type]
    return algorithm.policy(algorithm.initial(np.random.default_rng(0)))


class LibraryConformance(AdaptivePolicyConformance):
    counters = KEPT

    def window(self, policy: Policy, tasks: int, *, seed: int) -> Window:
        """Of actions that there are, and not just any."""
        window = super().window(policy, tasks, seed=seed)
        choices = torch.tensor(policy.spec.choices)
        rng = torch.Generator().manual_seed(seed)
        return window._replace(action=choices[torch.randint(len(choices), window.mask.shape, generator=rng)])

    def state(self, policy: Policy, tasks: int, episodes: int, *, seed: int) -> dict[str, Tensor]:
        """At the begin of a trial: what has been seen is a triangle, and not anything near it."""
        kept = {name: stacked(policy, tasks, episodes)[name].contiguous() for name in KEPT}
        return PolicyConformance.state(self, policy, tasks, episodes, seed=seed) | kept

    def _act(self, policy: Policy, state: Tensors, *, seed: int) -> Act:
        """On as many tasks as the state is of: nothing of it is written by `act`."""
        axes = (len(state["task_vector"]), EPISODES)
        return policy.act(state, self.obs(policy, *axes, seed=seed), self.noise(policy, *axes, seed=seed))


class TestLibrary(LibraryConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return successor_policy()


class TestLibraryThatRefines(LibraryConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return successor_policy(refine_steps=2)


class TestLibraryOfLearnedFeatures(LibraryConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return successor_policy(features="learned", n_features=3)


class TestUniversal(LibraryConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return successor_policy(network="universal")


def test_psi_in_a_graphs_layout_is_the_networks() -> None:
    """Whose first layers lie side by side; for many rows as for one."""
    params = initial_library(3, Sizes(6, 8, 9, 12), np.random.default_rng(0))
    policy = LibraryPolicy(params, torch.zeros(12), 0.9, PolicyConfig(), Featured.of(Complete.of(FAMILY)))
    for rows in (1, 7):
        x = torch.randn(2, rows, 6, generator=torch.Generator().manual_seed(1))
        found = policy.psi(stacked(policy, 2, rows), x)
        assert found.shape == (2, rows, 3, 9, 12)
        for task in range(2):
            expected = UNIT * library_psi(params, x[task].expand(3, -1, -1), 9)  # (P, rows, A, d)
            assert_close(found[task], expected.transpose(0, 1))


def explored(episodes: int = 5, steps: int = 10, seed: int = 0) -> Window:
    """Random torques on the task to reach TARGET."""
    rng = np.random.default_rng(seed)
    session = FAMILY.open(ReacherTasks(reacher.task_vectors([TARGET])), episodes, steps, rng)
    obs, actions = [session.obs], []
    for _ in range(steps):
        actions.append(reacher.ACTIONS[torch.from_numpy(rng.integers(0, 9, (1, episodes)))])
        session.step(actions[-1])
        obs.append(session.obs)
    return Window(torch.stack(obs, 2), torch.stack(actions, 2), torch.ones(1, episodes, steps))


def adapted(policy: Policy, **shape: int) -> Adapt:
    return policy.adapt(stacked(policy, 1, 1), explored(**shape))


def test_w_of_a_target_that_was_not_trained_for_is_inferred_from_fifty_transitions() -> None:
    adapt = adapted(successor_policy(), episodes=10, steps=5)
    assert float(adapt.info["rank"]) == 12.0
    assert_close(adapt.next["task_vector"], reacher.task_vectors([TARGET]), rtol=0, atol=1e-3)


def test_rewards_that_do_not_span_leave_w_and_say_so() -> None:
    policy = successor_policy()
    adapt = adapted(policy, episodes=1, steps=5)
    assert float(adapt.info["rank"]) < 12.0
    assert torch.equal(adapt.next["task_vector"], stacked(policy, 1, 1)["task_vector"])


def test_noise_is_added_to_what_actions_are_worth() -> None:
    policy, obs = successor_policy(), torch.zeros(1, 9, 5)
    wanted = 100.0 * torch.eye(9).unsqueeze(0)
    assert torch.equal(policy.act(stacked(policy, 1, 9), obs, wanted).action[0], reacher.ACTIONS)


def test_the_last_layer_of_one_policy_is_refined_and_its_error_falls() -> None:
    policy = successor_policy(refine_steps=5, refine_lr=0.5)
    assert isinstance(policy, LibraryPolicy)
    window, before = explored(10, 5), stacked(policy, 1, 1)
    adapt = policy.adapt(before, window)
    changed = (adapt.next["w2"] != before["w2"]).flatten(2).any(-1)[0]  # (P,)
    assert int(changed.sum()) == 1
    best = int(changed.float().argmax())

    def error(state: dict[str, Tensor]) -> float:
        """Of ψ against what follows, with a fixed next action: that of the refined state."""
        psi, phi = [], []
        for obs in (window.obs[:, :, :-1].flatten(1, 2), window.obs[:, :, 1:].flatten(1, 2)):
            every = policy.psi(state, FAMILY.inputs(obs))[0]
            psi.append(every[:, best])
            phi.append(reacher.features(reacher.directions(obs[0, :, :2])))
        action = (window.action.flatten(1, 2)[0].unsqueeze(1) - reacher.ACTIONS).abs().sum(-1).argmin(-1)
        rows = torch.arange(len(action))
        following = (every @ adapt.next["task_vector"][0]).amax(1).argmax(-1)
        target = phi[1] - phi[0] + 0.9 * psi[1][rows, following]
        return float((psi[0][rows, action] - target).square().mean())

    assert error({**before, **adapt.next}) < 0.9 * error({**before, "task_vector": adapt.next["task_vector"]})


def test_nothing_is_refined_before_w_is_known() -> None:
    policy = successor_policy(refine_steps=3)
    adapt = adapted(policy, episodes=1, steps=5)
    assert torch.equal(adapt.next["w2"], stacked(policy, 1, 1)["w2"])


def test_what_objects_are_worth_is_inferred_from_a_walk_through_four_rooms() -> None:
    """Which passes one of each type, and reaches the goal."""
    family = FourRoomsFamily()
    session = family.open(RoomsTasks(torch.tensor([[0.5, -0.3, 0.8]])), 1, 100, np.random.default_rng(0))
    obs, actions = [session.obs], []
    for move in "urrrrrulluulluruuuurrrrruuurrrrr":
        actions.append(torch.full((1, 1, 1), float("urdl".index(move))))
        session.step(actions[-1])
        obs.append(session.obs)
    window = Window(torch.stack(obs, 2), torch.stack(actions, 2), torch.ones(1, 1, len(actions)))
    policy = successor_policy(family, refine_steps=2)
    adapt = policy.adapt(stacked(policy, 1, 1), window)
    assert_close(adapt.next["task_vector"], torch.tensor([[0.5, -0.3, 0.8, 1.0]]), rtol=0, atol=1e-3)
    assert not torch.equal(adapt.next["w2"], stacked(policy, 1, 1)["w2"])


def test_rewards_that_a_family_does_not_observe_are_one_more_observation() -> None:
    """The last one, which w is inferred from, and the network does not see."""

    class Unrewarded(ReacherFamily):
        @cached_property
        def spec(self) -> TaskSpec:
            spec = super().spec
            return replace(spec, observation=spec.observation[:-1])

    policy = successor_policy(Unrewarded())  # type: ignore[arg-type]
    assert policy.spec.observation[-1].source == "reward"
    assert_close(
        adapted(policy, episodes=10, steps=5).next["task_vector"],
        reacher.task_vectors([TARGET]),
        rtol=0,
        atol=1e-3,
    )


def test_nothing_is_read_of_what_no_transition_to_be_learned_from_touches() -> None:
    """Tick by tick: an observation counts where the transition from it or the one to it does."""
    rng = torch.Generator().manual_seed(0)
    mask = (torch.rand(2, 3, 8, generator=rng) > 0.5).float()
    window = Window(
        1.0 + torch.rand(2, 3, 9, 4, generator=rng), 1.0 + torch.rand(2, 3, 8, 2, generator=rng), mask
    )
    used = readings(window)
    for t in range(9):
        touched = torch.zeros(2, 3, dtype=torch.bool)
        touched |= mask[:, :, t] > 0.0 if t < 8 else False
        touched |= mask[:, :, t - 1] > 0.0 if t else False
        assert torch.equal(used.obs[:, :, t], window.obs[:, :, t] * touched.unsqueeze(-1))
    assert torch.equal(used.action, window.action * mask.unsqueeze(-1))
    assert torch.equal(used.mask, mask)


def test_what_is_done_is_worth_most_to_any_of_the_policies() -> None:
    """Choice by choice: the largest wᵀψ of all policies and actions, noise included; and whose it was."""
    policy = successor_policy()
    assert isinstance(policy, LibraryPolicy)
    rng = torch.Generator().manual_seed(1)
    state = {**stacked(policy, 2, 5), "task_vector": torch.randn(2, 12, generator=rng)}
    obs, noise = torch.randn(2, 5, 5, generator=rng), 0.05 * torch.randn(2, 5, policy.n_noise, generator=rng)
    act = policy.act(state, obs, noise)
    psi = policy.psi(state, FAMILY.inputs(obs))
    whose = set[int]()
    for task in range(2):
        for row in range(5):
            worth = psi[task, row] @ state["task_vector"][task] + noise[task, row]  # (P, A)
            best, choice = divmod(int(worth.argmax()), worth.shape[1])
            assert torch.equal(act.action[task, row], reacher.ACTIONS[choice])
            assert float(act.info["policy"][task, row]) == best
            whose.add(best)
    assert len(whose) > 1
    found = policy.values(state, obs, state["task_vector"].unsqueeze(1).expand(-1, 5, -1))
    expected = torch.stack([(psi[t] @ state["task_vector"][t]).amax(1) for t in range(2)])
    assert_close(found, expected)


def test_refining_is_semi_gradient_td_on_the_best_policys_last_layer() -> None:
    """Transition by transition: its ψ becomes that of GPI under w, and the other policies are worth what they were."""
    policy = successor_policy(refine_steps=3, refine_lr=0.4)
    assert isinstance(policy, LibraryPolicy)
    window, before = explored(10, 5), stacked(policy, 1, 1)
    window.mask[0, 2, 3] = 0.0
    adapt = policy.adapt(before, window)
    w, state = adapt.next["task_vector"][0].double(), {**before, "task_vector": adapt.next["task_vector"]}
    obs, following = (part.reshape(1, -1, 5) for part in (window.obs[:, :, :-1], window.obs[:, :, 1:]))
    taken = (window.action.reshape(-1, 1, 2) - reacher.ACTIONS).abs().sum(-1).argmin(-1)
    counts = window.mask.flatten() > 0.0
    after = policy.psi(state, FAMILY.inputs(following))[0].double() @ w  # (N, P, A)
    best = int(after.amax(-1)[counts].sum(0).argmax())
    others = after.clone()
    others[:, best] = -math.inf
    units = [
        torch.nn.functional.pad(policy._units(state, FAMILY.inputs(x))[best], (0, 1), value=1.0).double()
        for x in (obs, following)
    ]
    head = torch.cat([before["w2"], before["b2"]], dim=2)[0, best].double()
    rate = 0.4 / float((units[0].square().sum(-1) * counts).sum())
    phi = [reacher.features(reacher.directions(x[0, :, :2])).double() for x in (obs, following)]
    for _ in range(3):
        gradient = torch.zeros_like(head)
        for n in map(int, counts.nonzero()):
            ahead = (units[1][n] @ head).view(9, 12)
            chosen = int(torch.maximum(ahead @ w, others[n].amax(0)).argmax())
            error = phi[1][n] - phi[0][n] + 0.9 * ahead[chosen] - (units[0][n] @ head).view(9, 12)[taken[n]]
            gradient.view(-1, 9, 12)[:, taken[n]] += units[0][n][:, None] * error
        head = head + rate * gradient
    found = torch.cat([adapt.next["w2"], adapt.next["b2"]], dim=2)[0]
    assert_close(found[best].double(), head, rtol=1e-3, atol=1e-5)
    step = (found - torch.cat([before["w2"], before["b2"]], dim=2)[0]).square().sum()
    moved = (adapt.next["task_vector"] - before["task_vector"]).square().sum()
    assert_close(adapt.info["step_norm"][0], (step + moved).sqrt(), rtol=1e-3, atol=1e-5)
