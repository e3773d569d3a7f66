"""The conformance suite finds what a new algorithm could get wrong: each mistake fails the test that names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from acclimate.bundle.manifest import StateTensor
from acclimate.errors import ManifestError
from acclimate_trainer.algorithms.maml.maml import MamlPolicy
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window

from .policy_conformance import GLITCH, AdaptivePolicyConformance
from .test_policies import maml

SUITE = AdaptivePolicyConformance()


class Candidate(MamlPolicy):
    """A good policy; the mistakes below replace one function each."""

    def __init__(self) -> None:
        good = maml()
        super().__init__(good._meta, good._view, good._config)
        self.calls = 0


class Undeclared(Candidate):
    def act(self, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
        act = super().act(state, obs, noise)
        return act._replace(next={**act.next, "ticks": act.action})


class Forgetful(Candidate):
    def act(self, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
        return super().act(state, obs, noise)._replace(next={})


class RankTooHigh(Candidate):
    def act(self, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
        act = super().act(state, obs, noise)
        return act._replace(info={"effort": act.action})


class Double(Candidate):
    def act(self, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
        act = super().act(state, obs, noise)
        return act._replace(action=act.action.double())


class HiddenState(Candidate):
    def act(self, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
        self.calls += 1
        act = super().act(state, obs, noise)
        return act._replace(action=act.action + 0.01 * self.calls)


class InPlace(Candidate):
    def act(self, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
        act = super().act(state, obs, noise)
        state["previous_action"].copy_(act.next["previous_action"])
        return act


class OwnChance(Candidate):
    def act(self, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
        return super().act(state, obs, noise + 0.1 * torch.randn_like(noise))


class Neighbourly(Candidate):
    def act(self, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
        return super().act(state, obs - obs.mean(dim=1, keepdim=True), noise)


class Unbounded(Candidate):
    def act(self, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
        act = super().act(state, obs, noise)
        return act._replace(action=act.action + torch.exp(obs[..., :1]))


class Baked(Candidate):
    def act(self, state: Tensors, obs: torch.Tensor, noise: torch.Tensor) -> Act:
        return super().act(state, obs / float(obs.abs().max()), noise)


class ForgottenWeight(Candidate):
    def adapt(self, state: Tensors, window: Window) -> Adapt:
        adapt = super().adapt(state, window)
        return adapt._replace(next={name: v for name, v in adapt.next.items() if name != "b1"})


class NoStepNorm(Candidate):
    def adapt(self, state: Tensors, window: Window) -> Adapt:
        adapt = super().adapt(state, window)
        return adapt._replace(info={"loss": adapt.info["loss"]})


class WrongStepNorm(Candidate):
    def adapt(self, state: Tensors, window: Window) -> Adapt:
        adapt = super().adapt(state, window)
        return adapt._replace(info={**adapt.info, "step_norm": adapt.info["grad_norm"]})


class MaskIgnored(Candidate):
    def adapt(self, state: Tensors, window: Window) -> Adapt:
        return super().adapt(state, window._replace(mask=torch.ones_like(window.mask)))


class MaskMultiplied(Candidate):
    def adapt(self, state: Tensors, window: Window) -> Adapt:
        energy = (window.obs[:, :, 1:].square().sum(-1) * window.mask).sum((1, 2))
        adapt = super().adapt(state, window)
        bias = adapt.next["b0"] + 1e-3 * energy.reshape(-1, 1, 1)
        return adapt._replace(next={**adapt.next, "b0": bias})


class FirstTaskForAll(Candidate):
    def adapt(self, state: Tensors, window: Window) -> Adapt:
        shots = state["shots"][:1].expand_as(state["shots"])
        adapt = super().adapt({**state, "shots": shots}, window)
        return adapt._replace(next={**adapt.next, "shots": state["shots"] + 1.0})


class Branching(Candidate):
    def adapt(self, state: Tensors, window: Window) -> Adapt:
        self.calls += 1
        scale = 1.0 if self.calls == 1 else 2.0
        adapt = super().adapt(state, window)
        return adapt._replace(next={**adapt.next, "b0": scale * adapt.next["b0"]})


class ResetTooOften(Candidate):
    @property
    def state(self) -> tuple[StateTensor, ...]:
        return tuple(replace(t, reset="episode") if t.name == "w0" else t for t in super().state)


class OtherShape(Candidate):
    def initial(self) -> dict[str, torch.Tensor]:
        return {**super().initial(), "shots": torch.zeros(2)}


class FreshWeights(Candidate):
    def initial(self) -> dict[str, torch.Tensor]:
        return {**super().initial(), "w0": torch.rand(self._params["w0"].shape)}


MISTAKES: Mapping[type[Candidate], Callable[..., None]] = {
    Undeclared: SUITE.test_act_gives_what_it_declares,
    Forgetful: SUITE.test_act_gives_what_it_declares,
    RankTooHigh: SUITE.test_act_gives_what_it_declares,
    Double: SUITE.test_act_gives_what_it_declares,
    HiddenState: SUITE.test_act_is_pure,
    InPlace: SUITE.test_act_is_pure,
    OwnChance: SUITE.test_without_noise_it_acts_alike_whatever_chance_does,
    Neighbourly: SUITE.test_acting_in_a_stack_is_acting_alone,
    Unbounded: SUITE.test_actions_are_finite_for_whatever_the_sensors_say,
    Baked: SUITE.test_act_can_be_traced,
    ForgottenWeight: SUITE.test_adapt_gives_what_it_declares,
    NoStepNorm: SUITE.test_adapt_gives_what_it_declares,
    WrongStepNorm: SUITE.test_step_norm_is_the_length_of_the_step,
    MaskIgnored: SUITE.test_nothing_is_learned_from_nothing,
    FirstTaskForAll: SUITE.test_adapting_in_a_stack_is_adapting_alone,
    Branching: SUITE.test_adapt_is_pure,
    ResetTooOften: SUITE.test_a_manifest_can_be_built_from_it,
    OtherShape: SUITE.test_the_initial_state_is_exactly_what_is_declared,
    FreshWeights: SUITE.test_the_initial_state_is_always_the_same,
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_found(mistake: type[Candidate]) -> None:
    MISTAKES[mistake](Candidate())
    with pytest.raises((AssertionError, ManifestError, RuntimeError)):  # the last comes from tracing
        MISTAKES[mistake](mistake())


@pytest.mark.parametrize(("mistake", "junk"), [(MaskIgnored, 3.0), (MaskMultiplied, GLITCH)])
def test_a_leaking_mask_is_found(mistake: type[Candidate], junk: float) -> None:
    for check in (SUITE.test_a_masked_episode_has_no_influence, SUITE.test_a_masked_reading_has_no_influence):
        check(Candidate(), junk)
        with pytest.raises(AssertionError):
            check(mistake(), junk)
