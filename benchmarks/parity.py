"""Does every engine compute what torch computes? For every algorithm on every registered family, over 1,000 inputs.

Each combination that can be is trained for a moment, so that no parameter is what it was made with, and exported in
every form that can be made here. Inputs come from simulated machines of its family, as for `acclimate verify`, but for
adapt, which gets 1,000 windows. An engine that is not here is left out, and said so. tflite-runtime, which wants an
older numpy, is asked in a Python of its own: ACCLIMATE_TFLITE_PYTHON=/path/to/python, with numpy and tflite-runtime.

A student is left out: it imitates a policy that was trained before, and is a policy of RL².
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.engines import ENGINES, missing
from acclimate.errors import EngineError
from acclimate_export.bundle.bundling import make_parts
from acclimate_export.bundle.formats import select_forms
from acclimate_export.bundle.trained import Trained
from acclimate_export.check.cases import cases
from acclimate_export.check.parity import LIMIT

from benchmarks._combinations import combinations
from benchmarks._replay import bound, replay
from benchmarks.harness import Figure

INPUTS = 1000
ITERATIONS, TASKS = 2, 8  # of training
ELSEWHERE = "ACCLIMATE_TFLITE_PYTHON"
Arrays = dict[str, np.ndarray]
Replay = Callable[[Path, str, Arrays], Arrays]  # bundle, graph, inputs -> outputs


class Batch(NamedTuple):
    """Inputs of a graph and torch's outputs, each with the axis of samples in front."""

    graph: str
    given: Arrays
    expected: Arrays


def run(seed: int) -> Mapping[str, Figure]:
    """`max_rel|max_abs.ENGINE.FAMILY-ALGORITHM.GRAPH`: GRAPH is act (action and what act writes), adapt (adapted state)
    or info (adapt's scalars for logs). Relative to the largest value that torch gives the tensor over all inputs.

    `worst.ENGINE`: the largest `max_rel` of all.
    """
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for combination in combinations():
            trained = combination.trained(ITERATIONS, TASKS, seed)
            path = Path(folder) / f"{combination}.acclimate"
            bundle = _exported(trained, path)
            batches = list(_batches(trained, seed))
            for engine, function in _engines(bundle):
                figures |= _differences(str(combination), engine, function, path, batches)
    return {"limit": LIMIT, "inputs": float(INPUTS), **_worst(figures), **figures}


def _worst(figures: Mapping[str, float]) -> dict[str, float]:
    largest: dict[str, float] = defaultdict(float)
    for name, value in figures.items():
        measure, engine, _ = name.split(".", 2)
        if measure == "max_rel":
            largest[f"worst.{engine}"] = float(np.maximum(largest[f"worst.{engine}"], value))  # NaN stays
    return dict(largest)


def _exported(trained: Trained, path: Path) -> Bundle:
    parts = make_parts(trained, {}, {}, select_forms(None))
    for name, reason in parts.left_out.items():
        _say(f"{path.stem} as {name} is left out: {reason}")
    write_bundle(path, parts.manifest, parts.members)
    return load(path)


def _batches(trained: Trained, seed: int) -> Iterator[Batch]:
    given: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    expected: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for case in cases(trained, INPUTS, seed, windows=1.0):
        for name, tensor in case.given.items():
            given[case.graph][name].append(tensor.numpy())
        for name, tensor in case.expected.items():
            expected[case.graph][name].append(tensor.numpy())
    for graph in given:
        yield Batch(graph, _stacked(given[graph]), _stacked(expected[graph]))


def _stacked(lists: Mapping[str, list[np.ndarray]]) -> Arrays:
    return {name: np.stack(arrays) for name, arrays in lists.items()}


def _engines(bundle: Bundle) -> Iterator[tuple[str, Replay]]:
    """Those that are here and that the bundle has members for; the others are named on stderr."""
    for name, entry in ENGINES.items():
        reason = missing(name)
        if not reason and f"act.{entry.suffix}" not in bundle.members:
            reason = f"engine {name!r}: act.{entry.suffix} could not be made here"
        if reason:
            _say(reason)
        else:
            yield name, partial(_here, name)
    python = os.environ.get(ELSEWHERE)
    if python is None or "act.tflite" not in bundle.members:
        _say(f"engine 'tflite_runtime' is left out: {ELSEWHERE} names no Python that has it")
    else:
        yield "tflite_runtime", partial(_elsewhere, python)


def _here(engine: str, path: Path, graph: str, inputs: Arrays) -> Arrays:
    return replay(bound(path, engine, graph), inputs)


def _elsewhere(python: str, path: Path, graph: str, inputs: Arrays, engine: str = "litert") -> Arrays:
    script = Path(__file__).with_name("_replay.py")
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        np.savez(files[0], **inputs)  # type: ignore[arg-type]  # to its stub they may be `allow_pickle`
        command = [python, str(script), str(path), engine, graph, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EngineError((done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1])
        with np.load(files[1]) as arrays:
            return dict(arrays)


def _differences(
    combination: str, engine: str, function: Replay, path: Path, batches: list[Batch]
) -> dict[str, float]:
    largest: dict[str, float] = defaultdict(float)
    for batch in batches:
        try:
            found = function(path, batch.graph, batch.given)
        except EngineError as error:
            _say(f"{engine} on {combination}: {error}")
            return {}
        for name, expected in batch.expected.items():
            part = "info" if batch.graph == "adapt" and name.startswith("info.") else batch.graph
            worst = float(np.abs(found[name] - expected.astype(np.float64)).max())
            scale = float(np.abs(expected).max())
            for measure, value in (("max_abs", worst), ("max_rel", worst / scale if scale else worst)):
                key = f"{measure}.{engine}.{combination}.{part}"
                largest[key] = float(np.maximum(largest[key], value))  # NaN stays
    return dict(largest)


def _say(sentence: str) -> None:
    print(f"parity: {sentence}", file=sys.stderr)
