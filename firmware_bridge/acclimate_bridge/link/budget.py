"""What a line can carry, reckoned before anything is driven over it."""

from __future__ import annotations

from acclimate.errors import DeviceFault

from acclimate_bridge.link.messages import Schema, Type
from acclimate_bridge.link.wire import frame_bytes

OBS_PERIOD_US = (1_000, 1_000_000)
_BITS = 10  # of a byte on a serial line, start and stop bit included
_USABLE = 0.9  # of the line; the rest is for PING and PONG, for answers, and for clocks that differ
_BAUDS = (9_600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600, 1_000_000, 2_000_000, 3_000_000)


def load(schema: Schema, rate_hz: float, samples_per_period: int) -> tuple[float, float]:
    """Bits per second to the device and to the host."""
    return (
        _BITS * rate_hz * frame_bytes(schema.layout[Type.CMD].length),
        _BITS * rate_hz * samples_per_period * frame_bytes(schema.layout[Type.OBS].length),
    )


def samples_per_period(
    schema: Schema, rate_hz: float, wanted: int, bits_per_s: int | None, where: str
) -> int:
    """As many readings per control period as are wanted, or as many as line and protocol allow.

    bits_per_s: of the line; None where it is not paced. Raises DeviceFault where it does not even carry one.
    """
    most = max(int(1e6 / rate_hz / OBS_PERIOD_US[0] + 1e-6), 1)
    samples = min(wanted, most)
    while bits_per_s is not None and max(load(schema, rate_hz, samples)) > _USABLE * bits_per_s:
        samples -= 1
        if not samples:
            raise DeviceFault(_too_slow(schema, rate_hz, bits_per_s, where))
    return samples


def _too_slow(schema: Schema, rate_hz: float, bits_per_s: int, where: str) -> str:
    needed = max(load(schema, rate_hz, 1)) / _USABLE
    fitting = next((f"{baud} baud" for baud in _BAUDS if baud >= needed), "a faster line")
    return (
        f"the line on {where} carries {bits_per_s} bit/s, but {len(schema.sensors)} sensors and "
        f"{len(schema.actuators)} actuators at {rate_hz:g} Hz need {needed:.0f}; set {fitting} at both ends "
        "(--baud), or a lower control rate"
    )
