"""Ranges widen where a policy does well, and narrow where it does badly; whatever else training does, stays."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.algorithms.widening import Narrowed, Widened, WideningConfig, ranges
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.outer_loop.training import (
    Iterative,
    Losses,
    Progress,
    TrainingConfig,
    start,
    train,
    validation,
)
from acclimate_trainer.runs.algorithms import PER_MACHINE, algorithm_of
from acclimate_trainer.runs.configuration import ALGORITHMS, parse_config
from acclimate_trainer.tasks.point import PointFamily, PointFrameFamily
from acclimate_trainer.tasks.quadrotor.family import QuadrotorFamily
from torch import Tensor

from .families import GliderFamily

SHORT = TrainingConfig(iterations=60, meta_batch_size=8)
QUICK = WideningConfig(good=0.0, bad=1.0, machines=4)
TINY = ReactiveConfig(hidden=4, episodes=2, episode_steps=8)


class Told:
    """An algorithm whose loss is a property of the machine, whatever it does; it remembers which it trained on."""

    def __init__(self, family: Complete[object], column: int) -> None:
        self.family, self.column = family, column
        self.trained_on: list[Tensor] = []

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        del rng
        return {"theta": torch.zeros(1)}

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        machines = self.family.parameters(self.family.sample(tasks, rng, progress))
        if meta["theta"].requires_grad:
            self.trained_on.append(machines)
        total = machines[:, self.column].abs() + 0.0 * meta["theta"].sum(-1)
        return Losses(total, {"error": total})

    def policy(self, meta: Tensors) -> Policy:
        raise NotImplementedError


def told(config: WideningConfig, column: int = 0) -> tuple[Widened[object], Told]:
    family: Narrowed[object] = Narrowed(Complete.of(PointFamily()))
    algorithm = Told(family, column)
    return Widened(family, algorithm, config), algorithm


def trained(algorithm: Widened[object], config: TrainingConfig = SHORT) -> Progress:
    found = [start(algorithm, 0)]
    train(algorithm, config, 0, found[0], lambda progress, _: found.append(progress))
    return found[-1]


def test_it_begins_with_the_core_and_widens_to_the_whole_where_all_is_good() -> None:
    algorithm, _ = told(replace(QUICK, good=9.0, bad=9.0))
    np.testing.assert_allclose(ranges(start(algorithm, 0).meta), [[0.4, 0.4], [0.6, 0.6]], atol=1e-6)
    np.testing.assert_allclose(ranges(trained(algorithm).meta), [[0.0, 0.0], [1.0, 1.0]], atol=1e-6)


def test_it_stays_with_the_core_where_all_is_bad() -> None:
    algorithm, _ = told(replace(QUICK, good=-2.0, bad=-1.0))
    np.testing.assert_allclose(ranges(trained(algorithm).meta), [[0.4, 0.4], [0.6, 0.6]], atol=1e-6)


def test_an_end_settles_where_machines_turn_bad_and_only_that_end() -> None:
    """The loss is |goal_x|: ranges of goal_x end between .2 and .3 m from 0; what does not matter widens."""
    algorithm, _ = told(replace(QUICK, good=0.2, bad=0.3, step=0.05), column=0)
    ends = ranges(trained(algorithm, replace(SHORT, iterations=150)).meta)
    reached = np.abs(ends[:, 0] - 0.5)
    assert (reached >= 0.2).all()
    assert (reached <= 0.35 + 1e-6).all()  # a step beyond what is just good


def test_most_beyond_the_ranges_is_held_to_where_machines_can_be() -> None:
    algorithm, _ = told(replace(QUICK, good=99.0, bad=99.0, most=1.5))
    np.testing.assert_allclose(ranges(trained(algorithm).meta), [[-0.25] * 2, [1.25] * 2], atol=1e-6)
    frames: Narrowed[object] = Narrowed(Complete.of(PointFrameFamily()))
    whole = Widened(frames, Told(frames, 1), replace(QUICK, good=99.0, bad=99.0, most=1.5))
    np.testing.assert_allclose(ranges(trained(whole).meta)[:, 0], [0.0, 1.0], atol=1e-6)  # a turn is a turn


def test_training_draws_from_what_the_ranges_are_now() -> None:
    algorithm, inner = told(replace(QUICK, good=-2.0, bad=-1.0))
    trained(algorithm)
    machines = torch.cat(inner.trained_on)
    assert len(machines) == SHORT.iterations * SHORT.meta_batch_size
    assert machines.abs().max() <= 0.1 + 1e-6  # of goals within ± .5 m
    assert machines.abs().max() > 0.09


def test_validation_judges_by_machines_of_the_whole_ranges() -> None:
    """By the same ones as without widening."""
    narrow, wide = told(replace(QUICK, good=-2.0, bad=-1.0))[0], told(replace(QUICK, good=9.0, bad=9.0))[0]
    losses = [validation(each, trained(each).meta, SHORT, seed=0) for each in (narrow, wide)]
    assert losses[0] == losses[1] == pytest.approx(0.25, abs=0.03)


def test_machines_whose_loss_is_no_number_are_bad() -> None:
    algorithm, inner = told(replace(QUICK, good=9.0, bad=9.0))
    finite = inner.losses

    def losses(meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        found = finite(meta, tasks, rng, progress)
        return found._replace(total=torch.where(found.total > 0.2, torch.nan, found.total))

    inner.losses = losses  # type: ignore[method-assign]
    ends = ranges(trained(algorithm).meta)
    assert (np.abs(ends[:, 0] - 0.5) <= 0.3 + 1e-6).all()


@pytest.mark.parametrize("window", [0, 4])
def test_a_run_goes_on_bit_by_bit(window: int) -> None:
    """What widening has found is part of the state of a run."""

    def make() -> Widened[object]:
        family: Narrowed[object] = Narrowed(Complete.of(PointFrameFamily()))
        config = Rl2Config(hidden=4, episode_steps=8, side_by_side=2, window=window)
        return Widened(family, Rl2(family, config), WideningConfig(good=0.6, bad=0.9, machines=2))

    config, states = TrainingConfig(iterations=8, meta_batch_size=4), list[Progress]()
    train(make(), config, 0, start(make(), 0), lambda progress, _: states.append(progress))
    resumed = list[Progress]()
    train(make(), config, 0, states[3], lambda progress, _: resumed.append(progress))
    assert not np.array_equal(ranges(states[0].meta), ranges(states[-1].meta))
    for name, value in states[-1].meta.items():
        assert torch.equal(value, resumed[-1].meta[name]), name


def test_a_family_without_places_widens_by_progress() -> None:
    family: Narrowed[object] = Narrowed(Complete.of(GliderFamily()))
    algorithm = Widened(family, Told(family, 0), replace(QUICK, good=99.0, bad=99.0))
    assert [p.name for p in family.properties] == ["progress"]
    np.testing.assert_allclose(ranges(start(algorithm, 0).meta), [[0.0], [0.2]], atol=1e-6)
    np.testing.assert_allclose(ranges(trained(algorithm).meta), [[0.0], [1.0]], atol=1e-6)


def test_what_it_does_nothing_for_is_refused() -> None:
    family: Narrowed[object] = Narrowed(Complete.of(QuadrotorFamily()))
    with pytest.raises(UsageError, match=r"\[widening\] does nothing on the family 'quadrotor'.*placed"):
        Widened(family, Told(family, 0), QUICK)


def config(algorithm: str, **widening: float) -> dict[str, object]:
    return {
        "name": "x",
        "seed": 0,
        "family": {"name": "point_frame"},
        algorithm: {},
        "widening": {"good": 0.1, "bad": 0.2} | widening,
        "training": {},
    }


@pytest.mark.parametrize(
    "name", [n for n in ALGORITHMS if n not in ("student", "imitation", "successor", "objectives")]
)
def test_it_goes_with_algorithms_that_have_a_loss_for_each_machine(name: str) -> None:
    plain = config(name)
    del plain["widening"]
    alone = algorithm_of(parse_config(plain, "x"))  # type: ignore[arg-type]
    assert (name in PER_MACHINE) == (not isinstance(alone, Iterative))
    make = partial(algorithm_of, parse_config(config(name), "x"))  # type: ignore[arg-type]
    if name in PER_MACHINE:
        assert isinstance(make(), Widened)
    else:
        with pytest.raises(UsageError, match=rf"\[widening\] .*\[{name}\].*goes with: \[maml\]"):
            make()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"bad": 0.05}, "bad must be at least good, 0.1"), ({"core": 0.9, "most": 0.5}, "core must be at most most, 0.5"),
     ({"step": 0.0}, "step must be above 0"), ({"core": 0.0}, "core must be above 0")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=rf"\[widening\] {said}"):
        parse_config(config("robust", **wrong), "x")  # type: ignore[arg-type]


def test_the_policy_is_that_of_the_algorithm_alone() -> None:
    family: TaskFamily[object] = PointFrameFamily()  # type: ignore[assignment]
    narrowed: Narrowed[object] = Narrowed(Complete.of(family))
    widened = Widened(narrowed, Reactive(narrowed, TINY, oracle=False), QUICK)
    policy = widened.policy(start(widened, 0).meta)
    assert [t.name for t in policy.state] == [
        t.name for t in Reactive(family, TINY, oracle=False).policy(_initial(family)).state
    ]


def _initial(family: TaskFamily[object]) -> dict[str, Tensor]:
    return Reactive(family, TINY, oracle=False).initial(np.random.default_rng(0))


def test_what_is_typical_is_so_of_the_whole_ranges_however_narrow_they_are_when_it_is_asked_for() -> None:
    whole = Complete.of(PointFamily())
    narrowed = Narrowed(whole)
    narrowed.draw = lambda n, _: np.full((n, len(whole.properties)), 0.9)
    assert torch.equal(narrowed.typical, whole.typical)
