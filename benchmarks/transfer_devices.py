"""Every method on the way to a device: trained on its smallest family, exported in every form, compared with torch on
every engine here, and driven over the wire on a simulated device in real time.

Works in runs/bench/transfer_devices, one method after the other, and goes on there where it was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from acclimate.bundle.file import load
from acclimate.engines import ENGINES, missing
from acclimate.errors import DeviceFault
from acclimate.fields import Json
from acclimate_demo.jobs import Iterations, Job, run_jobs
from acclimate_demo.report import mapping, number, rows_of
from acclimate_trainer.runs.run_directory import RunDirectory

from benchmarks._transfer import METHODS
from benchmarks.harness import BenchmarkError, Figure

FOLDER = Path("runs/bench/transfer_devices")
EPISODES = 4  # of each measurement on the wire
_INPUTS = 200  # ticks that `verify` compares


class Device(NamedTuple):
    """A method, and where what becomes of it lies."""

    method: str
    config: str
    seed: int

    @property
    def run(self) -> Path:
        return FOLDER / f"{self.config}_{self.seed}"

    @property
    def bundle(self) -> Path:
        return self.run.with_suffix(".acclimate")

    def result(self, verb: str) -> Path:
        return self.run.with_name(f"{self.run.name}_{verb}.json")

    def job(self, verb: str, *arguments: str) -> Job:
        log = FOLDER / "logs" / f"{verb}_{self.run.name}.txt"
        status = Iterations(self.run) if verb == "train" else str
        result = self.result(verb) if "--json" in arguments else None
        return Job(f"{verb} {self.method}", (verb, *arguments), log, status, result)


def run(seed: int) -> Mapping[str, Figure]:
    """METHOD.FAMILY.ok: 1 where every engine computes what torch does and the device was driven; .before and .after,
    the headline in its unit: of the first and the last measurement over shots, or of the first and the last episode
    where the policy takes none. .train_s; .engines, how many were compared."""
    (FOLDER / "logs").mkdir(parents=True, exist_ok=True)
    out: dict[str, Figure] = {}
    for method, config in METHODS.items():
        out |= dict(_figures(Device(method, config, seed)))
    return out


def _figures(device: Device) -> Iterator[tuple[str, Figure]]:
    _bring_about(device)
    verified, driven = (mapping(_read(device.result(verb))) for verb in ("verify", "run"))
    engines = {str(row["engine"]) for row in rows_of(verified, "rows")}
    wanted = {name for name in ENGINES if not missing(name)}
    before, after = _ends(driven)
    name = f"{device.method}.{load(device.bundle).manifest.task.name}"
    yield f"{name}.ok", float(bool(verified["ok"]) and engines == wanted)
    yield f"{name}.before", before
    yield f"{name}.after", after
    yield f"{name}.train_s", RunDirectory.open(device.run).seconds()
    yield f"{name}.engines", float(len(engines))


def _bring_about(device: Device) -> None:
    """What is not there yet. Raises BenchmarkError with the sentence of the command that failed."""
    arguments = {
        "train": (device.config, "--seed", str(device.seed), "--out", str(device.run)),
        "export": (str(device.run), "--out", str(device.bundle)),
        "verify": (str(device.bundle), "--inputs", str(_INPUTS), "--json"),
        "run": (str(device.bundle), "--port", "sim:", "--episodes", str(EPISODES), "--json"),
    }
    there = {
        "train": device.bundle,
        "export": device.bundle,
        "verify": device.result("verify"),
        "run": device.result("run"),
    }
    for verb, given in arguments.items():
        if not (there[verb].is_file() and there[verb].stat().st_size):
            try:
                run_jobs(f"{device.method}: {verb}", [device.job(verb, *given)], 1)
            except DeviceFault as error:
                raise BenchmarkError(str(error)) from None


def _ends(driven: Mapping[str, Json]) -> tuple[float, float]:
    """The headline before anything was learned, and at the end."""
    rows, metric = rows_of(driven, "rows"), str(driven["metric"])
    if len(rows) > 1:
        first, last = (mapping(rows[i]["figures"]) for i in (0, -1))
    else:
        first, last = (rows_of(rows[0], "episodes")[i] for i in (0, -1))
    return number(first[metric]), number(last[metric])


def _read(path: Path) -> Json:
    found: Json = json.loads(path.read_text(encoding="utf-8"))
    return found
