"""The C core in this process, behind the methods that the Python core has."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from pathlib import Path

from acclimate_bridge.link.messages import Latch, Schema, State, WireChannel, to_wire
from acclimate_bridge.simulation.profile import Profile

ROWS = 64
HOLD = "hold"


class _Channel(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 32),
        ("unit", ctypes.c_char * 12),
        ("scale", ctypes.c_float),
        ("minimum", ctypes.c_float),
        ("maximum", ctypes.c_float),
    )


class _Limits(ctypes.Structure):
    _fields_ = (
        ("low", ctypes.c_int32),
        ("high", ctypes.c_int32),
        ("neutral", ctypes.c_int32),
        ("slew", ctypes.c_int32),
        ("hold", ctypes.c_uint8),
    )


class CCore:
    """As `DeviceCore`; readings are given in advance, `ROWS` of them, in wire integers."""

    def __init__(
        self,
        library: ctypes.CDLL,
        profile: Profile,
        readings: Sequence[Sequence[int]],
        boot_id: int,
        origin: int = 0,
    ) -> None:
        """origin: what the board's clock reads at the time 0, in µs."""
        schema, self._lib, self._origin = profile.schema, library, origin
        channels = [*schema.sensors, *schema.actuators]
        watchdog = (profile.watchdog_ms, *profile.watchdog_bounds_ms)
        library.bench_new.restype = ctypes.c_void_p
        self._bench = ctypes.c_void_p(
            library.bench_new(
                profile.firmware.encode(),
                (_Channel * len(channels))(*[_channel(c) for c in channels]),
                len(schema.sensors),
                len(schema.actuators),
                (_Limits * len(schema.actuators))(*_limits(profile)),
                (ctypes.c_int32 * (ROWS * len(schema.sensors)))(*[v for row in readings for v in row]),
                round(profile.rate_hz * 1000),
                (ctypes.c_uint16 * 3)(*watchdog),
            )
        )
        self._width = len(schema.actuators)
        self._pressed = False
        self._begin(boot_id, 0.0)

    def close(self) -> None:
        self._lib.bench_free(self._bench)

    @property
    def state(self) -> State:
        return State(self._lib.bench_state(self._bench))

    def feed(self, data: bytes, now: float) -> None:
        self._lib.bench_take(self._bench, data, ctypes.c_size_t(len(data)), self._us(now))

    def advance(self, now: float) -> bytes:
        self._lib.bench_advance(self._bench, self._us(now))
        buffer = (ctypes.c_uint8 * (1 << 16))()
        return bytes(buffer[: self._lib.bench_sent(self._bench, buffer)])

    def applied(self) -> list[tuple[bool, tuple[int, ...]]]:
        """What the actuators were told since the last call: driven or neutral, and the targets in wire integers."""
        buffer = (ctypes.c_int32 * (1 << 14))()
        found, step = buffer[: self._lib.bench_applied(self._bench, buffer)], self._width + 1
        return [(bool(found[k]), tuple(found[k + 1 : k + step])) for k in range(0, len(found), step)]

    def idle(self) -> int:
        """For how many µs nothing will happen of itself."""
        return ctypes.c_uint32(self._lib.bench_idle(self._bench)).value

    def room(self, frames: int) -> None:
        """How many frames the board still takes."""
        self._lib.bench_room(self._bench, frames)

    def reboot(self, boot_id: int, now: float) -> None:
        self.advance(now)
        self._begin(boot_id, now)

    def press(self, now: float) -> None:
        self._cause(True, now)

    def unlock(self, now: float) -> None:
        self._cause(False, now)

    def log(self, level: int, text: str) -> None:
        self._lib.bench_log(self._bench, level, text.encode())

    def trip(self, why: Latch, now: float) -> None:
        self._lib.bench_trip(self._bench, int(why), self._us(now))

    def _cause(self, lasts: bool, now: float) -> None:
        self._pressed = lasts
        self._lib.bench_cause(self._bench, int(Latch.ESTOP), ctypes.c_bool(lasts), self._us(now))

    def _begin(self, boot_id: int, now: float) -> None:
        causes = int(Latch.ESTOP) if self._pressed else 0
        self._lib.bench_begin(self._bench, ctypes.c_uint32(boot_id), causes, self._us(now))

    def _us(self, now: float) -> ctypes.c_uint32:
        return ctypes.c_uint32(round(now * 1e6) + self._origin)


def load(path: Path) -> ctypes.CDLL:
    """The library that `building.bench` makes."""
    return ctypes.CDLL(str(path))


def _channel(channel: WireChannel) -> _Channel:
    return _Channel(channel.name.encode(), channel.unit.encode(), *channel[2:])


def _limits(profile: Profile) -> list[_Limits]:
    schema: Schema = profile.schema
    sensors = [c.name for c in schema.sensors]
    slews = profile.slew or (0.0,) * len(schema.actuators)
    found = []
    for c, neutral, slew in zip(schema.actuators, profile.neutral_targets, slews, strict=True):
        held = neutral == HOLD
        (value,) = (0,) if held else to_wire((float(neutral),), (c,))
        step = max(round(slew / c.scale * 1e-3), 1) if slew else 0
        low, high = math.ceil(c.minimum / c.scale), math.floor(c.maximum / c.scale)
        found.append(_Limits(low, high, value, step, 1 + sensors.index(c.name) if held else 0))
    return found
