"""What a device says of itself, judged: docs/protocol.md, section 4, says what can be true of one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain

from acclimate.control.device import Channel, DeviceCaps

from acclimate_bridge.link.messages import LARGEST, Caps, Schema, WireChannel

RATES = (1.0, 1000.0)  # Hz


def device_caps(caps: Caps, schema: Schema) -> DeviceCaps:
    """The same in the words of the runtime."""
    return DeviceCaps(
        sensors=tuple(Channel(c.name, c.unit, c.minimum, c.maximum) for c in schema.sensors),
        actuators=tuple(Channel(c.name, c.unit, c.minimum, c.maximum) for c in schema.actuators),
        rate_hz=caps.rate_mhz / 1e3,
        boot_id=caps.boot_id,
        firmware=caps.firmware,
        watchdog=(caps.watchdog_min_ms * 1e-3, caps.watchdog_max_ms * 1e-3),
    )


def contradictions(caps: Caps, schema: Schema) -> list[str]:
    """What cannot be true of any device, a phrase each; empty for one that can be."""
    return [
        *_rate(caps),
        *_watchdog(caps),
        *chain.from_iterable(map(_channel, (*schema.sensors, *schema.actuators))),
        *(device_caps(caps, schema).contradictions() if caps.rate_mhz else ()),
    ]


def _rate(caps: Caps) -> Iterator[str]:
    low, high = RATES
    if not low <= caps.rate_mhz / 1e3 <= high:
        yield f"its rate is {caps.rate_mhz / 1e3:g} Hz, expected {low:g} to {high:g}"


def _watchdog(caps: Caps) -> Iterator[str]:
    if not 0 < caps.watchdog_min_ms <= caps.watchdog_ms <= caps.watchdog_max_ms:
        yield (
            f"its watchdog of {caps.watchdog_ms} ms can be from {caps.watchdog_min_ms} to {caps.watchdog_max_ms} ms, "
            "expected three numbers above 0 in order"
        )


def _channel(channel: WireChannel) -> Iterator[str]:
    name, unit, scale, low, high = channel
    for what, text in (("name", name), ("unit", unit)):
        if not (text and text.isprintable()):
            yield f"a channel's {what} is {text!r}, expected letters that can be shown"
    if not (math.isfinite(scale) and scale > 0.0):
        yield f"channel {name!r} has the scale {scale:g}, expected a number above 0"
    elif max(abs(low), abs(high)) > scale * (LARGEST - 1):
        yield (
            f"channel {name!r} ranges from {low:g} to {high:g}, of which its scale of {scale:g} can express "
            f"±{scale * (LARGEST - 1):g}"
        )
    elif high - low < scale:
        yield f"channel {name!r} ranges from {low:g} to {high:g}, which is less than one step of its scale, {scale:g}"
