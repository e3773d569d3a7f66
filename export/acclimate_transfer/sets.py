"""The four sets of machines: those trained on, those that decisions are made on, those judged on, and those outside.

    training    drawn from the source, as in training
    validation  held-out machines of the target, on which settings are chosen
    test        others, which nothing is chosen by
    outside     beyond the target's ranges in one property each

Held-out servos are of the richer friction that training does not know, and of other types in validation than in test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from acclimate.fields import Json
from acclimate_bridge.evaluation.rig import Place as Standing
from acclimate_bridge.simulation.servo.servos import BUILT_IN
from acclimate_bridge.simulation.servo.world import ServoWorld
from acclimate_bridge.simulation.specimen import Specimen
from acclimate_bridge.simulation.ticks import TickSpecimen
from acclimate_bridge.simulation.worlds import Group, groups_of, key_of, open_world
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import HasHeldOut, Ranged
from acclimate_trainer.play.world import SessionMachine

from acclimate_transfer.families import Place

TRAINING, VALIDATION, TEST, OUTSIDE = SETS = ("training", "validation", "test", "outside")
_CHOSEN_ON = ("XL330", "STS3215")  # types of servo for validation; the others are for test
_FACTOR = 1.5  # by which servos are beyond the ranges
_BEYOND = 0.25  # of a range, by which other machines are, at most
_DRAWN = 20261202  # key of the seeds of machines that are drawn here


class Sets(NamedTuple):
    """The machines of a transfer; another process makes the same ones."""

    source: Place
    target: Place
    seed: int

    def standing(self, name: str, count: int) -> list[Standing]:
        """Machines of a set, fewer where there are no more; none in a set that the target cannot have."""
        groups, seed = self._groups(name), self.seed * len(SETS) + SETS.index(name)
        found = []
        for i in range(count if groups else 0):
            group, number = groups[i % len(groups)], i // len(groups)
            found.append(Standing(group.machine(seed, number), group.name, number, key_of(group, number)))
        return found

    def _groups(self, name: str) -> Sequence[Group]:
        if name == TRAINING:
            return (Drawn(name, self.source.family()),)
        opened = self.target.opened()
        options: dict[str, Json] = json.loads(json.dumps(dict(opened.options)))
        world = open_world(opened.name, opened.use, options)
        if isinstance(world, ServoWorld):
            of_validation = name == VALIDATION
            servos = [s for s in BUILT_IN.values() if (s.name in _CHOSEN_ON) == of_validation]
            return world.groups(servos, outside=_FACTOR if name == OUTSIDE else None)
        if name != OUTSIDE:
            return groups_of(world)
        beyond = Drawn(name, self.target.family(), outside=True)
        return (beyond,) if beyond.edges else ()


@dataclass(frozen=True)
class Drawn:
    """Machines drawn from a family as training does; or outside, one property of each beyond an end of its range."""

    name: str
    family: Complete[object]
    outside: bool = False

    def machine(self, seed: int, number: int) -> Specimen:
        rng = np.random.default_rng([_DRAWN, seed, number])
        family = self._rich if self.outside else self.family
        tasks = self._beyond(family, number, rng) if self.outside else family.sample(1, rng)
        return TickSpecimen(f"{self.name} #{number}", family.spec, partial(SessionMachine, family, tasks))

    @property
    def _rich(self) -> Complete[object]:
        """The family that is held out, where there is one."""
        own = self.family.family
        return Complete.of(own.held_out()) if isinstance(own, HasHeldOut) else self.family

    @property
    def edges(self) -> list[tuple[int, float, float]]:
        """Which property, from where, by how much at most: every end of a range that a machine can be beyond."""
        return list(_edges(self._rich)) if isinstance(self._rich.family, Ranged) else []

    def _beyond(self, family: Complete[object], number: int, rng: np.random.Generator) -> object:
        edges = self.edges
        column, end, room = edges[number % len(edges)]
        places = rng.random((1, len(family.properties)))
        places[0, column] = end + room * rng.random()
        return family.placed(places, rng)


def _edges(family: Complete[object]) -> Iterator[tuple[int, float, float]]:
    for column, p in enumerate(family.properties):
        if p.lowest < 0.0:
            yield column, 0.0, max(p.lowest, -_BEYOND)
        if p.highest > 1.0:
            yield column, 1.0, min(p.highest - 1.0, _BEYOND)
