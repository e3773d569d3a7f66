"""A device that limits how fast its targets change."""

from __future__ import annotations

from acclimate_bridge.link.messages import WireChannel
from acclimate_bridge.simulation.ramp import Ramp

ACTUATORS = (WireChannel("u", "1", 0.25, -1.0, 1.0), WireChannel("v", "1", 0.25, -8.0, 8.0))


def test_without_a_limit_targets_are_there_at_once() -> None:
    ramp = Ramp(ACTUATORS, None)
    ramp.rest((0.0, 0.0))
    assert ramp.want((1.0, -8.0)) == (1.0, -8.0)
    assert ramp.arrived


def test_with_a_limit_they_go_there_step_by_step_and_neutral_is_there_at_once() -> None:
    ramp = Ramp(ACTUATORS, (0.0, 1000.0))
    ramp.rest((0.0, 0.0))
    assert ramp.want((1.0, 2.5)) == (1.0, 0.0)
    assert [ramp.step()[1] for _ in range(3)] == [1.0, 2.0, 2.5]
    assert ramp.arrived
    ramp.rest((0.0, 0.0))
    assert ramp.applied == (0.0, 0.0)


def test_what_moves_at_all_moves_by_a_step_of_the_wire_at_least() -> None:
    ramp = Ramp(ACTUATORS, (0.0, 1e-6))
    ramp.rest((0.0, 0.0))
    ramp.want((0.0, 1.0))
    assert ramp.step() == (0.0, 0.25)


def test_it_begins_within_the_range_or_where_nobody_knows_at_the_target() -> None:
    ramp = Ramp(ACTUATORS, (1.0, 1000.0))
    ramp.rest((float("nan"), 9.0))
    assert ramp.want((0.5, 8.0)) == (0.5, 8.0)
