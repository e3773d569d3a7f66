"""What an operator asks for, on the command line and while the device runs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from acclimate.bundle.file import load
from acclimate.errors import UsageError
from acclimate.policy.objectives import objective
from acclimate.policy.policy import Policy
from acclimate_bridge.command.objectives import Listener, ObjectiveAt, asked_for
from acclimate_bridge.simulation.spawn import SimulatedPort, simulated_port

from .conftest import Acclimate


@pytest.fixture(scope="module")
def many(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the objectives quiet and fast."""
    path = tmp_path_factory.mktemp("many") / "many.acclimate"
    tiny.write_tiny(path, tiny.with_objectives(tiny.manifest()))
    return path


@pytest.fixture(scope="module")
def device() -> Iterator[SimulatedPort]:
    with simulated_port("--servo", "XL-320", "--drive-gain", "2") as device:
        yield device


def test_weights_and_their_moment(many: Path) -> None:
    manifest = load(many).manifest
    assert ObjectiveAt.parse("quiet=2,fast=1@2.5", manifest) == ({"quiet": 2.0, "fast": 1.0}, 2.5)
    assert asked_for(["quiet=2", "fast=1@1"], manifest, 3.0) == (({"quiet": 2.0}, 0.0), ({"fast": 1.0}, 1.0))


@pytest.mark.parametrize(
    ("text", "seconds", "message"),
    [
        ("quiet=2@soon", 3.0, r"expected NAME=WEIGHT,…\[@SECONDS\]"),
        ("quiet=2@-1", 3.0, "with SECONDS at least 0"),
        ("quiet=2@inf", 3.0, "with SECONDS at least 0"),
        ("loud=2@1", 3.0, "no objective 'loud'; valid names: quiet, fast"),
        ("quiet=2@3", 3.0, "comes after the end: --seconds is 3"),
        ("quiet=2@1", None, "needs --seconds"),
    ],
)
def test_an_objective_that_cannot_be(many: Path, text: str, seconds: float | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        asked_for([text], load(many).manifest, seconds)


def test_lines_are_obeyed_or_answered(many: Path) -> None:
    policy, said = Policy(load(many)), list[str]()
    listener = Listener(policy, io.StringIO("quiet=3\n\nloud=1\nfast=2,quiet=0\n"), said.append)
    end = time.monotonic() + 5.0
    while len(said) < 3 and time.monotonic() < end:
        listener.poll()
    assert said == [
        "drives for quiet=3, fast=0.5",
        "there is no objective 'loud'; valid names: quiet, fast; it still drives for quiet=3, fast=0.5",
        "drives for fast=2",
    ]
    assert objective(policy) == {"quiet": 0.0, "fast": 2.0}


def test_run_sets_objectives_from_the_start_and_on_the_way(
    acclimate: Acclimate, many: Path, device: SimulatedPort, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    done = acclimate(
        "run", many, "--port", device.port, "--seconds", "1", "--objective", "quiet=2",
        "--objective", "fast=3@0.5", "--json", "--save", saved,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["objectives"] == [
        {"at": 0.0, "weights": {"quiet": 2.0}},
        {"at": 0.5, "weights": {"fast": 3.0}},
    ]
    trial = acclimate("run", many, "--port", device.port, "--episodes", "1", "--objective", "fast=3")
    assert trial.returncode == 0, trial.stderr
    assert "objective            quiet=1, fast=3" in trial.stdout


def test_run_listens_while_it_drives(many: Path, device: SimulatedPort) -> None:
    code = "from acclimate.command.cli import main; raise SystemExit(main())"
    command = [
        sys.executable,
        "-c",
        code,
        "run",
        str(many),
        "--port",
        device.port,
        "--seconds",
        "4",
        "--listen",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        out, err = process.communicate("quiet=4\nnoise=1\n", timeout=60)
    assert process.returncode == 0, err
    assert err.splitlines() == [
        "drives for quiet=4, fast=0.5",
        "there is no objective 'noise'; valid names: quiet, fast; it still drives for quiet=4, fast=0.5",
    ]
    assert out.startswith("4 s of driving")


@pytest.mark.parametrize(
    ("bundle", "options", "message"),
    [
        ("many", ("--objective", "loud=1"), "there is no objective 'loud'; valid names: quiet, fast"),
        ("many", ("--objective", "quiet=nan"), "the weight of 'quiet' is nan"),
        ("many", ("--listen",), "--listen needs --seconds"),
        ("tiny", ("--objective", "quiet=1"), "bundle 'tiny' has no objectives to choose from"),
        ("tiny", ("--seconds", "1", "--listen"), "bundle 'tiny' has no objectives to choose from"),
    ],
)
def test_what_run_refuses(
    here: Acclimate, bundles: Path, many: Path, bundle: str, options: tuple[str, ...], message: str
) -> None:
    path = many if bundle == "many" else bundles / "tiny.acclimate"
    done = here("run", path, "--port", "/dev/null", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_simulated_servo_judges_itself_by_names(acclimate: Acclimate) -> None:
    done = acclimate("simulate", "--reward", "loud=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no objective 'loud'; valid names: accurate, frugal, smooth, quiet, fast" in done.stderr
