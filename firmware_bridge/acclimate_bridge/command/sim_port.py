"""Ports that begin with sim: a simulated device that `run` starts for itself, and ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from acclimate_bridge.simulation.spawn import simulated_port

SCHEME = "sim:"


class DeviceAt(NamedTuple):
    """The port that a device is at, and what is simulated there; None for one that is there anyway."""

    port: str
    simulated: str | None = None


@contextlib.contextmanager
def device_at(port: str, bundle: str, seed: int) -> Iterator[DeviceAt]:
    """The device that a `--port` means. Raises UsageError for a machine that there is not."""
    if not port.startswith(SCHEME):
        yield DeviceAt(port)
        return
    with simulated_port(bundle, f"--task={port.removeprefix(SCHEME)}", f"--seed={seed}") as device:
        yield DeviceAt(device.port, device.described.removeprefix("simulating "))
