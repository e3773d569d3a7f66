"""The four sets are four: no machine of one is in another, and those outside are outside."""

from __future__ import annotations

import numpy as np
import pytest
from acclimate_bridge.evaluation.rig import Place as Standing
from acclimate_transfer.families import Place, parse_place
from acclimate_transfer.sets import OUTSIDE, SETS, TEST, TRAINING, VALIDATION, Sets

FRAME, WIDE = parse_place("point_frame:turn=1.0"), parse_place("servo:preset=wide")


def parameters(standing: list[Standing]) -> np.ndarray:
    """(machines, parameters)"""
    living = [each.machine.start(np.random.default_rng(0)) for each in standing]
    return np.array([list(each.parameters.values()) for each in living])


def machines(place: Place, name: str, count: int = 6, seed: int = 0) -> np.ndarray:
    return parameters(Sets(place, place, seed).standing(name, count))


@pytest.mark.parametrize("place", [FRAME, WIDE], ids=lambda place: place.label)
def test_no_machine_is_in_two_sets(place: Place) -> None:
    rows = np.concatenate([machines(place, name) for name in SETS])
    assert len(np.unique(rows.round(6), axis=0)) == len(rows)


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_the_same_every_time_and_another_by_another_seed(name: str) -> None:
    np.testing.assert_array_equal(machines(FRAME, name), machines(FRAME, name))
    assert not np.array_equal(machines(FRAME, name), machines(FRAME, name, seed=1))


def test_training_machines_are_of_the_source() -> None:
    target = parse_place("point_frame:turn=1.0,strength=[4.0,5.0]")
    trained_on = parameters(Sets(FRAME, target, 0).standing(TRAINING, 20))
    judged_on = parameters(Sets(FRAME, target, 0).standing(TEST, 20))
    assert trained_on[:, 1].max() <= 2.4
    assert judged_on[:, 1].min() >= 4.0


def test_machines_outside_are_beyond_one_end_each_and_all_ends_in_turn() -> None:
    found = machines(FRAME, OUTSIDE, 40)
    beyond = np.stack([found[:, 0] < -1.0, found[:, 0] > 1.0, found[:, 1] < 0.6, found[:, 1] > 2.4], -1)
    np.testing.assert_array_equal(beyond.sum(-1), 1)
    np.testing.assert_array_equal(beyond.sum(0), 10)


def test_a_family_that_says_no_ranges_has_none_outside() -> None:
    assert Sets(parse_place("quadrotor"), parse_place("quadrotor"), 0).standing(OUTSIDE, 4) == []


def test_servos_are_judged_on_other_types_than_decided_on() -> None:
    sets = Sets(WIDE, WIDE, 0)
    types = {name: {each.group for each in sets.standing(name, 12)} for name in (VALIDATION, TEST)}
    assert types[VALIDATION] == {"XL330", "STS3215"}
    assert types[TEST].isdisjoint(types[VALIDATION])
    assert {"MX-64", "MX-106", "XL-320"} <= types[TEST]
