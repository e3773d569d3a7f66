"""A recurrent policy whose actions are choices: what its network is told, what it remembers, how it chooses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from acclimate_trainer.algorithms.rl2.actors import CategoricalActor, Lived
from acclimate_trainer.algorithms.rl2.categorical import CategoricalPolicy, Scene, gumbel, scores
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Policy, stacked
from acclimate_trainer.networks.choices import Choices
from acclimate_trainer.play.trials import Trial, draw_trial
from acclimate_trainer.play.watched import Played, play
from acclimate_trainer.tasks.bandit import BanditFamily
from acclimate_trainer.tasks.reacher import ReacherFamily
from acclimate_trainer.tasks.tabular import TabularFamily
from acclimate_trainer.testing import FamilyConformance
from torch import Tensor
from torch.testing import assert_close

from .bells import BellFamily, Bells
from .policy_conformance import PolicyConformance

HIDDEN = 6


class TestBellConformance(FamilyConformance):
    def family(self) -> BellFamily:
        return BellFamily()


def policy_of(family: TabularFamily | ReacherFamily | BanditFamily) -> Policy:
    actor = CategoricalActor(Scene.of(Complete.of(family), (0.5, 2.0)), HIDDEN)  # type: ignore[misc, arg-type]
    return actor.policy(actor.initial(np.random.default_rng(0)))


class TestOnMdps(PolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return policy_of(TabularFamily(2, states=3, actions=4, horizon=5))


class TestOnTheReacher(PolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return policy_of(ReacherFamily())


def actor_of(family: Complete[Bells]) -> tuple[CategoricalActor, dict[str, Tensor]]:
    actor = CategoricalActor(Scene.of(family, (0.0, 1.0)), HIDDEN)
    return actor, actor.initial(np.random.default_rng(1))


def trial_of(family: Complete[Bells], prizes: list[float], seed: int = 0) -> Trial[Bells]:
    """One with these prizes."""
    trial = draw_trial(family, len(prizes), np.random.default_rng(seed), side_by_side=1, episodes=2,
                       steps=family.spec.horizon, explore=1, n_noise=2)  # fmt: skip
    for part in trial.episodes:
        part.session.become(
            Bells(torch.tensor(prizes).unsqueeze(1)), torch.ones(len(prizes), dtype=torch.bool)
        )
    return trial


def played(family: BellFamily, prizes: list[float]) -> tuple[CategoricalActor, dict[str, Tensor], Played]:
    complete = Complete.of(family)
    actor, meta = actor_of(complete)
    return actor, meta, play(actor.policy(meta), complete, trial_of(complete, prizes))


def remembered(actor: CategoricalActor, meta: dict[str, Tensor], lived: Lived) -> Tensor:
    """From the begin of a trial on."""
    return actor.remember(meta, lived, torch.zeros(1, lived.x.shape[1], HIDDEN))


EPISODES_OPENED = [BellFamily(), BellFamily(terminates=True)]
EPISODES_THAT_END = [BellFamily(length=3, horizon=6), BellFamily(length=3, horizon=6, terminates=True)]


@pytest.mark.parametrize("family", [*EPISODES_OPENED, *EPISODES_THAT_END])
def test_the_last_reward_of_an_episode_and_the_begin_of_the_next_reach_the_network(
    family: BellFamily,
) -> None:
    """Whether the player opens the next episode, or the session goes on to it by itself."""
    actor, _, found = played(family, [2.0, -3.0])
    x = actor.lived(found.episodes).x
    begins = torch.tensor([1.0, 0.0, 0.0]).repeat(len(x) // 3)
    assert_close(x[:, :, -1], begins.unsqueeze(1).expand(-1, 2))
    worth = x[:, :, 2 + 4 : 2 + 8].sum(-1)
    for tick in range(len(x)):
        paid = tick > 0 and tick % 3 == 0
        assert_close(worth[tick], torch.tensor([2.0, -3.0]) * float(paid))


@pytest.mark.parametrize("family", [*EPISODES_OPENED, *EPISODES_THAT_END])
def test_what_is_learned_from_is_what_the_policy_did(family: BellFamily) -> None:
    """An independent loop, tick by tick through `act`: the same hidden states, inputs and choices."""
    complete = Complete.of(family)
    actor, meta, found = played(family, [2.0, -3.0, 1.0])
    lived = actor.lived(found.episodes)
    hidden = remembered(actor, meta, lived)
    policy, trial = actor.policy(meta), trial_of(complete, [2.0, -3.0, 1.0])
    state, anew = stacked(policy, 3, 1), stacked(policy, 3, 1)
    tick, reward = 0, torch.zeros(3, 1)
    for part in trial.episodes:
        state["begins"] = anew["begins"]
        for t in range(part.steps):
            obs = part.session.obs
            obs[..., -1] = reward
            act = policy.act(state, obs, part.noise[:, :, t])
            step = part.session.step(act.action)
            state, reward = {**state, **act.next}, step.reward
            ended = step.terminated | step.truncated
            state["begins"] = torch.where(ended.unsqueeze(-1), anew["begins"], state["begins"])
            assert_close(hidden[tick], state["hidden"][:, 0])
            assert torch.equal(lived.action[tick], F.one_hot(act.action[:, 0, 0].long(), 2).float())
            tick += 1
    assert tick == len(hidden)


def test_likelihood_and_entropy_are_those_of_the_softmax() -> None:
    actor, meta, found = played(BellFamily(), [2.0, -3.0])
    meta["head"] *= 30.0
    lived = actor.lived(found.episodes)
    hidden = remembered(actor, meta, lived)
    judged = actor.judge(meta, lived, hidden)
    for t in range(6):
        for n in range(2):
            every = (hidden[t, n] @ meta["head"] + meta["head_bias"][0]).view(2, 2)
            logits = every[int(lived.seen[t, n].argmax())]
            expected = torch.distributions.Categorical(logits=logits)
            done = lived.action[t, n].argmax()
            assert_close(judged.log_likelihood[t, n], expected.log_prob(done))
            assert_close(judged.entropy[t, n], expected.entropy())


def test_the_memory_lives_through_episodes_and_is_cleared_between_trials() -> None:
    """The prize of the first episode can still be told in the second; nothing of it is left in another trial."""
    actor, meta, found = played(BellFamily(), [2.0, -3.0])
    hidden = remembered(actor, meta, actor.lived(found.episodes))
    assert (hidden[4, 0] - hidden[4, 1]).abs().max() > 1e-3
    _, _, again = played(BellFamily(), [5.0, 5.0])
    assert_close(remembered(actor, meta, actor.lived(again.episodes))[0], hidden[0])


def test_the_gradient_goes_through_the_memory() -> None:
    """How likely the second episode's actions are depends on weights by way of what the first brought."""
    actor, meta, found = played(BellFamily(), [2.0, -3.0])
    lived = actor.lived(found.episodes)
    x = lived.x.clone().requires_grad_()
    lived = lived._replace(x=x)
    actor.judge(meta, lived, remembered(actor, meta, lived)).log_likelihood[5].sum().backward()
    assert x.grad is not None
    assert x.grad[3].abs().max() > 0


