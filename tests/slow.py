"""Which tests take long, as measured: `make test-fast` leaves these out, and `make test` begins with the longest.

`make test ARGS=--junitxml=report.xml` and then `python -m tests.slow report.xml` writes slow.txt anew. Tests that are
younger than it count as quick, unless they are marked `slow`.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

FILE = Path(__file__).with_suffix(".txt")
LIMIT = 0.4  # s that a test takes, with all its parameters


def name_of(nodeid: str) -> str:
    """Without parameters: a test that has one more of them is no other test."""
    return nodeid.partition("[")[0]


def slow_tests() -> dict[str, float]:
    """How long each takes, in s: with those of its parameters with which it takes longest."""
    lines = (line.split(maxsplit=1) for line in FILE.read_text(encoding="utf-8").splitlines())
    return {name: float(seconds) for seconds, name in lines}


def measured(report: Path) -> dict[str, float]:
    """As `slow_tests`: what took longer than LIMIT, fixtures that a test was the first to need included."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        *packages, last = str(case.get("classname")).split(".")
        inside = [last] if last[0].isupper() else []  # a class of tests
        file = "/".join([*packages, *([] if inside else [last])]) + ".py"
        name = "::".join([file, *inside, name_of(str(case.get("name")))])
        took[name].append(float(case.get("time") or 0.0))
    return {name: max(each) for name, each in sorted(took.items()) if sum(each) > LIMIT}


if __name__ == "__main__":
    lines = [f"{seconds:.1f} {name}" for name, seconds in measured(Path(sys.argv[1])).items()]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
