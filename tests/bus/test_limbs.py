"""No number leaves that a servo would take for another one."""

from __future__ import annotations

import json
import math

import pytest
from acclimate_bridge.bus.limbs import Limb
from acclimate_bridge.bus.models import MODELS, Family, Mode, Model
from acclimate_bridge.bus.plan import BusPlan, Calibration, Joint
from acclimate_bridge.bus.port import Missed, ServoPort
from acclimate_bridge.bus.words import Report
from hypothesis import given
from hypothesis import strategies as st

from .serving import served

JOINTS = st.builds(
    Joint,
    st.just("elbow"),
    st.integers(0, 252),
    sign=st.sampled_from([1, -1]),
    zero=st.integers(0, 4095),
    low=st.floats(-3.0, -0.1),
    high=st.floats(0.1, 3.0),
    max_duty=st.floats(0.0, 1.0),
)


def limb(joint: Joint, model: Model, mode: Mode, offset: int = 0) -> Limb:
    return Limb(joint, model, 52, mode, offset, 70.0, 0.0, 20.0, model.full_duty)


@given(JOINTS, st.sampled_from(MODELS), st.floats(), st.floats(-4.0, 4.0))
def test_a_duty_fits_its_register_and_never_leads_out_of_the_range(
    joint: Joint, model: Model, duty: float, angle: float
) -> None:
    if not math.isfinite(duty):
        with pytest.raises(ValueError, match="was told a duty of"):
            limb(joint, model, Mode.PWM).duty_counts(duty, angle)
        return
    counts = limb(joint, model, Mode.PWM).duty_counts(duty, angle)
    model.table.register("goal_duty").encode(counts)
    turns = counts * joint.sign * model.duty_sign
    assert abs(counts) <= joint.max_duty * model.full_duty + 0.5
    assert not (angle >= joint.high and turns > 0)
    assert not (angle <= joint.low and turns < 0)


@given(JOINTS, st.sampled_from(MODELS), st.floats(), st.integers(-2000, 2000))
def test_a_goal_is_within_the_range_and_read_as_the_same_angle(
    joint: Joint, model: Model, angle: float, offset: int
) -> None:
    of = limb(joint, model, Mode.POSITION, offset)
    if not math.isfinite(angle):
        with pytest.raises(ValueError, match="was told an angle of"):
            of.position_counts(angle)
        return
    found = of.angle(of.position_counts(angle))
    assert found == pytest.approx(min(max(angle, joint.low), joint.high), abs=model.count)


def test_a_port_refuses_what_would_become_a_malformed_broadcast() -> None:
    with served(Family.FEETECH, [1, 2]) as bench:
        port = ServoPort(bench.port, Family.FEETECH, 1_000_000)
        goal = MODELS[-1].table.register("goal_duty")
        for ids, values in (([1, 2], [0]), ([1, 1], [0, 0]), ([1, 254], [0, 0]), ([1], [5000])):
            with pytest.raises(ValueError, match=r"\d"):
                port.sync_write(ids, goal, values)
        with pytest.raises(Missed):
            port.read(9, 0, 2)
        assert port.ping(1)
        port.close()


def test_a_plan_survives_the_way_to_the_keeper() -> None:
    joint = Joint("a", 1, "STS3215", calibration=Calibration("arm.json", 3, 0, 4095))
    plan = BusPlan(Family.FEETECH, "/dev/ttyACM0", (joint, Joint("b", 2)), mode=Mode.POSITION)
    assert BusPlan.of_tree(json.loads(json.dumps(plan.tree()))) == plan


@given(st.lists(st.floats(width=32), max_size=60), st.lists(st.text("abc: °", min_size=1), max_size=3))
def test_a_report_survives_the_way_back(values: list[float], faults: list[str]) -> None:
    report = Report(12.5, 3, 1, 7, 2, tuple(values), tuple(faults))
    found = Report.unpack(report.pack())
    assert found.faults == report.faults
    assert [str(x) for x in found.values] == [str(x) for x in values]