def test_choices_come_as_often_as_their_probability_says_and_without_noise_the_likeliest() -> None:
    family, n = Complete.of(BanditFamily(3, 1)), 20_000
    scene = Scene.of(family, (0.5, 0.5))
    params = CategoricalActor(scene, HIDDEN).initial(np.random.default_rng(0))
    params |= {
        "head": torch.zeros_like(params["head"]),
        "head_bias": torch.log(torch.tensor([[0.2, 0.7, 0.1]])),
    }
    policy = CategoricalPolicy(params, scene)
    noise = torch.randn(1, n, 3, generator=torch.Generator().manual_seed(0))
    found = policy.act(stacked(policy, 1, n), torch.zeros(1, n, 1), noise).action.flatten().long()
    assert_close(torch.bincount(found) / n, torch.tensor([0.2, 0.7, 0.1]), rtol=0, atol=4 * 0.5 / n**0.5)
    without = policy.act(stacked(policy, 1, 5), torch.zeros(1, 5, 1), torch.zeros(1, 5, 3)).action
    assert (without == 1.0).all()


def test_gumbel_noise_is_gumbels() -> None:
    """Mean γ and variance π²/6, and finite wherever normal noise may be."""
    noise = gumbel(torch.randn(200_000, generator=torch.Generator().manual_seed(0)))
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(noise.var()) == pytest.approx(np.pi**2 / 6, rel=0.02)
    assert gumbel(torch.tensor([-30.0, -9.0, 0.0, 9.0, 30.0])).isfinite().all()


def test_a_one_hot_state_has_a_head_of_its_own() -> None:
    rng = torch.Generator().manual_seed(0)
    head, bias, hidden = (torch.randn(*s, generator=rng) for s in ((1, 6, 12), (1, 1, 12), (1, 3, 6)))
    seen = F.one_hot(torch.tensor([[2, 0, 1]]), 3).float()
    found = scores({"head": head, "head_bias": bias}, hidden, seen)
    every = (hidden[0] @ head[0] + bias[0]).view(3, 3, 4)
    assert_close(found[0], torch.stack([every[0, 2], every[1, 0], every[2, 1]]))


def test_which_choice_an_action_was() -> None:
    """Up to half of what choices are apart; between them, none."""
    choices = Choices.of(ReacherFamily().spec)
    assert torch.equal(choices.taken(choices.table), torch.eye(9))
    assert torch.equal(choices.taken(choices.table * 0.9), torch.eye(9))
    assert not choices.taken(torch.tensor([0.04, 0.0])).any()
    assert torch.equal(choices.action(torch.arange(9)), choices.table)
    assert torch.equal(choices.one_hot(torch.tensor([4])), torch.eye(9)[4:5])
