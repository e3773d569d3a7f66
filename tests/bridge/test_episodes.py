"""What is random in a trial: who meets the same numbers, and who meets others."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.bundle.file import load
from acclimate.control.trial import EpisodeKey, Purpose
from acclimate.policy.policy import Policy
from acclimate_bridge.evaluation.episodes import SeededEpisodes
from acclimate_bridge.evaluation.rig import Contest, Place
from acclimate_bridge.simulation.choice import Choice
from acclimate_bridge.simulation.specimen import Living, Specimen
from acclimate_bridge.simulation.worlds import choose, world_for
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime import bundles

STEPS = 20
KEYS = st.builds(
    EpisodeKey,
    shot=st.integers(0, 3),
    purpose=st.sampled_from(["measure", "explore", "wait"]),
    number=st.integers(0, 3),
)


def _reference(key: EpisodeKey, seed: int = 0, place: int = 0) -> FloatArray:
    obs = np.array([0.2, 0.0, 0.0, 0.0], np.float32)
    return SeededEpisodes(bundles.TASK, STEPS, seed, place)(obs, key)


def _measured_again(one: EpisodeKey, other: EpisodeKey) -> bool:
    """Whether both are the same episode of a measurement, whatever was learned in between."""
    return one.purpose == other.purpose == "measure" and one.number == other.number


@given(one=KEYS, other=KEYS)
@settings(deadline=None, derandomize=True)
def test_only_measurements_meet_the_same_references_after_each_step(
    one: EpisodeKey, other: EpisodeKey
) -> None:
    same = one == other or _measured_again(one, other)
    assert np.array_equal(_reference(one), _reference(other)) is same


@pytest.mark.parametrize("purpose", ["measure", "explore", "wait"])
def test_another_seed_or_place_is_another_reference(purpose: Purpose) -> None:
    key = EpisodeKey(0, purpose, 0)
    assert not np.array_equal(_reference(key), _reference(key, seed=1))
    assert not np.array_equal(_reference(key), _reference(key, place=1))


class Noticing:
    """A machine that keeps the generator of its noise."""

    def __init__(self, real: Specimen) -> None:
        self._real = real
        self.name, self.profile = real.name, real.profile
        self.given: list[np.random.Generator] = []

    def start(self, rng: np.random.Generator) -> Living:
        self.given.append(rng)
        return self._real.start(rng)


def test_machine_and_exploration_draw_from_streams_of_their_own(tmp_path: Path) -> None:
    """Noise that went along with what is explored would be learned from."""
    bundle = load(bundles.write_tiny(tmp_path / "tiny.acclimate"))
    contest = Contest("tiny", {"tiny": Policy(bundle)}, shots={"tiny": 0}, steps=STEPS, episodes=1, seed=3)
    machine = Noticing(choose(world_for(None, bundle), Choice.parse("#0"), 3))
    streams = []
    for number in (0, 1):
        place = Place(machine, "group", number, (7, number))
        with contest.rig(contest.policies["tiny"], place) as rig:
            rig.trial.measure()
        streams += [contest.exploration(place), machine.given[-1]]
    drawn = [rng.bit_generator.seed_seq.generate_state(4).tolist() for rng in streams]  # type: ignore[attr-defined]
    assert all(one != other for one, other in combinations(drawn, 2))
