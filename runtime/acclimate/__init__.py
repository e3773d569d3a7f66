"""Acclimate on the device: load a bundle, drive with its policy, adapt it while it drives."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acclimate.bundle.file import Bundle as Bundle
    from acclimate.bundle.file import load as load
    from acclimate.bundle.manifest import Manifest as Manifest
    from acclimate.control.clock import RealClock as RealClock
    from acclimate.control.loop import ControlLoop as ControlLoop
    from acclimate.errors import AcclimateError as AcclimateError
    from acclimate.policy.checkpoint import load_checkpoint as load_checkpoint
    from acclimate.policy.checkpoint import save_checkpoint as save_checkpoint
    from acclimate.policy.guard import Guard as Guard
    from acclimate.policy.policy import Policy as Policy
    from acclimate.task.episode import Window as Window

# Loaded on first use: `import acclimate`, and so `acclimate --help`, imports neither numpy nor an engine.
_HOME = {
    "AcclimateError": "errors",
    "Bundle": "bundle.file",
    "ControlLoop": "control.loop",
    "Guard": "policy.guard",
    "Manifest": "bundle.manifest",
    "Policy": "policy.policy",
    "RealClock": "control.clock",
    "Window": "task.episode",
    "load": "bundle.file",
    "load_checkpoint": "policy.checkpoint",
    "save_checkpoint": "policy.checkpoint",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'acclimate' has no attribute {name!r}")
    return getattr(import_module(f"acclimate.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
