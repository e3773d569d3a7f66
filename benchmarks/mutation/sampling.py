"""A seeded sample of bugs under the tests that concern them, and the figures of it.

What was tried is kept in runs/bench/mutants, by the very source and tests: the same command goes on where it was
interrupted, and tries anew only what has changed since.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from acclimate.atomic import write_atomically
from acclimate.cores import usable_cores
from acclimate.fields import Json
from acclimate.json_text import json_text

from benchmarks.harness import Figure
from benchmarks.mutation import trial
from benchmarks.mutation.operators import Bug, count, plant
from benchmarks.mutation.subjects import GROUPS, ROOT, Subject
from benchmarks.mutation.survivors import Explanation, explanations
from benchmarks.mutation.trial import Outcome

SAMPLE = 150  # bugs of each group
_JOURNAL = ROOT / "runs" / "bench" / "mutants" / "tried.jsonl"
_RESULTS = ROOT / "benchmarks" / "results"


class Planted(NamedTuple):
    """A bug in its module, and what the tests said."""

    subject: Subject
    bug: Bug
    outcome: Outcome


def killed(name: str, groups: Sequence[str], seed: int) -> Mapping[str, Figure]:
    """The figures of these groups; their survivors go into results/NAME.survivors.json."""
    trial.prepare()
    tried = {group: _tried(_sample(GROUPS[group], seed), group) for group in groups}
    known, figures, rows = explanations(), dict[str, Figure](), list[Json]()
    for group, found in tried.items():
        alive = [each for each in found if each.outcome.verdict == "survived"]
        reasons = [known.get((each.subject.module, each.bug.name)) for each in alive]
        equivalent = sum(reason is not None and reason.equivalent for reason in reasons)
        figures |= {
            f"killed_share.{group}": (len(found) - len(alive)) / max(len(found) - equivalent, 1),
            f"bugs.{group}": len(found),
            f"survivors.{group}": len(alive),
            f"equivalent.{group}": equivalent,
            f"unexplained.{group}": sum(reason is None for reason in reasons),
        }
        rows += [_row(group, each, reason) for each, reason in zip(alive, reasons, strict=True)]
    write_atomically(_RESULTS / f"{name}.survivors.json", (json_text(rows) + "\n").encode())
    return figures


def _sample(subjects: list[Subject], seed: int) -> list[tuple[Subject, Bug]]:
    """Of all bugs that there could be, each as likely as any other."""
    every = [(subject, number) for subject in subjects for number in range(count(subject.source))]
    chosen = random.Random(seed).sample(every, min(SAMPLE, len(every)))
    return [(subject, plant(subject.source, number)) for subject, number in chosen]


def _tried(bugs: list[tuple[Subject, Bug]], group: str) -> list[Planted]:
    """Every bug under its tests, as many at a time as there are processors. Raises as `trial.without_bug`."""
    journal = _Journal(_JOURNAL)
    new = [(subject, bug) for subject, bug in bugs if journal.outcome(subject, bug) is None]
    by_tests = {subject.tests: subject for subject, _ in new}

    def judge(task: tuple[Subject, Bug]) -> None:
        subject, bug = task
        journal.note(subject, bug, trial.with_bug(subject, bug.source, limits[subject.tests]))

    with ThreadPoolExecutor(usable_cores()) as pool:
        limits = dict(zip(by_tests, pool.map(trial.without_bug, by_tests.values()), strict=True))
        for number, _ in enumerate(pool.map(judge, new), 1):
            print(f"{group}: {number} of {len(new)} bugs tried", file=sys.stderr, flush=True)
    return [Planted(subject, bug, journal.known(subject, bug)) for subject, bug in bugs]


class _Journal:
    """What was tried, a line each, by a hash of the module with the bug and of its tests."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes = dict(_lines(path))

    def outcome(self, subject: Subject, bug: Bug) -> Outcome | None:
        return self._outcomes.get(_key(subject, bug))

    def known(self, subject: Subject, bug: Bug) -> Outcome:
        return self._outcomes[_key(subject, bug)]

    def note(self, subject: Subject, bug: Bug, outcome: Outcome) -> None:
        key = _key(subject, bug)
        self._outcomes[key] = outcome
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = {"key": key, "module": subject.module, "bug": bug.name, **outcome._asdict()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _lines(path: Path) -> Iterator[tuple[str, Outcome]]:
    """All whole ones: the last may have been cut off."""
    for line in path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []:
        found = json.loads(line)
        yield found["key"], Outcome(found["code"], found["seconds"])


def _key(subject: Subject, bug: Bug) -> str:
    content = [bug.source.encode(), *((ROOT / test).read_bytes() for test in subject.tests)]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in content)).hexdigest()


def _row(group: str, planted: Planted, reason: Explanation | None) -> Json:
    subject, bug, _ = planted
    return {
        "group": group,
        "module": subject.module,
        "line": bug.line,
        "bug": bug.name,
        "equivalent": reason.equivalent if reason else False,
        "why": reason.why if reason else "nobody has looked at it yet",
    }
