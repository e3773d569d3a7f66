"""What the benchmarks of servos share: every policy of a preset, trained anew with each of several seeds, on the same
held-out servos.

Trains and exports in runs/bench/servos, once for all of these benchmarks, and goes on there where it was interrupted.
A training, and not a servo, is what varies by luck: intervals are over trainings and servos, both drawn anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from acclimate.fields import Json
from acclimate.stats import Floats, Interval, clustered_interval, mean_interval
from acclimate_bridge.evaluation.rig import GUARDED
from acclimate_demo.jobs import Iterations, Job, run_jobs
from acclimate_demo.report import mapping, number, rows_of

from benchmarks.harness import Figure

SERVOS = ("MX-64", "MX-106", "XL-320")  # what is judged on; every choice is made on others
SEEDS = 5
DEVICES = 24  # of each servo
MACHINES_SEED = 100  # of the servos, their references and their noise: the same for all trainings
PRESETS = ("wide", "miswired")
POLICIES = ("maml", "rl2", "rl2_oracle", "robust")
CORES = len(os.sched_getaffinity(0))
FOLDER = Path("runs/bench/servos")
_TENTH = 1.1  # of what it was: worse by more than that counts


@dataclass(frozen=True)
class Trained:
    """A policy of a preset, as one seed has trained it."""

    preset: str
    name: str
    seed: int

    @property
    def config(self) -> str:
        return f"servo_{self.preset}_{self.name}"

    @property
    def run(self) -> Path:
        return FOLDER / f"seed{self.seed}" / self.config

    @property
    def bundle(self) -> Path:
        return self.run.with_suffix(".acclimate")

    def beside(self, *names: str) -> tuple[Trained, ...]:
        """The policies of these names, of the same preset and seed."""
        return tuple(Trained(self.preset, name, self.seed) for name in names)

    def log(self, verb: str) -> Path:
        return FOLDER / "logs" / f"{verb}_{self.run.name}_{self.seed}.txt"


def policies(
    seeds: Sequence[int], names: Sequence[str] = POLICIES, presets: Sequence[str] = PRESETS
) -> list[Trained]:
    """Train and export what is not there yet, side by side, and return all of it, by preset and seed."""
    wanted = [Trained(preset, name, seed) for preset in presets for seed in seeds for name in names]
    missing = [each for each in wanted if not each.bundle.is_file()]
    (FOLDER / "logs").mkdir(parents=True, exist_ok=True)
    run_jobs("training", [train_job(each) for each in missing], CORES)
    run_jobs("exporting", [export_job(each) for each in missing], CORES)
    return wanted


def train_job(each: Trained, *options: str) -> Job:
    """Its training."""
    arguments = ("train", each.config, "--seed", str(each.seed), "--out", str(each.run), *options)
    return Job(f"{each.config} {each.seed}", arguments, each.log("train"), Iterations(each.run))


def export_job(each: Trained) -> Job:
    """Its export, for one engine: all agree."""
    arguments = ("export", str(each.run), "--out", str(each.bundle), "--format", "onnx")
    return Job(f"{each.config} {each.seed}", arguments, each.log("export"))


def evaluated(main: Trained, others: Sequence[Trained], label: str, *options: str) -> dict[str, Json]:
    """The report of `acclimate evaluate` of a policy beside others.

    label: what the report is kept as; one that is there is not made again.
    """
    report = main.run.parent / f"{main.config}_{label}.json"
    if not report.is_file():
        against = [str(other.bundle) for other in others]
        arguments = (
            "evaluate", str(main.bundle), "--against", *against, "--servo", *SERVOS,
            "--seed", str(MACHINES_SEED), "--jobs", str(CORES), "--output", str(report),
            *options,
        )  # fmt: skip
        run_jobs(f"evaluating {main.config} {main.seed} {label}", [Job(label, arguments, main.log(label))], 1)
    found: dict[str, Json] = json.loads(report.read_text(encoding="utf-8"))
    return found


class Table:
    """The figures of all controllers on all servos, by training: what the reports of several seeds hold together."""

    def __init__(self, reports: Sequence[Mapping[str, Json]], machine: str | None = None) -> None:
        """machine: the end of the names of those that count; all if left out."""
        self._found: dict[str, list[list[Mapping[str, float]]]] = {}
        for report in reports:
            for name, row in _by_controller(report, machine).items():
                self._found.setdefault(name, []).append(row)

    def values(self, controller: str, measure: str) -> Floats:
        """(trainings, machines)"""
        return np.array([[f[measure] for f in row] for row in self._found[controller]], np.float64)

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """CONTROLLER.MEASURE of all, averaged over servos; and the error of the worst seed, and on the worst servo.

        The error of a servo is the root mean square over all of its episodes together.
        """
        for name, rows in self._found.items():
            for measure in rows[0][0]:
                values = self.values(name, measure)
                yield f"{name}.{measure}", clustered_interval(values)
                if measure == "error":
                    yield f"{name}.error_of_the_worst_seed", float(values.mean(1).max())
                    yield f"{name}.error_of_the_worst_servo", float(values.max())

    def gap_closed(self, controller: str, robust: str = "robust", oracle: str = "oracle") -> Interval:
        """Share of the robust-to-oracle gap of the mean error that it closes, over trainings."""
        errors = [self._mean(name) for name in (robust, controller, oracle)]
        return mean_interval((errors[0] - errors[1]) / (errors[0] - errors[2]))

    def regret(self, controller: str, oracle: str = "oracle") -> Interval:
        """By how much its mean error exceeds the oracle's, rad, over trainings."""
        return mean_interval(self._mean(controller) - self._mean(oracle))

    def worse_by_10_percent(self, before: str, after: str) -> Interval:
        """The share of servos that it leaves worse by more than a tenth, over trainings and servos."""
        return clustered_interval(self.values(after, "error") > _TENTH * self.values(before, "error"))

    def worst_by(self, before: str, after: str) -> float:
        """By how much at most, rad."""
        return float((self.values(after, "error") - self.values(before, "error")).max())

    def __contains__(self, controller: str) -> bool:
        return controller in self._found

    @property
    def controllers(self) -> tuple[str, ...]:
        return tuple(self._found)

    def _mean(self, controller: str) -> Floats:
        return np.asarray(self.values(controller, "error").mean(1), np.float64)


