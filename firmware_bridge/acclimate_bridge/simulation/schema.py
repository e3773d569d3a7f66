"""A machine's channels on the wire, derived from its task specification."""

from __future__ import annotations

import math
from collections.abc import Sequence

from acclimate.errors import UsageError
from acclimate.task.spec import ActionChannel, ObservationChannel, TaskSpec

from acclimate_bridge.link.messages import (
    MAX_ACTUATORS,
    MAX_SENSORS,
    NAME_BYTES,
    UNIT_BYTES,
    Schema,
    WireChannel,
)

_BITS = (
    23  # of a value at the end of its range: what a float32 holds exactly, and 256 times the range still fits
)


def schema_of(spec: TaskSpec) -> Schema:
    """Sensors and actuators in the spec's order. Raises UsageError for what the wire cannot carry."""
    sensors = _scalars("sensor", spec.sensors)
    actuators = _scalars("actuator", spec.action)
    for kind, found, most in (("sensors", sensors, MAX_SENSORS), ("actuators", actuators, MAX_ACTUATORS)):
        if len(found) > most:
            raise UsageError(f"{spec.name} has {len(found)} {kind}; the wire carries at most {most}")
    return Schema(sensors, actuators)


def wire_channel(kind: str, name: str, unit: str, minimum: float, maximum: float) -> WireChannel:
    """A channel whose scale is a power of two that covers its range: values on the wire are exact in float32."""
    for what, text, most in (("name", name, NAME_BYTES), ("unit", unit, UNIT_BYTES)):
        if len(text.encode()) > most:
            raise UsageError(
                f"{kind} {name!r}: its {what} {text!r} is too long for the wire, which carries at most {most} bytes"
            )
    largest = max(abs(minimum), abs(maximum))
    return WireChannel(name, unit, 2.0 ** (math.ceil(math.log2(largest)) - _BITS), minimum, maximum)


def _scalars(
    kind: str, channels: Sequence[ObservationChannel] | Sequence[ActionChannel]
) -> tuple[WireChannel, ...]:
    return tuple(
        wire_channel(kind, name, channel.unit, channel.minimum, channel.maximum)
        for channel in channels
        for name in channel.scalars
    )
