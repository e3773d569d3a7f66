"""docs/choosing.md says of each method what the record of `transfer_shots` says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from acclimate_transfer.methods import METHODS

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "benchmarks" / "results" / "transfer_shots.json"
PAGE = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
FAMILY = "servo_wide"
# Columns of the page's table, the method first, by the figures of the record and the decimals that are shown.
COLUMNS = {
    "shot_0": 4, "shot_1": 4, "shot_5": 4, "outside.shot_5": 4, "chatter": 2, "window_s": 2, "act_us": 0, "adapt_ms": 1,
    "state_bytes": 0,
}  # fmt: skip


def rows() -> dict[str, list[str]]:
    """The cells of each method's row."""
    found = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.partition("## Measured")[2], re.MULTILINE)
    return {name: re.split(r" *\| *", cells) for name, cells in found}


@pytest.mark.skipif(not RECORD.is_file(), reason="`make bench NAME=transfer_shots` has not been recorded")
def test_every_figure_is_that_of_the_record() -> None:
    figures = json.loads(RECORD.read_text(encoding="utf-8"))["figures"]
    assert list(rows()) == list(
        dict.fromkeys(name.split(".")[1] for name in figures if name.startswith(FAMILY))
    )
    for method, cells in rows().items():
        for (name, decimals), cell in zip(COLUMNS.items(), cells, strict=False):
            figure = figures.get(f"{FAMILY}.{method}.{name}")
            value = figure["mean"] if isinstance(figure, dict) else figure
            assert cell == ("" if value is None else f"{value:.{decimals}f}"), (method, name)


def test_who_needs_a_reward() -> None:
    for method, cells in rows().items():
        assert cells[len(COLUMNS)] == ("yes" if METHODS[method].rewarded else "no"), method
