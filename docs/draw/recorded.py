"""What benchmarks have recorded for pictures: figures in NAME.json, and what else a picture shows in NAME.plot.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, TypeAlias

from acclimate.errors import UsageError
from acclimate.fields import Json

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
Tree: TypeAlias = dict[str, Json]


class Estimate(NamedTuple):
    """A mean with its 95 % interval over n."""

    mean: float
    low: float
    high: float
    n: int


def read(name: str) -> bytes:
    """A file of benchmarks/results. Raises UsageError where it has not been recorded."""
    path = RESULTS / name
    if not path.is_file():
        raise UsageError(
            f"benchmarks/results/{name} is not there; `make bench NAME={name.split('.')[0]}` records it"
        )
    return path.read_bytes()


def plot(name: str) -> Tree:
    tree: Tree = json.loads(read(f"{name}.plot.json"))
    return tree


def figures(name: str) -> dict[str, Estimate]:
    """Those of a benchmark's figures that are means."""
    found = json.loads(read(f"{name}.json"))["figures"]
    return {key: Estimate(**value) for key, value in found.items() if isinstance(value, dict)}


def numbers(values: Json) -> list[float]:
    assert isinstance(values, list)
    return [float(value) for value in values if isinstance(value, int | float)]


def tree(value: Json) -> Tree:
    assert isinstance(value, dict)
    return value


def trees(values: Json) -> list[Tree]:
    assert isinstance(values, list)
    return [tree(value) for value in values]
