"""What counts as a shot, for policies that take steps, that remember, and that do neither."""

from __future__ import annotations

from pathlib import Path

import pytest
from acclimate_demo.shipped import shipped, shipped_bundle
from acclimate_transfer import scoring
from acclimate_transfer.families import parse_place
from acclimate_transfer.kept import keep, kept
from acclimate_transfer.scoring import Question, board_of, score
from acclimate_transfer.sets import OUTSIDE, TEST, TRAINING, Sets

pytestmark = pytest.mark.skipif(not shipped(), reason="`make bundles` has not been run")
MISWIRED = parse_place("servo:preset=miswired")
WINDOW = 8.0  # s, that of MAML on servos


def question(name: str, *shots: int, machines: int = 3) -> Question:
    bundle = shipped_bundle(f"servo_miswired_{name}")
    return Question(bundle, Sets(MISWIRED, MISWIRED, 0), machines, shots, WINDOW, seed=0)


def errors(asked: Question, of_set: str = TEST) -> dict[int, float]:
    """The mean error by shots."""
    found = score(asked, of_set)
    return {k: sum(machine[k]["error"] for machine in found) / len(found) for k in asked.shots}


def test_what_takes_steps_is_better_after_one_and_stays_where_it_has_no_more() -> None:
    found = errors(question("maml", 0, 1, 2, 3))
    assert found[1] < 0.5 * found[0]
    assert found[3] == found[2] != found[1]  # its bundle allows two


def test_what_remembers_is_better_when_it_has_driven_before() -> None:
    found = errors(question("rl2", 0, 1))
    assert found[1] < found[0]


def test_what_does_neither_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = list[float]()
    whole = scoring._measured
    monkeypatch.setattr(
        scoring, "_measured", lambda c, policy, place, s: measured.append(s) or whole(c, policy, place, s)
    )
    found = errors(question("robust", 0, 1, 5, machines=2))
    assert measured == [0.0, 0.0]  # on each machine
    assert found[0] == found[1] == found[5]


def test_every_number_of_shots_begins_anew() -> None:
    """What is measured after some shots is the same, whatever else is measured."""
    assert errors(question("rl2", 1, machines=2))[1] == errors(question("rl2", 0, 1, machines=2))[1]


def test_the_oracle_is_told_what_is_true_of_machines_of_every_set() -> None:
    for of_set in (TRAINING, TEST):
        assert errors(question("rl2_oracle", 0), of_set)[0] < 0.03


def test_what_a_board_pays() -> None:
    found = board_of(shipped_bundle("servo_miswired_maml"))
    assert found.window_s == WINDOW
    assert found.adapt_ms is not None
    assert board_of(shipped_bundle("servo_miswired_robust")).adapt_ms is None


def test_scores_are_kept_for_the_same_question_only(tmp_path: Path) -> None:
    asked, run = question("robust", 0, machines=1), tmp_path / "run"
    found = score(asked, TEST)
    keep(run, TEST, asked, found)
    assert kept(run, TEST, asked) == found
    assert kept(run, OUTSIDE, asked) is None
    assert kept(run, TEST, asked._replace(machines=2)) is None
    assert kept(run, TEST, asked._replace(bundle=shipped_bundle("servo_miswired_maml"))) is None
    (tmp_path / f"run_{TEST}.json").write_text("{", encoding="utf-8")
    assert kept(run, TEST, asked) is None
