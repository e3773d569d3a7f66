"""What a recurrent policy remembers, over 1,000 ticks: the engine agrees with torch, and what is forgotten is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.engines import open_engine
from acclimate.policy.trust import trust
from acclimate_export.bundle.bundling import make_parts
from acclimate_export.bundle.trained import Trained, from_bundle
from acclimate_export.check.drift import LIMIT, drift, remembers
from acclimate_export.check.parity import compare

TICKS = 1000
ENGINE = open_engine("onnxruntime")


@pytest.fixture(scope="module")
def recurrent(exported: Mapping[str, Path]) -> Bundle:
    return load(exported["rl2"])


@pytest.fixture(scope="module")
def policy(recurrent: Bundle) -> Trained:
    return from_bundle(recurrent)


def forgetful(bundle: Bundle, folder: Path) -> Bundle:
    """The same graphs, but the hidden state is cleared with every episode, and not with every trial."""
    state = tuple(replace(t, reset="episode") if t.name == "hidden" else t for t in bundle.manifest.state)
    path = folder / "forgetful.acclimate"
    write_bundle(path, replace(bundle.manifest, state=state), bundle.members)
    return load(path)


def test_each_carries_its_own_memory_and_they_agree(recurrent: Bundle, policy: Trained) -> None:
    found = drift(policy, recurrent, ENGINE, TICKS, seed=0)
    assert found.ok
    assert found.ticks == TICKS
    assert 0.0 < found.max_rel <= LIMIT
    assert found.max_abs > 0.0


def test_the_same_seed_gives_the_same_drift(recurrent: Bundle, policy: Trained) -> None:
    first, again, other = (drift(policy, recurrent, ENGINE, 120, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_memory_that_does_not_outlive_an_episode_is_found(
    recurrent: Bundle, policy: Trained, tmp_path: Path
) -> None:
    """No single tick shows it, and neither does the golden sequence, which is one episode."""
    bundle = forgetful(recurrent, tmp_path)
    trust(bundle)
    parity = compare(policy, bundle, 60, seed=0)
    assert parity.golden == ""
    assert all(row.ok for row in parity.rows)
    assert all(drifted.max_rel > 100.0 * LIMIT for drifted in parity.drifts)
    assert len(parity.drifts) == 3
    assert not parity.ok


def sensitive(trained: Trained, by: float) -> Trained:
    """The same policy, but for a memory that makes any difference larger in every tick."""
    meta = dict(trained.meta)
    meta["recurrent"] = by * meta["recurrent"]
    return Trained.of(trained.config, meta, "here")


def test_a_policy_that_makes_more_of_any_difference_is_judged_as_long_as_torch_agrees_with_itself(
    policy: Trained, tmp_path: Path
) -> None:
    chaotic = sensitive(policy, 12.0)
    parts, path = make_parts(chaotic, {}, {}), tmp_path / "chaotic.acclimate"
    write_bundle(path, parts.manifest, parts.members)
    found = drift(chaotic, load(path), ENGINE, TICKS, seed=0)
    assert found.ok
    assert 1 < found.ticks < TICKS
    assert found.limit == LIMIT
    other = sensitive(chaotic, 1.0001)
    assert not drift(other, load(path), ENGINE, TICKS, seed=0).ok


def test_nan_never_passes(recurrent: Bundle, policy: Trained) -> None:
    found = drift(policy, recurrent, ENGINE, 20, seed=0)
    assert not found._replace(max_rel=float(np.nan)).ok


def test_only_what_remembers_is_driven_so_far(exported: Mapping[str, Path]) -> None:
    found = {name: remembers(from_bundle(load(path))) for name, path in exported.items()}
    assert {name for name, does in found.items() if does} == {"rl2", "objectives"}
