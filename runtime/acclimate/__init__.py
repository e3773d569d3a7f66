"""Acclimate on the device: load a bundle, drive with its policy, adapt it while it drives.

    bundle = acclimate.load("arm.acclimate")
    policy = acclimate.Policy(bundle)
    with acclimate.stopping_on_signals():
        with acclimate.ControlLoop(policy, device, acclimate.RealClock(), bundle.manifest) as loop:
            episode = loop.run_episode(reference)

On a desktop, where their extras are installed, `acclimate.train`, `export`, `verify`, `evaluate` and
`simulate` are there too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from acclimate.errors import MissingPartError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from acclimate.bundle.file import Bundle as Bundle
    from acclimate.bundle.file import load as load
    from acclimate.bundle.manifest import Manifest as Manifest
    from acclimate.control.clock import RealClock as RealClock
    from acclimate.control.device import Channel as Channel
    from acclimate.control.device import Clock as Clock
    from acclimate.control.device import Device as Device
    from acclimate.control.device import DeviceCaps as DeviceCaps
    from acclimate.control.device import Sample as Sample
    from acclimate.control.devices import DeviceAddress as DeviceAddress
    from acclimate.control.devices import DeviceRequest as DeviceRequest
    from acclimate.control.devices import open_device as open_device
    from acclimate.control.drive import Drive as Drive
    from acclimate.control.loop import Controller as Controller
    from acclimate.control.loop import ControlLoop as ControlLoop
    from acclimate.control.recording import Recording as Recording
    from acclimate.control.signals import stopping_on_signals as stopping_on_signals
    from acclimate.control.trial import Trial as Trial
    from acclimate.control.trial import TrialPlan as TrialPlan
    from acclimate.control.trial import TrialReport as TrialReport
    from acclimate.errors import AcclimateError as AcclimateError
    from acclimate.errors import BundleError as BundleError
    from acclimate.errors import CheckpointError as CheckpointError
    from acclimate.errors import DeviceFault as DeviceFault
    from acclimate.errors import EngineError as EngineError
    from acclimate.errors import MismatchError as MismatchError
    from acclimate.errors import PolicyError as PolicyError
    from acclimate.errors import UsageError as UsageError
    from acclimate.policy.adapt_result import AdaptResult as AdaptResult
    from acclimate.policy.adaptation import AdaptWorker as AdaptWorker
    from acclimate.policy.adaptation import InlineAdapter as InlineAdapter
    from acclimate.policy.checkpoint import load_checkpoint as load_checkpoint
    from acclimate.policy.checkpoint import save_checkpoint as save_checkpoint
    from acclimate.policy.continual import Continual as Continual
    from acclimate.policy.guard import Guard as Guard
    from acclimate.policy.objectives import objective as objective
    from acclimate.policy.objectives import set_objective as set_objective
    from acclimate.policy.policy import Policy as Policy
    from acclimate.policy.trust import trust as trust
    from acclimate.task.episode import Episode as Episode
    from acclimate.task.episode import Window as Window
    from acclimate.task.metrics import measure as measure
    from acclimate.task.spec import ActionChannel as ActionChannel
    from acclimate.task.spec import Feature as Feature
    from acclimate.task.spec import Metric as Metric
    from acclimate.task.spec import ObservationChannel as ObservationChannel
    from acclimate.task.spec import Parameter as Parameter
    from acclimate.task.spec import TaskSpec as TaskSpec
    from acclimate.task.spec import Track as Track
    from acclimate.task.spec import TrackingReference as TrackingReference

    train: Callable[..., Any]
    export: Callable[..., Any]
    verify: Callable[..., Any]
    evaluate: Callable[..., Any]
    simulate: Callable[..., Any]

# Loaded on first use: `import acclimate`, and so `acclimate --help`, imports neither numpy nor an engine.
_HOME = {
    "bundle.file": "Bundle load",
    "bundle.manifest": "Manifest",
    "control.clock": "RealClock",
    "control.device": "Channel Clock Device DeviceCaps Sample",
    "control.devices": "DeviceAddress DeviceRequest open_device",
    "control.drive": "Drive",
    "control.loop": "ControlLoop Controller",
    "control.recording": "Recording",
    "control.signals": "stopping_on_signals",
    "control.trial": "Trial TrialPlan TrialReport",
    "errors": "AcclimateError BundleError CheckpointError DeviceFault EngineError MismatchError PolicyError UsageError",
    "policy.adapt_result": "AdaptResult",
    "policy.adaptation": "AdaptWorker InlineAdapter",
    "policy.checkpoint": "load_checkpoint save_checkpoint",
    "policy.continual": "Continual",
    "policy.guard": "Guard",
    "policy.objectives": "objective set_objective",
    "policy.policy": "Policy",
    "policy.trust": "trust",
    "task.episode": "Episode Window",
    "task.metrics": "measure",
    "task.spec": "ActionChannel Feature Metric ObservationChannel Parameter TaskSpec Track TrackingReference",
}
_MODULES = {name: module for module, names in _HOME.items() for name in names.split()}
_GROUP = "acclimate.api"  # entry points of the functions below, which other parts bring
_EXTRAS = {
    "train": "train",
    "export": "export",
    "verify": "export",
    "evaluate": "serial",
    "simulate": "serial",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"acclimate.{_MODULES[name]}"), name)
    if name in _EXTRAS:
        return _of_another_part(name)
    raise AttributeError(f"module 'acclimate' has no attribute {name!r}")


def _of_another_part(name: str) -> object:
    """The function of this name. Raises MissingPartError where its extra is not installed."""
    from importlib import metadata  # not before: a board needs none of it

    for entry in metadata.entry_points(group=_GROUP, name=name):
        try:
            return entry.load()
        except ImportError as error:
            reason = f"cannot be loaded ({error})"
            break
    else:
        reason = "is not installed"
    raise MissingPartError(f"acclimate.{name} {reason}; install acclimate[{_EXTRAS[name]}]")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_EXTRAS})
