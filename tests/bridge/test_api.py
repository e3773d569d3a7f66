"""Evaluating and simulating from Python; and what is not loaded for the link alone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import acclimate_bridge
import numpy as np
import pytest
from acclimate.bundle.file import load
from acclimate.control.clock import RealClock
from acclimate.control.loop import ControlLoop
from acclimate.errors import UsageError
from acclimate.policy.policy import Policy
from acclimate_bridge import Evaluation, HostLink, SerialTransport, evaluate, simulate, simulate_here
from acclimate_bridge.evaluation.report import table, tree


@pytest.fixture(scope="module")
def found(bundles: Path) -> Evaluation:
    return evaluate(bundles / "tiny.acclimate", servos=["XL-320"], machines=2, episodes=1)


def test_an_evaluation_shows_its_table_and_gives_its_figures(found: Evaluation, tmp_path: Path) -> None:
    assert repr(found) == "\n".join(table(found.results))  # type: ignore[arg-type]
    assert found._repr_html_().startswith("<pre>error, rad, servo wide")
    assert [interval.n for interval in found["maml"]] == [2, 2, 2]
    assert found["robust"][0].mean == found["maml"][0].mean
    assert set(found.gap_closed) == {"1", "2"}
    with pytest.raises(
        UsageError, match="no controller is called 'rl2'; there are: pid, robust, maml, guarded, oracle"
    ):
        found["rl2"]
    found.save(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(tree(found.results)))  # type: ignore[arg-type]


def test_an_evaluation_over_time(bundles: Path) -> None:
    found = evaluate(bundles / "rl2.acclimate", servos=["MX-64"], machines=1, seconds=4.0, change="supply")
    assert "4 s of driving, supply after 2 s" in repr(found)
    assert len(found["rl2"]) == len(found["robust"]) > 4
    assert found.gap_closed == {}
    assert found.tree["change"] == "supply"


def test_a_device_in_a_process_of_its_own(bundles: Path) -> None:
    with simulate(bundles / "tiny.acclimate", "XL-320") as device:
        assert repr(device).startswith("<simulated XL-320, drive gain 1")
        with HostLink(SerialTransport(device.port), RealClock()) as link:
            assert [channel.name for channel in link.caps.sensors] == ["position", "velocity"]
    assert device.process.poll() is not None


def test_a_device_on_simulated_time_is_driven_by_a_control_loop(bundles: Path) -> None:
    policy = Policy(load(bundles / "robust.acclimate"))
    with (
        simulate_here(bundles / "robust.acclimate", "MX-64", seed=3) as device,
        ControlLoop(policy, device.link, device.clock, policy.manifest) as loop,
    ):
        episode = loop.run_episode(np.full((51, 2), 0.3, np.float32))
        assert (
            repr(device)
            == "<simulated MX-64: drive gain 1, polarity +1, delay 0 ms, gravity 0 Nm, load inertia 0 kg·m²>"
        )
        assert device.plant.parameters["voltage"] == 15.0
    assert abs(episode.obs[-1, 0] - 0.3) < 0.2


def test_servos_are_at_hand_without_a_bundle() -> None:
    with simulate_here(machine="#1") as device:
        assert device.name == "MX-106"


def test_functions_are_where_import_acclimate_finds_them() -> None:
    found = {entry.name: entry.load() for entry in metadata.entry_points(group="acclimate.api")}
    assert (found["evaluate"], found["simulate"]) == (evaluate, simulate)
    assert {"evaluate", "simulate", "HostLink"} <= set(dir(acclimate_bridge))
    with pytest.raises(AttributeError, match="has no attribute 'simulator'"):
        acclimate_bridge.simulator  # noqa: B018


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import acclimate_bridge", set()),
        ("from acclimate_bridge import HostLink", {"numpy"}),
        (
            "from acclimate_bridge.simulation.servo.world import ServoWorld",
            {"numpy", "acclimate_bridge.simulation"},
        ),
    ],
)
def test_nothing_is_loaded_that_is_not_needed(code: str, loaded: set[str]) -> None:
    """A host with the link alone loads no simulation, and no port; a simulation no port and no engine."""
    names = ("numpy", "serial", "onnxruntime", "acclimate_bridge.simulation", "acclimate_bridge.evaluation")
    program = f"import sys\n{code}\nprint(*[m for m in {names} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == loaded
