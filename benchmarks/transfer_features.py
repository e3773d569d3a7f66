"""Frozen features on servos of preset wide: how much a head must be able to know. The width of the frozen layer from
one upwards, five trainings of each; the head refitted on simulated devices, whose friction is not that of training, by
the exported `adapt` from one window of 4 s, and from two.

Works in runs/bench/transfer_features, and goes on there where it was interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from acclimate.fields import Json
from acclimate.stats import Floats, clustered_interval
from acclimate_bridge.api import evaluate
from acclimate_bridge.evaluation.evaluation import Results
from acclimate_export.command.export import export
from acclimate_trainer.api import train

from benchmarks.harness import Figure
from benchmarks.harness.plots import keep_plot

CONFIG = "servo_wide_features"
FOLDER = Path("runs/bench/transfer_features")
SERVOS = ("MX-64", "MX-106", "XL-320")
WIDTHS = (1, 2, 4, 8)
SEEDS = 5
DEVICES = 4  # of each servo
MACHINES_SEED = 100  # as in the other benchmarks of servos
TRIED = 5  # configurations on XL330 and STS3215: slower fading, another layer, longer training


def run(seed: int) -> Mapping[str, Figure]:
    """WIDTH.error_K, rad, of tracking after K windows, over trainings and devices, and WIDTH.chatter_K.
    WIDTH.median_error_K and .largest_error_K of all of these: a few devices are lost, and make the mean.
    WIDTH.worse_by_10_percent: the share of devices that the first window left worse by more than a tenth.
    """
    figures: dict[str, Figure] = {"configurations": float(TRIED)}
    curve: dict[str, Json] = {}
    for width in WIDTHS:
        tables = [_evaluated(width, each) for each in range(seed, seed + SEEDS)]
        for name in tables[0]:
            figures[f"{width}.{name}"] = clustered_interval(np.stack([table[name] for table in tables]))
        errors = [np.stack([table[f"error_{k}"] for table in tables]) for k in range(3)]
        for k, each in enumerate(errors):
            figures[f"{width}.median_error_{k}"] = float(np.median(each))
            figures[f"{width}.largest_error_{k}"] = float(each.max())
        figures[f"{width}.worse_by_10_percent"] = clustered_interval(errors[1] > 1.1 * errors[0])
        curve[str(width)] = [float(np.median(each)) for each in errors]
    keep_plot("transfer_features", {"median_error": curve})
    return figures


def _evaluated(width: int, seed: int) -> Mapping[str, Floats]:
    """MEASURE_SHOTS on every device."""
    run = FOLDER / f"seed{seed}" / f"width{width}"
    path = run.with_suffix(".acclimate")
    if not path.is_file():
        changes = {"features.width": width, "classical": False}
        export(train(CONFIG, out=run, seed=seed, changes=changes).path, out=path, forms="onnx")
    jobs = len(os.sched_getaffinity(0))
    results = evaluate(path, servos=SERVOS, machines=DEVICES, seed=MACHINES_SEED, jobs=jobs).results
    assert isinstance(results, Results)
    return dict(_columns(results))


def _columns(results: Results) -> Iterator[tuple[str, Floats]]:
    for k in range(len(results.machines[0].figures[results.main])):
        for name in ("error", "chatter"):
            values = [machine.figures[results.main][k][name] for machine in results.machines]
            yield f"{name}_{k}", np.array(values, np.float64)
