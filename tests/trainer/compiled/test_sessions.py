"""Sessions that nobody wrote for a compiler: what of them is found, and what is refused, in a sentence each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from acclimate_trainer.compiled.anatomy import Anatomy, anatomy
from acclimate_trainer.compiled.leaves import assign, at, copied
from acclimate_trainer.compiled.parts import ahead, fits
from acclimate_trainer.compiled.ticks.errors import NotCompiled
from acclimate_trainer.contract.family import Step
from torch import Tensor

TICKS = 6


class Masses(NamedTuple):
    mass: Tensor  # (T, 1)
    wind: Tensor  # (T, 1, 2)


class Session:
    """Masses in the wind. Variants override `step` or what is made at the beginning."""

    def __init__(self, tasks: int, episodes: int) -> None:
        rng = np.random.default_rng(tasks)
        self.tasks = Masses(torch.rand(tasks, 1) + 0.5, torch.rand(tasks, 1, 2))
        self.start = torch.rand(tasks, episodes)  # an episode's own
        self.readings = torch.tensor(rng.standard_normal((tasks, episodes, TICKS)), dtype=torch.float32)
        self.gusts = torch.rand(TICKS, tasks, episodes, 2).unbind(0)
        self.tick, self.dt, self.label = 0, 0.1, "mass"
        self.state: tuple[Tensor, ...] = (self.start, torch.zeros(tasks, episodes, 2))
        self.before = self.start
        self.unread = torch.zeros(tasks, episodes)

    @property
    def obs(self) -> Tensor:
        place, speed = self.state
        return torch.stack([place - self.start, place - self.before, speed.sum(-1)], -1)

    def step(self, action: Tensor) -> Step:
        place, speed = self.state
        push = action + self.tasks.wind + self.gusts[self.tick]
        speed = speed + self.dt * push / self.tasks.mass.unsqueeze(-1)
        self.before = place
        self.unread = place
        self.state = (place + self.dt * speed[..., 0] + 0.01 * self.readings[:, :, self.tick], speed)
        self.tick += 1
        never = torch.zeros_like(place, dtype=torch.bool)
        return Step(-place.abs(), never, never)

    def become(self, tasks: Masses, where: Tensor) -> None:
        raise NotImplementedError


def of(make: Callable[[int, int], Any], tasks: int = 3, episodes: int = 5) -> Anatomy:
    return anatomy(make(1, 1), make(tasks, episodes), 1)


def paths(parts: Any) -> set[str]:
    return {".".join(map(str, part.path)) for part in parts}


def test_what_a_step_reads_and_writes_is_found() -> None:
    found = of(Session)
    assert paths(found.fading) == {"state.0", "state.1"}
    assert paths(found.kept) == {"before", "start"}
    assert paths(found.constants) == {"tasks.mass", "tasks.wind"}
    assert paths(found.drawn) == {"gusts", "readings"}
    assert found.counters == (("tick",),)
    assert found.fixed == {("dt",): 0.1, ("label",): "mass"}


def test_what_is_drawn_is_read_from_where_a_session_has_got_to() -> None:
    found, session = of(Session), Session(3, 5)
    for _ in range(2):
        session.step(torch.zeros(3, 5, 1))
    gusts, readings = (ahead(found, session, one, 3) for one in sorted(found.drawn))
    assert torch.equal(gusts, torch.stack(session.gusts[2:5]))
    assert torch.equal(readings, session.readings[:, :, 2:5].movedim(2, 0))
    assert fits(found, session, (3, 5), 4)
    assert not fits(found, session, (3, 5), 5)


def test_sessions_of_another_build_are_told_apart() -> None:
    found = of(Session)
    slower, flat, other = Session(3, 5), Session(3, 5), Session(2, 7)
    slower.dt = 0.2
    flat.tasks = flat.tasks._replace(wind=torch.zeros(3, 5, 2))
    assert fits(found, other, (2, 7), TICKS)
    assert not fits(found, slower, (3, 5), TICKS)
    assert not fits(found, flat, (3, 5), TICKS)


def test_a_copy_shares_no_container_and_every_tensor() -> None:
    session = Session(2, 2)
    other = copied(session, {("tasks", "mass"): torch.ones(2, 1)})
    assert type(other.tasks) is Masses
    assert torch.equal(other.tasks.mass, torch.ones(2, 1))
    assert other.tasks.wind is session.tasks.wind
    assert session.tasks.mass is not other.tasks.mass
    assign(other, {("tick",): 7, ("state", 1): torch.ones(2, 2, 2)})
    assert (session.tick, at(other, ("tick",)), at(other, ("tasks", "none"))) == (0, 7, None)
    assert not torch.equal(session.state[1], other.state[1])


class Drawing(Session):
    def __init__(self, tasks: int, episodes: int) -> None:
        super().__init__(tasks, episodes)
        self.rng = np.random.default_rng(0)


class InPlace(Session):
    def step(self, action: Tensor) -> Step:
        self.tasks.mass.mul_(0.9)
        return super().step(action)


class Branching(Session):
    def step(self, action: Tensor) -> Step:
        if self.state[0].mean() > 0.5:  # a place in the code
            action = -action
        return super().step(action)


class Alternating(Session):
    def step(self, action: Tensor) -> Step:
        return super().step(action if self.tick % 2 else torch.tanh(action))


class Skipping(Session):
    def step(self, action: Tensor) -> Step:
        made = super().step(action)
        self.state = (self.state[0] + self.gusts[(self.tick * 2) % TICKS][..., 0], self.state[1])
        return made


class Timed(Session):
    def step(self, action: Tensor) -> Step:
        self.dt = 0.1 * 0.9 ** (self.tick + 1)
        return super().step(action)


class Growing(Session):
    def __init__(self, tasks: int, episodes: int) -> None:
        super().__init__(tasks, episodes)
        self.past: tuple[Tensor, ...] = ()

    def step(self, action: Tensor) -> Step:
        self.past = (*self.past, self.state[0])
        return super().step(action)


class Doubled(Session):
    def __init__(self, tasks: int, episodes: int) -> None:
        super().__init__(tasks, episodes)
        self.state = (self.state[0].double(), self.state[1])


class Sideways(Session):
    def __init__(self, tasks: int, episodes: int) -> None:
        super().__init__(tasks, episodes)
        self.drag = torch.rand(2, tasks, 1)

    def step(self, action: Tensor) -> Step:
        return super().step(action * self.drag[0].unsqueeze(-1))


class Hidden(Session):
    """Its state is made when it is asked for."""

    def __init__(self, tasks: int, episodes: int) -> None:
        self._place = torch.zeros(tasks, episodes)
        super().__init__(tasks, episodes)

    @property  # type: ignore[override]
    def state(self) -> tuple[Tensor, ...]:
        return (self._place.clone(), self._speed)

    @state.setter
    def state(self, value: tuple[Tensor, ...]) -> None:
        self._place, self._speed = value[0] * 1.0, value[1]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Drawing, r"keeps rng, which gives another number each time: draw all that is random in open"),
        (InPlace, r"changes tasks\.mass in place"),
        (Branching, r"branches on data \(test_sessions\.py:\d+: if self\.state.*a place in the code"),
        (Alternating, r"a step of Alternating computes something else than the one before it"),
        (Skipping, r"reads gusts\.\d in one step and gusts\.\d in the next"),
        (Timed, r"changes dt in a step, which is no tensor"),
        (Growing, r"keeps more or less after a step: past\.0"),
        (Doubled, r"changes state\.0, which is no float32 tensor"),
        (Sideways, r"keeps drag of shape \[2, 3, 1\], expected tasks first"),
        (Hidden, r"the state of Hidden is not made of tensors that it keeps"),
    ],
)
def test_what_cannot_be_compiled_is_refused_in_a_sentence(make: Callable[[int, int], Any], why: str) -> None:
    with pytest.raises(NotCompiled, match=why):
        of(make)
