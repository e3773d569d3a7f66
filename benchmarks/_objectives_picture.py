"""The picture of servo objectives: error against energy as the weights move, and a change of them in mid-drive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from matplotlib.figure import Figure as Picture

DT = 0.01  # s


class Point(NamedTuple):
    """Means over devices: energy is the mean square duty, error the RMS in rad."""

    label: str
    energy: float
    error: float


class Switch(NamedTuple):
    """One drive: obs (steps + 1, n_obs), applied (steps, 1), and the tick whose command the change followed."""

    obs: FloatArray
    applied: FloatArray
    at: int
    before: str
    after: str


def draw(zero_shot: Sequence[Point], alone: Sequence[Point], switch: Switch, path: Path) -> None:
    """Write a PNG."""
    picture = Picture(figsize=(11, 4.2), layout="constrained")
    left, right = picture.subplots(1, 2)
    shown = [p for p in alone if "quiet" not in p.label]
    for points, style, name in (
        (zero_shot, "o-", "one policy, w moved: zero-shot"),
        (shown, "rx", "trained for that w alone"),
    ):
        left.plot([p.energy for p in points], [p.error for p in points], style, label=name)
        for point in points[::2] if points is zero_shot else points:
            place = (point.energy, point.error)
            left.annotate(_price(point), place, xytext=(6, 4), textcoords="offset points", fontsize=8)
    left.set(xlabel="energy: mean square duty", ylabel="RMS tracking error, rad", yscale="log",
             title="Servos never trained on, driven for accurate=1, frugal=λ")  # fmt: skip
    left.grid(alpha=0.3, which="both")
    left.legend()
    span = slice(max(switch.at - 150, 0), switch.at + 150)
    time = (np.arange(len(switch.applied)) - switch.at) * DT
    right.plot(time[span], switch.applied[span, 0], lw=0.9, label="duty")
    right.plot(time[span], switch.obs[:-1][span, 0], lw=1.2, label="position, rad")
    right.plot(time[span], switch.obs[:-1][span, 2], "k--", lw=0.8, label="target, rad")
    right.axvline(0.0, color="r", lw=0.8)
    right.set(xlabel="s since w was changed", title=f"{switch.before}  →  {switch.after}")
    right.grid(alpha=0.3)
    right.legend(loc="lower left")
    picture.savefig(path, dpi=120, metadata={"Software": None})


def _price(point: Point) -> str:
    """λ, what energy costs."""
    return f"λ={point.label.partition('frugal=')[2] or '0'}"
