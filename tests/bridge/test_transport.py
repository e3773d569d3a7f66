"""Opening a port: who may have it, at which rate, and what becomes of what lies in it."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import tty
from collections.abc import Iterator

import pytest
from acclimate.errors import DeviceFault, UsageError
from acclimate_bridge.link.transport import SerialTransport, claim

TIOCGEXCL = 0x80045440  # Linux; Python has no name for it


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = os.openpty()
    tty.setraw(ends[1])
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("baud", [0, -1, 1199, 99_999_999_999])
def test_a_baud_rate_that_cannot_be_is_refused(terminal: tuple[int, int], baud: int) -> None:
    with pytest.raises(UsageError, match=f"the baud rate must be from 1200 to 12000000, found {baud}"):
        SerialTransport(os.ttyname(terminal[1]), baud)


def test_a_claimed_terminal_is_the_systems_to_refuse(terminal: tuple[int, int]) -> None:
    claim(terminal[1], hang_up=True)
    answer = fcntl.ioctl(terminal[1], TIOCGEXCL, b"\0" * 4)
    assert struct.unpack("i", answer) == (1,)


@pytest.mark.parametrize("dtr", [True, False])
def test_without_dtr_the_line_does_not_fall_at_the_end_either(terminal: tuple[int, int], dtr: bool) -> None:
    attributes = termios.tcgetattr(terminal[1])
    attributes[2] |= termios.HUPCL
    termios.tcsetattr(terminal[1], termios.TCSANOW, attributes)
    claim(terminal[1], hang_up=dtr)
    assert bool(termios.tcgetattr(terminal[1])[2] & termios.HUPCL) is dtr


@pytest.mark.parametrize("dtr", [True, False])
def test_a_pseudo_terminal_carries_bytes_and_is_not_paced(terminal: tuple[int, int], dtr: bool) -> None:
    transport = SerialTransport(os.ttyname(terminal[1]), dtr=dtr)
    assert transport.bits_per_s is None
    transport.write(b"there")
    assert os.read(terminal[0], 100) == b"there"
    os.write(terminal[0], b"back")
    assert transport.read() == b"back"
    assert transport.read() == b""
    transport.close()


def test_all_that_has_piled_up_is_taken_at_once(terminal: tuple[int, int]) -> None:
    transport = SerialTransport(os.ttyname(terminal[1]))
    os.set_blocking(terminal[0], False)
    sent = 0
    while sent < 12_000:
        try:
            sent += os.write(terminal[0], b"x" * 1000)
        except BlockingIOError:
            break
    assert sent > 4095
    assert len(transport.read()) == sent
    transport.close()


def test_a_cable_that_is_pulled_is_a_fault() -> None:
    master, slave = os.openpty()
    transport = SerialTransport(os.ttyname(slave))
    os.close(slave)
    os.close(master)
    with pytest.raises(DeviceFault, match="has vanished while in use"):
        transport.read()
    transport.close()
