"""The link to a device, simulated devices, and evaluations on them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acclimate_bridge.api import Evaluation as Evaluation
    from acclimate_bridge.api import evaluate as evaluate
    from acclimate_bridge.api import simulate as simulate
    from acclimate_bridge.api import simulate_here as simulate_here
    from acclimate_bridge.link.host_link import HostLink as HostLink
    from acclimate_bridge.link.transport import SerialTransport as SerialTransport

# Loaded on first use: whoever needs the link alone does not load the simulation.
_HOME = {
    "Evaluation": "api",
    "HostLink": "link.host_link",
    "SerialTransport": "link.transport",
    "evaluate": "api",
    "simulate": "api",
    "simulate_here": "api",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'acclimate_bridge' has no attribute {name!r}")
    return getattr(import_module(f"acclimate_bridge.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
