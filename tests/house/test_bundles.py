"""The bundles that ship: each is sound, says which command made it, and has a config of that name."""

from __future__ import annotations

from pathlib import Path

import pytest
from acclimate.bundle.file import load
from acclimate.engines import ENGINES
from acclimate.policy import trust
from acclimate.policy.policy import Policy
from acclimate_demo.shipped import shipped, shipped_bundle
from acclimate_trainer.runs.built_in import built_in

from benchmarks.bundles import making

ROOT = Path(__file__).parents[2]
BUNDLES = shipped()
MOST = 3 * 2**20  # bytes of all together


def test_all_are_there_and_small() -> None:
    assert {*BUNDLES} == {*making.NAMES}
    assert sum(path.stat().st_size for path in BUNDLES.values()) < MOST


@pytest.mark.parametrize("name", making.NAMES)
def test_a_bundle_reproduces_its_golden_sequence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load(shipped_bundle(name))
    monkeypatch.setenv(trust.VARIABLE, bundle.sha256)
    for engine, entry in ENGINES.items():
        if f"act.{entry.suffix}" in bundle.members:
            Policy(bundle, engine)  # refused otherwise


@pytest.mark.parametrize("name", making.NAMES)
def test_a_bundle_says_what_made_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    record = making.read_record()
    assert making.is_made(name, record)
    entry = record[name]
    assert isinstance(entry, dict)
    assert entry["commands"] == [
        f"acclimate {' '.join(c)}" for c in (making.training(name), making.exporting(name))
    ]
    assert name in built_in()
    assert not str(entry["commit"]).endswith("-dirty")
