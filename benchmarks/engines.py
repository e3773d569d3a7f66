"""All engines on one bundle, a policy of 2×64: speed from Python, memory, start, and the CPU's share at 50 Hz.

The bundle is untrained, since no figure depends on what the weights are; its window has 200 transitions. Whoever is
compared is up at the same time, in a process of its own, and they take turns in rounds. A figure is the median over
rounds, or over processes, with `.min` and `.max` beside it; a ratio is taken within each round first.

`onnxruntime_run` is plain onnxruntime with care, one thread that does not spin, and `run` with a dictionary;
`onnxruntime_defaults` the same without any options. Memory and start are those of a board's install: the wheel in a
clean environment, without torch. `idle_cpu_ms_after_adapt` is the CPU time in the 200 ms after one
`adapt`, while nothing is asked of the process: what its threads spin.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from acclimate.bundle.file import write_bundle
from acclimate.command.bench.measuring import Process, cpu_share, idle_ms, started, times
from acclimate.command.bench.percentiles import Times
from acclimate.command.bench.subjects import BY_RUN, DEFAULTS
from acclimate.engines import ENGINES
from acclimate.engines.child_process import Home
from acclimate_export.bundle.bundling import make_parts
from acclimate_export.bundle.formats import select_forms
from acclimate_export.bundle.trained import Trained
from acclimate_trainer.algorithms.maml.maml import MamlConfig
from acclimate_trainer.outer_loop.training import start
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.built_in import find_config
from acclimate_trainer.runs.configuration import load_config

from benchmarks.harness import BenchmarkError, Figure

ROOT = Path(__file__).parents[1]
WORK = ROOT / "runs" / "bench" / "engines"  # the board's environment stays here from run to run
POLICY = MamlConfig(hidden=64, support_episodes=2)  # two episodes of 100 ticks
RIVALS = (BY_RUN, DEFAULTS, "torch_eager", "numpy")
ROUNDS, STARTS = 9, 9
HOT = {"act": 2000, "adapt": 20}  # calls per round
PACED, PERIOD = 60, 0.01  # calls per round, s
DRIVING = 0.6  # s per round
IDLE = 0.2  # s per round after one adapt
RATE = 50.0  # Hz
MB = 1e6  # bytes


def run(seed: int) -> Mapping[str, Figure]:
    """A_vs_B: how many times faster A acts; adapt_vs_onnxruntime: how many times longer it takes; and the rest."""
    with tempfile.TemporaryDirectory() as folder:
        path = _bundle(Path(folder), seed)
        return {**_speed(path), **_board(path)}


def _bundle(folder: Path, seed: int) -> Path:
    config = replace(load_config(find_config("servo_wide_maml")), maml=POLICY)
    trained = Trained.of(config, start(algorithm_of(config), seed).meta, "benchmark")
    parts = make_parts(trained, {}, {}, select_forms(",".join(entry.suffix for entry in ENGINES.values())))
    write_bundle(folder / "engines.acclimate", parts.manifest, parts.members)
    return folder / "engines.acclimate"


def _speed(path: Path) -> dict[str, Figure]:
    """Whatever is measured with all processes up, in turns."""
    hot: dict[tuple[str, str], list[list[float]]] = defaultdict(list)  # by graph and name, µs in each round
    paced: dict[str, list[float]] = defaultdict(list)
    shares: dict[str, list[float]] = defaultdict(list)
    idle: dict[str, list[float]] = defaultdict(list)
    with _all_up(path, (*ENGINES, *RIVALS)) as processes:
        for _ in range(ROUNDS):
            for name, process in processes.items():
                for graph in process.graphs:
                    times(process, graph, 3, 0.0)
                    hot[graph, name].append(times(process, graph, HOT[graph], 0.0))
                paced[name] += times(process, "act", PACED, PERIOD)
                if "adapt" in process.graphs:
                    idle[name].append(idle_ms(process, "adapt", IDLE))
                shares[name].append(cpu_share(process, RATE, DRIVING))
    figures: dict[str, Figure] = {}
    for (graph, name), rounds in hot.items():
        figures |= _percentiles(f"{graph}_us.{name}.hot", [us for times_ in rounds for us in times_])
    for name, us in paced.items():
        figures |= _percentiles(f"act_us.{name}.100hz", us)
    for name, found in shares.items():
        figures |= _spread(f"cpu_share_50hz.{name}", found)
    for name, found in idle.items():
        figures |= _spread(f"idle_cpu_ms_after_adapt.{name}", found)
    medians = {key: [median(us) for us in rounds] for key, rounds in hot.items()}
    for name in ("native", "litert"):
        for rival in RIVALS:
            figures |= _ratio(f"{name}_vs_{rival}", medians["act", rival], medians["act", name])
        mine, onnx = medians["adapt", name], medians["adapt", "onnxruntime"]
        figures |= _ratio(f"adapt_vs_onnxruntime.{name}", mine, onnx)
    return figures


@contextmanager
def _all_up(path: Path, names: Sequence[str]) -> Iterator[dict[str, Process]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(Process(path, name)) for name in names}


def _percentiles(name: str, us: Sequence[float]) -> dict[str, Figure]:
    found = Times.of(us)
    return {f"{name}.p50": found.p50, f"{name}.p99": found.p99}


def _ratio(name: str, slower: Sequence[float], faster: Sequence[float]) -> dict[str, Figure]:
    return _spread(name, [a / b for a, b in zip(slower, faster, strict=True)])


def _spread(name: str, values: Sequence[float]) -> dict[str, Figure]:
    return {name: median(values), f"{name}.min": min(values), f"{name}.max": max(values)}


def _board(path: Path) -> dict[str, Figure]:
    """Memory and start, where nothing but a board's install is there."""
    home = _installed()
    figures: dict[str, Figure] = {}
    for name in ENGINES:  # what is compiled once is compiled here, and what is read from disk is in memory
        with Process(path, name, home=home) as process:
            for part, mb in _parts(process.pid).items():
                figures[f"rss_mb.{name}.of_{part}"] = mb
    starts = [{name: started(path, name, home) for name in ENGINES} for _ in range(STARTS)]
    for name in ENGINES:
        of = [found[name] for found in starts]
        figures |= _spread(f"start_to_first_action_ms.{name}", [s.first_action_ms for s in of])
        figures |= _spread(f"rss_mb.{name}", [s.rss_mb for s in of])
        figures[f"rss_anon_mb.{name}"] = median(s.anon_mb for s in of)
        figures[f"import_ms.{name}"] = median(s.import_ms for s in of)
        figures[f"load_ms.{name}"] = median(s.load_ms for s in of)
    return figures


