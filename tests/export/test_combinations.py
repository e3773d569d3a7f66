"""Every algorithm on every registered family: traced, exported and run, it computes what it computes in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from acclimate.bundle.file import load, write_bundle
from acclimate.task.spec import TaskSpec
from acclimate_export.bundle.bundling import make_parts
from acclimate_export.check.cases import cases
from acclimate_export.check.differences import Largest
from acclimate_export.check.parity import LIMIT, compare
from acclimate_export.graphs.tracing import trace_act, trace_adapt
from acclimate_trainer.tasks.registry import open_family

from benchmarks._combinations import Combination, combinations

FEW = {"entropy": {"point_dash", "tabular"}}
"""Of these a machine of each kind: all else that differs between families is in the other policies, too."""
EVERY = [each for each in combinations() if each.family in FEW.get(each.algorithm, {each.family})]
ADAPTS = {"maml", "successor", "objectives", "features", "entropy", "model"}
EVERYWHERE = "ppo"
INPUTS = 40


def _exported() -> list[Combination]:
    """Every family with the one algorithm that drives all; every algorithm on its smallest family, and on its largest.

    On the smallest only where it has `adapt`, whose graph has the same operators on every family.
    `make bench NAME=parity` exports all, and runs them on every engine.
    """
    sizes = {name: _size(open_family(name, None, {}).family.spec) for name in {c.family for c in EVERY}}
    upwards = sorted(EVERY, key=lambda c: sizes[c.family])
    largest = {c.algorithm: c for c in upwards}
    smallest = {c.algorithm: c for c in reversed(upwards)}
    return [
        c
        for c in EVERY
        if c.algorithm == EVERYWHERE
        or smallest[c.algorithm] == c
        or (largest[c.algorithm] == c and c.algorithm not in ADAPTS)
    ]


def _size(spec: TaskSpec) -> int:
    return spec.n_obs + spec.n_act


def test_every_family_and_every_algorithm_is_exported() -> None:
    exported = _exported()
    assert {c.family for c in exported} == {c.family for c in EVERY}
    assert {c.algorithm for c in exported} == {c.algorithm for c in EVERY}


@pytest.mark.parametrize("combination", EVERY, ids=str)
def test_traced_it_computes_the_same(combination: Combination) -> None:
    trained = combination.tiny()
    assert (trained.policy.window is not None) == (combination.algorithm in ADAPTS)
    graphs = {"act": trace_act(trained.policy)}
    if trained.policy.window is not None:
        graphs["adapt"] = trace_adapt(trained.policy)
    worst: dict[str, float] = {}
    scale: dict[str, float] = {}
    for case in cases(trained, INPUTS, seed=1):
        graph = graphs[case.graph]
        with torch.no_grad():
            found = graph.graph(*(case.given[name] for name in graph.inputs))
        for (name, expected), value in zip(case.expected.items(), found, strict=True):
            key = f"{case.graph}: {name}"
            assert value.shape == expected.shape, key
            worst[key] = max(worst.get(key, 0.0), float((value - expected).abs().max()))
            scale[key] = max(scale.get(key, 0.0), float(expected.abs().max()))
    largest = Largest.of(worst, scale)
    assert largest.max_rel <= LIMIT, largest


@pytest.mark.slow
@pytest.mark.parametrize("combination", _exported(), ids=str)
def test_its_bundle_computes_the_same(combination: Combination, tmp_path: Path) -> None:
    trained = combination.tiny()
    parts = make_parts(trained, {}, {})
    write_bundle(tmp_path / "x.acclimate", parts.manifest, parts.members)
    bundle = load(tmp_path / "x.acclimate")
    parity = compare(trained, bundle, INPUTS, seed=1)
    assert parity.ok, parity
    assert bundle.manifest.task == trained.policy.spec
    assert np.isfinite(bundle.golden.action).all()
