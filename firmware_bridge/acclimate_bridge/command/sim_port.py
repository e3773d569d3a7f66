"""Ports that begin with sim: a simulated device that `run` starts for itself, and ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from acclimate_bridge.simulation.spawn import simulated_port

SCHEME = "sim:"


@contextlib.contextmanager
def device_at(port: str, bundle: str, seed: int) -> Iterator[tuple[str, str]]:
    """Where the device is to be found, and what is simulated there; empty for a port that is there anyway."""
    if not port.startswith(SCHEME):
        yield port, ""
        return
    with simulated_port(bundle, f"--task={port.removeprefix(SCHEME)}", f"--seed={seed}") as device:
        yield device.port, device.described.removeprefix("simulating ")
