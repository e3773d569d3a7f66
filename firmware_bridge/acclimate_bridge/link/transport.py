"""A port that bytes come from and go to: a serial one, a pseudo-terminal, a socket."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import termios
import time
from contextlib import suppress

import serial
from acclimate.errors import DeviceUnplugged, UsageError

BAUD = 115_200
BAUDS = (1_200, 12_000_000)
_CHUNK = 4095  # bytes that a terminal gives at a time
_MOST = 65_536  # bytes taken at a time, so that a flood cannot hold the loop
_PULSE = 0.1  # s
_PSEUDO_TERMINALS = range(136, 144)  # major device numbers of Linux
_USB_MODEMS = 166


class SerialTransport:
    """A port that pyserial opens: a device file, or a URL such as socket://host:port."""

    def __init__(self, port: str, baudrate: int = BAUD, *, dtr: bool = True) -> None:
        """dtr: False keeps DTR and RTS low, for boards that these lines restart.

        Raises UsageError for a port that is not there, not allowed, or in use, and for a baud rate that cannot be.
        """
        if not BAUDS[0] <= baudrate <= BAUDS[1]:
            raise UsageError(f"the baud rate must be from {BAUDS[0]} to {BAUDS[1]}, found {baudrate}")
        self.name = port
        try:
            self._port = _opened(port, baudrate, dtr)
            major = _major(self._port)
        except (serial.SerialException, ValueError, OSError) as error:
            raise UsageError(refusal(port, error)) from error
        paced = major is not None and major != _USB_MODEMS and major not in _PSEUDO_TERMINALS
        self.bits_per_s: int | None = baudrate if paced else None
        # Pseudo-terminals, sockets and many drivers have no such mode.
        with suppress(AttributeError, NotImplementedError, ValueError, OSError):
            self._port.set_low_latency_mode(True)

    def read(self) -> bytes:
        data = b""
        try:
            while len(chunk := bytes(self._port.read(_CHUNK))) == _CHUNK and len(data) < _MOST:
                data += chunk
        except (serial.SerialException, OSError, TypeError) as error:
            raise DeviceUnplugged(_lost(self.name)) from error
        return data + chunk

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except serial.SerialTimeoutException:
            pass  # nobody reads at the other end; the watchdog there knows what to do
        except (serial.SerialException, OSError, TypeError) as error:
            raise DeviceUnplugged(_lost(self.name)) from error

    def reset(self) -> None:
        """Restart the board behind the port as far as DTR does that."""
        with suppress(AttributeError, NotImplementedError, ValueError, OSError, serial.SerialException):
            self._port.dtr = False
            time.sleep(_PULSE)
            self._port.dtr = True

    def close(self) -> None:
        with suppress(serial.SerialException, OSError):  # it is gone, which is what was wanted
            self._port.close()


def _opened(port: str, baudrate: int, dtr: bool) -> serial.Serial:
    """The port, claimed for this program alone, because two programs on one servo is how hardware breaks."""
    local: dict[str, bool] = {} if "://" in port else {"exclusive": True}
    # Spelled out because both ends must agree on them: 8N1, without flow control.
    found = serial.serial_for_url(
        port,
        baudrate=baudrate,
        bytesize=serial.EIGHTBITS,
        parity=serial.PARITY_NONE,
        stopbits=serial.STOPBITS_ONE,
        xonxoff=False,
        rtscts=False,
        dsrdtr=False,
        timeout=0,
        write_timeout=0.02,
        do_not_open=True,
        **local,
    )
    if not dtr:
        found.dtr = found.rts = False
    found.open()
    if _major(found) not in (None, *_PSEUDO_TERMINALS):
        claim(found.fileno(), hang_up=dtr)
    return found


def claim(descriptor: int, *, hang_up: bool) -> None:
    """Have the system refuse this terminal to all others; hang_up: whether DTR falls when it is closed.

    pyserial's own lock is only asked for by programs that are as polite. Not for pseudo-terminals: of those the other
    end is open, too, and would keep a claim that this program left behind when it was killed.
    """
    fcntl.ioctl(descriptor, termios.TIOCEXCL)
    attributes = termios.tcgetattr(descriptor)
    if not hang_up:
        attributes[2] &= ~termios.HUPCL
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


def _major(port: serial.Serial) -> int | None:
    """Which driver a port of this machine belongs to; None for what is no port of this machine."""
    try:
        status = os.fstat(port.fileno())
    except (AttributeError, OSError, ValueError):
        return None
    return os.major(status.st_rdev) if stat.S_ISCHR(status.st_mode) else None


def refusal(port: str, error: Exception) -> str:
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.EAGAIN, errno.EBUSY) or "exclusively lock" in text or "exclusive lock" in text:
        return f"port {port} is in use by another program; close that one, or choose another port"
    if number == errno.ENOENT or "No such file" in text:
        return f"port {port} does not exist; `acclimate ports` lists the ports of this machine"
    if number == errno.EACCES or "Permission denied" in text:
        return f"no permission to open port {port}; add your user to the group that owns it (often dialout)"
    if number == errno.ENOTTY or "Inappropriate ioctl" in text:
        return f"{port} is not a serial port; `acclimate ports` lists the ports of this machine"
    return f"cannot open port {port}: {text}"


def _lost(port: str) -> str:
    return f"port {port} has vanished while in use; check the cable and the power of the device"
