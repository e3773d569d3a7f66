"""The outer loop: resumable bit by bit, clipped task by task, undisturbed by a task that explodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.identify.identify import Identify, IdentifyConfig
from acclimate_trainer.algorithms.maml.maml import Maml, MamlConfig
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.algorithms.successor.objectives import Objectives, ObjectivesConfig
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.outer_loop.training import (
    Algorithm,
    Losses,
    Progress,
    TrainingConfig,
    clip_gradient,
    meta_gradient,
    start,
    ticks_per_iteration,
    train,
    validation,
)
from acclimate_trainer.runs.configuration import Config, FamilyConfig
from acclimate_trainer.runs.run_directory import RunDirectory
from torch import Tensor
from torch.testing import assert_close

from .families import GliderFamily
from .servo_tasks import FAMILY

ITERATIONS = 6
SHORT = TrainingConfig(iterations=ITERATIONS, meta_batch_size=3)
IDENTIFY = IdentifyConfig(
    hidden=4,
    episode_steps=8,
    side_by_side=2,
    support_episodes=2,
    support_steps=8,
    stretch=4,
    starts=4,
    descents=2,
)
ALGORITHMS: Mapping[str, Algorithm] = {
    "maml": Maml(FAMILY, MamlConfig(hidden=4, support_episodes=2, query_episodes=1, episode_steps=8)),
    "robust": Reactive(FAMILY, ReactiveConfig(hidden=4, episodes=2, episode_steps=8), oracle=False),
    "oracle": Reactive(FAMILY, ReactiveConfig(hidden=4, episodes=2, episode_steps=8), oracle=True),
    "rl2_oracle": Rl2(GliderFamily(), Rl2Config(hidden=4, episode_steps=8, side_by_side=2), oracle=True),
    "identify": Identify(FAMILY, IDENTIFY),
    "objectives": Objectives(
        GliderFamily(), ObjectivesConfig(hidden=4, mixing=4, critic=4, episode_steps=8, side_by_side=2)
    ),
}


class Pull:
    """Each task pulls the parameters towards a target of its own: loss ½·weight·|θ − target|²."""

    def __init__(self, targets: Tensor, weights: Tensor) -> None:
        self.targets, self.weights = targets, weights

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        del rng
        return {"theta": torch.zeros(self.targets.shape[1]), "unused": torch.ones(2)}

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        del tasks, rng
        total = 0.5 * self.weights * (meta["theta"] - self.targets).square().sum(1)
        return Losses(total, {"error": total, "progress": torch.full_like(total, progress)})

    def policy(self, meta: Tensors) -> Policy:
        raise NotImplementedError


def run(
    algorithm: Algorithm,
    config: TrainingConfig,
    progress: Progress | None = None,
    *,
    seed: int = 0,
    watch: Callable[[Progress], None] = lambda _: None,
) -> tuple[Progress, list[dict[str, float]]]:
    """Train to the end; the last state, and every iteration's figures."""
    last, figures = progress or start(algorithm, seed), []

    def report(progress: Progress, found: Mapping[str, float]) -> None:
        nonlocal last
        last = progress
        figures.append(dict(found))
        watch(progress)

    train(algorithm, config, seed, last, report)
    return last, figures


def gradient(algorithm: Algorithm, config: TrainingConfig) -> tuple[Tensor, dict[str, float]]:
    meta = {name: v.requires_grad_() for name, v in algorithm.initial(np.random.default_rng(0)).items()}
    figures = meta_gradient(algorithm, meta, config, np.random.default_rng(0), 0.0)
    assert meta["theta"].grad is not None
    return meta["theta"].grad, figures


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_resumed_run_is_the_uninterrupted_one(name: str, tmp_path: Path) -> None:
    """Through a checkpoint on disk, and with the run stopped in the middle of an iteration."""
    algorithm = ALGORITHMS[name]
    config = Config("run", 0, FamilyConfig("servo"), SHORT, robust=ReactiveConfig())
    whole, figures = run(algorithm, SHORT)
    directory = RunDirectory.create(tmp_path / "run", config)

    def interrupt(progress: Progress) -> None:
        directory.save(progress)
        if progress.iteration == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(algorithm, SHORT, watch=interrupt)
    saved = directory.load()
    assert saved is not None
    assert saved.iteration == 4
    resumed, rest = run(algorithm, SHORT, saved)
    assert rest == figures[4:]
    assert resumed.iteration == ITERATIONS
    for key, value in whole.meta.items():
        assert torch.equal(resumed.meta[key], value), key


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_same_seed_trains_the_same_and_another_does_not(name: str) -> None:
    config = replace(SHORT, iterations=2)
    (first, figures), (again, same), (other, _) = (run(ALGORITHMS[name], config, seed=s) for s in (5, 5, 6))
    assert figures == same
    assert all(torch.equal(first.meta[key], value) for key, value in again.meta.items())
    assert not all(torch.equal(first.meta[key], value) for key, value in other.meta.items())


