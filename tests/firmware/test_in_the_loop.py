"""The C core at the end of a real line: driven by a bundle, and left alone by its host, on both boards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from acclimate.control.clock import RealClock
from acclimate.control.device import Sample
from acclimate.errors import DeviceFault
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.transport import SerialTransport
from acclimate_demo.shipped import shipped_bundle

from benchmarks._boards import Served, host_device, made

from . import building

BUNDLE = shipped_bundle("servo_wide_rl2")
# On a computer with too much else to do, QEMU's UART takes longer for a command than it may move anything.
ATTEMPTS = 4
DUTY = np.array([0.5], np.float32)
pytestmark = pytest.mark.alone


def acclimate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "acclimate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def linked(device: Served) -> Iterator[HostLink]:
    with HostLink(SerialTransport(device.port), RealClock()) as link:
        yield link


def driven(link: HostLink, seconds: float) -> Sample:
    """Drive at 100 Hz; returns the last reading."""
    for _ in range(round(seconds * 100)):
        link.command(DUTY)
        link.latest()
        time.sleep(0.01)
    return read(link)


def read(link: HostLink) -> Sample:
    for _ in range(200):
        time.sleep(0.005)
        sample = link.latest()
        if sample is not None:
            return sample
    raise AssertionError("no reading")


@pytest.mark.slow
def test_a_bundle_drives_it(device: Served) -> None:
    options = ("--seconds", "2", "--no-sign-test", "--engine", "onnxruntime", "--max-action", "0.3", "--json")
    for _ in range(ATTEMPTS):
        done = acclimate("run", BUNDLE, "--port", device.port, *options)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["link"]["damaged"] == told["link"]["device_damaged"] == 0
    assert told["figures"]["error"] < 0.5


def test_a_host_that_falls_silent_leaves_it_latched_and_at_rest(device: Served) -> None:
    with linked(device) as link:
        link.start()
        assert driven(link, 0.2).values[0] > 0.0
        time.sleep(0.5)
        sample = read(link)
        assert sample.faults == {"watchdog"}
        assert abs(sample.values[1]) < 0.01


def test_an_emergency_stop_stays_until_a_person_releases_it(device: Served) -> None:
    with linked(device) as link:
        link.start()
        driven(link, 0.05)
        link.emergency_stop()
        time.sleep(0.2)
        assert "estop" in read(link).faults
        with pytest.raises(DeviceFault, match="release it with --release-estop"):
            link.start()
        link.release_estop()
        link.start()
        assert driven(link, 0.1).faults <= {"watchdog"}


def test_another_host_takes_over_a_device_at_rest(device: Served) -> None:
    with linked(device) as first:
        first.start()
        driven(first, 0.05)
    with linked(device) as second:
        assert read(second).faults == {"session"}
        second.start()
        assert driven(second, 0.1).faults <= {"watchdog"}


def test_a_device_that_restarts_is_found_out(host_build: Path) -> None:
    with host_device(host_build) as device, linked(device) as link:
        link.start()
        device.process.send_signal(signal.SIGUSR1)
        with pytest.raises(DeviceFault, match="has restarted"):
            driven(link, 0.5)


def test_firmware_of_another_version_is_refused_before_it_is_driven(tmp_path: Path) -> None:
    building.need("cc")
    newer = made(tmp_path, "host", "CFLAGS=-DACCLIMATE_VERSION=3") / "device"
    with host_device(newer) as device:
        done = acclimate("run", BUNDLE, "--port", device.port, "--timeout", "0.5")
    assert done.returncode == 2
    assert "speaks another version of the protocol; this host speaks version 2" in done.stderr
    assert done.stderr.count("\n") == 1
