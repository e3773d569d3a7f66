"""The demo's table over more seeds and more devices: each seed trains, exports and evaluates everything anew.

Works in runs/bench/servo_maml, one folder per seed, and goes on there if it was interrupted.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from acclimate.fields import Json
from acclimate.stats import mean_interval
from acclimate_demo.full import PRESETS, evaluate_preset, make_bundles
from acclimate_demo.report import mapping, number, rows_of

from benchmarks.harness import Figure

SEEDS = 3
DEVICES = 32  # per servo and seed
FOLDER = Path("runs/bench/servo_maml")


def run(seed: int) -> Mapping[str, Figure]:
    """Per preset: PRESET.CONTROLLER.SHOTS, mean RMS error in rad over all devices of all seeds, and chatter.…; the
    share of the robust-to-oracle gap closed, over seeds; the share of devices left worse than before, over seeds."""
    cores = len(os.sched_getaffinity(0))
    samples: dict[str, list[float]] = defaultdict(list)
    for number_ in range(seed, seed + SEEDS):
        out = FOLDER / f"seed{number_}"
        make_bundles(out, number_, cores)
        for preset in PRESETS:
            _collect(samples, preset.name, evaluate_preset(out, preset.name, number_, DEVICES, cores))
    return {name: mean_interval(values) for name, values in samples.items()}


def _collect(samples: dict[str, list[float]], preset: str, report: Mapping[str, Json]) -> None:
    for machine in rows_of(report, "machines"):
        for controller, stages in mapping(machine["figures"]).items():
            assert isinstance(stages, list)
            for k, figures in enumerate(stages):
                samples[f"{preset}.{controller}.{k}"].append(number(mapping(figures)["error"]))
                samples[f"chatter.{preset}.{controller}.{k}"].append(number(mapping(figures)["chatter"]))
    for shots, share in mapping(mapping(report["gap_closed"])[f"servo {preset}"]).items():
        samples[f"gap_closed.{preset}.{shots}"].append(number(share))
    for shots, tail in mapping(mapping(report["tail"])[f"servo {preset}"]).items():
        samples[f"share_worse.{preset}.{shots}"].append(number(mapping(tail)["share_worse"]))
