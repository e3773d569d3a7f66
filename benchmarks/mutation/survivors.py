"""Bugs that the tests do not find, and why: benchmarks/mutation/explained.toml has a reason for each that is known.

[[explained]]
module = "acclimate.control.pacer"
bug = "Pacer.wait: a < b -> a <= b"       # as the report of the benchmark names it
equivalent = true                          # it changes nothing that anybody could see, here or on any machine
why = "…"
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from acclimate.text_files import read_toml

_FILE = Path(__file__).parent / "explained.toml"


class Explanation(NamedTuple):
    """equivalent: whether no test could find it."""

    equivalent: bool
    why: str


def explanations() -> dict[tuple[str, str], Explanation]:
    """By module and bug."""
    rows = read_toml(_FILE).get("explained", [])
    return {(row["module"], row["bug"]): Explanation(row["equivalent"], row["why"]) for row in rows}
