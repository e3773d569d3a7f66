"""A port that bytes come from and go to: a serial one, a pseudo-terminal, a socket."""

from __future__ import annotations

import errno
from contextlib import suppress

import serial
from acclimate.errors import DeviceFault, UsageError


class SerialTransport:
    """A port that pyserial opens: a device file, or a URL such as socket://host:port."""

    def __init__(self, port: str, baudrate: int = 115_200) -> None:
        """Raises UsageError for a port that is not there, not allowed, or in use."""
        self.name = port
        try:
            # Exclusive, because two programs on one servo is how hardware breaks.
            options: dict[str, bool] = {} if "://" in port else {"exclusive": True}
            self._port = serial.serial_for_url(
                port, baudrate=baudrate, timeout=0, write_timeout=0.02, **options
            )
        except (serial.SerialException, ValueError, OSError) as error:
            raise UsageError(_refusal(port, error)) from error
        # Pseudo-terminals, sockets and many drivers have no such mode.
        with suppress(AttributeError, NotImplementedError, ValueError, OSError):
            self._port.set_low_latency_mode(True)

    def read(self) -> bytes:
        try:
            return bytes(self._port.read(4096))
        except (serial.SerialException, OSError, TypeError) as error:
            raise DeviceFault(_lost(self.name)) from error

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except serial.SerialTimeoutException:
            pass  # nobody reads at the other end; the watchdog there knows what to do
        except (serial.SerialException, OSError, TypeError) as error:
            raise DeviceFault(_lost(self.name)) from error

    def close(self) -> None:
        with suppress(serial.SerialException, OSError):  # it is gone, which is what was wanted
            self._port.close()


def _refusal(port: str, error: Exception) -> str:
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.EAGAIN, errno.EBUSY) or "exclusively lock" in text:
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
