"""The simulated device in its own process on a real pseudo-terminal, and `run` and `ports` against it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from acclimate.control.clock import RealClock
from acclimate.errors import DeviceFault, UsageError
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.link.transport import SerialTransport
from acclimate_bridge.simulation.spawn import SimulatedPort, simulated_port

from .conftest import Acclimate

DT = 0.01


@pytest.fixture
def device() -> Iterator[SimulatedPort]:
    with simulated_port("--servo", "XL-320") as device:
        yield device


def drive(link: HostLink, duty: float, ticks: int) -> None:
    clock = RealClock()
    begin = clock.now()
    for k in range(ticks):
        clock.sleep_until(begin + k * DT)
        link.latest()
        link.command(np.array([duty], np.float32))


def test_a_joint_moves_over_a_real_terminal(device: SimulatedPort) -> None:
    with HostLink(SerialTransport(device.port), RealClock()) as link:
        link.start()
        drive(link, 0.5, 30)
        sample = link.latest()
        assert sample is not None
        assert sample.values[0] > 0.1
        assert 0.0 < RealClock().now() - sample.t < 0.5
        assert link.stats.device_refused == 0
        assert 0.0 < link.stats.round_trip < 0.1


def test_a_stopped_device_stays_stopped_for_the_next_host(device: SimulatedPort) -> None:
    with HostLink(SerialTransport(device.port), RealClock()) as link:
        link.start()
        drive(link, 0.5, 5)
    with HostLink(SerialTransport(device.port), RealClock()) as link:
        time.sleep(0.05)
        sample = link.latest()
        assert sample is not None
        assert sample.faults == {"session"}


def test_the_watchdog_stops_a_device_whose_host_died(device: SimulatedPort) -> None:
    code = (
        "import sys, time, os, numpy as np\n"
        "from acclimate.control.clock import RealClock\n"
        "from acclimate_bridge.link.host_link import HostLink\n"
        "from acclimate_bridge.link.transport import SerialTransport\n"
        "link = HostLink(SerialTransport(sys.argv[1]), RealClock())\n"
        "link.start()\n"
        "link.command(np.array([0.3], np.float32))\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, device.port], check=True, timeout=30)
    time.sleep(0.2)
    with HostLink(SerialTransport(device.port), RealClock()) as link:
        time.sleep(0.05)
        sample = link.latest()
        assert sample is not None
        assert "watchdog" in sample.faults


def test_a_reboot_under_way_is_a_fault(device: SimulatedPort) -> None:
    with HostLink(SerialTransport(device.port), RealClock()) as link:
        link.start()
        drive(link, 0.1, 5)
        device.reboot()
        with pytest.raises(DeviceFault, match="has restarted"):
            drive(link, 0.1, 100)


def test_a_port_that_vanishes_is_a_fault() -> None:
    with (
        simulated_port("--fault", "unplug@0.1") as device,
        HostLink(SerialTransport(device.port), RealClock()) as link,
    ):
        link.start()
        with pytest.raises(DeviceFault, match=f"port {device.port} has vanished"):
            drive(link, 0.1, 100)


def test_changes_happen_at_their_time_of_being_driven() -> None:
    changes = ("--change", "supply@1", "--change", "polarity@0.5")
    with simulated_port("--servo", "XL-320", *changes) as device:
        with HostLink(SerialTransport(device.port), RealClock()) as link:
            time.sleep(0.6)  # nobody drives it yet
            link.start()
            speeds = []
            for ticks in (20, 60):
                drive(link, 0.3, ticks)
                sample = link.latest()
                assert sample is not None
                speeds.append(float(sample.values[1]))
            drive(link, 0.0, 40)
        device.process.terminate()
        assert device.process.stderr is not None
        told = device.process.stderr.read().splitlines()
    assert speeds[0] > 0.5 > -0.5 > speeds[1]
    assert [line.split(" of being")[0] for line in told] == ["polarity after 0.5 s", "supply after 1 s"]
    assert "drive gain 0.6, polarity -1" in told[-1]


def test_a_port_has_one_user(device: SimulatedPort) -> None:
    first = SerialTransport(device.port)
    with pytest.raises(UsageError, match="in use by another program"):
        SerialTransport(device.port)
    first.close()
    SerialTransport(device.port).close()


def test_a_path_that_is_no_port_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist; `acclimate ports`"):
        SerialTransport(str(tmp_path / "ttyNONE"))
    plain = tmp_path / "file"
    plain.write_text("")
    with pytest.raises(UsageError, match="is not a serial port"):
        SerialTransport(str(plain))


def test_a_link_to_the_port_lives_as_long_as_the_device(tmp_path: Path) -> None:
    link = tmp_path / "port"
    with simulated_port("--link", str(link)) as device:
        assert str(link.readlink()) == device.port
    assert not link.is_symlink()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(number: signal.Signals) -> None:
    with simulated_port() as device:
        device.process.send_signal(number)
        assert device.process.wait(timeout=10) == 0


def test_a_device_that_nobody_reads_goes_on(device: SimulatedPort) -> None:
    """The terminal's buffer fills up with readings; a host that comes then is served all the same."""
    handle = os.open(device.port, os.O_RDWR | os.O_NOCTTY)
    transport = SerialTransport(device.port)
    HostLink(transport, RealClock())
    time.sleep(1.0)
    transport.close()
    os.close(handle)
    with HostLink(SerialTransport(device.port), RealClock()) as link:
        link.start()
        drive(link, 0.1, 5)
        assert link.latest() is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--servo", "SG-90"), "no servo is called 'SG-90'"),
        (("--polarity", "0.5"), "--polarity must be 1 or -1"),
        (("--drive-gain", "0"), "--drive-gain must be from 0.001"),
        (("--delay", "3"), "--delay must be from 0 to 0.1"),
        (("--rate", "9"), "--rate must be from 10 to 500 Hz"),
        (("--angle", "9"), "--angle must lie within ±1.7"),
        (("--angle", "nan"), "--angle must lie within ±1.7"),
        (("--seed", "-1"), "--seed must be at least 0"),
        (("--fault", "fire@1"), "nan, reboot, unplug, hang"),
        (("--disturb", "corrupt=0.1"), "--disturb is for servos on a bus; add --bus"),
        (("--change", "fire@1"), "valid KIND: payload, polarity, supply"),
        (("--link", str(Path(__file__))), "is not a symbolic link"),
        (("--link", "/no/such/folder/port"), "No such file or directory"),
    ],
)
def test_bad_arguments_end_in_one_sentence(here: Acclimate, arguments: tuple[str, ...], words: str) -> None:
    done = here("simulate", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_ports_prints_one_object(acclimate: Acclimate) -> None:
    done = acclimate("ports", "--json")
    assert done.returncode == 0
    assert set(json.loads(done.stdout)) == {"ports"}
