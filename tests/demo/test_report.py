"""What the demo says: reports of several presets as one, the table, and whether adaptation showed what it must."""

from __future__ import annotations

from acclimate.fields import Json
from acclimate_demo.report import conclusions, mapping, merged, rows_of, table


def report(
    preset: str, difference: float, low: float, high: float, *, one_servo_low: float = -1.0
) -> dict[str, Json]:
    """As `evaluate` would give it for one step; `difference`: maml less unadapted and less PID."""
    row: dict[str, Json] = {
        "family": preset,
        "machine": "all",
        "mean": 0.02,
        "low": 0.01,
        "high": 0.03,
        "n": 9,
        "beside": {"chatter": {"mean": 0.0625, "low": 0.05, "high": 0.075, "n": 9}},
    }
    compared: dict[str, Json] = {"family": preset, "a": "maml", "shots": 1, "n": 9}
    over_all: dict[str, Json] = {**compared, "machine": "all", "mean": difference, "low": low, "high": high}
    one: dict[str, Json] = {**over_all, "machine": "MX-64", "b": "unadapted", "low": one_servo_low}
    return {
        "metric": "error",
        "unit": "rad",
        "higher_is_better": False,
        "rows": [{**row, "controller": "pid", "shots": 0}, {**row, "controller": "maml", "shots": 1}],
        "gap_closed": {preset: {"1": 0.75}},
        "comparisons": [{**over_all, "b": "unadapted"}, {**over_all, "b": "pid"}, one],
        "tail": {preset: {"1": {"share_worse": 0.125, "n": 9}}},
        "machines": [{"machine": "MX-64", "number": 0, "figures": {"pid": [{"error": 0.02}]}}],
    }


def test_reports_of_presets_become_one() -> None:
    both = merged([report("wide", -0.1, -0.2, -0.05), report("miswired", -0.1, -0.2, -0.05)])
    assert {row["family"] for row in rows_of(both, "rows")} == {"wide", "miswired"}
    assert set(mapping(both["gap_closed"])) == set(mapping(both["tail"])) == {"wide", "miswired"}
    assert len(rows_of(both, "comparisons")) == 6
    assert [machine["family"] for machine in rows_of(both, "machines")] == ["wide", "miswired"]


def test_the_table_has_gap_tail_and_what_the_error_costs() -> None:
    text = "\n".join(table(report("wide", -0.1, -0.2, -0.05)))
    assert "75%" in text
    assert "12.5% after 1 step" in text
    assert "0.062" in text


def test_better_beyond_the_interval_passes() -> None:
    assert all(check.ok and check.binding for check in conclusions(report("wide", -0.1, -0.2, -0.05)))


def test_better_within_the_interval_does_not_pass() -> None:
    checks = conclusions(report("wide", -0.1, -0.2, 0.001))
    assert [check.ok for check in checks] == [False, False, True]
    assert "not better beyond the interval" in checks[0].sentence


def test_one_servo_beyond_the_interval_is_named() -> None:
    (last,) = conclusions(report("wide", -0.1, -0.2, -0.05, one_servo_low=0.001))[-1:]
    assert not last.ok
    assert "worse than unadapted on MX-64" in last.sentence


def test_a_policy_that_takes_no_step_is_measured_by_the_robust_one() -> None:
    compared: dict[str, Json] = {"family": "wide", "machine": "all", "a": "rl2", "shots": 0, "n": 9}
    better: dict[str, Json] = {**compared, "b": "robust", "mean": -0.1, "low": -0.2, "high": -0.05}
    worse: dict[str, Json] = {**compared, "b": "pid", "mean": 0.1, "low": 0.05, "high": 0.2}
    checks = conclusions({"gap_closed": {"wide": {"0": 0.9}}, "comparisons": [better, worse]})
    assert [(check.ok, check.binding) for check in checks] == [(True, True), (False, True), (True, True)]
    assert checks[0].sentence == "wide, rl2: better than robust by 0.1000 rad (0.0500 to 0.2000)"


def test_what_binds_after_steps_is_the_policy_as_the_guard_leaves_it() -> None:
    def machine(lost: float) -> Json:
        def stages(*errors: float) -> Json:
            return [{"error": error} for error in errors]

        figures: Json = {
            "maml": stages(0.30, lost),
            "guarded": stages(0.30, min(lost, 0.30)),
            "pid": stages(0.50 + 0.01 * lost),
        }
        return {"family": "wide", "machine": "A", "figures": figures}

    better: Json = {"family": "wide", "machine": "all", "a": "maml", "b": "unadapted", "shots": 1,
                    "mean": 0.1, "low": -0.1, "high": 0.3}  # fmt: skip
    report: dict[str, Json] = {
        "gap_closed": {"wide": {}},
        "comparisons": [better],
        "machines": [machine(lost) for lost in (0.10, 0.11, 0.12, 0.10, 0.11, 0.12, 0.11, 0.9)],
    }
    binding = [check for check in conclusions(report) if check.binding]
    assert [check.ok for check in binding] == [True, True]
    assert all("bad ones taken back: better than" in check.sentence for check in binding)
