"""The quadrotor flies as in `l2f`, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate_trainer.tasks.quadrotor.family import QuadrotorFamily
from acclimate_trainer.tasks.quadrotor.session import RATES

from benchmarks import _l2f
from benchmarks.harness import BenchmarkError


def test_a_step_is_that_of_l2f() -> None:
    """Of drones anywhere in the ranges, under any action, but for those that tumble faster than ours can."""
    pytest.importorskip("l2f")
    family = QuadrotorFamily(drag=(0.0, 0.0), delay=(0.0, 0.0), noise=(0.0, 0.0))
    drones = family.sample(256, np.random.default_rng(0))
    session = family.open(drones, 1, 20, np.random.default_rng(1))
    fleet = _l2f.Fleet(drones, tuple(session.state[:5]))
    rng = np.random.default_rng(2)
    for _ in range(20):
        before = [torch.from_numpy(x).unsqueeze(1) for x in fleet.body()]
        session.state = (*before, *session.state[5:])
        action = rng.uniform(-1.2, 1.2, (256, 4)).astype(np.float32)
        session.step(torch.from_numpy(action).unsqueeze(1))
        fleet.step(action)
        within = (np.abs(fleet.body()[3]) < RATES).all(-1)
        assert within.mean() > 0.8
        for ours, theirs in zip(session.state, fleet.body(), strict=False):
            size = np.abs(theirs).clip(1.0)
            assert float((np.abs(ours[:, 0].numpy() - theirs) / size)[within].max()) < 1e-6


def test_without_l2f_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(_l2f, "import_module", missing)
    with pytest.raises(BenchmarkError, match=r"pip install l2f\S* foundation-policy"):
        _l2f.raptor()
