"""Machines of any family: evaluated in process, and on a real pseudo-terminal from a file of the user's."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from acclimate.bundle.file import Bundle, load
from acclimate.bundle.manifest import Family
from acclimate.command.cli import main
from acclimate.errors import UsageError
from acclimate.task.spec import TaskSpec
from acclimate_bridge.evaluation import courses_report, report
from acclimate_bridge.evaluation.courses import Course, evaluate_over_time
from acclimate_bridge.evaluation.evaluation import Plan, Results, evaluate_all
from acclimate_bridge.simulation.spawn import simulated_port
from acclimate_bridge.simulation.specimen import ANY
from acclimate_bridge.simulation.worlds import Group, HeldOut, family_file, remark

from .conftest import Acclimate
from .sled import HOMING, SLED, SledWorld, manifest, write, write_bundles

FAMILY = """
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from acclimate.task.spec import ActionChannel, Metric, ObservationChannel, Parameter, TaskSpec, Track, TrackingReference
from acclimate.task.spec import CHATTER
from acclimate_trainer.contract.family import Step

DT = 0.02
AXES = ("x", "y")


class Sleds(NamedTuple):
    strength: torch.Tensor
    drag: torch.Tensor
    wired: torch.Tensor


@dataclass(frozen=True)
class Sled:
    spec = TaskSpec(
        name="sled",
        control_dt=DT,
        observation=(
            ObservationChannel("place", "m", -5.0, 5.0, shape=(2,)),
            *(ObservationChannel(f"{a}_velocity", "m/s", -5.0, 5.0) for a in AXES),
            ObservationChannel("goal", "m", -5.0, 5.0, "reference", (2,)),
        ),
        action=tuple(ActionChannel(f"push_{a}", "N", -2.0, 2.0) for a in AXES),
        parameters=(
            Parameter("strength", "1/kg", 1.0, 4.0, "log"),
            Parameter("drag", "1/s", 0.5, 2.0),
            Parameter("wired", "1", -1.0, 1.0, "sign"),
        ),
        metrics=(Metric("error", "rms", "m", (("place.0", "goal.0"), ("place.1", "goal.1"))), CHATTER),
        reference=TrackingReference((Track("place.0", "goal.0"), Track("place.1", "goal.1"))),
        horizon=40,
    )

    def sample(self, n, rng, progress=1.0):
        strength, drag = np.exp(rng.uniform(0.0, np.log(4.0), (n, 1))), rng.uniform(0.5, 2.0, (n, 1))
        wired = np.where(rng.random((n, 1)) < 0.5, -1.0, 1.0)
        return Sleds(*(torch.tensor(x, dtype=torch.float32) for x in (strength, drag, wired)))

    def parameters(self, tasks):
        return torch.cat(tasks, -1)

    def open(self, tasks, episodes, steps, rng):
        shape = (len(tasks.drag), episodes, 2)
        return Session(tasks, torch.tensor(rng.uniform(-1.0, 1.0, shape), dtype=torch.float32))


class Session:
    def __init__(self, tasks, place):
        self.tasks, self.state = tasks, (place, torch.zeros_like(place))

    @property
    def obs(self):
        return torch.cat(self.state, -1)

    def step(self, action):
        place, speed = self.state
        t = [x.unsqueeze(-1) for x in self.tasks]
        speed = speed + DT * (t[2] * t[0] * action.clamp(-2.0, 2.0) - t[1] * speed)
        place = (place + DT * speed).clamp(-5.0, 5.0)
        self.state = (place, speed)
        never = torch.zeros_like(place[..., 0], dtype=torch.bool)
        return Step(torch.zeros_like(place[..., 0]), never, never)

    def become(self, tasks, where):
        self.tasks = tasks
