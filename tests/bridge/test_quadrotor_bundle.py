"""The quadrotor that ships, over the wire's codec: it flies what it never saw, and knows nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from acclimate.bundle.file import load
from acclimate_bridge.api import evaluate
from acclimate_bridge.evaluation.evaluation import Results

BUNDLE = Path(__file__).parents[2] / "examples" / "bundles" / "quadrotor_rl2.acclimate"
MACHINES = 4


def test_it_is_told_nothing_of_the_machine() -> None:
    manifest = load(BUNDLE).manifest
    assert manifest.algorithm == "rl2"
    assert manifest.task.n_obs == 24
    assert not manifest.privileged


@pytest.mark.slow
def test_it_follows_references_on_drones_of_all_sizes() -> None:
    """Steps included, which nothing with a mass follows at once."""
    results = evaluate(BUNDLE, machines=MACHINES, episodes=2, engine="onnxruntime").results
    assert isinstance(results, Results)
    errors = [machine.figures[results.main][0]["error"] for machine in results.machines]
    assert len(errors) == MACHINES
    assert max(errors) < 0.3
