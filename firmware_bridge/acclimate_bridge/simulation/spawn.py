"""A simulated device in a process of its own, for as long as a block runs."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from acclimate.errors import DeviceFault, UsageError

_COMMAND = (sys.executable, "-m", "acclimate", "simulate", "--attached")
_USAGE = UsageError.exit_code


class SimulatedPort(NamedTuple):
    """Where the device is, what it simulates, and the process that it lives in."""

    port: str
    described: str
    process: subprocess.Popen[str]

    def __repr__(self) -> str:
        return f"<{self.described} at {self.port}>".replace("<simulating", "<simulated")

    def reboot(self) -> None:
        """Power-cycle the device."""
        self.process.send_signal(signal.SIGUSR1)


@contextlib.contextmanager
def simulated_port(*arguments: str) -> Iterator[SimulatedPort]:
    """Run `acclimate simulate ARGUMENTS`, wait for its port. Raises DeviceFault or UsageError where it does not start.

    The process ends with the block, and with this process, whatever ends that. Ctrl-C in the terminal is not for it:
    the host stops the device first.
    """
    with subprocess.Popen(
        [*_COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            port = process.stdout.readline().strip()
            if not port:
                raise _refusal(process)
            yield SimulatedPort(port, process.stderr.readline().strip(), process)
        finally:
            process.terminate()
            process.wait(timeout=10)


def _refusal(process: subprocess.Popen[str]) -> DeviceFault | UsageError:
    _, said = process.communicate()
    sentence = said.strip().removeprefix("acclimate: ")
    if process.returncode == _USAGE:
        return UsageError(sentence)
    return DeviceFault(f"the simulated device did not start: {sentence}")
