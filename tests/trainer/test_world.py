"""Machines of a family as a simulated device drives them: the family's own sessions, tick by tick, without an end."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from acclimate.arrays import FloatArray
from acclimate.errors import UsageError
from acclimate.task.world import Machine
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.play import world as worlds
from acclimate_trainer.play.world import SessionMachine, SessionWorld, open_world
from acclimate_trainer.tasks.bandit import BanditFamily
from acclimate_trainer.tasks.point import PointFamily, PointFrameFamily
from acclimate_trainer.tasks.servo.family import ServoFamily
from torch import Tensor

from .families import GliderFamily

FAMILIES: list[TaskFamily[Any]] = [
    PointFamily(),
    GliderFamily(),
    ServoFamily("miswired"),
    BanditFamily(3, 10),
]


def actions(family: TaskFamily[Any], count: int) -> list[FloatArray]:
    rng, (low, high) = np.random.default_rng(4), family.spec.limits()
    if family.spec.discrete:
        return [np.float32(rng.integers(3, size=1)) for _ in range(count)]
    return [rng.uniform(low, high).astype(np.float32) for _ in range(count)]


def driven(machine: Machine, family: TaskFamily[Any], count: int) -> list[list[float]]:
    return [machine.step(action).tolist() for action in actions(family, count)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_machine_is_a_session_of_its_own(family: TaskFamily[Any]) -> None:
    complete: Complete[Any] = Complete.of(family)
    tasks = complete.sample(1, np.random.default_rng(2))
    machine, rng = SessionMachine(complete, tasks), np.random.default_rng(5)
    begin = machine.reset(rng).tolist()
    rng = np.random.default_rng(5)
    session = complete.open(tasks, 1, 4096, rng)
    if family.spec.discrete:  # an opaque one is opened for longer than it can be driven
        session = complete.open(tasks, 1, 1_000_000, rng)
    assert begin == session.obs[0, 0].tolist()
    for found, action in zip(driven(machine, family, 20), actions(family, 20), strict=True):
        session.step(torch.from_numpy(action).view(1, 1, -1))
        assert found == session.obs[0, 0].tolist()


def test_where_a_session_ends_the_next_goes_on_from_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    family = PointFrameFamily()
    complete: Complete[Any] = Complete.of(family)
    tasks = complete.sample(1, np.random.default_rng(2))

    def all_of_it() -> list[list[float]]:
        machine = SessionMachine(complete, tasks)
        machine.reset(np.random.default_rng(5))
        return driven(machine, family, 23)

    whole, opened, opens = all_of_it(), list[int](), complete.open

    def watched(tasks: Any, episodes: int, steps: int, rng: np.random.Generator) -> Any:
        opened.append(steps)
        return opens(tasks, episodes, steps, rng)

    monkeypatch.setattr(type(complete), "open", lambda _, *arguments: watched(*arguments))
    monkeypatch.setattr(worlds, "_CHUNK", 5)
    assert all_of_it() == whole
    assert opened == [5] * 5


@pytest.mark.parametrize("family", FAMILIES[:3])
def test_a_machine_of_given_parameters_has_them_and_is_typical_otherwise(family: TaskFamily[Any]) -> None:
    world, complete = SessionWorld(family), Complete.of(family)
    typical = dict(zip(world.with_parameters({}).parameters, complete.typical[0].tolist(), strict=True))
    physical = complete.physical(complete.typical[0]).tolist()
    numbers = [p for p in family.spec.parameters if p.scale != "sign"]
    for p in numbers:
        value = 0.75 * p.low + 0.25 * p.high
        found = world.with_parameters({p.name: value}).parameters
        assert found[p.name] == pytest.approx(value, rel=1e-5)
        for other, expected in zip(family.spec.parameters, physical, strict=True):
            if other.name != p.name and other.scale != "sign":
                assert found[other.name] == pytest.approx(expected, rel=1e-4, abs=1e-6)
            if other.scale == "sign":
                assert abs(found[other.name]) == 1.0
    assert typical.keys() == {p.name for p in family.spec.parameters}
    for p in family.spec.parameters:
        if p.scale == "sign":
            assert [world.with_parameters({p.name: s}).parameters[p.name] for s in (-1.0, 1.0)] == [-1.0, 1.0]
    with pytest.raises(UsageError, match=r"has no parameter 'weightlessness'; it has: "):
        world.with_parameters({"weightlessness": 1.0})


class Boxed(NamedTuple):
    """Goals under other names."""

    a: Tensor
    b: Tensor


class Packed(PointFamily):
    """A point whose tasks are no tuple with a field for each parameter."""

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Boxed:  # type: ignore[override]
        return Boxed(*super().sample(n, rng, progress))


def test_machines_whose_tasks_say_no_parameters_are_refused_by_parameters() -> None:
    world: SessionWorld[Any] = SessionWorld(Packed())
    name = PointFamily().spec.parameters[0].name
    with pytest.raises(
        UsageError, match="its tasks are no tuple with a field for each; choose one by its number"
    ):
        world.with_parameters({name: 0.1})
    world.with_parameters({})


def test_something_happens_where_the_family_says_that_it_may() -> None:
    family = ServoFamily("miswired")
    machine = SessionWorld(family).held_out(0, 0)
    machine.reset(np.random.default_rng(0))
    before = dict(machine.parameters)
    assert machine.change(np.random.default_rng(1))
    assert machine.parameters != before
    complete: Complete[Any] = Complete.of(family)
    still = SessionWorld(PointFrameFamily(turn=1.0)).held_out(0, 0)
    happens = complete.changes, Complete.of(PointFrameFamily(turn=1.0)).changes
    assert happens[0]
    assert still.change(np.random.default_rng(1)) == happens[1]


def test_what_happens_changes_how_it_moves_from_then_on() -> None:
    family = ServoFamily("miswired")
    complete: Complete[Any] = Complete.of(family)
    tasks = complete.sample(1, np.random.default_rng(3))
    machines = [SessionMachine(complete, tasks) for _ in range(2)]
    for machine in machines:
        machine.reset(np.random.default_rng(0))
    first = [driven(machine, family, 5) for machine in machines]
    assert first[0] == first[1]
    machines[1].change(np.random.default_rng(1))
    assert driven(machines[0], family, 30) != driven(machines[1], family, 30)
    fresh = SessionMachine(complete, tasks)
    assert fresh.change(np.random.default_rng(1))  # before it is driven at all
    assert fresh.parameters == machines[1].parameters


def test_held_out_machines_are_told_apart_by_seed_and_number_and_are_the_same_each_time() -> None:
    world = SessionWorld(GliderFamily())
    found = [tuple(world.held_out(s, n).parameters.values()) for s in (0, 1) for n in (0, 1, 2)]
    assert len({*found}) == 6
    assert found == [tuple(world.held_out(s, n).parameters.values()) for s in (0, 1) for n in (0, 1, 2)]
    drawn = Complete.of(GliderFamily()).sample(1, np.random.default_rng([0, 0]))
    assert tuple(Complete.of(GliderFamily()).parameters(drawn)[0].tolist()) not in found


def test_a_world_is_opened_by_name_with_options_and_none_of_them_is_null() -> None:
    world = open_world("point", None, {"goal": 0.3})
    assert max(p.high for p in world.spec.parameters) == pytest.approx(0.3)
    with pytest.raises(UsageError, match="an option of a family is null, expected a number"):
        open_world("point", None, {"goal": None})
    with pytest.raises(UsageError, match="an option of a family is null"):
        open_world("servo", None, {"ranges": {"kt": [1.0, None]}})
    wide = open_world("servo", None, {"preset": "wide", "ranges": {"kt": [1.0, 1.5]}}).spec
    (kt,) = (p for p in wide.parameters if p.name == "kt")
    (usual,) = (p for p in ServoFamily("wide").spec.parameters if p.name == "kt")
    assert 0.5 < kt.low <= 1.0 < 1.5 <= kt.high < usual.high
