"""From the device's channels to the task's, by name; nobody types the order of an observation twice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.device import Channel, DeviceCaps
from acclimate.errors import MismatchError
from acclimate.task.spec import HOLD, ActionChannel, ObservationChannel

_SLACK = 1e-3  # of a range: devices state theirs in scaled integers
_RATE_SLACK = 0.01  # of a rate: a timer with a prescaler gives 100.16 Hz, and a clock may be 1 % off


def scalars(channel: ObservationChannel | ActionChannel) -> list[Channel]:
    """The device's channels that a task's channel stands for: NAME, or NAME.0, NAME.1, … where it has several."""
    return [Channel(name, channel.unit, channel.minimum, channel.maximum) for name in channel.scalars]


class Own(NamedTuple):
    """An actuator that is measured under its own name, as a position that is commanded and measured.

    actuator, sensor: of the device; entry: of the action, None where the task does not speak of it; held: whether its
    neutral is to stay where it stands.
    """

    actuator: int
    sensor: int
    entry: int | None
    held: bool
    low: float
    high: float

    def within(self, value: float) -> float:
        """`value` within its limits."""
        return min(max(value, self.low), self.high)


class Reach(NamedTuple):
    """How far a device can follow a reference: its sensor has less of a range than the task's."""

    measured: str
    column: int  # of the reference
    low: float
    high: float
    unit: str


class Limit(NamedTuple):
    """Of one entry of the action. slew: the largest change from tick to tick; exploring: where a policy explores."""

    low: float
    high: float
    slew: float
    neutral: float | str
    exploring: float = math.inf

    def within(self, value: float) -> float:
        """`value` within its limits."""
        return min(max(value, self.low), self.high)

    def gentle(self) -> Limit:
        """As it is while a policy explores."""
        return self._replace(slew=min(self.slew, self.exploring))

    def narrowed(self, share: float) -> Limit:
        """With this share of the way from neutral to either limit; what is held has no such way."""
        if isinstance(self.neutral, str):
            return self
        low, high = (self.neutral + share * (end - self.neutral) for end in (self.low, self.high))
        return self._replace(low=low, high=high)


class ChannelMap:
    """Index arrays between a device's samples and commands and a task's observations and actions."""

    def __init__(self, manifest: Manifest, caps: DeviceCaps) -> None:
        """Raises MismatchError with everything that differs."""
        require_match(manifest, caps)
        sensors = {channel.name: i for i, channel in enumerate(caps.sensors)}
        actuators = {channel.name: i for i, channel in enumerate(caps.actuators)}
        self._map_observation(manifest, sensors)
        self._map_references(manifest, caps, actuators)
        self._map_actions(manifest, caps, sensors, actuators)

    def _map_observation(self, manifest: Manifest, sensors: dict[str, int]) -> None:
        task, absent = manifest.task, _dispensable(manifest) - sensors.keys()
        self.rewarded = not absent  # whether all that `adapt` needs is measured
        measured = [name for name in task.sensor_scalars if name not in absent]
        self.from_device = _indices(task.index(name) for name in measured)
        self.from_reference = _indices(task.index(name) for name in task.reference_scalars)
        self.sensors = _indices(sensors[name] for name in measured)

    def _map_references(self, manifest: Manifest, caps: DeviceCaps, actuators: dict[str, int]) -> None:
        """A device with an actuator by a reference's name wants to know what is asked for, and is told."""
        references = [c for channel in manifest.task.references for c in scalars(channel)]
        told = [(actuators[c.name], i) for i, c in enumerate(references) if _is_told(c, caps)]
        self.told = _indices(i for i, _ in told)
        self.of_reference = _indices(i for _, i in told)  # columns of the reference, one for each of `told`
        self.reaches = tuple(_reaches(manifest, caps))

    def _map_actions(
        self, manifest: Manifest, caps: DeviceCaps, sensors: dict[str, int], actuators: dict[str, int]
    ) -> None:
        each = [(name, channel) for channel in manifest.action for name in channel.scalars]
        self.actuators = _indices(actuators[name] for name, _ in each)
        rates, dt = manifest.limits.slew_rate, manifest.control_dt
        self.limits = [
            Limit(
                _single(c.minimum),
                _single(c.maximum),
                dt * rates.get(c.name, math.inf),
                c.neutral,
                dt * (math.inf if c.exploring_rate is None else c.exploring_rate),
            )
            for _, c in each
        ]
        self.neutral = _nearest_to_zero(caps)  # (n_actuators,)
        for name, channel in each:
            if channel.neutral != HOLD:
                self.neutral[actuators[name]] = channel.neutral
        entries = {name: (i, channel.neutral == HOLD) for i, (name, channel) in enumerate(each)}
        self.own = tuple(self._measured_themselves(caps, sensors, entries))

    def _measured_themselves(
        self, caps: DeviceCaps, sensors: dict[str, int], entries: dict[str, tuple[int, bool]]
    ) -> Iterator[Own]:
        """entries: of the action by name, and whether they are held."""
        for i, channel in enumerate(caps.actuators):
            sensor = sensors.get(channel.name)
            if sensor is None or caps.sensors[sensor].unit != channel.unit or i in self.told:
                continue
            entry, held = entries.get(channel.name, (None, True))
            low, high = channel.minimum, channel.maximum
            if entry is not None:
                low, high = self.limits[entry].low, self.limits[entry].high
            yield Own(i, sensor, entry, held, low, high)


