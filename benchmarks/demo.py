"""The demo, as `make demo` runs it: how long it takes, what it finds, and the picture of the README.

Works in runs/bench/demo, from the start each time.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from acclimate.errors import DeviceFault
from acclimate.fields import Json
from acclimate.stats import Interval
from acclimate_demo.finish import SHOWN
from acclimate_demo.jobs import ACCLIMATE
from acclimate_demo.report import ALL, mapping, number, rows_of

from benchmarks.harness import Figure
from benchmarks.harness.plots import keep_plot

FOLDER = Path("runs/bench/demo")


def run(seed: int) -> Mapping[str, Figure]:
    """The demo's wall time, s; per family, controller and number of steps its error, rad, and its chatter."""
    out = FOLDER / f"seed{seed}"
    shutil.rmtree(out, ignore_errors=True)
    command = [*ACCLIMATE, "demo", "--out", str(out), "--seed", str(seed)]
    code = subprocess.run(command, check=False).returncode
    if code != 0:
        raise DeviceFault(f"the demo ended with exit code {code}; see its output above")
    shown: dict[str, Json] = json.loads((out / SHOWN).read_text(encoding="utf-8"))
    keep_plot("demo", {name: shown[name] for name in ("metric", "unit", "traces", "machines")})
    figures: dict[str, Figure] = {"wall_s": number(shown["wall_s"])}
    for row in rows_of(shown, "rows"):
        if row["machine"] == ALL:
            name = f"{row['family']}.{row['controller']}.{row['shots']}".replace(" ", "_")
            figures[f"error.{name}"] = _interval(row)
            figures[f"chatter.{name}"] = _interval(mapping(mapping(row["beside"])["chatter"]))
    return figures


def _interval(of: Mapping[str, Json]) -> Interval:
    return Interval(number(of["mean"]), number(of["low"]), number(of["high"]), int(number(of["n"])))
