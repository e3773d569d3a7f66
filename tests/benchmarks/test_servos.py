"""The figures over trainings and servos, on numbers that can be checked by hand."""

from __future__ import annotations

import pytest
from acclimate.fields import Json
from acclimate.stats import Interval

from benchmarks._servos import Table, compared


def report(scale: float) -> dict[str, Json]:
    """Two servos, one of another type; all errors of this training are `scale` times as large."""

    def stages(*errors: float) -> Json:
        return [{"error": scale * e, "chatter": 0.1 * e} for e in errors]

    def machine(name: str, **of: Json) -> Json:
        return {"machine": name, "figures": of}

    return {
        "machines": [
            machine("A", maml=stages(3.0, 1.0), guarded=stages(3.0, 1.0), robust=stages(5.0), oracle=stages(1.0)),
            machine("B x2", maml=stages(4.0, 7.0), guarded=stages(4.0, 4.0), robust=stages(5.0), oracle=stages(1.0)),
        ]
    }  # fmt: skip


TABLE = Table([report(1.0), report(2.0)])


def test_figures_are_means_over_servos_and_the_worst_are_told() -> None:
    found = dict(TABLE.figures())
    error, chatter = found["maml_1.error"], found["maml_1.chatter"]
    assert isinstance(error, Interval)
    assert isinstance(chatter, Interval)
    assert (error.mean, error.n) == (pytest.approx((4.0 + 8.0) / 2), 2)
    assert chatter.mean == pytest.approx(0.4)
    assert found["maml_1.error_of_the_worst_seed"] == pytest.approx(8.0)
    assert found["maml_1.error_of_the_worst_servo"] == pytest.approx(14.0)


def test_gap_and_regret_are_over_trainings() -> None:
    closed, regret = TABLE.gap_closed("guarded"), TABLE.regret("robust")
    share = (5.0 - 2.5) / 4.0  # the same of both trainings, whose errors differ by a factor
    assert (closed.mean, closed.low, closed.n) == (pytest.approx(share), pytest.approx(share), 2)
    assert regret.mean == pytest.approx((4.0 + 8.0) / 2)


def test_the_tail_counts_servos_that_are_worse_by_more_than_a_tenth() -> None:
    assert TABLE.worse_by_10_percent("maml_0", "maml_1").mean == 0.5
    assert TABLE.worse_by_10_percent("maml_0", "guarded").mean == 0.0
    assert TABLE.worst_by("maml_0", "maml_1") == pytest.approx(6.0)
    found = compared(TABLE, ("maml_1", "absent"))
    assert {name for name in found if "worse" in name} == {
        "maml_1.worse_by_10_percent", "maml_1.worse_by_at_most", "guarded.worse_by_10_percent",
    }  # fmt: skip
    assert "maml_1.gap_closed" in found


def test_a_table_may_be_of_some_servos_only() -> None:
    assert Table([report(1.0)], "x2").values("robust", "error").tolist() == [[5.0]]
