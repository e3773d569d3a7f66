"""Evaluation over time: real bundles driven without a pause, with a change in the middle."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from acclimate_bridge.evaluation.courses import (
    Course,
    CourseResult,
    Courses,
    Span,
    drive_all,
    evaluate_over_time,
)
from acclimate_bridge.evaluation.courses_report import curves, gap_closed, summary, table, tree
from acclimate_bridge.evaluation.evaluation import Opened, Plan, open_plan
from acclimate_bridge.evaluation.rig import Contest, Place
from acclimate_bridge.simulation.servo.changes import SAGGED
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_bridge.simulation.servo.servos import BUILT_IN

from .conftest import Acclimate
from .sled import SLED

MX64 = BUILT_IN["MX-64"]
COURSE = Course(6.0, "polarity", 3.0)


def plan(bundles: Path, **changes: object) -> Plan:
    others = tuple(bundles / f"{name}.acclimate" for name in ("rl2", "robust", "oracle"))
    base = Plan(bundles / "tiny.acclimate", ServoFleet((MX64,)), others, machines=2, seed=3)
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results(bundles: Path) -> Courses:
    return evaluate_over_time(plan(bundles), COURSE)


def first(opened: Opened) -> tuple[Contest, Place]:
    return opened.contest, opened.place((0, 0))


def test_bins_cover_both_stretches_without_gaps() -> None:
    for since in ("start", "change"):
        bins = [b for b in COURSE.bins() if b.since == since]
        assert (bins[0].begin, bins[-1].end) == (0.0, 3.0)
        assert all(a.end == b.begin < b.end for a, b in pairwise(bins))
        assert [round(b.end - b.begin, 9) for b in bins[:10]] == [0.1] * 10
    assert {b.since for b in Course(6.0).bins()} == {"start"}


def test_all_controllers_meet_the_same_device(results: Courses) -> None:
    """The frozen twin acts as the recurrent one does as long as nothing resets either, so they must agree."""
    for device in results.machines:
        assert set(device.curves) == set(device.judged) == {"pid", "maml", "rl2", "robust", "oracle"}
        assert device.curves["rl2"] == device.curves["robust"] == device.curves["oracle"]
        assert device.judged["rl2"] == device.judged["robust"] == device.judged["oracle"]
        assert device.after == {**device.before, "polarity": -device.before["polarity"]}


def test_before_the_change_nothing_of_it_shows(bundles: Path, results: Courses) -> None:
    course = replace(COURSE, change="supply")
    other = evaluate_over_time(plan(bundles), course)
    first = [i for i, span in enumerate(COURSE.bins()) if span.since == "start"]
    later = [i for i, span in enumerate(COURSE.bins()) if span.since == "change"]
    for a, b in zip(results.machines, other.machines, strict=True):
        assert b.after["voltage"] == pytest.approx(SAGGED * b.before["voltage"])
        for name, errors in a.curves.items():
            assert [errors[i] for i in first] == [b.curves[name][i] for i in first]
            assert [errors[i] for i in later] != [b.curves[name][i] for i in later]


def test_a_flipped_polarity_throws_out_who_does_not_know_it(results: Courses) -> None:
    found = {(p.controller, p.span): p.figure.mean for p in summary(results) if p.group == "all"}
    for name in ("pid", "robust"):
        before, after = found[name, Span("start", 1.0, 3.0)], found[name, Span("change", 1.0, 3.0)]
        assert before < 0.3 < after


def test_hidden_state_lives_through_the_whole_drive(bundles: Path) -> None:
    opened = open_plan(plan(bundles))
    drive_all(COURSE, 1, *first(opened))
    assert opened.contest.policies["rl2"].state("ticks") == 600.0  # one for every tick but the last
    assert opened.contest.policies["rl2"].state("previous") != 0.0


def test_a_policy_with_adapt_explores_steps_and_begins_again_at_the_change(bundles: Path) -> None:
    course = replace(COURSE, change="supply")
    opened = open_plan(plan(bundles, shots=2))
    result = drive_all(course, 2, *first(opened))
    assert result.refusals["maml"] == ("", "", "", "")
    assert opened.contest.policies["maml"].state("shots") == 2.0  # since the change
    short = drive_all(Course(4.0, "supply", 2.0), 2, *first(opened))
    assert short.refusals["maml"] == ("",) * 4
    unadapted = drive_all(course, 0, *first(opened))
    assert unadapted.curves["maml"] == unadapted.curves["robust"]
    assert result.curves["maml"] != unadapted.curves["maml"]
    assert "maml" not in unadapted.refusals


def test_nothing_is_learned_from_a_joint_that_is_pressed_against_its_stop(bundles: Path) -> None:
    """Where its polarity has flipped it runs there within the first window, and the second has nothing but that."""
    opened = open_plan(plan(bundles, shots=2))
    *before, pressed = drive_all(COURSE, 2, *first(opened)).refusals["maml"]
    assert before == ["", "", ""]
    assert "no sensor answers to actions of 100% of full scale" in pressed
    assert opened.contest.policies["maml"].state("shots") == 1.0


def test_a_stretch_too_short_for_a_window_is_driven_without_a_step(bundles: Path) -> None:
    opened = open_plan(plan(bundles))
    opened.contest.shots = {**opened.contest.shots, "maml": 4}
    result = drive_all(Course(2.0), 4, *first(opened))  # 201 ticks, and a window takes 63
    assert result.refusals["maml"] == ("", "", "", "there is no time for a window")


def test_an_oracle_is_told_the_new_truth(bundles: Path) -> None:
    opened = open_plan(plan(bundles))
    result = drive_all(Course(4.0, "supply", 2.0), 1, *first(opened))
    told = opened.contest.policies["oracle"].state("task")
    assert told == pytest.approx([result.after["voltage"], result.after["delay"]])
    assert result.after["voltage"] == pytest.approx(SAGGED * result.before["voltage"])


def test_the_pid_tests_the_sign_before_and_again_where_its_error_stays_large(
    tiny: ModuleType, tmp_path: Path
) -> None:
    base = tiny.without_adapt(tiny.manifest())
    gains = base.baselines["pid"] | {"sign_test": 1.0}
    family = tiny.servos("miswired", polarity=[-1.0, -1.0])
    manifest = replace(base, family=family, baselines={"pid": gains})
    path = tiny.write_tiny(tmp_path / "robust.acclimate", manifest)
    found = evaluate_over_time(Plan(path, ServoFleet((MX64,)), (), machines=2), COURSE)
    errors = {p.span: p.figure.mean for p in summary(found) if p.controller == "pid" and p.group == "all"}
    assert errors[Span("start", 0.0, 0.5)] < 0.1  # no pulses of the sign test in it
    assert errors[Span("change", 0.0, 0.5)] > 1.0  # driven away, with the sign that was right
    assert errors[Span("change", 1.0, 3.0)] < 0.1


def test_numbers_do_not_depend_on_the_number_of_processes(bundles: Path, results: Courses) -> None:
    assert evaluate_over_time(plan(bundles), COURSE, jobs=2) == results


def test_who_is_the_main_bundle_changes_no_number(bundles: Path, results: Courses) -> None:
    others = tuple(bundles / f"{name}.acclimate" for name in ("tiny", "robust", "oracle"))
    turned = evaluate_over_time(plan(bundles, bundle=bundles / "rl2.acclimate", against=others), COURSE)
    assert [m.judged for m in turned.machines] == [m.judged for m in results.machines]


def made(number: int, **errors: float) -> CourseResult:
    """A machine on which every controller has the same error in every span but the last, where it is doubled."""
    bins, spans = len(COURSE.bins()), len(COURSE.judged())
    judged = {
        name: tuple({"error": e * (2.0 if i == spans - 1 else 1.0), "chatter": 0.5} for i in range(spans))
        for name, e in errors.items()
    }
    curves = {name: (e,) * bins for name, e in errors.items()}
    return CourseResult(
        "A", number, {"wired": 1.0}, {"wired": -1.0}, curves, judged, {"maml": ("", "too long")}
    )


MADE = Courses(
    replace(SLED, metrics=SLED.metrics[:2]),
    "wide",
    7,
    "onnxruntime",
    COURSE,
    (made(0, robust=0.4, rl2=0.2, maml=0.5, oracle=0.1), made(1, robust=0.6, rl2=0.2, maml=0.5, oracle=0.1)),
)


def test_points_are_means_over_devices() -> None:
    found = {(p.group, p.controller, p.span): p.figure for p in [*curves(MADE), *summary(MADE)]}
    assert len(found) == 2 * 4 * (len(COURSE.bins()) + len(COURSE.judged()))
    point = found["all", "robust", Span("start", 0.0, 0.5)]
    assert (point.mean, point.n) == (pytest.approx(0.5), 2)
    assert point.high == pytest.approx(0.5 + 12.706204736 * 0.1)  # t(0.975, 1)·s/√2, s = 0.1·√2
    assert found["A", "rl2", COURSE.judged()[-1]].mean == pytest.approx(0.4)


def test_the_gap_is_that_of_the_same_span() -> None:
    found = {(s.controller, s.span): s.share for s in gap_closed(MADE)}
    assert set(found) == {(name, span) for name in ("rl2", "maml") for span in COURSE.judged()}
    assert found["rl2", Span("change", 1.0, 2.0)] == pytest.approx((0.5 - 0.2) / 0.4)
    assert found["maml", Span("start", 1.0, 2.0)] == pytest.approx(0.0)
    alone = replace(MADE, machines=(made(0, rl2=0.2),))
    assert {s.share for s in gap_closed(alone)} == {None}


def test_the_tree_is_json_and_the_table_says_the_shares() -> None:
    assert json.loads(json.dumps(tree(MADE), allow_nan=False)) == tree(MADE)
    text = "\n".join(table(MADE))
    assert "6 s of driving, polarity after 3 s" in text
    assert "75% of the gap" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--seconds", "1"), "seconds must be from 2 to 3600, found 1"),
        (("--seconds", "nan"), "seconds must be from 2 to 3600, found nan"),
        (("--change", "supply", "--change-at", "23"), "change_at must leave at least 2 s"),
        (("--change", "supply", "--change-at", "nan"), "change_at must leave at least 2 s"),
        (("--change-at", "3"), "--change-at says when, and --change what happens"),
        (("--change", "fire"), "valid: payload, polarity, supply"),
    ],
)
def test_bad_arguments_end_in_one_sentence(
    here: Acclimate, bundles: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = here("evaluate", bundles / "tiny.acclimate", "--servo", "MX-64", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command(acclimate: Acclimate, bundles: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    done = acclimate(
        "evaluate", bundles / "rl2.acclimate", "--servo", "MX-64", "--devices", "1", "--jobs", "1",
        "--change", "payload", "--seconds", "4", "--output", output,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "4 s of driving, payload after 2 s" in done.stdout
    report = json.loads(output.read_text())
    assert report["change_at"] == 2.0
    assert report["machines"][0]["after"]["gravity"] == 0.0 < report["machines"][0]["before"]["gravity"]
    assert {p["controller"] for p in report["curves"]} == {"pid", "rl2", "robust", "oracle"}
