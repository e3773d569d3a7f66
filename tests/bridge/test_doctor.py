"""`acclimate doctor`: on a device as it should be nothing fails; what is broken is named, with its remedy."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acclimate.bundle.file import load
from acclimate.command.checks import Check
from acclimate.control.device import Channel
from acclimate_bridge.command.doctor.link import check_link, noise, watch
from acclimate_bridge.command.doctor.motion import check_motion
from acclimate_bridge.command.doctor.policy import check_bundle, check_fit, check_rest
from acclimate_bridge.command.doctor.port import check_port
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.faults.plan import FaultPlan
from acclimate_bridge.simulation.faults.transport import FaultyTransport
from acclimate_bridge.simulation.lockstep import VirtualClock
from acclimate_bridge.simulation.servo.machine import ServoSpecimen
from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import BUILT_IN

from .conftest import Acclimate


class Bench:
    """A servo behind a link, on simulated time."""

    def __init__(self, plan: FaultPlan | None = None, deployment: Deployment | None = None) -> None:
        machine = ServoSpecimen(BUILT_IN["MX-64"], deployment or Deployment())
        self.clock, rng = VirtualClock(1.0), np.random.default_rng(0)
        self.core = DeviceCore(machine.start(rng), machine.profile, boot_id=1)
        transport = FaultyTransport(self.core, self.clock, FaultPlan(), rng)
        self.link = HostLink(transport, self.clock)
        transport.change(plan or FaultPlan(), plan or FaultPlan())
        self.trips, self.readings = watch(self.link, self.clock)

    def bad(self) -> dict[str, str]:
        return failed(list(check_link(self.link, self.trips, 0.01)))


def failed(checks: Sequence[Check]) -> dict[str, str]:
    return {check.name: check.remedy for check in checks if not check.ok}


def test_a_good_link_has_nothing_wrong_with_it() -> None:
    assert Bench().bad() == {}


@pytest.mark.parametrize(
    ("plan", "name", "remedy"),
    [
        (FaultPlan(latency=0.004), "round trip", "latency timer"),
        (FaultPlan(flip=0.05), "frame errors", "check cable"),
        (FaultPlan(drop=0.05), "frame errors", "check cable"),
    ],
)
def test_a_bad_link_is_named_with_its_remedy(plan: FaultPlan, name: str, remedy: str) -> None:
    assert remedy in Bench(plan).bad()[name]


def test_a_watchdog_that_is_too_short_for_the_bundle_is_named() -> None:
    bench = Bench()
    bad = failed(list(check_link(bench.link, bench.trips, 0.5)))
    assert "too short for a command every 500 ms" in bad["watchdog"]


@pytest.mark.parametrize(("polarity", "way"), [(1.0, "with"), (-1.0, "against")])
def test_a_small_motion_shows_the_sign(polarity: float, way: str) -> None:
    bench = Bench(deployment=Deployment(polarity=polarity))
    (check,) = check_motion(bench.link, bench.clock, bench.readings)
    assert check.ok
    assert f"moves {way} it by" in check.found
    assert bench.core.faults


def test_an_actuator_without_power_does_not_answer() -> None:
    bench = Bench(deployment=Deployment(drive_gain=1e-9))
    (check,) = check_motion(bench.link, bench.clock, bench.readings)
    assert check.found == "no sensor answers"


def test_without_move_nothing_is_driven() -> None:
    bench = Bench()
    assert float(np.abs(bench.readings[:, 0] - bench.readings[0, 0]).max()) < 0.01
    assert bench.core.session
    assert bench.core.faults


def test_noise_is_what_is_not_motion() -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0.0, 5.0, 1000)[:, None]
    assert float(noise(ramp + 0.1 * rng.standard_normal((1000, 1)))[0]) == pytest.approx(0.1, rel=0.1)


def test_sensors_at_rest_are_compared_with_the_bundles_ranges(bundles: Path) -> None:
    manifest, caps = load(bundles / "tiny.acclimate").manifest, Bench().link.caps
    readings = np.zeros((100, 2), np.float32)
    assert failed(list(check_rest(manifest, caps, readings))) == {}
    for change, said in (
        (lambda r: r + np.array([57.3, 0.0]), "check its unit, zero and scale"),
        (lambda r: r + np.array([[1.0, 0.0]]) * (np.arange(100)[:, None] % 2), "filter it"),
        (lambda r: r * np.nan, "check that sensor's wiring"),
    ):
        wrong: Callable[[np.ndarray], np.ndarray] = change
        assert said in failed(list(check_rest(manifest, caps, wrong(readings))))["position"]


def test_a_bundle_that_fits_and_one_that_does_not(bundles: Path) -> None:
    manifest, caps = load(bundles / "tiny.acclimate").manifest, Bench().link.caps
    assert failed(list(check_fit(manifest, caps))) == {}
    other = replace(caps, sensors=(Channel("angle", "deg", -180.0, 180.0),))
    assert "channels" in failed(list(check_fit(manifest, other)))


def test_a_bundle_is_tried_on_extreme_inputs_and_each_of_them(bundles: Path) -> None:
    checks = {check.name: check for check in check_bundle(load(bundles / "tiny.acclimate"), "onnxruntime")}
    assert failed(list(checks.values())) == {}
    assert set(checks) == {"bundle", "golden sequence", "extreme inputs", "inputs"}


def test_a_latency_timer_is_read_and_told_how_to_lower(tmp_path: Path) -> None:
    port, sysfs = tmp_path / "ttyUSB7", tmp_path / "sys"
    port.touch()
    (sysfs / "ttyUSB7").mkdir(parents=True)
    for held, ok in ((16, False), (1, True)):
        (sysfs / "ttyUSB7" / "latency_timer").write_text(f"{held}\n")
        checks = {check.name: check for check in check_port(str(port), sysfs)}
        assert checks["latency timer"].found == f"{held} ms"
        assert checks["latency timer"].ok is ok


def test_a_port_that_is_not_there_is_named(acclimate: Acclimate, tmp_path: Path) -> None:
    done = acclimate("doctor", tmp_path / "ttyNONE")
    assert done.returncode == 1
    assert "see `acclimate ports`" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.alone
def test_the_verb_looks_at_everything(acclimate: Acclimate, bundles: Path) -> None:
    bundle = str(bundles / "tiny.acclimate")
    done = acclimate("doctor", "sim:MX-64", bundle, "--engine", "onnxruntime", "--json", "--move")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == (0 if all(check["ok"] for check in checks.values()) else 1)
    assert checks["channels"]["ok"]
    assert "moves with it" in checks["motion of duty"]["found"]
    assert "keep clear" in done.stderr