class Astray(Pull):
    """Late in training it is pulled the wrong way; and it notes what it was judged with."""

    def __init__(self) -> None:
        super().__init__(torch.tensor([[1.0, -2.0]]), torch.ones(1))
        self.judged: list[tuple[float, ...]] = []

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        if not torch.is_grad_enabled():
            self.judged.append((progress, *rng.random(4)))
        elif progress > 0.8:
            return Losses(-super().losses(meta, tasks, rng, progress).total, {})
        return super().losses(meta, tasks, rng, progress)


LONG = TrainingConfig(iterations=200, meta_batch_size=2, outer_lr=0.1, final_lr=1.0, validations=4)


def test_what_is_chosen_did_best_on_machines_that_are_kept_for_that() -> None:
    algorithm, seen = Astray(), list[Progress]()
    last, figures = run(algorithm, LONG, watch=seen.append)
    judged = {i: f["validation"] for i, f in enumerate(figures, 1) if "validation" in f}
    assert [*judged] == [125, 150, 175, 200]
    best = min(judged, key=lambda i: judged[i])
    assert last.best is not None
    assert (last.best.iteration, last.best.loss) == (best, judged[best])
    assert best != LONG.iterations  # which went astray
    assert torch.equal(last.chosen["theta"], seen[best - 1].meta["theta"])


def test_it_is_judged_every_time_with_the_same_draws_which_no_iteration_makes() -> None:
    algorithm, drawing = Astray(), Drawing()
    run(algorithm, LONG)
    run(drawing, replace(LONG, validations=0))
    assert len(algorithm.judged) % 4 == 0
    first, *others = zip(*[iter(algorithm.judged)] * 4, strict=True)
    assert {*first} == {*algorithm.judged}
    assert len({*first}) == 4
    assert all(other == first for other in others)
    assert not {numbers[1:] for numbers in algorithm.judged} & {*drawing.drawn}


def test_choosing_changes_nothing_of_what_is_trained() -> None:
    for name in ("robust", "maml", "rl2_oracle"):
        config = replace(SHORT, iterations=42, validations=1)
        (chosen, _), (last, _) = (run(ALGORITHMS[name], replace(config, validations=n)) for n in (1, 0))
        assert all(torch.equal(chosen.meta[key], value) for key, value in last.meta.items())
        assert (chosen.best is None, last.best is None) == (False, True)


def test_a_short_run_is_not_judged() -> None:
    assert not any(replace(LONG, iterations=30).validates(i) for i in range(31))


class Drawing(Pull):
    """Keeps the first numbers that each of its generators gives."""

    def __init__(self) -> None:
        super().__init__(torch.tensor([[1.0, 2.0]]), torch.ones(1))
        self.drawn: list[tuple[float, ...]] = []

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        self.drawn.append(tuple(rng.random(4)))
        return super().initial(rng)

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        self.drawn.append(tuple(rng.random(4)))
        return super().losses(meta, tasks, rng, progress)


def test_every_iteration_draws_anew_and_so_do_the_initial_parameters() -> None:
    """No two of them share a generator, of one seed or of neighbouring ones: nor does any start where one goes on."""
    algorithm = Drawing()
    for seed in (0, 1, 2):
        run(algorithm, replace(SHORT, meta_batch_size=1), seed=seed)
    assert len(algorithm.drawn) == 3 * (1 + ITERATIONS)
    numbers = [number for drawn in algorithm.drawn for number in drawn]
    assert len(set(numbers)) == len(numbers)


def test_what_an_iteration_draws_does_not_depend_on_where_the_run_was_resumed() -> None:
    whole, resumed = Drawing(), Drawing()
    states: list[Progress] = []
    run(whole, replace(SHORT, meta_batch_size=1), watch=states.append)
    run(resumed, replace(SHORT, meta_batch_size=1), states[3])
    assert resumed.drawn == whole.drawn[5:]


