"""What the benchmarks of families share: train every algorithm by its config, and compare all on held-out machines.

Works in a folder of its own, and goes on there where it was interrupted. The oracle is the recurrent one: RL²'s
network, told the true parameters. All controllers meet the same machines, references and noise, over the wire codec.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from acclimate.stats import Interval, mean_interval
from acclimate_bridge.api import evaluate
from acclimate_bridge.evaluation.evaluation import Results
from acclimate_bridge.evaluation.report import share_closed
from acclimate_export.command.export import export
from acclimate_trainer.api import train

from benchmarks.harness import Figure

ORACLE, ROBUST, TEACHER = "rl2_oracle", "robust", "oracle"


def bundles_of(configs: Mapping[str, str], folder: Path) -> dict[str, Path]:
    """Train and export each config, by the name of its algorithm; what is there already is taken as it is."""
    return {name: _bundle(config, folder / name, folder / TEACHER) for name, config in configs.items()}


def _bundle(config: str, run: Path, teacher: Path) -> Path:
    path = run / f"{run.name}.acclimate"
    if not path.is_file():
        changes = {"student.teacher": str(teacher)} if run.name == "student" else {}
        export(train(config, out=run, changes=changes).path, out=path, forms="onnx")
    return path


def compared(
    bundles: Mapping[str, Path], names: Sequence[str], machines: int, seed: int
) -> dict[str, Figure]:
    """NAME.METRIC, or NAME_SHOTS.METRIC where it takes steps, over machines; and the shares of the gap closed.

    names: those to compare with robust policy and oracle, which the bundles must hold.
    """
    out: dict[str, Figure] = {}
    for name in names:
        results = _results(bundles, name, machines, seed)
        out |= dict(_figures(results, name))
        out |= dict(_gaps(results, name))
    return out


def _results(bundles: Mapping[str, Path], name: str, machines: int, seed: int) -> Results:
    against = [bundles[ROBUST], bundles[ORACLE]]
    jobs = len(os.sched_getaffinity(0))
    results = evaluate(bundles[name], against=against, machines=machines, seed=seed, jobs=jobs).results
    assert isinstance(results, Results)
    return results


def _figures(results: Results, name: str) -> Iterator[tuple[str, Interval]]:
    called = {results.main: name, "oracle": ORACLE}
    for controller, stages in results.machines[0].figures.items():
        for k in range(len(stages)):
            label = called.get(controller, controller) + (f"_{k}" if len(stages) > 1 else "")
            for metric in results.task.metrics:
                values = [m.figures[controller][k].get(metric.name) for m in results.machines]
                found = [value for value in values if value is not None]
                if found:
                    yield f"{label}.{metric.name}", mean_interval(found)


def _gaps(results: Results, name: str) -> Iterator[tuple[str, float]]:
    """Of the mean headline over all machines."""
    headline = results.task.headline

    def mean(controller: str, k: int = 0) -> float:
        values = [m.figures[controller][k][headline.name] for m in results.machines]
        return sum(values) / len(values)

    for k in range(len(results.machines[0].figures[results.main])):
        closed = share_closed(headline, mean("robust"), mean(results.main, k), mean("oracle"))
        label = f"{name}_{k}" if results.shots else name
        if closed is not None:
            yield f"{label}.gap_closed", closed
