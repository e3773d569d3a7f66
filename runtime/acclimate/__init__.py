"""Acclimate on the device: load a bundle, drive with its policy, adapt it while it drives."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acclimate.bundle import Bundle as Bundle
    from acclimate.bundle import load as load
    from acclimate.checkpoint import load_checkpoint as load_checkpoint
    from acclimate.checkpoint import save_checkpoint as save_checkpoint
    from acclimate.clock import RealClock as RealClock
    from acclimate.errors import AcclimateError as AcclimateError
    from acclimate.guard import Guard as Guard
    from acclimate.loop import ControlLoop as ControlLoop
    from acclimate.manifest import Manifest as Manifest
    from acclimate.policy import Policy as Policy
    from acclimate.window import Window as Window

# Loaded on first use: `import acclimate`, and so `acclimate --help`, imports neither numpy nor an engine.
_HOME = {
    "AcclimateError": "errors",
    "Bundle": "bundle",
    "ControlLoop": "loop",
    "Guard": "guard",
    "Manifest": "manifest",
    "Policy": "policy",
    "RealClock": "clock",
    "Window": "window",
    "load": "bundle",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'acclimate' has no attribute {name!r}")
    return getattr(import_module(f"acclimate.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