def test_nothing_that_was_reported_changes_afterwards() -> None:
    """An interrupt may come in the middle of Adam's step; what is saved then is what was reported last."""
    algorithm = Pull(torch.tensor([[1.0, 2.0]]), torch.ones(1))
    states: list[Progress] = []
    copies: list[tuple[Tensor, Tensor]] = []

    def watch(progress: Progress) -> None:
        states.append(progress)
        copies.append((progress.meta["theta"].clone(), _momentum(progress).clone()))

    begin = start(algorithm, 0)
    run(algorithm, replace(SHORT, meta_batch_size=1), begin, watch=watch)
    run(algorithm, replace(SHORT, meta_batch_size=1), states[2])
    for state, (theta, momentum) in zip(states, copies, strict=True):
        assert torch.equal(state.meta["theta"], theta)
        assert torch.equal(_momentum(state), momentum)
    assert torch.equal(begin.meta["theta"], torch.zeros(2))


def _momentum(progress: Progress) -> Tensor:
    state = progress.optimizer["state"]
    assert isinstance(state, dict)
    momentum: Tensor = state[0]["exp_avg"]
    return momentum


def test_the_gradient_is_the_mean_over_tasks() -> None:
    algorithm = Pull(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([1.0, 2.0]))
    found, figures = gradient(algorithm, TrainingConfig(meta_batch_size=2, task_clip=1e9, clip=1e9))
    assert_close(found, torch.tensor([-0.5, -3.0]))
    assert figures["grad_norm"] == pytest.approx(np.hypot(0.5, 3.0))
    assert figures["error"] == pytest.approx(0.5 * (0.5 + 9.0))


def test_each_task_is_clipped_by_itself() -> None:
    """A task with a huge gradient counts as much as one at the limit; one below it is left as it is."""
    algorithm = Pull(torch.tensor([[3e4, 4e4], [0.02, 0.0]]), torch.ones(2))
    found, _ = gradient(algorithm, TrainingConfig(meta_batch_size=2, task_clip=0.1, clip=1e9))
    assert_close(found, torch.tensor([-(0.06 + 0.02) / 2, -0.08 / 2]))


def test_the_mean_gradient_is_clipped_too() -> None:
    algorithm = Pull(torch.tensor([[3.0, 4.0]]), torch.ones(1))
    found, figures = gradient(algorithm, TrainingConfig(meta_batch_size=1, task_clip=1e9, clip=0.5))
    assert_close(found, torch.tensor([-0.3, -0.4]), rtol=1e-4, atol=0)
    assert figures["grad_norm"] == pytest.approx(5.0)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_task_that_explodes_is_left_out_and_the_others_count(broken: float) -> None:
    algorithm = Pull(torch.tensor([[0.03, 0.04], [1.0, 1.0], [0.03, 0.04]]), torch.tensor([1.0, broken, 1.0]))
    found, figures = gradient(algorithm, TrainingConfig(meta_batch_size=3, task_clip=0.1))
    assert_close(found, torch.tensor([-0.02, -0.08 / 3]))
    assert figures["skipped"] == 1.0


def test_parameters_without_influence_stay() -> None:
    last, _ = run(Pull(torch.tensor([[1.0, 2.0]]), torch.ones(1)), replace(SHORT, meta_batch_size=1))
    assert torch.equal(last.meta["unused"], torch.ones(2))


def test_training_finds_the_minimum() -> None:
    algorithm = Pull(torch.tensor([[1.0, -2.0], [2.0, 0.0]]), torch.ones(2))
    last, _ = run(
        algorithm, TrainingConfig(iterations=300, meta_batch_size=2, outer_lr=0.1, task_clip=9.0, clip=9.0)
    )
    assert_close(last.meta["theta"], torch.tensor([1.5, -1.0]), rtol=0, atol=0.02)


def test_the_step_size_falls_along_a_cosine() -> None:
    """Adam's steps are as long as its step size while the gradient keeps its sign."""
    algorithm = Pull(torch.tensor([[1e6]]), torch.ones(1))
    config = TrainingConfig(iterations=10, meta_batch_size=1, outer_lr=0.2, final_lr=0.25)
    thetas = [0.0]
    run(algorithm, config, watch=lambda progress: thetas.append(progress.meta["theta"].item()))
    share = 0.25 + 0.75 * 0.5 * (1.0 + np.cos(np.pi * np.arange(10) / 10))
    np.testing.assert_allclose(np.diff(thetas), 0.2 * share, rtol=1e-4)


