"""From the command line to one recorded run of one benchmark."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from acclimate.errors import AcclimateError, UsageError

from benchmarks.harness import BenchmarkError, Figure
from benchmarks.harness.machine import commit, machine
from benchmarks.harness.record import Record, lines, write_record

Benchmark = Callable[[int], Mapping[str, Figure]]


def main(argv: Sequence[str] | None = None, package: str = "benchmarks") -> int:
    """Run one benchmark of `package` and record it; return the exit code."""
    args = _parser().parse_args(argv)
    try:
        path = run_benchmark(args.name, args.seed, package)
    except AcclimateError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code
    print(f"written to {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run one benchmark.")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the benchmark; without it they are listed")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (0)")
    return parser


def run_benchmark(name: str | None, seed: int, package: str = "benchmarks") -> Path:
    """Run benchmark `name`, print its figures, and return the file that it wrote.

    Raises UsageError for a name that is none, BenchmarkError for figures that are none.
    """
    folder = _folder(package)
    valid = names(folder)
    if name not in valid:
        wanted = f"there is no benchmark {name!r}" if name else "name a benchmark"
        raise UsageError(f"{wanted}; valid names: {', '.join(valid) or 'none yet'}")
    if seed < 0:
        raise UsageError(f"--seed must be at least 0, found {seed}")
    record = _measure(name, seed, _load(f"{package}.{name}"), folder)
    print("\n".join(lines(record)))
    return write_record(folder / "results", name, record)


def names(folder: Path) -> list[str]:
    """The benchmarks of a folder: its modules, but for private ones."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def _folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None  # it is a package
    return Path(spec.submodule_search_locations[0])


def _load(module: str) -> Benchmark:
    run: Benchmark | None = getattr(import_module(module), "run", None)
    if run is None:
        raise BenchmarkError(f"{module} has no function run(seed); expected one that returns its figures")
    return run


def _measure(name: str, seed: int, run: Benchmark, folder: Path) -> Record:
    version = commit(folder)  # as it is now, and not as it may be when this ends
    begin = time.monotonic()
    figures = run(seed)
    return Record(
        command=f"python -m benchmarks {name} --seed {seed}",
        seed=seed,
        commit=version,
        wall_s=time.monotonic() - begin,
        machine=machine(),
        figures=figures,
    )
