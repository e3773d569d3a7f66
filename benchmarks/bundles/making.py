"""Trains and exports the bundles that ship, by the commands that a user would type, and records which made which.

A bundle has the name of its config: FAMILY_PRESET_ALGORITHM. What is recorded and there is not made again; a training
that was interrupted goes on. To make one anew, remove its file, and its folder in runs/.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from acclimate.atomic import write_atomically
from acclimate.bundle.file import load
from acclimate.cores import usable_cores
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate_demo.jobs import Iterations, Job, run_jobs

from benchmarks.harness.machine import commit, machine

FOLDER = Path("examples/bundles")
RECORD = FOLDER / "made.json"
RUNS, LOGS = Path("runs"), Path("runs/logs")
FIRST = (
    "servo_wide_maml",
    "servo_miswired_maml",
    "servo_wide_rl2",
    "servo_miswired_rl2",
    "servo_wide_rl2_oracle",
    "servo_miswired_rl2_oracle",
    "servo_wide_robust",
    "servo_miswired_robust",
    "servo_wide_oracle",
    "servo_miswired_oracle",
    "servo_wide_objectives",
    "servo_wide_ppo",
    "arm_rl2",
    "quadrotor_rl2",
    "point_maml",
    "point_frame_rl2",
    "pendulum_oracle",
    "reacher_library",
)
STUDENTS = ("servo_wide_student", "servo_miswired_student", "pendulum_student")  # of oracles among FIRST
NAMES = FIRST + STUDENTS
# A gradient step in C or TFLite is long code, and what ships with every clone should be small.
ONNX_ONLY = ("servo_wide_maml", "servo_miswired_maml", "servo_wide_objectives", "point_maml")
Made: TypeAlias = dict[str, Json]


def make_bundles(names: Sequence[str] = ()) -> None:
    """Make those of `names` that are not there yet; all where none is named. Raises UsageError for a wrong name."""
    for name in names:
        if name not in NAMES:
            raise UsageError(f"there is no bundle {name!r} to make; valid names: {', '.join(NAMES)}")
    LOGS.mkdir(parents=True, exist_ok=True)
    version = commit(Path.cwd())  # as it is now, and not as it may be hours later
    wanted = [name for name in names or NAMES if not is_made(name, read_record())]
    for stage in (FIRST, STUDENTS):
        chosen = [name for name in stage if name in wanted]
        _run("training", {name: training(name) for name in chosen})
        _run("exporting", {name: exporting(name) for name in chosen})
        for name in chosen:
            _write_down(name, version)


def training(name: str) -> tuple[str, ...]:
    """What `acclimate` is told to do."""
    return ("train", name)


def exporting(name: str) -> tuple[str, ...]:
    forms = ("--format", "onnx") if name in ONNX_ONLY else ()
    return ("export", f"{RUNS}/{name}", "--out", str(path_of(name)), *forms)


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.acclimate"


def read_record() -> Made:
    """What is known of the bundles that are there, by name."""
    made: Made = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    return made


def is_made(name: str, record: Mapping[str, Json]) -> bool:
    """Whether the file is the one that the record tells of."""
    entry = record.get(name)
    return (
        isinstance(entry, dict) and path_of(name).is_file() and entry["sha256"] == load(path_of(name)).sha256
    )


def _run(title: str, commands: Mapping[str, tuple[str, ...]]) -> None:
    jobs = [
        Job(name, command, LOGS / f"{command[0]}_{name}.txt", Iterations(RUNS / name))
        for name, command in commands.items()
    ]
    run_jobs(title, jobs, usable_cores())


def _write_down(name: str, version: str) -> None:
    entry: Json = {
        "commands": [" ".join(("acclimate", *command)) for command in (training(name), exporting(name))],
        "commit": version,
        "machine": machine(),
        "training_s": _seconds(name),
        "date": time.strftime("%Y-%m-%d"),
        "size": path_of(name).stat().st_size,
        "sha256": load(path_of(name)).sha256,
    }
    record = {**read_record(), name: entry}
    text = json.dumps(dict(sorted(record.items())), indent=2) + "\n"
    write_atomically(RECORD, text.encode())


def _seconds(name: str) -> float:
    """How long training took, as its last line says."""
    last = (RUNS / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    seconds: float = json.loads(last)["seconds"]
    return seconds
