"""A device's channels as C, and the functions that measure and drive them, for somebody to fill in."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence

from acclimate.task.spec import HOLD

from acclimate_bridge.link.messages import WireChannel, to_wire
from acclimate_bridge.simulation.profile import Profile

_PER_MS = 1e-3


def header(profile: Profile) -> str:
    """channels.h: numbers and scales by name."""
    lines = [
        "/* Numbers and scales of this device's channels. Wire integers times their scale are in the unit. */"
    ]
    lines += ["#ifndef CHANNELS_H", "#define CHANNELS_H", "", '#include "machine.h"', ""]
    for kind, channels in _kinds(profile):
        for i, (name, channel) in enumerate(zip(constants(channels), channels, strict=True)):
            lines.append(f"#define {kind}_{name} {i}")
            lines.append(
                f"#define {kind}_{name}_SCALE {_decimal(channel.scale)} /* {_comment(channel.unit)} */"
            )
    return "\n".join([*lines, "", "#endif", ""])


def tables(profile: Profile) -> str:
    """channels.c: what the host is told, and what it is not."""
    schema, (low, high) = profile.schema, profile.watchdog_bounds_ms
    lines = [
        "/* This device's channels. The host reckons with exactly these: build anew after any change. */"
    ]
    lines += ['#include "channels.h"', ""]
    for name, channels in (("SENSORS", schema.sensors), ("ACTUATORS", schema.actuators)):
        rows = [f"    {_row(channel)}," for channel in channels]
        lines += [f"static const acclimate_channel {name}[] = {{", *rows, "};", ""]
    lines += [
        "/* low, high, neutral, how far a target moves in a millisecond, 1 + the sensor that it is held by */"
    ]
    lines += ["static const acclimate_limits LIMITS[] = {", *_limits(profile), "};", ""]
    lines += [
        "const acclimate_profile MACHINE = {",
        f"    .firmware = {_text(profile.firmware)},",
        "    .sensors = SENSORS,",
        "    .actuators = ACTUATORS,",
        "    .limits = LIMITS,",
        f"    .sensor_count = {len(schema.sensors)},",
        f"    .actuator_count = {len(schema.actuators)},",
        f"    .rate_mhz = {round(profile.rate_hz * 1000)}u,",
        f"    .watchdog_ms = {profile.watchdog_ms},",
        f"    .watchdog_min_ms = {low},",
        f"    .watchdog_max_ms = {high},",
        "};",
        "",
    ]
    return "\n".join(lines)


def sense_lines(profile: Profile) -> str:
    """One for each sensor: a reading that is to be replaced."""
    return "\n".join(
        f"    values[SENSOR_{name}] = acclimate_to_wire({_decimal(_rest(c))} /* measure it: {_comment(c.unit)} */, "
        f"SENSOR_{name}_SCALE);"
        for name, c in _named(profile.schema.sensors)
    )


def apply_lines(profile: Profile) -> str:
    """One for each actuator: a target that is to be obeyed."""
    lines = []
    for name, c in _named(profile.schema.actuators):
        variable = f"{name.lower()}_target"
        lines += [
            f"    float {variable} = acclimate_from_wire(targets[ACTUATOR_{name}], ACTUATOR_{name}_SCALE); "
            f"/* {_comment(c.unit)} */",
            f"    (void){variable}; /* drive it; where driven is false, make it safe */",
        ]
    return "\n".join([*lines, "    (void)driven;"])


def standing_lines(profile: Profile) -> str:
    """One for each sensor: what it reads where nothing moves."""
    return "\n".join(
        f"    values[SENSOR_{name}] = {to_wire((_rest(c),), (c,))[0]};"
        for name, c in _named(profile.schema.sensors)
    )


def table(profile: Profile) -> str:
    """The channels as Markdown."""
    lines = ["| channel | | range | neutral |", "|---|---|---|---|"]
    for c in profile.schema.sensors:
        lines.append(f"| `{c.name}` | sensor | {_range(c)} | |")
    for c, neutral in zip(profile.schema.actuators, profile.neutral_targets, strict=True):
        shown = neutral if neutral == HOLD else f"{neutral:g}"
        lines.append(f"| `{c.name}` | actuator | {_range(c)} | {shown} |")
    return "\n".join(lines)


def _range(channel: WireChannel) -> str:
    unit = "" if channel.unit == "1" else f" {channel.unit}"
    return f"{channel.minimum:g} to {channel.maximum:g}{unit}"


def constants(channels: Sequence[WireChannel]) -> list[str]:
    """A C identifier for each, in capitals; where two names come to the same one, with its number."""
    names = [re.sub(r"[^A-Z0-9]+", "_", c.name.upper()).strip("_") or "CHANNEL" for c in channels]
    return [f"{name}_{i}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _named(channels: Sequence[WireChannel]) -> zip[tuple[str, WireChannel]]:
    return zip(constants(channels), channels, strict=True)


def _kinds(profile: Profile) -> tuple[tuple[str, tuple[WireChannel, ...]], ...]:
    return ("SENSOR", profile.schema.sensors), ("ACTUATOR", profile.schema.actuators)


def _rest(channel: WireChannel) -> float:
    return min(max(0.0, channel.minimum), channel.maximum)


def _limits(profile: Profile) -> list[str]:
    schema = profile.schema
    sensors = [c.name for c in schema.sensors]
    slews = profile.slew or (0.0,) * len(schema.actuators)
    rows = []
    for c, neutral, slew in zip(schema.actuators, profile.neutral_targets, slews, strict=True):
        low, high = math.ceil(c.minimum / c.scale), math.floor(c.maximum / c.scale)
        value = 0 if neutral == HOLD else to_wire((float(neutral),), (c,))[0]
        step = max(round(slew / c.scale * _PER_MS), 1) if slew else 0
        held = 1 + sensors.index(c.name) if neutral == HOLD else 0
        rows.append(
            f"    {{{low}, {high}, {value}, {min(step, 2**31 - 1)}, {held}}}, /* {_comment(c.name)} */"
        )
    return rows


def _row(c: WireChannel) -> str:
    numbers = ", ".join(_decimal(x) for x in (c.scale, c.minimum, c.maximum))
    return f"{{{_text(c.name)}, {_text(c.unit)}, {numbers}}}"


def _decimal(value: float) -> str:
    """A float in C that is exactly what the wire carries."""
    (single,) = struct.unpack("<f", struct.pack("<f", value))
    return f"{single:.9g}f" if re.search(r"[.e]", f"{single:.9g}") else f"{single:.9g}.0f"


def _text(text: str) -> str:
    """A string in C; whatever is no ASCII letter by its bytes, in octal, which no letter behind it can prolong."""
    shown = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    return f'"{shown}"'


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("/*", "/ *")
