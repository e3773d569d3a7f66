"""Which tests take long, as measured: `make test-fast` leaves these out, and `make test` begins with them.

`make test ARGS=--junitxml=report.xml` and then `python -m tests.slow report.xml` writes slow.txt anew. Tests that are
younger than it count as quick, unless they are marked `slow`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

FILE = Path(__file__).with_suffix(".txt")
LIMIT = 0.4  # s that a test takes, with all its parameters


def name_of(nodeid: str) -> str:
    """Without parameters: a test that has one more of them is no other test."""
    return nodeid.partition("[")[0]


def slow_tests() -> frozenset[str]:
    return frozenset(FILE.read_text(encoding="utf-8").split())


def measured(report: Path) -> Iterator[str]:
    """Names of tests that took longer than LIMIT, fixtures that they were the first to need included."""
    seconds: Counter[str] = Counter()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        *packages, last = str(case.get("classname")).split(".")
        inside = [last] if last[0].isupper() else []  # a class of tests
        file = "/".join([*packages, *([] if inside else [last])]) + ".py"
        seconds["::".join([file, *inside, name_of(str(case.get("name")))])] += float(case.get("time") or 0.0)
    return (name for name, took in sorted(seconds.items()) if took > LIMIT)


if __name__ == "__main__":
    FILE.write_text("\n".join(measured(Path(sys.argv[1]))) + "\n", encoding="utf-8")
