"""What a device of one's own has: its channels, from a bundle that is to drive it or from a file that lists them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Literal, NamedTuple

from acclimate.errors import UsageError
from acclimate.fields import Fields, Json
from acclimate.task.spec import HOLD
from acclimate.text_files import read_toml

from acclimate_bridge.link.messages import LARGEST, MAX_ACTUATORS, MAX_SENSORS, Schema, WireChannel
from acclimate_bridge.simulation.profile import Neutral, Profile, profile_of
from acclimate_bridge.simulation.schema import wire_channel

BUNDLE = ".acclimate"
_RATES = (1.0, 1000.0)  # Hz
_TOP: dict[str, Json] = {"rate": 100.0, "watchdog_ms": 100, "sensors": [], "actuators": []}
_CHANNEL: dict[str, Json] = {"unit": "1", "scale": None}
_ACTUATOR: dict[str, Json] = {**_CHANNEL, "neutral": None, "slew": 0.0}


class _Actuator(NamedTuple):
    channel: WireChannel
    neutral: Neutral
    slew: float


def read_profile(source: str, firmware: str) -> Profile:
    """The device that a bundle or a TOML file is about. Raises UsageError, ManifestError and what a bundle raises."""
    if source.endswith(BUNDLE):
        return _tidied(_of_bundle(source), firmware, source)
    path = f"channels file {source}"
    # A date in TOML is none in JSON, and nothing here is one: as text it is refused like any other text.
    table: dict[str, Json] = json.loads(json.dumps(read_toml(source, "channels file"), default=str))
    fields = Fields(_TOP | table, path)
    profile = _of_fields(fields, path)
    fields.finish()
    return _tidied(profile, firmware, source)


def _of_bundle(source: str) -> Profile:
    from acclimate.bundle.file import load

    return profile_of(load(Path(source)).manifest.task)


def _of_fields(fields: Fields, path: str) -> Profile:
    rate = fields.number("rate", above=0.0)
    if not _RATES[0] <= rate <= _RATES[1]:
        raise UsageError(f"{path}.rate must be from {_RATES[0]:g} to {_RATES[1]:g} Hz, found {rate:g}")
    watchdog = fields.count("watchdog_ms", 65_535)
    sensors = tuple(_channel(f, "sensor") for f in _each(fields, "sensors", _CHANNEL, path))
    actuators = tuple(_actuator(f) for f in _each(fields, "actuators", _ACTUATOR, path))
    return Profile(
        Schema(sensors, tuple(a.channel for a in actuators)),
        rate,
        watchdog,
        (min(20, watchdog), max(1000, watchdog)),
        neutral=tuple(a.neutral for a in actuators),
        slew=tuple(a.slew for a in actuators),
    )


def _each(fields: Fields, name: str, defaults: dict[str, Json], path: str) -> list[Fields]:
    """The tables of a list, with what they leave out; unknown keys are refused."""
    tables = fields.items(name, lambda f: {key: f.raw(key) for key in f.names()})
    return [Fields(defaults | table, f"{path}.{name}[{i}]") for i, table in enumerate(tables)]


def _channel(fields: Fields, kind: str) -> WireChannel:
    name, unit = fields.text("name"), fields.text("unit")
    low, high = fields.number("minimum"), fields.number("maximum")
    if not low < high:
        raise UsageError(f"{fields.path}.minimum must be below its maximum of {high:g}, found {low:g}")
    for what, text in (("name", name), ("unit", unit)):
        if not (text and text.isprintable()):
            raise UsageError(f"{fields.path}.{what} must be letters that can be shown, found {text!r}")
    channel = wire_channel(kind, name, unit, low, high)
    if fields.raw("scale") is not None:
        channel = channel._replace(scale=fields.number("scale", above=0.0))
    if max(abs(low), abs(high)) > channel.scale * (LARGEST - 1) or high - low < channel.scale:
        raise UsageError(
            f"{fields.path}.scale of {channel.scale:g} cannot express {low:g} to {high:g}; leave it out, or give the "
            "step that a reading may be off by"
        )
    if kind == "sensor":
        fields.finish()
    return channel


def _actuator(fields: Fields) -> _Actuator:
    channel = _channel(fields, "actuator")
    neutral: Neutral = min(max(0.0, channel.minimum), channel.maximum)
    given = fields.raw("neutral")
    if given == HOLD:
        neutral = HOLD
    elif given is not None:
        neutral = fields.number("neutral")
        if not channel.minimum <= neutral <= channel.maximum:
            raise UsageError(
                f'{fields.path}.neutral must be within its range, or "{HOLD}", found {neutral:g}'
            )
    slew = fields.number("slew")
    if slew < 0.0:
        raise UsageError(f"{fields.path}.slew must be at least 0, found {slew:g}")
    fields.finish()
    return _Actuator(channel, neutral, slew)


def _tidied(profile: Profile, firmware: str, source: str) -> Profile:
    """As the C core needs it: what is held has a sensor, which counts in the same steps."""
    schema = profile.schema
    _require_possible(schema, source)
    sensors = {c.name: c for c in schema.sensors}
    actuators = list(schema.actuators)
    for i, (channel, neutral) in enumerate(zip(actuators, profile.neutral_targets, strict=True)):
        if neutral == HOLD:
            sensor = _held_by(channel, sensors, source)
            scale = max(sensor.scale, channel.scale)
            sensors[channel.name] = sensor._replace(scale=scale)
            actuators[i] = channel._replace(scale=scale)
    return Profile(
        Schema(tuple(sensors.values()), tuple(actuators)),
        profile.rate_hz,
        profile.watchdog_ms,
        profile.watchdog_bounds_ms,
        firmware.encode()[:24].decode(errors="ignore"),
        profile.neutral,
        profile.slew,
    )


def _held_by(channel: WireChannel, sensors: dict[str, WireChannel], source: str) -> WireChannel:
    sensor = sensors.get(channel.name)
    if sensor is None or sensor.unit != channel.unit:
        raise UsageError(
            f'{source}: actuator {channel.name!r} has the neutral "{HOLD}", for which it needs a sensor '
            f"{channel.name!r} in {channel.unit}; sensors: {', '.join(sensors) or 'none'}"
        )
    return sensor


def _require_possible(schema: Schema, source: str) -> None:
    kinds: tuple[tuple[Literal["sensors", "actuators"], tuple[WireChannel, ...], int], ...] = (
        ("sensors", schema.sensors, MAX_SENSORS),
        ("actuators", schema.actuators, MAX_ACTUATORS),
    )
    for kind, channels, most in kinds:
        if not 1 <= len(channels) <= most:
            raise UsageError(f"{source}: it must have 1 to {most} {kind}, found {len(channels)}")
        names = [c.name for c in channels]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"{source}: two {kind} are called {twice!r}; give each a name of its own")
    assert all(math.isfinite(c.scale) for c in (*schema.sensors, *schema.actuators))