def compared(table: Table, adaptive: Sequence[str]) -> dict[str, Figure]:
    """All figures of a table; gap and regret of these controllers; and the tail of MAML, guarded or not."""
    out: dict[str, Figure] = dict(table.figures())
    for name in (each for each in adaptive if each in table):
        out[f"{name}.gap_closed"] = table.gap_closed(name)
        out[f"{name}.regret"] = table.regret(name)
    steps = [name for name in table.controllers if name.startswith("maml_") and name != "maml_0"]
    for name in steps:
        out[f"{name}.worse_by_10_percent"] = table.worse_by_10_percent("maml_0", name)
        out[f"{name}.worse_by_at_most"] = table.worst_by("maml_0", name)
    if GUARDED in table:
        out[f"{GUARDED}.worse_by_10_percent"] = table.worse_by_10_percent("maml_0", GUARDED)
    return out


def _by_controller(report: Mapping[str, Json], machine: str | None) -> dict[str, list[Mapping[str, float]]]:
    """CONTROLLER, or CONTROLLER_SHOTS where there are steps: its figures on every machine. Guarded: after the last."""
    found: dict[str, list[Mapping[str, float]]] = {}
    for row in rows_of(report, "machines"):
        if machine is not None and not str(row["machine"]).endswith(machine):
            continue
        for controller, stages in mapping(row["figures"]).items():
            assert isinstance(stages, list)
            last = len(stages) - 1
            for k, stage in enumerate(stages):
                if controller == GUARDED and k < last:
                    continue
                label = controller if controller == GUARDED or last == 0 else f"{controller}_{k}"
                figures = {name: number(value) for name, value in mapping(stage).items()}
                found.setdefault(label, []).append(figures)
    return found
