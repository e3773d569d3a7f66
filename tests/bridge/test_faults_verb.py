"""`acclimate faults` in front of a simulated device, both in processes of their own, in real time."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from acclimate.control.clock import RealClock
from acclimate.errors import DeviceFault
from acclimate.fields import Json
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.transport import SerialTransport
from acclimate_bridge.simulation.faults.restamp import Restamper
from acclimate_bridge.simulation.lockstep import LockstepTransport, VirtualClock

from .conftest import Acclimate
from .test_link_time import Wire, drive

DT = 0.01


class Proxy(NamedTuple):
    port: str
    process: subprocess.Popen[str]

    def report(self) -> dict[str, Json]:
        self.process.send_signal(signal.SIGTERM)
        said, _ = self.process.communicate(timeout=20)
        tree: dict[str, Json] = json.loads(said)
        return tree


@contextlib.contextmanager
def proxy(*options: str) -> Iterator[Proxy]:
    command = [sys.executable, "-m", "acclimate", "faults", "--upstream", "sim:XL-320", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield Proxy(process.stdout.readline().strip(), process)
        finally:
            process.terminate()


def ticks(link: HostLink, count: int) -> None:
    clock = RealClock()
    begin = clock.now()
    for k in range(count):
        clock.sleep_until(begin + k * DT)
        sample = link.latest()
        if sample is not None and sample.faults == {"watchdog"}:
            link.rearm(sample)
        link.command(np.array([0.2], np.float32))


@pytest.mark.alone
def test_a_bad_link_reports_what_the_other_side_has_counted() -> None:
    with proxy("--flip", ".1", "--drop", ".1", "--latency", "1", "--drift", ".01", "--seed", "3") as bad:
        with HostLink(SerialTransport(bad.port), RealClock()) as link:
            link.start()
            ticks(link, 200)
            stats = link.stats
        report = bad.report()
    back, there = report["to_host"], report["to_device"]
    assert isinstance(back, dict)
    assert isinstance(there, dict)
    counted = np.array([stats.damaged, stats.lost, stats.device_damaged], float)
    done = np.array([back["damaged"], back["gone"], there["damaged"]], float)
    assert (done > 5.0).all()
    assert (
        np.abs(counted - done) <= 6.0 + 0.1 * done
    ).all()  # what came before and after the session is not counted


@pytest.mark.alone
def test_a_port_that_is_unplugged_comes_back_at_its_link(tmp_path: Path) -> None:
    place = tmp_path / "servo"
    with proxy("--unplug", ".3", "--unplugged", ".3", "--link", str(place)) as bad:
        with HostLink(SerialTransport(str(place)), RealClock()) as link:
            link.start()
            with pytest.raises(DeviceFault, match=r"has vanished|silent"):
                ticks(link, 300)
        time.sleep(1.0)
        with HostLink(SerialTransport(str(place)), RealClock()) as link:
            link.start()
            ticks(link, 10)
        assert bad.report()["happened"] == ["unplugged", "plugged in again"]


@pytest.mark.alone
@pytest.mark.parametrize("option", ["--reset", "--brown-out"])
def test_a_device_that_restarts_is_told_from_other_faults(option: str) -> None:
    with proxy(option, ".3") as bad:
        with HostLink(SerialTransport(bad.port), RealClock()) as link:
            link.start()
            with pytest.raises(DeviceFault, match="has restarted"):
                ticks(link, 300)
        bad.report()


def test_a_plan_that_cannot_be_is_the_users_mistake(acclimate: Acclimate) -> None:
    done = acclimate("faults", "--upstream", "sim:XL-320", "--flip", "2")
    assert done.returncode == 2
    assert "shares of flip, drop" in done.stderr
    assert "Traceback" not in done.stderr


class Restamped(LockstepTransport):
    """A device whose clock somebody on the way has made run fast."""

    def __init__(self, clock: VirtualClock, drift: float) -> None:
        self._wire, self._restamper = Wire(clock), Restamper(drift)
        super().__init__(self._wire.core, clock)

    def read(self) -> bytes:
        return self._restamper.to_host(self._wire.read())

    def write(self, data: bytes) -> None:
        self._wire.write(self._restamper.to_device(data))


@pytest.mark.parametrize("drift", [-0.01, 0.01])
def test_a_clock_that_was_made_to_drift_is_followed_and_commands_still_hold(drift: float) -> None:
    clock = VirtualClock(1.0)
    link = HostLink(Restamped(clock, drift), clock)
    link.start()
    samples = drive(link, clock, 20.0)
    assert not any(s.stale or s.faults for s in samples)
    assert link.stats.device_stale == 0
    assert link.stats.drift == pytest.approx(-drift, abs=1e-3)
