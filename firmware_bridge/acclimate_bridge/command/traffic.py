"""What became of the traffic between loop and device, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from acclimate.control.device import Counting, Device
from acclimate.control.loop_stats import LoopStats
from acclimate.fields import Json

Counters: TypeAlias = Mapping[str, float]
"""What a device counts, by name; empty for one that counts nothing."""


def counters(device: Device) -> Counters:
    """As they are now."""
    return device.counters() if isinstance(device, Counting) else {}


def tree(stats: LoopStats, link: Counters) -> dict[str, Json]:
    """docs/cli.md documents the fields."""
    return {"loop": dict(stats.as_dict()), "link": dict(link)}


def lines(stats: LoopStats, link: Counters) -> list[str]:
    """The same for people."""
    said = [
        f"loop                 {stats.ticks} ticks, {stats.late} late, {stats.skipped} skipped, "
        f"jitter p50 {stats.jitter_p50 * 1e3:.2f} ms, p99 {stats.jitter_p99 * 1e3:.2f} ms, "
        f"bias {stats.bias * 1e6:+.0f} µs",
        f"                     {stats.stale} stale, {stats.bad} unusable, {stats.clamped} clamped, "
        f"{stats.slewed} slew-limited, {stats.rearmed} times armed again",
    ]
    if "round_trip" in link:
        said.append(
            f"link                 {link['received']:g} frames, {link['lost']:g} lost, {link['damaged']:g} damaged, "
            f"round trip {link['round_trip'] * 1e3:.2f} ms"
        )
    elif link:
        said.append(f"{'device':<20} {', '.join(f'{value:g} {name}' for name, value in link.items())}")
    return said
