"""Policies on sessions in compiled C, against torch: every algorithm and family, and what cannot be compiled."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from acclimate.cache import VARIABLE
from acclimate_trainer.algorithms.distillation.student import Student, StudentConfig
from acclimate_trainer.algorithms.maml.maml import Maml, MamlConfig
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig
from acclimate_trainer.algorithms.rl2.ppo import Ppo, PpoConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.algorithms.successor.objectives import Objectives, ObjectivesConfig
from acclimate_trainer.compiled import driving
from acclimate_trainer.compiled.ticks import build
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Step, TaskFamily
from acclimate_trainer.contract.policy import Act, Tensors
from acclimate_trainer.outer_loop.training import PerTask, TrainingConfig, meta_gradient
from acclimate_trainer.play.rollouts import draw, rollout
from acclimate_trainer.play.trials import run_trial
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.built_in import built_in
from acclimate_trainer.runs.configuration import load_config
from acclimate_trainer.tasks.arm.family import ArmFamily
from acclimate_trainer.tasks.point import PointFamily, PointFrameFamily
from acclimate_trainer.tasks.quadrotor.family import QuadrotorFamily
from acclimate_trainer.tasks.servo.family import ServoFamily
from torch import Tensor

from tests.trainer.cart import Cart, Carts, CartSession
from tests.trainer.families import GliderFamily

SMALL = TrainingConfig(meta_batch_size=5, task_clip=1e9, clip=1e9)


@pytest.fixture(autouse=True)
def _nothing_compiled_yet() -> Iterator[None]:
    driving.forget()
    yield
    driving.forget()


def gradient_of(algorithm: PerTask, on: bool, progress: float = 0.6, seed: int = 1) -> Tensor:
    """Of all parameters, side by side; without what training leaves out."""
    meta = {n: x.clone().requires_grad_() for n, x in algorithm.initial(np.random.default_rng(0)).items()}
    with driving.compiling(on):
        figures = meta_gradient(algorithm, meta, SMALL, np.random.default_rng(seed), progress)
    assert figures["skipped"] == 0.0
    return torch.cat([x.grad.flatten() for x in meta.values() if x.grad is not None])


def assert_compiled_and_same(algorithm: PerTask, progress: float = 0.6, tolerance: float = 1e-5) -> None:
    expected, found = (gradient_of(algorithm, on, progress) for on in (False, True))
    assert driving.notes() == []
    assert float((found - expected).norm() / expected.norm()) < tolerance


def maml_of(family: TaskFamily[object]) -> PerTask:
    return Maml(family, MamlConfig(hidden=8, support_episodes=3, query_episodes=2, episode_steps=20))


def rl2_of(family: TaskFamily[object], *, oracle: bool = False) -> PerTask:
    return Rl2(family, Rl2Config(hidden=9, side_by_side=3, episode_steps=20, block=10), oracle=oracle)


def reactive_of(family: TaskFamily[object], *, oracle: bool = False) -> PerTask:
    return Reactive(family, ReactiveConfig(hidden=8, episodes=3, episode_steps=20), oracle=oracle)


FAMILIES = {
    "servo": ServoFamily(),
    "servo, miswired": ServoFamily(preset="miswired"),
    "servo, through its stops": ServoFamily(through_stops=True),
    "arm": ArmFamily(),
    "point": PointFamily(),
    "point_frame": PointFrameFamily(),
    "quadrotor": QuadrotorFamily(),
    "glider": GliderFamily(),
    "cart": Cart(),
}


_OPTIMISED = ("servo", "servo, miswired", "cart")
"""Built as in a training. What a compiler makes of a tick does not depend on the family; it takes half the time."""


@pytest.fixture
def built_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [tuple("-O0" if flag == "-O2" else flag for flag in flags) for flags in build.FLAGS]
    assert all("-O0" in flags for flags in plain)
    monkeypatch.setattr(build, "FLAGS", plain)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of a family; most are built as fast as the compiler can."""
    asked: str = request.param
    if asked not in _OPTIMISED:
        request.getfixturevalue("built_fast")
    return asked


