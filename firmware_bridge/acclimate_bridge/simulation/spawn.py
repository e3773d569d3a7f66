"""A simulated device in a process of its own, for as long as a block runs."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from acclimate.errors import DeviceFault

_COMMAND = (
    sys.executable,
    "-c",
    "from acclimate.command.cli import main; raise SystemExit(main())",
    "simulate",
)


class SimulatedPort(NamedTuple):
    """Where the device is, and the process that it lives in."""

    port: str
    process: subprocess.Popen[str]

    def reboot(self) -> None:
        """Power-cycle the device."""
        self.process.send_signal(signal.SIGUSR1)


@contextlib.contextmanager
def simulated_port(*arguments: str) -> Iterator[SimulatedPort]:
    """Run `acclimate simulate ARGUMENTS`, wait for its port. Raises DeviceFault where it does not start."""
    with subprocess.Popen(
        [*_COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            port = process.stdout.readline().strip()
            if not port:
                process.wait()
                raise DeviceFault(f"the simulated device did not start: {process.stderr.read().strip()}")
            yield SimulatedPort(port, process)
        finally:
            process.terminate()
            process.wait(timeout=10)