def _installed() -> Home:
    """The wheel of this checkout in a clean environment, as `pip install acclimate[onnx,litert,serial]` leaves it."""
    python = WORK / "board" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if not python.exists():
        venv.create(WORK / "board", with_pip=True)
    with tempfile.TemporaryDirectory() as folder:
        _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(ROOT)])
        (wheel,) = Path(folder).glob("*.whl")
        pip = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
        _run([*pip, f"{wheel}[onnx,litert,serial]"], environment)
        _run([*pip, "--force-reinstall", "--no-deps", str(wheel)], environment)  # the version stays the same
    return Home(str(python), environment)


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)} failed: {' '.join(done.stderr.split())[-300:]}")


def _parts(pid: int) -> dict[str, float]:
    """What a process's resident memory is of, in 10⁶ bytes: anonymous memory, or the files of one origin."""
    parts: dict[str, float] = defaultdict(float)
    origin = ""
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            origin = _origin(words[5] if len(words) > 5 else "")
        elif words[0] == "Rss:":
            parts[origin] += int(words[1]) * 1024 / MB
    return parts


def _origin(file: str) -> str:
    if not file.startswith("/"):
        return "anonymous"
    for origin, marks in {
        "numpy": ("/numpy/", "/numpy.libs/"),
        "onnxruntime": ("/onnxruntime/",),
        "litert": ("/ai_edge_litert/",),
        "compiled_graphs": ("/native/",),
        "python": ("/libpython", "/lib-dynload/", "/bin/python"),
    }.items():
        if any(mark in file for mark in marks):
            return origin
    return "system_libraries"
