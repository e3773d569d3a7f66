"""Every family that is registered, behind the wire: its channels, its held-out machines, its readings."""

from __future__ import annotations

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate_bridge import simulate_here
from acclimate_bridge.simulation.worlds import groups_of, open_world
from acclimate_trainer.tasks.registry import families

TICKS = 30


def driven(name: str, machine: str) -> tuple[dict[str, float], FloatArray]:
    """What is true of a machine, and what it measures under random actions, (ticks, n_sensors)."""
    rng, rows = np.random.default_rng(5), []
    with simulate_here(family=name, machine=machine, seed=2) as device:
        caps, truth = device.link.caps, dict(device.plant.parameters)
        low, high = (np.array([getattr(c, end) for c in caps.actuators]) for end in ("minimum", "maximum"))
        device.link.start()
        device.link.begin_episode()
        for _ in range(TICKS):
            device.clock.sleep_until(device.clock.now() + 1.0 / caps.rate_hz)
            sample = device.link.latest()
            assert sample is not None
            assert not sample.faults
            rows.append(sample.values.copy())
            device.link.command(rng.uniform(low, high).astype(np.float32))
    return truth, np.stack(rows)


@pytest.mark.parametrize("name", families())
def test_a_family_is_driven_over_the_wire(name: str) -> None:
    if name == "pendulum":
        pytest.importorskip("gymnasium")
    spec = open_world(name, None, {}).spec
    truth, rows = driven(name, "#1")
    again, same = driven(name, "#1")
    other, _ = driven(name, "#2")
    assert (truth, rows.tolist()) == (again, same.tolist())
    assert list(truth) == [parameter.name for parameter in spec.parameters]
    assert truth != other
    assert rows.shape == (TICKS, spec.n_sensors)
    channels = [channel for channel in spec.sensors for _ in channel.scalars]
    slack = np.array([1e-3 * (c.maximum - c.minimum) for c in channels])
    assert (rows >= np.array([c.minimum for c in channels]) - slack).all()
    assert (rows <= np.array([c.maximum for c in channels]) + slack).all()
    assert np.ptp(rows, axis=0).max() > 0.0


@pytest.mark.parametrize("name", families())
def test_its_machines_are_known_by_seed_and_number(name: str) -> None:
    if name == "pendulum":
        pytest.importorskip("gymnasium")
    (group, *_) = groups_of(open_world(name, None, {}))

    def truth(seed: int, number: int) -> dict[str, float]:
        return dict(group.machine(seed, number).start(np.random.default_rng(0)).parameters)

    assert truth(0, 3) == truth(0, 3)
    assert truth(0, 3) != truth(1, 3)