@pytest.mark.parametrize(
    "name",
    [n if n in _OPTIMISED else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES],
    indirect=True,
)
def test_every_algorithm_has_torchs_gradient_on_every_family(name: str) -> None:
    """Changes in mid-trial and end stops included. What an inner step does to rounding is MAML's.

    With a memory and without, told the parameters and not, each pair on some families: a family's ticks are the same.
    Of whatever is compiled, `driving` compares the beginning with torch once more, where it is used.
    """
    family = FAMILIES[name]
    assert_compiled_and_same(rl2_of(family, oracle=True))
    assert_compiled_and_same(reactive_of(family))
    if name in _OPTIMISED:
        assert_compiled_and_same(rl2_of(family))
        assert_compiled_and_same(reactive_of(family, oracle=True))
    if Complete.of(family).rewarded:
        assert_compiled_and_same(maml_of(family), tolerance=1e-4)


@pytest.mark.parametrize(
    "name",
    ["point_frame", "servo, miswired", pytest.param("quadrotor", marks=pytest.mark.slow)],
    indirect=True,
)
def test_windows_that_go_on_from_one_another_have_torchs_gradients(name: str) -> None:
    """From machines and memories as the windows before have left them, by weights of every task's own."""
    config = Rl2Config(hidden=5, episodes=2, episode_steps=12, side_by_side=2, window=6, trials=1, block=6)
    algorithm, found = Rl2(FAMILIES[name], config), list[list[Tensor]]()
    for on in (False, True):
        gradients = []
        with driving.compiling(on):
            for losses in algorithm.pieces(4, np.random.default_rng(1), 0.6):
                meta = {n: x.clone().requires_grad_() for n, x in stacked(algorithm, 4).items()}
                parts = torch.autograd.grad(
                    losses(meta).total.sum(), list(meta.values()), materialize_grads=True
                )
                gradients.append(torch.cat([x.flatten() for x in parts]))
        found.append(gradients)
    assert driving.notes() == []
    assert len(found[1]) == 4
    for expected, compiled in zip(*found, strict=True):
        assert float((compiled - expected).norm() / expected.norm()) < 1e-5


def stacked(algorithm: PerTask, tasks: int) -> Tensors:
    meta = algorithm.initial(np.random.default_rng(0))
    return {name: x.expand(tasks, *x.shape) for name, x in meta.items()}


def test_the_actor_of_objectives_has_torchs_gradient() -> None:
    config = ObjectivesConfig(hidden=9, mixing=8, critic=8, side_by_side=3, episode_steps=20)
    assert_compiled_and_same(Objectives(ServoFamily(), config), 0.2)


def test_a_student_is_driven_by_itself_and_no_gradient_passes_through_the_machine() -> None:
    algorithm = Rl2(ServoFamily(), Rl2Config(hidden=9, side_by_side=3, episode_steps=20))
    found = []
    for on in (False, True):
        meta = {
            n: x.expand(4, *x.shape).clone().requires_grad_()
            for n, x in algorithm.initial(np.random.default_rng(0)).items()
        }
        trial = algorithm.trial(4, np.random.default_rng(1), 0.5, explore=2)
        with driving.compiling(on):
            parts = run_trial(
                algorithm.policy(meta), meta, Complete.of(ServoFamily()), trial, adjoint_decay=0.0
            )
        if parts[1].obs.requires_grad:
            through = torch.autograd.grad(parts[1].obs.sum(), meta["input"], retain_graph=True)[0]
            assert float(through.abs().max()) == 0.0
        total = torch.stack([part.action.square().sum() for part in parts]).sum()
        found.append(torch.autograd.grad(total, meta["input"])[0])
    assert driving.notes() == []
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-5


def test_a_student_has_torchs_gradient() -> None:
    """While it imitates its teacher, and when it is on its own."""
    oracle = Reactive(ServoFamily(), ReactiveConfig(hidden=8), oracle=True)
    teacher = oracle.policy(oracle.initial(np.random.default_rng(2)))
    config = StudentConfig(hidden=9, side_by_side=3, episode_steps=20, block=10, teacher="somewhere")
    algorithm = Student(ServoFamily(), config, lambda: teacher)
    assert_compiled_and_same(algorithm, 0.2)
    assert_compiled_and_same(algorithm, 0.9)


def ppo_of(family: TaskFamily[object]) -> Ppo[object]:
    return Ppo(family, PpoConfig(hidden=9, episodes=2, episode_steps=20, side_by_side=3, stretch=20))


