"""From the device's channels to the bundle's, by name; nobody types an observation layout twice."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.device import Channel, DeviceCaps
from acclimate.errors import MismatchError
from acclimate.task.spec import ActionChannel, ObservationChannel

_SLACK = 1e-3  # of a range or a rate: devices state theirs in scaled integers


def scalars(channel: ObservationChannel | ActionChannel) -> list[Channel]:
    """The scalars that a bundle's channel stands for: itself, or NAME.0, NAME.1, … where it has several."""
    names = [channel.name] if channel.size == 1 else [f"{channel.name}.{i}" for i in range(channel.size)]
    return [Channel(name, channel.unit, channel.minimum, channel.maximum) for name in names]


class Layout:
    """Index arrays between a device's samples and commands and a bundle's observations and actions."""

    def __init__(self, manifest: Manifest, caps: DeviceCaps) -> None:
        """Raises MismatchError with everything that differs."""
        require_match(manifest, caps)
        sensors = {channel.name: i for i, channel in enumerate(caps.sensors)}
        actuators = {channel.name: i for i, channel in enumerate(caps.actuators)}
        sources = [(c, channel.source) for channel in manifest.observation for c in scalars(channel)]
        actions = [c for channel in manifest.action for c in scalars(channel)]
        absent = _dispensable(manifest) - sensors.keys()
        self.rewarded = not absent  # whether whatever `adapt` needs is measured
        given = [
            (i, c) for i, (c, source) in enumerate(sources) if source != "reference" and c.name not in absent
        ]
        references = [c for c, source in sources if source == "reference"]
        self.from_device = _indices(i for i, _ in given)
        self.from_reference = _indices(i for i, (_, source) in enumerate(sources) if source == "reference")
        self.sensors = _indices(sensors[c.name] for _, c in given)
        self.actuators = _indices(actuators[c.name] for c in actions)
        # A device with an actuator by a reference's name wants to know what is asked for, and is told.
        told = [(actuators[c.name], i) for i, c in enumerate(references) if _is_told(c, caps)]
        self.told = _indices(i for i, _ in told)
        self.of_reference = _indices(i for _, i in told)  # columns of the reference, one for each of `told`
        self.low = np.array([c.minimum for c in actions], np.float32)  # (n_act,)
        self.high = np.array([c.maximum for c in actions], np.float32)  # (n_act,)
        self.slew = _slew_per_tick(manifest)  # (n_act,) largest change from one tick to the next
        self.neutral = neutral(caps)  # (n_actuators,)


def neutral(caps: DeviceCaps) -> FloatArray:
    """The safe target of every actuator: zero, or what of its range is nearest to zero."""
    return np.array([min(max(0.0, c.minimum), c.maximum) for c in caps.actuators], np.float32)


def differences(manifest: Manifest, caps: DeviceCaps) -> list[str]:
    """What a device lacks to run this bundle, a phrase each. Extra channels of the device do not matter."""
    dispensable = _dispensable(manifest) - {c.name for c in caps.sensors}
    measured = [c for o in manifest.task.sensors for c in scalars(o)]
    wanted = [c for c in measured if c.name not in dispensable]
    found = _compare("sensor", wanted, caps.sensors)
    found += _compare("actuator", [c for a in manifest.action for c in scalars(a)], caps.actuators)
    ratio = caps.rate_hz * manifest.control_dt
    if round(ratio) < 1 or abs(ratio - round(ratio)) > _SLACK * ratio:
        wanted_hz = 1.0 / manifest.control_dt
        found.append(f"rate {caps.rate_hz:g} Hz, expected {wanted_hz:g} Hz or a multiple of it")
    return found


def require_match(manifest: Manifest, caps: DeviceCaps) -> None:
    """Raises MismatchError that lists every difference."""
    found = differences(manifest, caps)
    if found:
        raise MismatchError(f"this device does not fit bundle {manifest.name!r}: {'; '.join(found)}")


def _dispensable(manifest: Manifest) -> set[str]:
    """Sensors that a device may lack: a reward, without which w can be set, but not inferred."""
    reward = manifest.objectives.reward if manifest.objectives else None
    return {reward} if reward is not None else set()


def _is_told(reference: Channel, caps: DeviceCaps) -> bool:
    return any(c.name == reference.name and c.unit == reference.unit for c in caps.actuators)


def _compare(kind: str, wanted: Iterable[Channel], offered: tuple[Channel, ...]) -> list[str]:
    by_name = {channel.name: channel for channel in offered}
    found = []
    for channel in wanted:
        there = by_name.get(channel.name)
        if there is None:
            offers = ", ".join(by_name) or "none"
            found.append(f"no {kind} {channel.name!r} (the device has: {offers})")
        elif there.unit != channel.unit:
            found.append(f"{kind} {channel.name!r} in {there.unit!r}, expected {channel.unit!r}")
        elif not _covers(there, channel):
            found.append(
                f"{kind} {channel.name!r} ranges from {there.minimum:g} to {there.maximum:g}, "
                f"expected {channel.minimum:g} to {channel.maximum:g}"
            )
    return found


def _covers(there: Channel, wanted: Channel) -> bool:
    slack = _SLACK * (wanted.maximum - wanted.minimum)
    return there.minimum <= wanted.minimum + slack and there.maximum >= wanted.maximum - slack


def _slew_per_tick(manifest: Manifest) -> FloatArray:
    rates = [manifest.limits.slew_rate.get(c.name, math.inf) for c in manifest.action for _ in range(c.size)]
    return np.array(rates, np.float32) * np.float32(manifest.control_dt)


def _indices(values: Iterable[int]) -> NDArray[np.intp]:
    return np.fromiter(values, np.intp)
