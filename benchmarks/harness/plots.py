"""What a picture of docs/ shows beyond a benchmark's figures, kept beside them: `make pictures` draws it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from acclimate.atomic import write_atomically
from acclimate.fields import Json

FOLDER = Path(__file__).parents[1] / "results"


def keep_plot(name: str, shown: Mapping[str, Json]) -> None:
    """Write benchmarks/results/NAME.plot.json."""
    write_atomically(FOLDER / f"{name}.plot.json", (json.dumps(shown, separators=(",", ":")) + "\n").encode())