def test_proximal_policy_optimisation_plays_and_learns_as_with_torch() -> None:
    """What a critic is told of machines that change in mid-trial as well."""
    algorithm = ppo_of(ServoFamily(preset="miswired"))
    meta = {n: x.requires_grad_() for n, x in algorithm.initial(np.random.default_rng(0)).items()}
    trial = partial(algorithm.trial, 6, progress=0.6)
    found = []
    for on in (False, True):
        with driving.compiling(on):
            played = algorithm.play(meta, trial(np.random.default_rng(1)))
            next(iter(algorithm.updates(meta, SMALL, np.random.default_rng(1), 0.6)))
        columns = [x.flatten() for part in played.episodes for x in (part.obs, part.action, part.reward)]
        gradient = torch.cat([x.grad.flatten() for x in meta.values() if x.grad is not None])
        found.append((torch.cat(columns), played.facts, gradient))
    assert driving.notes() == []
    assert len(driving._state.kinds) == 1
    (seen, facts, gradient), (seen_in_c, facts_in_c, gradient_in_c) = found
    torch.testing.assert_close(seen_in_c, seen, atol=1e-5, rtol=1e-5)
    assert (facts[0] != facts[-1]).any()
    assert torch.equal(facts_in_c, facts)
    assert float((gradient_in_c - gradient).norm() / gradient.norm()) < 1e-5


def test_a_family_that_tells_its_critic_of_every_step_is_played_by_torch() -> None:
    algorithm = ppo_of(Cart())
    meta = algorithm.initial(np.random.default_rng(0))
    driving.notes()
    with driving.compiling():
        for _ in range(2):
            algorithm.play(meta, algorithm.trial(3, np.random.default_rng(1), 0.6))
    assert driving.notes() == [
        "Rl2Policy on CartSession is driven by torch and not compiled, since the family tells its critic something of "
        "every step"
    ]


def test_a_session_goes_on_from_where_a_compiled_roll_out_has_left_it() -> None:
    """What is observed at the end, the ticks of what is drawn, and the state."""
    family, algorithm = ServoFamily(), reactive_of(ServoFamily())
    meta = {n: x.expand(2, *x.shape) for n, x in algorithm.initial(np.random.default_rng(0)).items()}
    ends = []
    for on in (False, True):
        around = draw(family, family.sample(2, np.random.default_rng(1)), np.random.default_rng(2),
                      explore=1, measure=2, steps=9)  # fmt: skip
        first = around._replace(reference=around.reference[:, :, :6], noise=around.noise[:, :, :5])
        rest = around._replace(reference=around.reference[:, :, 5:], noise=around.noise[:, :, 5:])
        with driving.compiling(on):
            for part in (first, rest):
                episodes = rollout(algorithm.policy(meta), meta, family.spec, part)
        ends.append(torch.cat([episodes.obs.flatten(), around.session.obs.flatten()]))
    assert driving.notes() == []
    torch.testing.assert_close(*ends, atol=1e-5, rtol=1e-5)


class OneAstray(Cart):
    """The second of the machines has no force that is a number."""

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Carts:
        made = super().sample(n, rng, progress)
        return made._replace(push=torch.where(torch.arange(n).unsqueeze(-1) == 1, torch.nan, made.push))


@pytest.mark.parametrize("make", [reactive_of, rl2_of, maml_of])
def test_a_task_that_goes_astray_is_left_out_either_way(
    make: Callable[[TaskFamily[object]], PerTask],
) -> None:
    algorithm, found = make(OneAstray()), []
    for on in (False, True):
        meta = {n: x.requires_grad_() for n, x in algorithm.initial(np.random.default_rng(0)).items()}
        with driving.compiling(on):
            figures = meta_gradient(algorithm, meta, SMALL, np.random.default_rng(1), 0.6)
        assert figures["skipped"] == 1.0
        found.append(torch.cat([x.grad.flatten() for x in meta.values() if x.grad is not None]))
    assert driving.notes() == []
    assert bool(found[0].isfinite().all())
    assert float((found[1] - found[0]).norm() / found[0].norm()) < (1e-4 if make is maml_of else 1e-5)


def test_many_roll_outs_are_one_kind() -> None:
    """With other machines, parameters, and lengths: nothing is traced or compiled again."""
    algorithm = rl2_of(ServoFamily())
    for seed in range(4):
        gradient_of(algorithm, True, seed=seed)
    assert len(driving._state.kinds) == 1


# What cannot be compiled goes on in torch, and is said once.


class Kicked(CartSession):
    """Does after a while what no trace of its first steps can show."""

    def step(self, action: Tensor) -> Step:
        return super().step(-action if self.tick > 7 else action)


class Judging(CartSession):
    def step(self, action: Tensor) -> Step:
        return super().step(action if action.sum() > 0.0 else 0.5 * action)


