"""Bugs that are planted are bugs, one at a time; and tests that see them say so."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from benchmarks.harness import BenchmarkError
from benchmarks.mutation import trial
from benchmarks.mutation.child import SITE
from benchmarks.mutation.operators import count, names, plant
from benchmarks.mutation.subjects import GROUPS, ROOT, Subject
from benchmarks.mutation.survivors import explanations

T = TypeVar("T")
SUBJECTS = [subject for subjects in GROUPS.values() for subject in subjects]
SMALL = '''
"""A text with 1 + 1 in it."""
from typing import TYPE_CHECKING, TypeAlias
if TYPE_CHECKING:
    X = 1
Y: TypeAlias = int | float

class A:
    def __init__(self) -> None:
        self.n = 1

    def __repr__(self) -> str:
        return "1" if 1 < 2 else "2"

    @property
    def f(self, x: int = 3) -> bool:
        """1 < 2."""
        self.n += 1
        if x < 2 and not self.n:
            raise ValueError(f"{x + 1}")
        for a, b in zip([1.5], dict(strict=True), strict=True):
            self.path = a / "name" / f"{b}" / b
        return x is not None
'''


def test_what_can_be_planted() -> None:
    assert names(SMALL) == [plant(SMALL, i).name for i in range(count(SMALL))]
    assert names(SMALL) == [
        "A.__init__: 1 -> 2",
        "A.f: self.n += 1 -> (nothing)",
        "A.f: 3 -> 4",
        "A.f: 1 -> 2",
        "A.f: x < 2 and (not self.n) -> not (x < 2 and (not self.n))",
        "A.f: raise ValueError(f'{x + 1}') -> (nothing)",
        "A.f: x < 2 and (not self.n) -> x < 2 or not self.n",
        "A.f: x < 2 -> x <= 2",
        "A.f: 2 -> 3",
        "A.f: self.path = a / 'name' / f'{b}' / b -> (nothing)",
        "A.f: 1.5 -> 2.5",
        "A.f: a / 'name' / f'{b}' / b -> a / 'name' / f'{b}' * b",
        "A.f: x is not None -> x is None",
    ]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.module)
def test_every_bug_is_one_change_that_python_takes(subject: Subject) -> None:
    whole = ast.unparse(ast.parse(subject.source)).splitlines()
    total = count(subject.source)
    for number in range(0, total, max(total // 8, 1)):
        bug = plant(subject.source, number)
        changed = bug.source.splitlines()
        compile(bug.source, subject.module, "exec")
        assert changed != whole
        same_head = next(
            (i for i, (a, b) in enumerate(zip(whole, changed, strict=False)) if a != b), len(whole)
        )
        backwards = zip(reversed(whole), reversed(changed), strict=False)
        same_tail = next((i for i, (a, b) in enumerate(backwards) if a != b), 0)
        assert len(whole) - same_head - same_tail <= 4
    assert all(Path(ROOT / test).is_file() for test in subject.tests)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """`acclimate.cores`, with a test that sees what it does, here and in a process that it starts."""
    test = tmp_path / "test_it.py"
    test.write_text(
        "import os, subprocess, sys\n"
        "from acclimate.cores import usable_cores\n"
        "def test_it():\n"
        "    assert usable_cores() == len(os.sched_getaffinity(0))\n"
        "    code = 'from acclimate.cores import usable_cores; print(usable_cores())'\n"
        "    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)\n"
        "    assert int(done.stdout) == usable_cores()\n"
    )
    return Subject("acclimate.cores", ROOT / "runtime/acclimate/cores.py", (str(test),))


@pytest.mark.slow
def test_a_bug_is_killed_by_a_test_that_sees_it_and_by_one_that_does_not_end(subject: Subject) -> None:
    trial.prepare()
    limit = trial.without_bug(subject)
    assert limit.seconds >= 60.0
    same = trial.with_bug(subject, subject.source, limit)
    assert (same.verdict, same.code) == ("survived", 0)
    other = trial.with_bug(subject, subject.source.replace("len(", "1 + len("), limit)
    assert (other.verdict, other.code) == ("killed", 1)
    endless = "import time\n\ndef usable_cores():\n    while True: time.sleep(0.1)\n"
    late = trial.with_bug(subject, endless, limit._replace(seconds=5.0))
    assert (late.verdict, late.code) == ("killed", None)
    busy = trial.with_bug(subject, endless.replace("time.sleep(0.1)", "pass"), limit._replace(busy=5))
    assert (busy.verdict, busy.code) == ("killed", -signal.SIGKILL)
    broken = Subject(subject.module, subject.path, (*subject.tests, "no_such_test.py"))
    with pytest.raises(BenchmarkError, match=r"the tests of acclimate\.cores fail without a bug"):
        trial.without_bug(broken)


@pytest.mark.slow
def test_a_test_without_an_end_ends_with_whoever_runs_it(subject: Subject, tmp_path: Path) -> None:
    running, runner = tmp_path / "running", tmp_path / "runner.py"
    Path(subject.tests[0]).write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "def test_it():\n"
        f"    Path({str(running)!r}).write_text(f'{{os.getpid()}} ')\n"
        "    while True: time.sleep(0.1)\n"
    )
    runner.write_text(
        "from pathlib import PosixPath\n"
        "from benchmarks.mutation import trial\n"
        "from benchmarks.mutation.subjects import Subject\n"
        "if __name__ == '__main__':\n"
        f"    trial.with_bug({subject!r}, {subject.source!r}, trial.Limit(100.0, 100))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(runner)], env=environment) as process:
        pid = int(_soon(lambda: running.exists() and running.read_text()))
        process.kill()
    _soon(lambda: not Path(f"/proc/{pid}").exists())


def _soon(found: Callable[[], T]) -> T:
    """What is found, as soon as it is true."""
    for _ in range(600):
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("it did not happen within a minute")


def test_a_bug_reaches_the_processes_that_tests_start(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("def usable_cores():\n    return 1000\n")
    code = "from acclimate.cores import usable_cores; print(usable_cores())"
    environment = {**os.environ, "PYTHONPATH": str(SITE), "ACCLIMATE_BUG": f"acclimate.cores={planted}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "1000\n"


def test_every_explanation_is_of_a_bug_that_there_is() -> None:
    modules = {subject.module: subject for subject in SUBJECTS}
    named = {module: set(names(modules[module].source)) for module, _ in explanations()}
    for (module, bug), reason in explanations().items():
        assert bug in named[module]
        assert len(reason.why) > 20
