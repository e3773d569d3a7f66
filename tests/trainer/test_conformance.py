"""Each check of the conformance suite finds the family that was broken for it, and says so in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate.task.spec import TaskSpec
from acclimate_trainer.contract.family import Cost, Property, Step
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.testing import CHECKS, ContractError, FamilyConformance, check_family
from acclimate_trainer.testing.subject import Subject
from numpy.typing import NDArray
from torch import Tensor

from .cart import DT, Cart, Carts, CartSession


class TestCart(FamilyConformance):
    """The healthy family passes every check, by the class that users subclass."""

    def family(self) -> Cart:
        return Cart()


class Broken(Cart):
    """A cart whose session is another class."""

    session: type[CartSession] = CartSession

    def open(self, tasks: Carts, episodes: int, steps: int, rng: np.random.Generator) -> CartSession:
        one = super().open(tasks, episodes, steps, rng)
        return self.session(tasks, one.state[0], one.noise)


def with_session(name: str) -> Callable[[type[CartSession]], type[Broken]]:
    """A family named for what is broken, around such a session."""

    def make(session: type[CartSession]) -> type[Broken]:
        return type(name, (Broken,), {"session": session})

    return make


class LacksParameters:
    """Not even all members."""

    spec = Cart().spec
    sample, open = Cart.sample, Cart.open


class NoSpec(Cart):
    spec = "cart"  # type: ignore[assignment]


class SampleOfLists(Cart):
    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return list(super().sample(n, rng, progress))  # type: ignore[return-value]


class SampleOfNans(Cart):
    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return super().sample(n, rng, progress)._replace(noise=torch.full((n, 1), torch.nan))


class SampleOfDoubles(Cart):
    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return super().sample(n, rng, progress)._replace(noise=torch.zeros(n, 1).double())


class SampleOfOne(Cart):
    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return super().sample(n, rng, progress)._replace(noise=torch.zeros(1, 1).expand(n + 1, 1))


class SampleRaises(Cart):
    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        masses: dict[str, Carts] = {}
        return masses.get("all") or masses["mass"]._replace(push=super().sample(n, rng, progress).push)


class SamplesByClock(Cart):
    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return super().sample(n, rng, progress)._replace(noise=torch.rand(n, 1))


class SamplesTheSame(Cart):
    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        del rng
        return super().sample(n, np.random.default_rng(0), progress)


class TellsBeyondRange(Cart):
    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        drawn = super().sample(n, rng, progress)
        return drawn._replace(push=2.0 * drawn.push)


class TellsHalfASign(Cart):
    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return super().sample(n, rng, progress)._replace(wired=torch.full((n, 1), 0.5))


class TellsInAnotherOrder(Cart):
    def parameters(self, tasks: Carts) -> Tensor:
        return torch.cat([tasks.wired.abs(), tasks.wired], -1)


class TellsTooMuch(Cart):
    def parameters(self, tasks: Carts) -> Tensor:
        return torch.cat(tasks, -1)


@with_session("ObsOfAnotherShape")
class _ObsOfAnotherShape(CartSession):
    @property
    def obs(self) -> Tensor:
        return super().obs[..., :1]


@with_session("ObsOfDoubles")
class _ObsOfDoubles(CartSession):
    @property
    def obs(self) -> Tensor:
        return super().obs.double()


@with_session("ObsOfNans")
class _ObsOfNans(CartSession):
    @property
    def obs(self) -> Tensor:
        return super().obs + torch.where(torch.tensor(self.tick == 1), torch.nan, 0.0)


@with_session("StepsToATuple")
class _StepsToATuple(CartSession):
    def step(self, action: Tensor) -> Step:
        return tuple(super().step(action))  # type: ignore[return-value]


@with_session("RewardOfAnotherShape")
class _RewardOfAnotherShape(CartSession):
    def step(self, action: Tensor) -> Step:
        step = super().step(action)
        return step._replace(reward=step.reward.unsqueeze(-1))


@with_session("EndsAreNumbers")
class _EndsAreNumbers(CartSession):
    def step(self, action: Tensor) -> Step:
        step = super().step(action)
        return step._replace(terminated=step.terminated.float())


@with_session("LeavesItsChannel")
class _LeavesItsChannel(CartSession):
    def __init__(self, tasks: Carts, start: Tensor, noise: Tensor) -> None:
        super().__init__(tasks, 11.0 + 0.0 * start, noise)


class ObservesNoReward(Broken):
    """Its last sensor is said to be the reward, and is the speed."""

    @property
    def spec(self) -> TaskSpec:  # type: ignore[override]
        place, speed, target = Cart().spec.observation
        return replace(Cart().spec, observation=(place, replace(speed, source="reward"), target))


@with_session("PlaysByClock")
class _PlaysByClock(CartSession):
    def __init__(self, tasks: Carts, start: Tensor, noise: Tensor) -> None:
        super().__init__(tasks, start, torch.randn_like(noise))


@with_session("ClampsNothing")
class _ClampsNothing(CartSession):
    def step(self, action: Tensor) -> Step:
        # As strong as the action asks; the last line of the parent's law, without its clamp.
        place, speed, _ = self.state
        speed = speed + DT * (self.tasks.wired * self.tasks.push * action[..., 0] - speed)
        self.state = (place, speed, place)
        return super().step(torch.zeros_like(action))


@with_session("FeelsOthers")
class _FeelsOthers(CartSession):
    def step(self, action: Tensor) -> Step:
        return super().step(action + action.mean(0, keepdim=True))


@with_session("BecomesRestarted")
class _BecomesRestarted(CartSession):
    def become(self, tasks: Carts, where: Tensor) -> None:
        super().become(tasks, where)
        self.tick = 0


@with_session("BecomesElsewhere")
class _BecomesElsewhere(CartSession):
    def become(self, tasks: Carts, where: Tensor) -> None:
        if not torch.equal(tasks.push, self.tasks.push):
            place, speed, seen = self.state
            self.state = (0.5 * place, speed, 0.5 * seen)
        super().become(tasks, where)


@with_session("BecomesAltogether")
class _BecomesAltogether(CartSession):
    def become(self, tasks: Carts, where: Tensor) -> None:
        super().become(tasks, torch.ones_like(where))


@with_session("NeverBecomes")
class _NeverBecomes(CartSession):
    def become(self, tasks: Carts, where: Tensor) -> None:
        pass


class SaysItIsNotDifferentiable(Cart):
    @property
    def spec(self) -> TaskSpec:  # type: ignore[override]
        return replace(Cart().spec, differentiable=False)


@with_session("StateIsAList")
class _StateIsAList(CartSession):
    def __init__(self, tasks: Carts, start: Tensor, noise: Tensor) -> None:
        super().__init__(tasks, start, noise)
        self.state = list(self.state)  # type: ignore[assignment]


@with_session("ObservesAnOldState")
class _ObservesAnOldState(CartSession):
    def step(self, action: Tensor) -> Step:
        step = super().step(action)
        self.seen = torch.stack([self.state[2], self.state[1]], -1)
        return step

    @property
    def obs(self) -> Tensor:
        return self.seen if self.tick else super().obs


@with_session("HidesState")
class _HidesState(CartSession):
    def __init__(self, tasks: Carts, start: Tensor, noise: Tensor) -> None:
        super().__init__(tasks, start, noise)
        self.hidden = torch.zeros_like(start)

    def step(self, action: Tensor) -> Step:
        self.hidden = 0.5 * self.hidden + 0.5 * action[..., 0].clamp(-1.0, 1.0)
        return super().step(self.hidden.unsqueeze(-1))


@with_session("StateWithoutEpisodes")
class _StateWithoutEpisodes(CartSession):
    def __init__(self, tasks: Carts, start: Tensor, noise: Tensor) -> None:
        super().__init__(tasks, start, noise)
        self.state = (*self.state[:2], self.state[2], torch.zeros(1))

    def step(self, action: Tensor) -> Step:
        extra = self.state[3]
        self.state = self.state[:3]
        step = super().step(action)
        self.state = (*self.state, extra)
        return step


@with_session("CutsTheGradient")
class _CutsTheGradient(CartSession):
    def step(self, action: Tensor) -> Step:
        return super().step(action.detach())


@with_session("IgnoresTheAction")
class _IgnoresTheAction(CartSession):
    def step(self, action: Tensor) -> Step:
        return super().step(0.0 * action)


@with_session("HasAnInfiniteGradient")
class _HasAnInfiniteGradient(CartSession):
    def step(self, action: Tensor) -> Step:
        return super().step(action.sign() * action.abs().sqrt())


@with_session("HasTheWrongGradient")
class _HasTheWrongGradient(CartSession):
    def step(self, action: Tensor) -> Step:
        return super().step(2.0 * action - action.detach())


@with_session("BranchesOnData")
class _BranchesOnData(CartSession):
    def step(self, action: Tensor) -> Step:
        return super().step(action if action.mean() > 0.0 else 0.5 * action)


@with_session("StepsInNumpy")
class _StepsInNumpy(CartSession):
    def step(self, action: Tensor) -> Step:
        step = super().step(action)
        return step._replace(reward=torch.from_numpy(np.abs(step.reward.detach().numpy())))


@with_session("ComparesData")
class _ComparesData(CartSession):
    def step(self, action: Tensor) -> Step:
        alike = torch.equal(action, action.mean().expand_as(action))
        return super().step(action if alike else 0.5 * action)


class ChangesTheClass(Cart):
    def change(self, tasks: Carts, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return tuple(super().change(tasks, rng, progress))  # type: ignore[return-value]


class ChangesInPlace(Cart):
    def change(self, tasks: Carts, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        tasks.push.mul_(0.999)
        return super().change(tasks, rng, progress)


class ChangesByClock(Cart):
    def change(self, tasks: Carts, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return super().change(tasks, rng, progress)._replace(noise=torch.rand_like(tasks.noise))


class ChangesBelowNothing(Cart):
    def change(self, tasks: Carts, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return super().change(tasks, rng, progress)._replace(push=-tasks.push)


class ChangesHalfASign(Cart):
    def change(self, tasks: Carts, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return super().change(tasks, rng, progress)._replace(wired=0.0 * tasks.wired)


class ChangesShape(Cart):
    def change(self, tasks: Carts, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        return super().change(tasks, rng, progress)._replace(noise=tasks.noise[:, 0])


class PropertiesByName(Cart):
    properties = ("push", "wired", "noise")  # type: ignore[assignment]


class EasiestOutOfReach(Cart):
    @property
    def properties(self) -> tuple[Property, ...]:
        return Property("push", 2.0, 0.0, 1.0), *super().properties[1:]


class PlacesOutOfRange(Cart):
    def placed(self, places: NDArray[np.float64], rng: np.random.Generator) -> Carts:
        return super().placed(2.0 + places, rng)


class PlacesAtRandom(Cart):
    def placed(self, places: NDArray[np.float64], rng: np.random.Generator) -> Carts:
        del rng
        return self.sample(len(places), np.random.default_rng())


class PlacesBeyondNothing(Cart):
    def placed(self, places: NDArray[np.float64], rng: np.random.Generator) -> Carts:
        made = super().placed(places, rng)
        inside = torch.tensor((places <= 1.0).all(), dtype=torch.bool)
        return made._replace(push=torch.where(inside, made.push, torch.nan))


class HoldsOutAnotherSpec(Cart):
    def held_out(self) -> Cart:
        return SaysItIsNotDifferentiable()


class HoldsOutAMachine(Cart):
    def held_out(self) -> Cart:
        return self.sample(1, np.random.default_rng(0))  # type: ignore[return-value]


class InputsOfNothing(Cart):
    def inputs(self, obs: Tensor) -> Tensor:
        return obs[..., :0]


class InputsOfBatchesOnly(Cart):
    def inputs(self, obs: Tensor) -> Tensor:
        return obs[:, :, :2] if obs.dim() == 3 else obs[:1]


class InputsThatOverflow(Cart):
    def inputs(self, obs: Tensor) -> Tensor:
        return torch.sqrt(9.0 - obs[..., :1])


class InputsThatBranch(Cart):
    def inputs(self, obs: Tensor) -> Tensor:
        return obs if obs.max() > 0.0 else -obs


class RewardByEpisode(Cart):
    def reward(self, window: Window) -> Tensor:
        return super().reward(window).mean(-1)


class BaselineWithoutFeatures(Cart):
    def baseline(self, window: Window, discount: Tensor) -> Tensor:
        return window.mask @ discount


class CostsByTask(Cart):
    def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
        (cost,) = super().costs(window, reward)
        return (cost._replace(values=cost.values.mean((1, 2))),)


class CostsBelowNothing(Cart):
    def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
        del reward
        return (Cost("error", self.reward(window)),)


class CostsAreTensors(Cart):
    def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
        del reward
        return self.reward(window).square()  # type: ignore[return-value]


class CostsWithoutGradient(Cart):
    def costs(self, window: Window, reward: Tensor) -> tuple[Cost, ...]:
        (cost,) = super().costs(window, reward)
        return (cost._replace(values=cost.values.detach()),)


class FeaturesOfTwo(Cart):
    def features(self, window: Window) -> tuple[Tensor, Tensor]:
        features, mask = super().features(window)
        return features.expand(-1, -1, -1, 2), mask


class FeaturesWithoutMask(Cart):
    def features(self, window: Window) -> tuple[Tensor, Tensor]:
        return super().features(window)[0]  # type: ignore[return-value]


class CriticOfAnotherSize(Cart):
    n_critic = 3


class PriorOfNothing(Cart):
    reward_prior = (0.0, 0.0)


class MadeOfOthers(Cart):
    def made(self, parameters: Tensor) -> Carts:
        return super().made(parameters.abs())


class ResumesAtRest(Cart):
    def resume(self, tasks: Carts, measured: Tensor, past: Tensor, steps: int) -> CartSession:
        return super().resume(tasks, measured * torch.tensor([1.0, 0.0]), past, steps)


class ResumesInDoubles(Cart):
    def resume(self, tasks: Carts, measured: Tensor, past: Tensor, steps: int) -> CartSession:
        return super().resume(tasks, measured.double(), past, steps)


class ResumesByData(Cart):
    def resume(self, tasks: Carts, measured: Tensor, past: Tensor, steps: int) -> CartSession:
        return super().resume(tasks, measured if measured.mean() > 9.0 else 1.0 * measured, past, steps)


BROKEN: dict[type, tuple[str, str]] = {
    LacksParameters: ("has_all_members", "it lacks parameters"),
    NoSpec: ("has_all_members", "spec is a str, expected a TaskSpec"),
    SampleOfLists: ("samples_machines", "sample.* gave list, expected a NamedTuple"),
    SampleOfNans: ("samples_machines", "sample.*: noise gave NaN"),
    SampleOfDoubles: ("samples_machines", "sample.*: noise gave float64, expected float32"),
    SampleOfOne: ("samples_machines", r"sample.*: noise is shape \[2, 1\], expected a tensor of 1 tasks"),
    SampleRaises: ("samples_machines", "sample raised KeyError: 'mass'"),
    SamplesByClock: ("samples_by_seed", "sample: noise differs between two calls with the same seed"),
    SamplesTheSame: ("samples_by_seed", "sample gives the same machines for different seeds"),
    TellsBeyondRange: (
        "tells_parameters",
        "parameters: push is .* expected its range in spec.parameters, 1 to 4",
    ),
    TellsHalfASign: ("tells_parameters", "parameters: wired is 0.5, expected −1 or 1"),
    TellsInAnotherOrder: ("tells_parameters", "parameters: push is 1 where the field 'push' of the tasks is"),
    TellsTooMuch: ("tells_parameters", r"parameters gave shape \[64, 3\], expected \[64, 2\]"),
    _ObsOfAnotherShape: ("has_shapes", r"obs of a new session gave shape \[6, 3, 1\], expected \[6, 3, 2\]"),
    _ObsOfDoubles: ("has_shapes", "obs of a new session gave float64, expected float32"),
    _ObsOfNans: ("has_shapes", "obs after a step gave NaN"),
    _StepsToATuple: ("has_shapes", "step gave tuple, expected a Step"),
    _RewardOfAnotherShape: ("has_shapes", r"step: reward gave shape \[6, 3, 1\], expected \[6, 3\]"),
    _EndsAreNumbers: ("has_shapes", "step: terminated gave float32, expected bool"),
    _LeavesItsChannel: ("stays_within_channels", "obs: place reads .* m within .*, expected .* -10 to 10"),
    ObservesNoReward: ("observes_its_reward", "obs: 'speed' is not the reward of the step just made"),
    _PlaysByClock: ("plays_by_seed", "obs: place differs between two sessions of the same seed"),
    _ClampsNothing: ("clamps_actions", "expected step to clamp actions to the limits"),
    _FeelsOthers: (
        "has_independent_machines",
        "differs between a machine among some machines and among others",
    ),
    _BecomesRestarted: ("becomes_itself", "a session and one whose machines became what they were"),
    _BecomesElsewhere: ("becomes_others", "become changed the observation at once"),
    _BecomesAltogether: ("becomes_others", "differs between machines that nothing became of"),
    _NeverBecomes: ("becomes_others", "become changes nothing"),
    SaysItIsNotDifferentiable: ("is_a_session", "a session that has a state, and spec does not say"),
    _StateIsAList: ("is_a_session", "state is a list, expected a tuple of tensors"),
    _StateWithoutEpisodes: ("is_a_session", r"state\[3\] is no tensor of \[6, 3\] machines and episodes"),
    _ObservesAnOldState: ("is_a_session", "obs is not that of the state just set"),
    _HidesState: ("is_a_session", "obs differs between sessions of the same state"),
    _CutsTheGradient: ("has_a_gradient", "step cuts the gradient from its action"),
    _IgnoresTheAction: ("has_a_gradient", "the gradient of all that follows by 'force' is zero"),
    _HasAnInfiniteGradient: ("has_a_gradient", "is NaN or infinite, expected it finite"),
    _HasTheWrongGradient: ("has_the_right_gradient", "where finite differences give"),
    _BranchesOnData: (
        "is_traceable",
        r"step branches on data \(test_conformance.py:\d+: return .* > 0.0 .*\), expected tensor operations only",
    ),
    _StepsInNumpy: ("is_traceable", "step makes a numpy array of data"),
    _ComparesData: ("is_traceable", "step cannot be traced|step does something else when it is traced"),
    ChangesTheClass: ("changes", "change gave tuple, expected Carts"),
    ChangesInPlace: ("changes", "change altered the tasks|push differs between two calls"),
    ChangesByClock: ("changes", "change: noise differs between two calls with the same seed"),
    ChangesBelowNothing: ("changes", "change: push became -.*, expected it above 0"),
    ChangesHalfASign: ("changes", "wired is -?0, expected −1 or 1"),
    ChangesShape: ("changes", r"change: noise has shape \[6\]"),
    PropertiesByName: ("makes_machines_by_place", "properties gave .*, expected a tuple of Property"),
    EasiestOutOfReach: ("makes_machines_by_place", "properties: push is easiest at 2, expected 0 to 1"),
    PlacesOutOfRange: ("makes_machines_by_place", "parameters: push is .*, expected its range"),
    PlacesAtRandom: ("makes_machines_by_place", "placed differs between two calls"),
    PlacesBeyondNothing: ("makes_machines_by_place", "placed, beyond the ranges,: push gave NaN"),
    HoldsOutAnotherSpec: ("holds_out_machines", "held_out gave a family of another spec"),
    HoldsOutAMachine: ("holds_out_machines", "held_out gave Carts, expected a family"),
    InputsOfNothing: ("gives_inputs", "inputs gave nothing"),
    InputsOfBatchesOnly: ("gives_inputs", "inputs of one observation at the ends of its channels gave shape"),
    InputsThatOverflow: ("gives_inputs", "inputs gave NaN|at the ends of its channels gave NaN"),
    InputsThatBranch: ("gives_inputs", "inputs branches on data"),
    RewardByEpisode: ("gives_reward", r"reward gave shape \[6, 3\], expected \[6, 3, 20\]"),
    BaselineWithoutFeatures: ("gives_baseline", "baseline gave shape"),
    CostsByTask: ("gives_costs", r"costs: error gave shape \[6\], expected \[6, 3, 20\]"),
    CostsBelowNothing: ("gives_costs", "costs: error is -.*, expected at least 0, as its root is taken"),
    CostsAreTensors: ("gives_costs", "costs gave Tensor, expected a tuple of Cost"),
    CostsWithoutGradient: ("gives_costs", "costs has no gradient"),
    FeaturesOfTwo: ("gives_features", r"features: φ gave shape \[6, 3, 20, 2\], expected \[6, 3, 20, 1\]"),
    FeaturesWithoutMask: ("gives_features", "features gave Tensor, expected φ and its mask"),
    CriticOfAnotherSize: ("gives_critic", r"critic gave shape \[6, 3, 2\], expected \[6, 3, 3\]"),
    PriorOfNothing: ("gives_prior", r"reward_prior is \(0.0, 0.0\), expected"),
    MadeOfOthers: ("can_be_resumed", "made gave machines whose parameters are others"),
    ResumesAtRest: ("can_be_resumed", "resume gave a session that observes something else than was measured"),
    ResumesInDoubles: ("can_be_resumed", "a session resumed gave float64, expected float32"),
    ResumesByData: ("can_be_resumed", "resume branches on data"),
}


def _require(found: Iterable[str]) -> None:
    for sentence in found:
        raise ContractError(sentence)


@pytest.mark.parametrize("family", BROKEN, ids=lambda family: family.__name__)
def test_a_check_finds_what_is_broken(family: type) -> None:
    check, sentence = BROKEN[family]
    with pytest.raises(ContractError, match=sentence) as caught:
        _require(CHECKS[check](Subject(family())))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", BROKEN, ids=lambda family: family.__name__)
def test_a_broken_family_is_refused(family: type) -> None:
    """Whatever of it is found first; the sentence begins with its file and class."""
    with pytest.raises(UsageError, match=f"^test_conformance.py:{family.__name__}: "):
        check_family(family())


def test_every_check_has_a_family_that_only_it_stands_between() -> None:
    assert {check for check, _ in BROKEN.values()} == set(CHECKS)


def test_the_quick_form_finds_most_of_it() -> None:
    missed = set()
    for family in BROKEN:
        with suppress(ContractError):
            check_family(family(), quick=True)
            missed.add(family.__name__)
    assert missed == {"HasTheWrongGradient"}  # finite differences take long


class _BranchesAlike(CartSession):
    """On what is the same of all machines, so that nothing else of it is wrong."""

    def step(self, action: Tensor) -> Step:
        if action.isnan().any():
            raise ValueError("no action")
        return super().step(action)


def test_a_step_that_branches_can_be_trained_through_though_not_compiled() -> None:
    family = with_session("BranchesAlike")(_BranchesAlike)()
    check_family(family, quick=True)
    with pytest.raises(ContractError, match=r"step branches on data \(.*: if action.isnan\(\).any\(\):\)"):
        check_family(family)


def test_the_sentence_names_what_it_is_told() -> None:
    with pytest.raises(ContractError, match=re.escape("robot.py:Arm: sample raised KeyError: 'mass'")):
        check_family(SampleRaises(), "robot.py:Arm")


def test_a_check_leaves_the_generator_of_torch_as_it_was() -> None:
    torch.manual_seed(0)
    with suppress(ContractError):
        check_family(SamplesByClock())
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))
