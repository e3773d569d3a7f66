"""Every extra by itself, in an environment with nothing else, lists its verbs, and each runs.

A verb that runs with what a smaller extra needs runs with more, too: it is tried where it is new, and wherever what it
does depends on what is there.

The board's install, by pip itself, is `test_board_install`; the demo, which needs several extras, tests/demo.
"""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from acclimate_demo.shipped import shipped_bundle

from tests.export import runs
from tests.runtime import joints

from .conftest import ROOT, Board
from .environments import environment, needed

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
SETS = ("", *sorted(EXTRAS.keys() - {"dev"}))  # `dev` is where these tests run
BASE = {"audit", "bench", "inspect"}
VERBS = {
    "": BASE,
    "serial": BASE | {"doctor", "evaluate", "faults", "firmware", "ports", "run", "service", "simulate"},
    "train": BASE | {"train"},
    "export": BASE | {"export", "train", "verify"},
}
VERBS |= {"bus": VERBS["serial"] | {"bus"}}
VERBS |= {"onnx": VERBS[""], "litert": VERBS[""], "gymnasium": VERBS["train"], "tflite": VERBS["export"]}
LOOKS = {"inspect"}  # for engines
MAKES = {"train", "export", "verify"}  # a bundle in all forms that it has packages for
Run = Callable[[Board], str]
"""Something by a verb, and what it printed."""

pytestmark = pytest.mark.slow


@pytest.fixture(params=SETS)
def extras(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def installed(extras: str, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """What `pip install acclimate[EXTRAS]` leaves."""
    return environment(tmp_path_factory, wheel, extras)


def _tried(extras: str) -> set[str]:
    """The verbs that no extra has that needs less, and those that see what this one brings."""
    smaller = [each for each in SETS if needed(each).keys() < needed(extras).keys()]
    listed = VERBS[extras]
    return (
        listed - {verb for each in smaller for verb in VERBS[each]}
        | LOOKS
        | (MAKES if listed >= MAKES else set())
    )


def test_every_verb_is_tried() -> None:
    assert set().union(*map(_tried, SETS)) == set().union(*VERBS.values()) == RUNS.keys()


def test_it_lists_the_verbs_that_it_is_for_and_each_runs(installed: Board, extras: str) -> None:
    listed = installed.run(installed.acclimate, "--help").stdout.split("verbs:\n")[1].splitlines()
    verbs = [line.split()[0] for line in listed]
    assert {*verbs} == VERBS[extras]
    told = {verb: RUNS[verb](installed) for verb in sorted(_tried(extras), key=list(RUNS).index)}
    if "verify" in told:
        engines = {"native", "onnxruntime", *(["litert"] if extras == "tflite" else [])}
        agree = {line.split(" agrees")[0] for line in told["verify"].splitlines()}
        assert agree == {f"act on {engine}" for engine in engines}
        lacks = "tflite needs litert_torch, which is not installed; install acclimate[tflite]"
        assert (lacks in told["export"]) == (extras != "tflite")
        _succeeds("inspect", "tiny.acclimate")(installed)


def _succeeds(*arguments: str | Path) -> Run:
    def run(board: Board) -> str:
        done = board.run(board.acclimate, *arguments)
        assert done.returncode == 0, f"acclimate {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    return run


def _trains(board: Board) -> str:
    (board.folder / "tiny.toml").write_text(runs.config("robust"), encoding="utf-8")
    return _succeeds("train", "tiny.toml", "--out", "tiny")(board)


def _audits(board: Board) -> str:
    joints.write(board.folder / "drive.npz")
    return _succeeds("audit", "drive.npz")(board)


def _looks(board: Board) -> str:
    """Whatever it finds: how fast a link is depends on what else this computer does."""
    done = board.run(board.acclimate, "doctor", "sim:", BUNDLE, "--json")
    checks = json.loads(done.stdout)["checks"]
    assert {"golden sequence", "channels"} <= {check["name"] for check in checks}
    assert done.returncode == (0 if all(check["ok"] for check in checks) else 1), done.stderr
    return done.stdout


def _serves(*arguments: str | Path) -> Run:
    def run(board: Board) -> str:
        command = [board.acclimate, *arguments]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=board.folder, env=board.environment
        ) as process:
            assert process.stdout is not None
            port = process.stdout.readline()
            assert port.startswith("/dev/")
            process.terminate()
            assert process.wait(timeout=20) == 0
        return port

    return run


def _scans(board: Board) -> None:
    """A bus that is simulated there; nothing but the extra `bus` is installed."""
    command = [board.acclimate, "simulate", "--bus", "feetech"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=board.folder, env=board.environment
    ) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        _succeeds("bus", "check", f"feetech:{port}?id=1")(board)
        process.terminate()


BUNDLE = shipped_bundle("servo_wide_rl2")
RUNS: Mapping[str, Run] = {
    "inspect": _succeeds("inspect", BUNDLE, "--trust"),  # once, for all that follow
    "bench": _succeeds("bench", BUNDLE, "--seconds", "0.1", "--only", "native"),
    "audit": _audits,
    "ports": _succeeds("ports"),
    "doctor": _looks,
    "bus": _scans,
    "service": _succeeds("service", BUNDLE, "--device", "bus.toml"),
    "simulate": _serves("simulate", BUNDLE),
    "faults": _serves("faults", "--upstream", "sim:XL-320"),
    "firmware": _succeeds("firmware", "new", "device", "--channels", BUNDLE),
    "run": _succeeds("run", BUNDLE, "--port", "sim:", "--seconds", "0.5"),
    "evaluate": _succeeds(
        "evaluate", BUNDLE, "--machines", "1", "--episodes", "1", "--jobs", "1", "--against"
    ),
    "train": _trains,
    "export": _succeeds("export", "tiny", "--out", "tiny.acclimate"),
    "verify": _succeeds("verify", "tiny.acclimate", "--inputs", "20"),
}