"""


@dataclass(frozen=True)
class Sleds:
    """Held-out sleds, without the detour over entry points."""

    spec: TaskSpec = SLED

    def groups(self, bundle: Bundle) -> tuple[Group, ...]:
        del bundle
        return (HeldOut(SledWorld(self.spec)),)


@pytest.fixture(scope="module")
def sleds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundles(tmp_path_factory.mktemp("sleds"))


@pytest.fixture(scope="module")
def results(sleds: Path) -> Results:
    return evaluate_all(Plan(sleds / "maml.acclimate", Sleds(), machines=4, episodes=2, seed=1))


def means(results: Results) -> dict[tuple[str, int], float]:
    return {(r.controller, r.shots): r.figure.mean for r in report.rows(results) if r.group == report.ALL}


def test_every_controller_drives_both_actuators_of_every_machine(results: Results) -> None:
    """Half of the sleds are wired backwards: who knows or finds out follows; who does not, runs away."""
    found = means(results)
    assert found["maml", 0] == found["robust", 0] > 0.8
    assert found["pid", 0] > 0.8
    assert max(found["maml", 1], found["oracle", 0]) < 0.35
    assert all(m.refusals == ("",) for m in results.machines)
    assert [m.parameters["wired"] for m in results.machines] == [1.0, -1.0, 1.0, -1.0]


def test_the_report_has_every_metric_of_the_task(results: Results) -> None:
    tree = report.tree(results)
    assert (tree["metric"], tree["unit"], tree["higher_is_better"]) == ("error", "m", False)
    rows = tree["rows"]
    assert isinstance(rows, list)
    for row in rows:
        assert isinstance(row, dict)
        assert row["machine"] in ("sled", "all")
        beside = row["beside"]
        assert isinstance(beside, dict)
        assert list(beside) == ["chatter", "energy", "saturated"]
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    assert report.gap_closed(results)["1"] == pytest.approx(1.0, abs=0.15)
    text = report.table(results)
    assert text[0] == "error, m, sled; mean over machines with 95 % interval"
    assert not any(line.startswith("all") for line in text)  # there is one group


def test_a_machine_that_pays_rewards_begins_every_episode_anew(tmp_path: Path) -> None:
    """More is better; nothing is to be followed, so that each episode is from a place of its own."""
    folder = write_bundles(tmp_path, HOMING)
    found = evaluate_all(Plan(folder / "maml.acclimate", Sleds(HOMING), machines=4, episodes=3, seed=1))
    figures = means(found)
    assert figures["maml", 0] == figures["robust", 0] < -0.7
    assert -0.4 < figures["maml", 1] < 0.0
    assert report.gap_closed(found)["1"] == pytest.approx(1.0, abs=0.15)
    assert report.tail(found, 1).n == 4
    assert "higher_is_better" in report.tree(found)
    assert "pid" not in found.machines[0].figures


def test_over_time_a_machine_changes_as_in_training(sleds: Path) -> None:
    plan = Plan(sleds / "maml.acclimate", Sleds(), machines=2, seed=1)
    found = evaluate_over_time(plan, Course(6.0, ANY, 3.0))
    for machine in found.machines:
        assert machine.after["wired"] == -machine.before["wired"]
        late = {name: spans[-1]["error"] for name, spans in machine.judged.items()}
        assert late["oracle"] < 0.4
    worst = [max(m.judged[name][-1]["error"] for m in found.machines) for name in ("pid", "robust")]
    assert min(worst) > 0.8
    assert json.loads(json.dumps(courses_report.tree(found), allow_nan=False))
    assert "6 s of driving, any after 3 s" in courses_report.table(found)[0]


def test_what_never_happens_cannot_be_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "robust.acclimate", manifest(HOMING))
    plan = Plan(path, Sleds(HOMING), machines=1)
    with pytest.raises(
        UsageError, match="change 'any' does not happen to machines such as homing_sled #0: nothing"
    ):
        evaluate_over_time(plan, Course(6.0, ANY, 3.0))
    plan = Plan(write(tmp_path / "sled.acclimate", manifest()), Sleds(), (), machines=1)
    with pytest.raises(UsageError, match="'fire' does not happen to machines such as sled #0; valid: any"):
        evaluate_over_time(plan, Course(6.0, "fire", 3.0))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a family file and bundles for it, as `export` leaves them beside each other."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "sled.py").write_text(FAMILY, encoding="utf-8")
    digest = hashlib.sha256(FAMILY.encode()).hexdigest()
    family = Family("sled", "sled.py:Sled", sha256=digest)
    for algorithm in ("robust", "maml", "oracle"):
        of = manifest(replace(SLED, metrics=SLED.metrics[:2], features=()), algorithm)
        write(folder / f"{algorithm}.acclimate", replace(of, family=family))
    return folder


def test_a_family_of_the_users_is_driven_from_one_terminal(acclimate: Acclimate, own: Path) -> None:
    done = acclimate(
        "run", own / "maml.acclimate", "--port", "sim:wired=-1,drag=1", "--episodes", "2", "--json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    before, after = (row["figures"]["error"] for row in found["rows"])
    assert after < 0.5 * before
    assert set(found["rows"][0]["figures"]) == {"error", "chatter"}
    assert found["port"] == "sim:wired=-1,drag=1"
    assert found["simulated"].startswith("sled, strength ")
    assert "wired -1" in found["simulated"]
    assert done.stderr == f"simulating {found['simulated']}\n"


def test_it_is_evaluated_on_held_out_machines_and_the_same_are_behind_sim(
    acclimate: Acclimate, own: Path
) -> None:
    done = acclimate(
        "evaluate", own / "maml.acclimate", "--machines", "2", "--seed", "3", "--jobs", "1", "--json"
    )
    assert done.returncode == 0, done.stderr
    tree = json.loads(done.stdout)
    assert {row["controller"] for row in tree["rows"]} == {
        "pid", "robust", "maml", "guarded", "oracle",
    }  # fmt: skip
    assert [m["number"] for m in tree["machines"]] == [0, 1]
    assert tree["machines"][1]["parameters"]["wired"] == -1.0
    once = ("--shots", "0", "--episodes", "1", "--json")
    driven = acclimate("run", own / "maml.acclimate", "--port", "sim:#1", "--seed", "3", *once)
    assert driven.returncode == 3, driven.stderr  # wired backwards, and it has not adapted
    assert "it diverged: the error in the end" in driven.stderr
    truth = ", ".join(f"{value:.4g}" for value in tree["machines"][1]["parameters"].values())
    told = json.loads(driven.stdout)["simulated"]
    assert told.startswith("sled #1, ")
    assert ", ".join(part.split(" ")[1] for part in told.split(", ")[1:]) == truth


def test_simulate_takes_a_family_by_its_file(own: Path, acclimate: Acclimate) -> None:
    with simulated_port("--family", f"{own / 'sled.py'}:Sled", "--task", "strength=3,wired=1") as device:
        assert "strength 3 1/kg" in device.described
        done = acclimate("run", own / "robust.acclimate", "--port", device.port, "--episodes", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["simulated"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--task", "mass=1"), "has no parameter 'mass'; it has: strength, drag, wired"),
        (
            ("--task", "XL-320"),
            "machines of family 'sled' have no names, found 'XL-320'; choose #NUMBER or NAME=VALUE",
        ),
        (("--task", "#x"), "after # comes the number of a held-out machine, found 'x'"),
        (("--task", "drag=fast"), "drag is 'fast', expected a number"),
        (("--task", "#1,drag=1"), "choose #NUMBER or NAME=VALUE, not both"),
        (("--servo", "MX-64"), "--servo is for servos; this is a machine of family 'sled'"),
        (("--rate", "50"), "--rate is for servos; this is a machine of family 'sled'"),
        (("--reward", "near=1"), "there is no objective 'near'"),
        (("--change", "any@1"), "machines such as sled #0 never change"),
    ],
)
def test_bad_arguments_of_simulate_end_in_one_sentence(
    capsys: pytest.CaptureFixture[str], own: Path, arguments: tuple[str, ...], words: str
) -> None:
    assert main(["simulate", str(own / "robust.acclimate"), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("no.py:Sled", "no.py"),
        ("{own}/sled.py:Sledge", "has no class 'Sledge'"),
        ("nothing", "valid:"),
        ("{own}/syntax.py:Sled", "cannot be imported: SyntaxError"),
        ("{own}/plain.py:Plain", "is no task family: it lacks"),
        ("{own}/shape.py:Sled", "a machine of family 'sled' gave shape [3] in a reset, expected [4]"),
        ("{own}/raises.py:Sled", "a machine of family 'sled' failed in a reset: ZeroDivisionError"),
    ],
)
def test_a_family_that_is_not_there_ends_in_one_sentence(
    capsys: pytest.CaptureFixture[str], own: Path, family: str, words: str
) -> None:
    (own / "syntax.py").write_text("def")
    (own / "plain.py").write_text("class Plain: pass")
    (own / "shape.py").write_text(
        FAMILY.replace("torch.cat(self.state, -1)", "torch.cat(self.state, -1)[..., :3]")
    )
    (own / "raises.py").write_text(FAMILY.replace("torch.cat(self.state, -1)", "1 / 0"))
    assert main(["simulate", "--family", family.format(own=own)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_bundle_whose_family_file_is_gone_says_where_to_put_it(
    capsys: pytest.CaptureFixture[str], own: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "robust.acclimate"
    alone.write_bytes((own / "robust.acclimate").read_bytes())
    assert main(["evaluate", str(alone)]) == 2
    said = capsys.readouterr().err
    assert "defined by sled.py, which is neither here nor beside the bundle" in said
    assert "--family FILE.py:Sled" in said
    once = ("--machines", "1", "--episodes", "1", "--jobs", "1")
    assert main(["evaluate", str(alone), "--family", f"{own / 'sled.py'}:Sled", *once]) == 0
    assert main(["evaluate", str(own / "robust.acclimate"), "--servo", "MX-64"]) == 2
    assert "was trained for machines of family 'sled', not for servos" in capsys.readouterr().err


def test_a_family_file_that_has_changed_is_remarked_upon_and_the_right_one_found(
    own: Path, tmp_path: Path
) -> None:
    (tmp_path / "robust.acclimate").write_bytes((own / "robust.acclimate").read_bytes())
    bundle = load(tmp_path / "robust.acclimate")
    (tmp_path / "sled.py").write_text(FAMILY + "# changed", encoding="utf-8")
    assert family_file(bundle) == tmp_path / "sled.py"
    assert "sled.py has changed since this bundle was exported" in str(remark(bundle))
    assert remark(load(own / "robust.acclimate")) is None
    (tmp_path / "families").mkdir()
    (tmp_path / "families" / "sled.py").write_text(FAMILY, encoding="utf-8")
    code = "from acclimate.bundle.file import load; from acclimate_bridge.simulation.worlds import *; "
    code += "b = load('robust.acclimate'); print(family_file(b), remark(b))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "families/sled.py None\n"


def test_sim_is_refused_in_the_words_of_simulate(here: Acclimate, own: Path, bundles: Path) -> None:
    done = here("run", own / "robust.acclimate", "--port", "sim:XL-320")
    assert done.returncode == 2
    assert done.stderr.startswith("acclimate: machines of family 'sled' have no names")
    done = here("run", bundles / "tiny.acclimate", "--port", "sim:SG-90")
    assert done.returncode == 2
    assert "no servo is called 'SG-90'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("machine", "told", "code"),
    [
        ("", "MX-64", 0),
        ("XL-320", "XL-320", 0),
        ("xl320#2", "XL-320", 0),
        ("#3", "XL330", 0),
        ("MX-64,polarity=-1", "MX-64", 3),  # the policy knows one way around: it diverges, and says so
    ],
)
def test_a_servo_is_driven_from_one_terminal(
    acclimate: Acclimate, bundles: Path, machine: str, told: str, code: int
) -> None:
    done = acclimate(
        "run", bundles / "rl2.acclimate", "--port", f"sim:{machine}", "--seconds", "0.5", "--json"
    )
    assert done.returncode == code, done.stderr
    assert ("it diverged" in done.stderr) == (code == 3)
    found = json.loads(done.stdout)
    assert found["simulated"].startswith(f"{told}, drive gain ")
    assert ("polarity -1" in found["simulated"]) == ("polarity" in machine)
    assert math.isfinite(found["figures"]["error"])


def test_the_simulated_device_ends_with_its_host() -> None:
    """However that ends: even a host that is killed leaves no process behind."""
    code = (
        "import sys, time\n"
        "from acclimate_bridge.simulation.spawn import simulated_port\n"
        "with simulated_port() as device:\n"
        "    print(device.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        child = int(host.stdout.readline())
        host.kill()
    assert _gone(child)


def _gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(") ", 1)[1][0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