def _reaches(manifest: Manifest, caps: DeviceCaps) -> Iterator[Reach]:
    task, offered = manifest.task, {channel.name: channel for channel in caps.sensors}
    wanted = {c.name: c for channel in task.sensors for c in scalars(channel)}
    for track in task.reference.tracks if task.reference else ():
        there = offered[track.measured]
        if not _covers(there, wanted[track.measured]):
            column = task.reference_scalars.index(track.target)
            yield Reach(track.measured, column, there.minimum, there.maximum, there.unit)


def _single(limit: float) -> float:
    """As single precision has it: an action at its limit is not beyond it."""
    return float(np.float32(limit))


def _nearest_to_zero(caps: DeviceCaps) -> FloatArray:
    """What is told to actuators that the task does not speak of."""
    return np.array([min(max(0.0, c.minimum), c.maximum) for c in caps.actuators], np.float32)


def differences(manifest: Manifest, caps: DeviceCaps) -> list[str]:
    """What a device lacks to run this bundle, a phrase each. Extra channels of the device do not matter."""
    impossible = caps.contradictions()
    if impossible:
        return impossible
    dispensable = _dispensable(manifest) - {c.name for c in caps.sensors}
    measured = [c for o in manifest.task.sensors for c in scalars(o)]
    wanted = [c for c in measured if c.name not in dispensable]
    found = _compare("sensor", wanted, caps.sensors)
    found += _compare("actuator", [c for a in manifest.action for c in scalars(a)], caps.actuators)
    ratio = caps.rate_hz * manifest.control_dt
    if abs(ratio - round(ratio)) > _RATE_SLACK * ratio:
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
        elif not (_overlaps if kind == "sensor" else _covers)(there, channel):
            found.append(
                f"{kind} {channel.name!r} ranges from {there.minimum:g} to {there.maximum:g}, "
                f"expected {channel.minimum:g} to {channel.maximum:g}"
            )
    return found


def _covers(there: Channel, wanted: Channel) -> bool:
    slack = _SLACK * (wanted.maximum - wanted.minimum)
    return there.minimum <= wanted.minimum + slack and there.maximum >= wanted.maximum - slack


def _overlaps(there: Channel, wanted: Channel) -> bool:
    """A sensor may have less of a range: the machine is then driven within that."""
    return max(there.minimum, wanted.minimum) < min(there.maximum, wanted.maximum)


def _indices(values: Iterable[int]) -> NDArray[np.intp]:
    return np.fromiter(values, np.intp)
