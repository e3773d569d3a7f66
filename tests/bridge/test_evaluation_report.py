"""The arithmetic of the report, on numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from acclimate.task.spec import CHATTER, Metric
from acclimate_bridge.evaluation.evaluation import Results
from acclimate_bridge.evaluation.report import comparisons, gap_closed, rows, table, tail, tree
from acclimate_bridge.evaluation.rig import MachineResult

from .sled import HOMING, SLED

TASK = replace(SLED, metrics=(Metric("error", "rms", "m", SLED.headline.pairs), CHATTER))


def machine(group: str, number: int, **errors: tuple[float, ...]) -> MachineResult:
    """Chatter is a tenth of the error. Guarded, no error becomes larger."""
    maml = errors.get("maml", ())
    errors["guarded"] = tuple(min(maml[: k + 1]) for k in range(len(maml)))
    figures = {name: tuple({"error": e, "chatter": 0.1 * e} for e in of) for name, of in errors.items()}
    return MachineResult(group, number, {"drag": 1.0}, figures, ("", ""))


def results(*machines: MachineResult, shots: int = 1) -> Results:
    return Results(TASK, "wide", 7, "onnxruntime", shots, machines, "maml")


RESULTS = results(
    machine("A", 0, pid=(0.5,), robust=(0.4,), maml=(0.5, 0.3, 0.2), oracle=(0.1,)),
    machine("A", 1, pid=(0.7,), robust=(0.6,), maml=(0.5, 0.5, 0.2), oracle=(0.3,)),
    machine("B", 0, pid=(0.9,), robust=(0.5,), maml=(0.2, 0.25, 0.2), oracle=(0.2,)),
    shots=2,
)


def test_rows_hold_the_means_over_machines_per_group_and_over_all() -> None:
    found = {(r.group, r.controller, r.shots): r.figure for r in rows(RESULTS)}
    assert len(found) == 3 * 8
    assert found["A", "pid", 0].mean == pytest.approx(0.6)
    assert found["A", "pid", 0].n == 2
    assert found["all", "maml", 1].mean == pytest.approx(0.35)
    assert found["all", "maml", 1].n == 3
    half_width = 12.706204736 * 0.1 / 2**0.5 * 2**0.5  # t(0.975, 1)·s/√n with s = 0.1·√2
    assert found["A", "pid", 0].high == pytest.approx(0.6 + half_width)
    beside = {(r.group, r.controller, r.shots): r.others for r in rows(RESULTS)}
    assert beside["A", "pid", 0]["chatter"].mean == pytest.approx(0.06)


def test_comparisons_are_paired() -> None:
    found = {(c.group, c.b, c.shots): c.difference for c in comparisons(RESULTS)}
    assert set(found) == {
        (s, b, k) for s in ("A", "B", "all") for b in ("unadapted", "robust", "pid", "oracle") for k in (1, 2)
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
    flat = machine("A", 0, robust=(0.1,), maml=(0.5, 0.3), oracle=(0.1,))
    worse = machine("A", 0, robust=(0.1,), maml=(0.5, 0.3), oracle=(0.2,))
    alone = machine("A", 0, maml=(0.5, 0.3))
    assert [gap_closed(results(each)) for each in (flat, worse, alone)] == [{"1": None}] * 3


def test_guarded_figures_are_those_after_steps() -> None:
    found = {(r.group, r.shots): r.figure.mean for r in rows(RESULTS) if r.controller == "guarded"}
    assert {shots for _, shots in found} == {1, 2}
    assert found["B", 1] == 0.2


def test_where_more_is_better_gap_and_tail_turn_round() -> None:
    gain = {"robust": (-4.0,), "maml": (-5.0, -3.0), "oracle": (-2.0,), "guarded": (-5.0, -3.0)}
    worse = {"robust": (-4.0,), "maml": (-3.0, -3.5), "oracle": (-2.0,), "guarded": (-3.0, -3.0)}

    def made(number: int, of: dict[str, tuple[float, ...]]) -> MachineResult:
        figures = {name: tuple({"gain": g, "chatter": 0.0} for g in gains) for name, gains in of.items()}
        return MachineResult("A", number, {}, figures, ("",))

    found = Results(HOMING, "homing", 0, "native", 1, (made(0, gain), made(1, worse)), "maml")
    assert gap_closed(found) == {"1": pytest.approx((-4.0 + 3.25) / (-4.0 + 2.0))}
    assert tail(found, 1) == (0.5, 0.5, pytest.approx(0.5), 2)
    assert tail(found, 1, "guarded") == (0.0, 0.0, 0.0, 2)
    assert tree(found)["higher_is_better"] is True


def test_what_beats_the_oracle_says_that_it_is_no_bound() -> None:
    better = results(machine("A", 0, robust=(0.4,), maml=(0.5, 0.1), oracle=(0.2,)))
    assert "better than the oracle, which is therefore no bound" in "\n".join(table(better))
    assert "no bound" not in "\n".join(table(RESULTS))


def test_the_tail_counts_machines_that_got_worse_and_says_by_how_much() -> None:
    assert tail(RESULTS, 1) == (pytest.approx(1 / 3), pytest.approx(1 / 3), pytest.approx(0.05), 3)
    assert tail(RESULTS, 2) == (0.0, 0.0, 0.0, 3)
    hardly = results(machine("A", 0, maml=(0.5, 0.51)), machine("A", 1, maml=(0.5, 0.56)))
    assert tail(hardly, 1) == (1.0, 0.5, pytest.approx(0.06), 2)


def test_the_tree_has_the_documented_form() -> None:
    report = tree(RESULTS)
    assert (report["metric"], report["unit"], report["higher_is_better"]) == ("error", "m", False)
    assert (report["seed"], report["engine"]) == (7, "onnxruntime")
    assert report["gap_closed"] == {"wide": pytest.approx({"1": 0.5, "2": 1.0})}
    left = report["tail"]
    assert isinstance(left, dict)
    assert left["wide"] == {
        "1": {
            "share_worse": pytest.approx(1 / 3),
            "worse_by_10_percent": pytest.approx(1 / 3),
            "worst": pytest.approx(0.05),
            "n": 3,
            "guarded_worse_by_10_percent": 0.0,
        },
        "2": {
            "share_worse": 0.0,
            "worse_by_10_percent": 0.0,
            "worst": 0.0,
            "n": 3,
            "guarded_worse_by_10_percent": 0.0,
        },
    }
    machines = report["machines"]
    assert isinstance(machines, list)
    assert len(machines) == 3


def test_an_interval_of_one_machine_is_null_and_not_nan() -> None:
    found = tree(RESULTS)["rows"]
    assert isinstance(found, list)
    alone = [r for r in found if isinstance(r, dict) and r["machine"] == "B"]
    assert alone
    assert all(r["low"] is None and r["high"] is None for r in alone)


def test_the_table_says_it_in_words() -> None:
    text = "\n".join(table(RESULTS))
    assert "error, m, wide; mean over machines" in text
    assert "one machine" in text
    assert "chatter" in text
    assert "gap between robust policy and oracle closed by 2 steps: 100%" in text
    assert (
        "worse than unadapted after 1 step: 33.3% of 3 machines, 33.3% by more than a tenth, by at most 0.0500 m"
        in text
    )
    assert "guarded, worse by more than a tenth after 2 steps: 0.0%" in text