class Bent(CartSession):
    def step(self, action: Tensor) -> Step:
        return super().step(torch.i0(action) - 1.0)


class Crowd(CartSession):
    """Feels what the others do."""

    def step(self, action: Tensor) -> Step:
        return super().step(action - 0.5 * action.mean((0, 1), keepdim=True))


class Variants(Cart):
    def __init__(self, session: type[CartSession]) -> None:
        super().__init__()
        self.session = session

    def open(self, tasks: object, episodes: int, steps: int, rng: np.random.Generator) -> CartSession:
        made = super().open(tasks, episodes, steps, rng)  # type: ignore[arg-type]
        made.__class__ = self.session
        return made


@pytest.mark.parametrize(
    ("session", "why"),
    [
        (Kicked, r"Kicked is driven by torch and not compiled, since its obs differs from torch's"),
        (Judging, r"since it branches on data \(test_driving.py:\d+: return super\(\)"),
        (Bent, r"Bent is driven by torch and not compiled, since operator aten.i0.default has no C"),
        (Crowd, r"since its (obs|action) differs from torch's"),
    ],
)
def test_a_session_that_is_no_pure_step_goes_on_in_torch(session: type[CartSession], why: str) -> None:
    algorithm = reactive_of(Variants(session))
    expected, found = (gradient_of(algorithm, on) for on in (False, True))
    assert torch.equal(found, expected)
    (note,) = driving.notes()
    assert re.search(why, note), note
    gradient_of(algorithm, True)
    assert driving.notes() == []


def test_without_a_compiler_torch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    algorithm = reactive_of(Cart())
    assert torch.equal(gradient_of(algorithm, True), gradient_of(algorithm, False))
    (note,) = driving.notes()
    assert "since there is no C compiler: $CC is 'no-such-compiler', which is not found" in note


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'tick.c:1: error: no such luck' >&2\nexit 1\n", encoding="utf-8")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    algorithm = reactive_of(Cart())
    assert torch.equal(gradient_of(algorithm, True), gradient_of(algorithm, False))
    (note,) = driving.notes()
    assert "no such luck" in note


def test_a_cache_that_cannot_be_written_is_said_and_no_hindrance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "cache"))
    algorithm = maml_of(Cart())
    expected, found = (gradient_of(algorithm, on) for on in (False, True))
    assert 0.0 < float((found - expected).norm() / expected.norm()) < 1e-4
    assert driving.notes() == [
        f"what is compiled is not kept for the next run, since {tmp_path}/file/cache cannot be written; "
        f"name another folder in ${VARIABLE}"
    ]


def test_a_policy_whose_constants_are_never_the_same_is_left_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it holds itself is part of the trace. Here after three of them, since each is compiled."""
    monkeypatch.setattr(driving, "_MOST_KINDS", 3)
    family, algorithm = Cart(), reactive_of(Cart())
    meta = {n: x.expand(2, *x.shape) for n, x in algorithm.initial(np.random.default_rng(0)).items()}
    inner = algorithm.policy(meta)

    class Biased(type(inner)):  # type: ignore[misc]
        def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
            act: Act = super().act(state, obs, noise)
            return act._replace(action=act.action + self.bias)

    seen = []
    for k in range(6):
        policy = Biased.__new__(Biased)
        vars(policy).update(vars(inner), bias=torch.tensor(0.01 * k))
        around = draw(family, family.sample(2, np.random.default_rng(1)), np.random.default_rng(2),
                      explore=0, measure=2, steps=3)  # fmt: skip
        with driving.compiling():
            seen.append(rollout(policy, meta, family.spec, around).action[0, 0, 0, 0])
    assert all(float(b - a) == pytest.approx(0.01, abs=1e-5) for a, b in pairwise(seen))
    (note,) = driving.notes()
    assert "something in them that should be constant" in note


_WITHOUT = ("student", "mimic", "ppo", "entropy")  # a gradient through roll-outs


@pytest.mark.slow
@pytest.mark.usefixtures("built_fast")
@pytest.mark.parametrize("name", [n for n in built_in() if "servo" in n and not n.endswith(_WITHOUT)])
def test_built_in_configs_have_torchs_gradient(name: str) -> None:
    algorithm = algorithm_of(load_config(built_in()[name]))
    assert_compiled_and_same(algorithm, 0.2 if "objectives" in name else 0.6, 1e-4)  # type: ignore[arg-type]