def test_progress_is_the_share_of_training_done() -> None:
    _, figures = run(Pull(torch.tensor([[1.0]]), torch.ones(1)), replace(SHORT, meta_batch_size=1))
    assert [line["progress"] for line in figures] == pytest.approx(
        [k / ITERATIONS for k in range(ITERATIONS)]
    )


class Diverging:
    """Its gradient is 1, and in the third iteration no number."""

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        del rng
        return {"x": torch.zeros(1)}

    def policy(self, meta: Tensors) -> Policy:
        raise NotImplementedError

    def updates(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Iterator[Mapping[str, float]]:
        del rng
        gradient = torch.nan if round(progress * config.iterations) == 2 else 1.0
        meta["x"].grad = torch.full((1,), gradient)
        yield {"grad_norm": gradient}


def test_a_training_that_diverges_ends_in_a_sentence_before_its_step() -> None:
    kept: list[Progress] = []
    config = TrainingConfig(iterations=5, outer_lr=0.5)
    with pytest.raises(UsageError, match=r"training diverges: .* outer_lr is 0\.5, try less"):
        train(Diverging(), config, 0, start(Diverging(), 0), lambda progress, _: kept.append(progress))
    assert [progress.iteration for progress in kept] == [1, 2]
    assert all(bool(torch.isfinite(progress.meta["x"]).all()) for progress in kept)


@pytest.mark.parametrize(
    ("iterations", "validations", "at"),
    [
        (400, 10, [*range(220, 401, 20)]),
        (100, 10, [75, 100]),
        (1000, 4, [625, 750, 875, 1000]),
        (40, 10, [40]),
        (39, 10, []),
        (400, 0, []),
    ],
)
def test_it_is_judged_evenly_in_the_second_half(iterations: int, validations: int, at: list[int]) -> None:
    config = replace(SHORT, iterations=iterations, validations=validations)
    assert [i for i in range(iterations + 1) if config.validates(i)] == at


class Judged(Pull):
    """Notes what it is asked for; every batch has other losses, some of which may not be finite."""

    def __init__(self, losses: Tensor) -> None:
        super().__init__(torch.zeros(1, 1), torch.ones(1))
        self.rows, self.asked = losses, list[tuple[int, float, tuple[int, ...]]]()

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        del rng
        self.asked.append((tasks, progress, tuple(meta["theta"].shape)))
        return Losses(self.rows[len(self.asked) - 1], {})


def test_a_policy_is_judged_by_all_kept_machines_as_they_are_at_the_end() -> None:
    """Of 40 iterations the last one is made at 39/40 of training."""
    algorithm = Judged(torch.tensor([[1.0, 2.0], [3.0, float("nan")], [5.0, 6.0], [float("inf"), 8.0]]))
    config = replace(SHORT, iterations=40, meta_batch_size=2)
    loss = validation(algorithm, {"theta": torch.zeros(1)}, config, 0)
    assert loss == pytest.approx((1.0 + 2.0 + 3.0 + 8.0 + 5.0 + 6.0 + 8.0 + 8.0) / 8.0)
    assert algorithm.asked == [(2, 1.0 - 1.0 / 40.0, (2, 1))] * 4
    hopeless = Judged(torch.full((4, 2), float("nan")))
    assert validation(hopeless, {"theta": torch.zeros(1)}, config, 0) == float("inf")


def test_ticks_of_an_iteration_are_those_of_all_episodes() -> None:
    robust, maml = ALGORITHMS["robust"], ALGORITHMS["maml"]
    assert ticks_per_iteration(robust, SHORT, 0) == 3 * 2 * 8
    assert ticks_per_iteration(maml, SHORT, 0) % (3 * 8) == 0
    assert ticks_per_iteration(robust, replace(SHORT, meta_batch_size=5), 0) == 5 * 2 * 8


def test_a_gradient_is_clipped_to_its_largest_norm_and_told_as_it_was() -> None:
    for limit, factor in ((10.0, 1.0), (2.5, 0.5)):
        meta = {"a": torch.tensor([1.0, 2.0]).requires_grad_(), "b": torch.tensor([3.0]).requires_grad_()}
        norm = clip_gradient((3.0 * meta["a"][0] + 4.0 * meta["b"]).sum(), meta, limit)
        assert norm == pytest.approx(5.0)
        assert meta["a"].grad is not None
        assert meta["b"].grad is not None
        assert [*meta["a"].grad.tolist(), *meta["b"].grad.tolist()] == pytest.approx(
            [3.0 * factor, 0.0, 4.0 * factor], rel=1e-4
        )
