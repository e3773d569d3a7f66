"""How a port is opened, and what becomes of what its device says."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
from acclimate.errors import UsageError
from acclimate_bridge.command.connecting import Opening
from acclimate_bridge.link.messages import Log
from acclimate_bridge.link.wired import DeviceLog
from acclimate_bridge.simulation.lockstep import VirtualClock
from acclimate_bridge.simulation.spawn import simulated_port

from .conftest import Acclimate


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), 601.0])
def test_a_timeout_that_cannot_be_is_refused(timeout: float) -> None:
    with pytest.raises(UsageError, match="--timeout must be above 0"):
        Opening.of(Namespace(baud=115_200, timeout=timeout, no_dtr=False))


def test_options_are_what_the_port_is_opened_with() -> None:
    assert Opening.of(Namespace(baud=9600, timeout=8.0, no_dtr=True)) == Opening(9600, 8.0, False)


def test_a_device_that_talks_on_and_on_is_cut_short_and_counted() -> None:
    clock, told = VirtualClock(), list[str]()
    log = DeviceLog(clock, told.append)
    for k in range(1000):
        clock.sleep_until(0.003 * k)
        log(Log(3, f"line {k}"))
    log.close()
    assert told[:2] == ["device: warning: line 0", "device: warning: line 1"]
    assert len(told) <= 3 * 11
    shown = sum(line.startswith("device: warning") for line in told)
    left = sum(int(line.split()[3]) for line in told if "more lines" in line)
    assert shown + left == 1000


def test_what_a_device_says_is_shown_by_run(acclimate: Acclimate, bundles: Path) -> None:
    with simulated_port("--fault", "overload@0.3") as device:
        done = acclimate("run", bundles / "tiny.acclimate", "--port", device.port, "--seconds", "3")
    assert done.returncode == 1
    assert "device: error: overload: torque is off" in done.stderr
    assert "is in fault (overload)" in done.stderr


@pytest.mark.parametrize("baud", ["0", "99999999999"])
def test_a_baud_rate_that_cannot_be_is_the_users_mistake(
    acclimate: Acclimate, bundles: Path, baud: str
) -> None:
    with simulated_port() as device:
        done = acclimate("run", bundles / "tiny.acclimate", "--port", device.port, "--baud", baud)
    assert done.returncode == 2
    assert "baud must be a number from 1200 to 1.2e+07" in done.stderr
