"""Quadrotors: one small policy flies all of them, beside RAPTOR's, in the simulator that RAPTOR was trained in.

Hovering at 0 for 5 s, from starts as in training, judged over the last 2.5 s: without and with noise and delay. Then
what neither was chosen for: a figure eight, other control rates, and drones outside the ranges of both trainings.
Ours is the bundle that ships; RAPTOR's is the one that its authors published (`foundation-policy`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from acclimate.bundle.file import load
from acclimate.stats import Interval, mean_interval
from acclimate_export.bundle.trained import from_bundle
from acclimate_trainer.tasks.quadrotor.family import QuadrotorFamily

from benchmarks._flights import NEAR, Course, Flown, Ours, Theirs, figure_eight, fly
from benchmarks._l2f import raptor
from benchmarks.bundles.making import read_record
from benchmarks.harness import Figure

BUNDLE = Path("examples/bundles/quadrotor_rl2.acclimate")
DRONES, FEWER = 1024, 128  # of the first two courses, and of each of the others

FAMILY = QuadrotorFamily(drag=(0.0, 0.0), delay=(0.0, 0.0), noise=(0.0, 0.0))
SLUGGISH = replace(FAMILY, torque_to_inertia=(25.0, 40.0), rise=(0.10, 0.15), fall=(0.30, 0.45))
NERVOUS = replace(FAMILY, thrust_to_weight=(5.0, 8.0), torque_to_inertia=(1200.0, 2400.0))
NOMINAL = Course(FAMILY)
EIGHT = replace(NOMINAL, seconds=11.0, judged=5.5, target=figure_eight(5.5, 0.5))
COURSES = {
    "nominal": NOMINAL,
    "noise_and_delay": replace(NOMINAL, noise=1.0, delays=True),
}
FURTHER = {
    "figure_eight": EIGHT,
    "figure_eight_noise_and_delay": replace(EIGHT, noise=1.0, delays=True),
    "rate_50": replace(NOMINAL, dt=0.02),
    "rate_200": replace(NOMINAL, dt=0.005),
    "outside_sluggish": replace(NOMINAL, family=SLUGGISH),
    "outside_nervous": replace(NOMINAL, family=NERVOUS),
}


def run(seed: int) -> Mapping[str, Figure]:
    """COURSE.FIGURE of ours, and raptor.COURSE.FIGURE; `error_over_raptor`: medians, ours over RAPTOR's."""
    torch.set_num_threads(1)
    trained = from_bundle(load(BUNDLE))
    ours, theirs = Ours(trained), Theirs(raptor())
    out: dict[str, Figure] = {"parameters": ours.parameters, "train_s": _trained_in()}
    for name, course in (COURSES | FURTHER).items():
        drones = DRONES if name in COURSES else FEWER
        found = {who: fly(one, course, drones, seed) for who, one in (("", ours), ("raptor.", theirs))}
        for who, flown in found.items():
            out |= {f"{who}{name}.{figure}": value for figure, value in _figures(flown)}
        medians = [float(np.median(flown.rmse)) for flown in found.values()]
        out[f"{name}.error_over_raptor"] = medians[0] / medians[1]
    return out


def _figures(flown: Flown) -> Iterator[tuple[str, float | Interval]]:
    yield "within_half_metre", float((flown.farthest < NEAR).mean())
    yield "rmse_median", float(np.median(flown.rmse))
    yield "rmse_p90", float(np.quantile(flown.rmse, 0.9))
    yield "change_per_tick", mean_interval(flown.change.tolist())


def _trained_in() -> float:
    """Seconds that the training of the bundle took, as was recorded when it was made."""
    entry = read_record()["quadrotor_rl2"]
    assert isinstance(entry, dict)
    seconds = entry["training_s"]
    assert isinstance(seconds, float)
    return seconds
