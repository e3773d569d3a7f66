"""The arithmetic of the report, on numbers that can be checked by hand."""

from __future__ import annotations

import pytest
from acclimate_bridge.evaluation.evaluation import Results
from acclimate_bridge.evaluation.report import comparisons, gap_closed, rows, share_worse, table, tree
from acclimate_bridge.evaluation.rig import DeviceResult
from acclimate_bridge.simulation.servo.plant import Deployment


def device(servo: str, number: int, **errors: tuple[float, ...]) -> DeviceResult:
    return DeviceResult(servo, number, Deployment(), errors, ("", ""))


RESULTS = Results(
    "wide",
    7,
    2,
    (
        device("A", 0, pid=(0.5,), robust=(0.4,), maml=(0.5, 0.3, 0.2), oracle=(0.1,)),
        device("A", 1, pid=(0.7,), robust=(0.6,), maml=(0.5, 0.5, 0.2), oracle=(0.3,)),
        device("B", 0, pid=(0.9,), robust=(0.5,), maml=(0.2, 0.25, 0.2), oracle=(0.2,)),
    ),
    "maml",
)


def test_rows_hold_the_mean_over_devices_per_servo_and_over_all() -> None:
    found = {(r.servo, r.controller, r.shots): r.error for r in rows(RESULTS)}
    assert len(found) == 3 * 6
    assert found["A", "pid", 0].mean == pytest.approx(0.6)
    assert found["A", "pid", 0].n == 2
    assert found["all", "maml", 1].mean == pytest.approx(0.35)
    assert found["all", "maml", 1].n == 3
    half_width = 12.706204736 * 0.1 / 2**0.5 * 2**0.5  # t(0.975, 1)·s/√n with s = 0.1·√2
    assert found["A", "pid", 0].high == pytest.approx(0.6 + half_width)


def test_comparisons_are_paired() -> None:
    found = {(c.servo, c.b, c.shots): c.difference for c in comparisons(RESULTS)}
    assert set(found) == {
        (s, b, k) for s in ("A", "B", "all") for b in ("unadapted", "robust", "pid") for k in (1, 2)
    }
    assert found["A", "unadapted", 1].mean == pytest.approx(-0.1)
    assert found["A", "unadapted", 2].mean == pytest.approx(-0.3)
    # every device of A loses 0.2, so the paired interval has no width although the errors themselves scatter
    assert found["A", "pid", 1].mean == pytest.approx(-0.2)
    assert found["A", "pid", 1].high == pytest.approx(-0.2)
    assert found["all", "robust", 2].n == 3


def test_the_gap_closed_is_a_share_of_robust_to_oracle() -> None:
    # robust 0.5, oracle 0.2, adapted 0.35 and 0.2
    assert gap_closed(RESULTS) == pytest.approx({"1": 0.5, "2": 1.0})


def test_without_a_gap_there_is_no_share() -> None:
    flat = device("A", 0, robust=(0.1,), maml=(0.5, 0.3), oracle=(0.1,))
    assert gap_closed(Results("wide", 0, 1, (flat,), "maml")) == {"1": None}
    alone = device("A", 0, maml=(0.5, 0.3))
    assert gap_closed(Results("wide", 0, 1, (alone,), "maml")) == {"1": None}


def test_the_tail_counts_devices_that_got_worse() -> None:
    assert share_worse(RESULTS, 1) == pytest.approx(1 / 3)
    assert share_worse(RESULTS, 2) == 0.0


def test_the_tree_has_the_documented_form() -> None:
    report = tree(RESULTS)
    assert report["metric"] == "tracking_error_rms"
    assert report["unit"] == "rad"
    assert report["seed"] == 7
    assert report["gap_closed"] == {"wide": pytest.approx({"1": 0.5, "2": 1.0})}
    assert report["tail"] == {
        "wide": {"1": {"share_worse": pytest.approx(1 / 3), "n": 3}, "2": {"share_worse": 0.0, "n": 3}}
    }
    assert isinstance(report["devices"], list)
    assert len(report["devices"]) == 3


def test_an_interval_of_one_device_is_null_and_not_nan() -> None:
    found = tree(RESULTS)["rows"]
    assert isinstance(found, list)
    alone = [r for r in found if isinstance(r, dict) and r["servo"] == "B"]
    assert alone
    assert all(r["low"] is None and r["high"] is None for r in alone)


def test_the_table_says_it_in_words() -> None:
    text = "\n".join(table(RESULTS))
    assert "one device" in text
    assert "gap between robust policy and oracle closed by 2 steps: 100%" in text
    assert "worse than unadapted after 1 step: 33.3% of 3 devices" in text
