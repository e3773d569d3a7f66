"""What every algorithm's policy must do. A test module subclasses a mixin and gives one policy.

class TestMyPolicy(AdaptivePolicyConformance):  # PolicyConformance, if it has no `adapt`
    @pytest.fixture
    def policy(self) -> Policy: ...

A policy that fulfils this can be trained in stacks, exported, and run by a device, which makes these very calls. What
it is given is drawn from its own spec: whatever its channels may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import pytest
import torch
from acclimate.bundle import manifest_json
from acclimate.bundle.manifest import Family, Graphs, GraphSpec, Limits, Manifest, NoiseSpec, TensorSpec
from acclimate.fields import is_identifier
from acclimate_trainer.contract.graphs import graph_of
from acclimate_trainer.contract.policy import Act, Adapt, Policy, Tensors, Window, stacked
from torch import Tensor, fx
from torch.testing import assert_close

TASKS, EPISODES, TICKS = 3, 2, 4
GLITCH = 1e30  # finite in float32, but its square is not

Function = Callable[..., tuple[Tensor, ...]]


class PolicyConformance:
    """Subclasses override `policy`."""

    bounded = False  # whether it never asks for more than a device takes

    @pytest.fixture
    def policy(self) -> Policy:
        raise NotImplementedError

    # What the tests below feed to a policy.

    @staticmethod
    def obs(policy: Policy, *axes: int, seed: int) -> Tensor:
        """Anything that the channels may hold, (*axes, n_obs)."""
        channels = [c for c in policy.spec.observation for _ in range(c.size)]
        low = torch.tensor([c.minimum for c in channels])
        high = torch.tensor([c.maximum for c in channels])
        rng = torch.Generator().manual_seed(seed)
        return low + (high - low) * torch.rand(*axes, len(channels), generator=rng)

    def state(self, policy: Policy, tasks: int, episodes: int, *, seed: int) -> dict[str, Tensor]:
        """States in the neighbourhood of the initial one, all different; what is not zero keeps its sign."""
        rng = torch.Generator().manual_seed(seed)
        out = {}
        for name, value in stacked(policy, tasks, episodes).items():
            jitter = 0.1 * torch.randn(value.shape, generator=rng)
            out[name] = torch.where(value == 0.0, jitter.abs(), value * torch.exp(jitter)).contiguous()
        return out

    def window(self, policy: Policy, tasks: int, *, seed: int) -> Window:
        """Random transitions, a few of which are masked."""
        spec = policy.window
        assert spec is not None
        rng = torch.Generator().manual_seed(seed)
        shape = (tasks, spec.episodes, spec.steps)
        action = 0.5 * torch.randn(*shape, policy.spec.n_act, generator=rng)
        mask = (torch.rand(shape, generator=rng) > 0.1).float()
        obs = self.obs(policy, tasks, spec.episodes, spec.steps + 1, seed=seed)
        return Window(obs, self.physical(policy, action), mask)

    @staticmethod
    def physical(policy: Policy, action: Tensor) -> Tensor:
        """Actions (…, n_act) within ±1 of full scale in the channels' units."""
        low, high = (torch.tensor(ends) for ends in policy.spec.limits())
        return 0.5 * (low + high) + 0.5 * (high - low) * action

    @staticmethod
    def noise(policy: Policy, *axes: int, seed: int) -> Tensor:
        return torch.randn(*axes, policy.n_noise, generator=torch.Generator().manual_seed(seed))

    # The state.

    def test_a_manifest_can_be_built_from_it(self, policy: Policy) -> None:
        manifest = self._manifest(policy)
        assert manifest_json.from_json(manifest_json.to_json(manifest)) == manifest

    def test_the_initial_state_is_exactly_what_is_declared(self, policy: Policy) -> None:
        initial = policy.initial()
        assert {name: tuple(v.shape) for name, v in initial.items()} == {
            t.name: t.shape for t in policy.state
        }
        assert {v.dtype for v in initial.values()} == {torch.float32}
        assert all(v.isfinite().all() for v in initial.values())

    def test_the_initial_state_is_always_the_same(self, policy: Policy) -> None:
        before = {name: value.clone() for name, value in policy.initial().items()}
        self._act(policy, self.state(policy, 1, 1, seed=0), seed=1)
        _assert_equal(policy.initial(), before)

    def test_it_adapts_altogether_or_not_at_all(self, policy: Policy) -> None:
        adapts = isinstance(self, AdaptivePolicyConformance)
        assert [policy.window is not None, policy.adaptation is not None] == [adapts, adapts]
        if not adapts:
            action = torch.zeros(1, 2, 3, policy.spec.n_act)
            window = Window(self.obs(policy, 1, 2, 4, seed=0), action, torch.ones(1, 2, 3))
            with pytest.raises(NotImplementedError):
                policy.adapt(stacked(policy, 1, 1), window)

    # act.

    def test_act_gives_what_it_declares(self, policy: Policy) -> None:
        act = self._act(policy, self.state(policy, TASKS, EPISODES, seed=0), seed=1)
        assert act.action.shape == (TASKS, EPISODES, policy.spec.n_act)
        written = {t.name: (TASKS, EPISODES, *t.shape) for t in policy.state if t.written_by == "act"}
        assert {name: tuple(value.shape) for name, value in act.next.items()} == written
        _check_info(act.info, (TASKS, EPISODES))
        assert {v.dtype for v in (act.action, *act.next.values(), *act.info.values())} == {torch.float32}

    def test_act_is_pure(self, policy: Policy) -> None:
        state = self.state(policy, TASKS, EPISODES, seed=0)
        obs, noise = self.obs(policy, TASKS, EPISODES, seed=1), self.noise(policy, TASKS, EPISODES, seed=2)
        given = {"obs": obs, "noise": noise, **state}
        before = {name: value.clone() for name, value in given.items()}
        first = policy.act(state, obs, noise)
        kept = [v.clone() for v in (first.action, *first.next.values())]
        _assert_equal(given, before)
        self._act(policy, self.state(policy, TASKS, EPISODES, seed=7), seed=8)
        torch.manual_seed(99)
        again = policy.act(state, obs, noise)
        assert_close([again.action, *again.next.values()], kept, rtol=0, atol=0)
        assert_close([first.action, *first.next.values()], kept, rtol=0, atol=0)

    def test_without_noise_it_acts_alike_whatever_chance_does(self, policy: Policy) -> None:
        state, obs = self.state(policy, TASKS, EPISODES, seed=0), self.obs(policy, TASKS, EPISODES, seed=1)
        actions = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            actions.append(policy.act(state, obs, torch.zeros(TASKS, EPISODES, policy.n_noise)).action)
        assert torch.equal(*actions)

    def test_acting_in_a_stack_is_acting_alone(self, policy: Policy) -> None:
        state = self.state(policy, TASKS, EPISODES, seed=0)
        together = self._drive(policy, state, lambda t: t)
        for task, episode in product(range(TASKS), range(EPISODES)):
            one = (slice(task, task + 1), slice(episode, episode + 1))
            axes = {t.name: one if t.written_by == "act" else one[:1] for t in policy.state}
            alone = {name: value[axes[name]] for name, value in state.items()}
            found = self._drive(policy, alone, lambda x, one=one: x[one])
            assert_close(found, [x[one] for x in together], rtol=1e-4, atol=1e-5)

    def test_actions_are_finite_for_whatever_the_sensors_say(self, policy: Policy) -> None:
        extremes = torch.tensor([list(product((-1e6, 0.0, 1e6), repeat=policy.spec.n_obs))])
        state = self.state(policy, 1, extremes.shape[1], seed=0)
        for noise in (-6.0, 6.0, 0.0):
            act = policy.act(state, extremes, torch.full((*extremes.shape[:2], policy.n_noise), noise))
            assert act.action.isfinite().all()
            assert all(value.isfinite().all() for value in act.next.values())
            state |= act.next

    def test_what_it_remembers_as_its_last_action_is_what_the_device_took(self, policy: Policy) -> None:
        """Within ±1 of full scale, also where it asked for more."""
        state, obs = self.state(policy, TASKS, EPISODES, seed=0), self.obs(policy, TASKS, EPISODES, seed=1)
        if "previous_action" not in state:
            return
        low, high = (torch.tensor(ends) for ends in policy.spec.limits())
        for scale in (0.0, 9.0, -9.0):
            act = policy.act(state, obs, torch.full((TASKS, EPISODES, policy.n_noise), scale))
            taken = torch.minimum(torch.maximum(act.action, low), high)
            assert_close(self.physical(policy, act.next["previous_action"]), taken, rtol=1e-4, atol=1e-5)
            if self.bounded:
                assert_close(taken, act.action, rtol=1e-6, atol=1e-6)
            else:
                assert scale == 0.0 or not policy.n_noise or (taken != act.action).all()

    def test_act_can_be_traced(self, policy: Policy) -> None:
        def function(obs: Tensor, noise: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            act = policy.act(_named(policy, state), obs, noise)
            return act.action, *act.next.values(), *act.info.values()

        def example(seed: int) -> tuple[Tensor, ...]:
            state = self.state(policy, 1, 1, seed=seed)
            return self.obs(policy, 1, 1, seed=seed), self.noise(policy, 1, 1, seed=seed), *state.values()

        _check_trace(function, [example(seed) for seed in range(3)])

    # What the tests share.

    def _act(self, policy: Policy, state: Tensors, *, seed: int) -> Act:
        axes = next((state[t.name].shape[:2] for t in policy.state if t.written_by == "act"), (1, 1))
        return policy.act(state, self.obs(policy, *axes, seed=seed), self.noise(policy, *axes, seed=seed))

    def _drive(self, policy: Policy, state: Tensors, part: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Actions and states of a few ticks, on a part of the same random inputs."""
        live, out = dict(state), []
        for tick in range(TICKS):
            obs = self.obs(policy, TASKS, EPISODES, seed=tick)
            noise = self.noise(policy, TASKS, EPISODES, seed=tick)
            act = policy.act(live, part(obs), part(noise))
            live |= act.next
            out += [act.action, *act.next.values()]
        return out

    def _manifest(self, policy: Policy) -> Manifest:
        """As export makes it; the constructor checks what its parts owe each other."""
        state = tuple(TensorSpec(f"state.{t.name}", t.shape) for t in policy.state)
        window, spec = policy.window, policy.spec
        head = (window.episodes, window.steps) if window else ()
        adapt = GraphSpec(
            (
                TensorSpec("window.obs", (*head[:1], head[1] + 1, spec.n_obs)),
                TensorSpec("window.action", (*head, spec.n_act)),
                TensorSpec("window.mask", head),
                *state,
            ),
            _written(policy, "adapt"),
        ) if window else None  # fmt: skip
        act = GraphSpec(
            (TensorSpec("obs", (spec.n_obs,)), TensorSpec("noise", (policy.n_noise,)), *state),
            (TensorSpec("action", (spec.n_act,)), *_written(policy, "act")),
        )
        return Manifest(
            "candidate", policy.algorithm, spec, policy.state,
            Graphs(act, adapt), NoiseSpec((policy.n_noise,)), Limits({}, 1.0), Family("candidate"),
            window, policy.adaptation, privileged=policy.privileged,
        )  # fmt: skip


class AdaptivePolicyConformance(PolicyConformance):
    """For policies with `adapt`."""

    counters: tuple[str, ...] = ("shots",)  # what adapt counts, and so not in step_norm

    def state(self, policy: Policy, tasks: int, episodes: int, *, seed: int) -> dict[str, Tensor]:
        """Each task has another count."""
        state = super().state(policy, tasks, episodes, seed=seed)
        for name in state.keys() & set(self.counters):
            state[name] = (torch.arange(tasks) + 1.0 * seed).reshape(-1, 1).expand_as(state[name])
        return state

    def test_adapt_gives_what_it_declares(self, policy: Policy) -> None:
        window = self.window(policy, TASKS, seed=1)
        adapt = policy.adapt(self.state(policy, TASKS, 1, seed=0), window)
        written = {t.name: (TASKS, *t.shape) for t in policy.state if t.written_by == "adapt"}
        assert {name: tuple(value.shape) for name, value in adapt.next.items()} == written
        _check_info(adapt.info, (TASKS,))
        assert {"loss", "step_norm"} <= adapt.info.keys()  # what the guard looks at
        values = (*adapt.next.values(), *adapt.info.values())
        assert {v.dtype for v in values} == {torch.float32}
        assert all(v.isfinite().all() for v in values)

    def test_adapt_learns_something(self, policy: Policy) -> None:
        """So that the tests that compare adapted states compare something."""
        window, state = self.window(policy, TASKS, seed=1), self.state(policy, TASKS, 1, seed=0)
        assert (policy.adapt(state, window).info["step_norm"] > 1e-4).all()

    def test_adapt_is_pure(self, policy: Policy) -> None:
        window, state = self.window(policy, TASKS, seed=1), self.state(policy, TASKS, 1, seed=0)
        given = {**window._asdict(), **state}
        before = {name: value.clone() for name, value in given.items()}
        first = policy.adapt(state, window)
        kept = {name: value.clone() for name, value in first.next.items()}
        _assert_equal(given, before)
        policy.adapt(self.state(policy, TASKS, 1, seed=7), self.window(policy, TASKS, seed=8))
        torch.manual_seed(99)
        _assert_equal(policy.adapt(state, window).next, kept)
        _assert_equal(first.next, kept)

    def test_step_norm_is_the_length_of_the_step(self, policy: Policy) -> None:
        window, state = self.window(policy, TASKS, seed=1), self.state(policy, TASKS, 1, seed=0)
        adapt = policy.adapt(state, window)
        change = self._change(adapt.next, state)
        assert_close(adapt.info["step_norm"], change, rtol=1e-3, atol=1e-5)

    def test_adapting_in_a_stack_is_adapting_alone(self, policy: Policy) -> None:
        window, state = self.window(policy, TASKS, seed=1), self.state(policy, TASKS, 1, seed=0)
        together = policy.adapt(state, window)
        for task in range(TASKS):
            one = slice(task, task + 1)
            alone = policy.adapt({n: v[one] for n, v in state.items()}, Window(*(x[one] for x in window)))
            expected = {name: value[one] for name, value in together.next.items()}
            assert (self._change(alone.next, expected) < 1e-3 * together.info["step_norm"][one]).all()
            assert_close(alone.info["loss"], together.info["loss"][one], rtol=1e-3, atol=1e-4)

    def test_it_may_adapt_as_often_as_it_says_and_once_more(self, policy: Policy) -> None:
        window, state = self.window(policy, TASKS, seed=1), self.state(policy, TASKS, 1, seed=0)
        assert policy.adaptation is not None
        for _ in range(policy.adaptation.max_steps + 1):
            state |= policy.adapt(state, window).next
        assert all(value.isfinite().all() for value in state.values())

    @pytest.mark.parametrize("junk", [3.0, GLITCH, -GLITCH])
    def test_a_masked_episode_has_no_influence(self, policy: Policy, junk: float) -> None:
        window, state = self.window(policy, TASKS, seed=1), self.state(policy, TASKS, 1, seed=0)
        window.mask[:, -1] = 0.0
        expected = policy.adapt(state, window)
        window.obs[:, -1], window.action[:, -1] = junk, -junk
        self._same(policy.adapt(state, window), expected)

    @pytest.mark.parametrize("junk", [3.0, GLITCH, -GLITCH])
    def test_a_masked_reading_has_no_influence(self, policy: Policy, junk: float) -> None:
        """Transitions to and from a bad reading are masked; references, which are known, stay."""
        window, state = self.window(policy, TASKS, seed=1), self.state(policy, TASKS, 1, seed=0)
        at = window.action.shape[2] // 2
        window.mask[:, 0, at - 1 : at + 1] = 0.0
        expected = policy.adapt(state, window)
        sensed = torch.tensor(
            [c.source != "reference" for c in policy.spec.observation for _ in range(c.size)]
        )
        window.obs[:, 0, at, sensed] = junk
        self._same(policy.adapt(state, window), expected)

    def test_nothing_is_learned_from_nothing(self, policy: Policy) -> None:
        window, state = self.window(policy, TASKS, seed=1), self.state(policy, TASKS, 1, seed=0)
        adapt = policy.adapt(state, window._replace(mask=torch.zeros_like(window.mask)))
        assert_close(self._change(adapt.next, state), torch.zeros(TASKS), rtol=0, atol=1e-6)
        assert adapt.info["loss"].isfinite().all()

    def test_adapt_can_be_traced(self, policy: Policy) -> None:
        def function(obs: Tensor, action: Tensor, mask: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            adapt = policy.adapt(_named(policy, state), Window(obs, action, mask))
            return *adapt.next.values(), *adapt.info.values()

        def example(seed: int) -> tuple[Tensor, ...]:
            return *self.window(policy, 1, seed=seed), *self.state(policy, 1, 1, seed=seed).values()

        _check_trace(function, [example(seed) for seed in range(3)])

    def _change(self, found: Tensors, before: Tensors) -> Tensor:
        """Euclidean distance over all that was learned, (T,)."""
        learned = [name for name in found if name not in self.counters]
        squares = [(found[n] - before[n]).flatten(1).square().sum(1) for n in learned]
        return torch.stack(squares).sum(0).sqrt()

    def _same(self, found: Adapt, expected: Adapt) -> None:
        """Equal up to a thousandth of the step that was made."""
        assert all(value.isfinite().all() for value in found.next.values())
        assert (self._change(found.next, expected.next) <= 1e-3 * expected.info["step_norm"]).all()


def _written(policy: Policy, by: str) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"next.{t.name}", t.shape) for t in policy.state if t.written_by == by)


def _named(policy: Policy, state: tuple[Tensor, ...]) -> dict[str, Tensor]:
    return dict(zip(policy.initial(), state, strict=True))


def _check_info(info: Tensors, axes: tuple[int, ...]) -> None:
    assert all(is_identifier(name) for name in info)
    assert all(tuple(value.shape) == axes for value in info.values())


def _assert_equal(found: Tensors, expected: Tensors) -> None:
    """Equal bit by bit."""
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


def _check_trace(function: Function, examples: list[tuple[Tensor, ...]]) -> None:
    """A trace of the first example gives what the function gives, for the others as well."""
    graph = graph_of(function, examples[0])
    _check_operators(graph)
    for example in examples:
        assert_close(graph(*example), function(*example), rtol=1e-4, atol=1e-5)


def _check_operators(graph: fx.GraphModule) -> None:
    """Nothing is drawn at random, and no shape depends on values: a device has static memory."""
    tags: Mapping[str, list[torch.Tag]] = {
        str(node.target): node.target.tags
        for node in graph.graph.nodes
        if isinstance(node.target, torch._ops.OpOverload)
    }
    forbidden = {
        torch.Tag.nondeterministic_seeded,
        torch.Tag.dynamic_output_shape,
        torch.Tag.data_dependent_output,
    }
    assert {name: found for name, found in tags.items() if forbidden & set(found)} == {}
