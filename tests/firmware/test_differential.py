"""The C core and the Python core, given the same bytes at the same time, send the same bytes and move alike."""

from __future__ import annotations

import ctypes
import random

import pytest
from acclimate_bridge.link.messages import (
    LARGEST,
    NO_VALUE,
    Cfg,
    Clear,
    Cmd,
    Hello,
    Latch,
    Schema,
    Type,
    WireChannel,
    from_wire,
    to_wire,
)
from acclimate_bridge.link.wire import Decoder, Frame, encode
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.profile import Profile

from .bench import ROWS, CCore

SESSIONS, STEPS, BLOCKS = 150, 120, 3


class Scripted:
    """A plant that reads what it was given, row by row, and writes down what it is told."""

    def __init__(self, schema: Schema, readings: list[list[int]]) -> None:
        self.time = 0.0
        self._schema, self._readings, self._measured = schema, readings, 0
        self.told: list[tuple[bool, tuple[int, ...]]] = []

    def set_targets(self, targets: tuple[float, ...], now: float) -> None:
        del now
        self.told.append((True, to_wire(targets, self._schema.actuators)))

    def rest(self, targets: tuple[float, ...], now: float) -> None:
        del now
        self.told.append((False, to_wire(targets, self._schema.actuators)))

    def advance(self, now: float) -> None:
        self.time = now

    def measure(self) -> tuple[float, ...]:
        row = self._readings[self._measured % ROWS]
        self._measured += 1
        return tuple(from_wire(row, self._schema.sensors))

    def begin(self) -> bool:
        return False


class Both:
    """The two cores side by side."""

    def __init__(self, library: ctypes.CDLL, seed: int) -> None:
        self.rng = random.Random(seed)
        self.profile = _profile(self.rng)
        schema = self.profile.schema
        readings = [[_integer(self.rng) for _ in schema.sensors] for _ in range(ROWS)]
        boot = self.rng.getrandbits(32)
        self.plant = Scripted(schema, readings)
        self.python = DeviceCore(self.plant, self.profile, boot)
        self.c = CCore(library, self.profile, readings, boot, origin=self.rng.getrandbits(32))
        self.us, self.pressed = 0, False
        self.session = self.seq = self.latches = 0
        self.decoder = Decoder(schema.layout)

    @property
    def now(self) -> float:
        return self.us * 1e-6

    def agree(self) -> None:
        sent = self.python.advance(self.now)
        assert self.c.advance(self.now) == sent
        assert self.c.applied() == self.plant.told
        assert self.c.state == self.python.state
        event = self.python.next_event()
        assert self.c.idle() == (0xFFFFFFFF if event > 1e6 else round((event - self.now) * 1e6))
        self.plant.told.clear()
        for frame in self.decoder.feed(sent):
            self.session = frame.session
            if frame.type in (Type.CAPS, Type.OBS):
                self.latches = frame.payload[14 if frame.type == Type.CAPS else 4]

    def feed(self, data: bytes) -> None:
        self.python.feed(data, self.now)
        self.c.feed(data, self.now)

    def live(self, steps: int) -> None:
        for _ in range(steps):
            self.us += self.rng.choice((0, 7, 130, 999, 1000, 1001, 5_000, 30_000, 150_000))
            self._something()
            self.agree()

    def _something(self) -> None:
        chance = self.rng.random()
        if chance < 0.9:
            data = b"".join(self._frame() for _ in range(self.rng.randint(1, 3)))
            self.feed(self._damaged(data) if self.rng.random() < 0.15 else data)
        elif chance < 0.92:
            self._press()
        elif chance < 0.94:
            why = self.rng.choice((Latch.OVERLOAD, Latch.TEMPERATURE, Latch.OTHER))
            self.python.trip(why, self.now)
            self.c.trip(why, self.now)
        elif chance < 0.96:
            text = "".join(self.rng.choices("ab °µ漢", k=self.rng.randint(0, 70)))
            self.agree()
            self.python.log(3, text)
            self.c.log(3, text)
        elif chance < 0.97:
            boot = self.rng.getrandbits(32)
            self.python.reboot(boot, self.now)
            self.c.reboot(boot, self.now)

    def _press(self) -> None:
        self.pressed = not self.pressed
        if self.pressed:
            self.python.press(self.now)
            self.c.press(self.now)
        else:
            self.python.unlock()
            self.c.unlock(self.now)

    def _frame(self) -> bytes:
        """One that a host may send, most of the time of this session and in order."""
        rng, layout = self.rng, self.profile.schema.layout
        kind = rng.choices((Type.CMD, Type.CLEAR, Type.CFG, Type.PING, Type.HELLO, Type.ESTOP, rng.choice(list(Type))),
                           (50, 20, 10, 8, 6, 2, 4))[0]  # fmt: skip
        self.seq += rng.choice((1, 1, 1, 1, 0, -3, 0x8000))
        session = self.session if rng.random() < 0.95 else rng.getrandbits(16)
        t_us = self._stamp() if kind == Type.CMD else rng.getrandbits(32)
        payload = self._payload(kind, layout[kind].length)
        return encode(Frame(kind, self.seq & 0xFFFF, t_us, session, payload), layout)

    def _stamp(self) -> int:
        age = self.rng.choice((0, 0, 1000, 20_000, 99_999, 100_000, 100_001, -5))
        return (self.python._clock() - age) & 0xFFFFFFFF

    def _payload(self, kind: Type, length: int) -> bytes:
        rng = self.rng
        if kind == Type.CMD:
            targets = tuple(_integer(rng, 0.02) for _ in self.profile.schema.actuators)
            return Cmd(
                rng.choice((0, 1, 20, 100, 100, 65535)), rng.choice((0, 1, 1, 1, 1, 2, 3, 255)), targets
            ).pack()
        if kind == Type.HELLO:
            return Hello(rng.choice((0, 1, 1, 2, rng.getrandbits(32)))).pack()
        if kind == Type.CLEAR:
            return Clear(self.latches if rng.random() < 0.8 else rng.getrandbits(8)).pack()
        if kind == Type.CFG:
            values = (0, 19, 20, 33, 250, 1000, 1001, 2_000, 10_000, 1_000_000, 1_000_001, 2**32 - 1)
            return Cfg(rng.choice((0, 1, 1, 2, 2, 3, 99)), rng.choice(values)).pack()
        return rng.randbytes(length)

    def _damaged(self, data: bytes) -> bytes:
        """Flipped, cut, lengthened, run together or garbage."""
        rng, at = self.rng, self.rng.randrange(len(data))
        return rng.choice((
            data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
            data[:at] + data[at + 1 :],
            data[:at],
            data[:at] + b"\0" + data[at:],
            data[:at] + rng.randbytes(rng.randint(1, 300)) + data[at:],
            rng.randbytes(rng.randint(1, 200)),
            b"\0\0" + data,
        ))  # fmt: skip


def _integer(rng: random.Random, none: float = 0.1) -> int:
    if rng.random() < none:
        return rng.choice((NO_VALUE, LARGEST, -LARGEST))
    return rng.randint(-3_000, 3_000)


def _profile(rng: random.Random) -> Profile:
    """Of a device with up to 23 sensors and 27 actuators, some of which are held or slow."""
    n, m = rng.choice((1, 1, 2, 6, 27)), rng.choice((0, 1, 2, 21))
    scale = 2.0 ** -rng.randint(0, 10)

    def channel(name: str) -> WireChannel:
        low, high = sorted(rng.sample(range(-2_000, 2_000), 2))
        return WireChannel(name, "rad", scale, low * scale, high * scale)

    actuators = tuple(channel(f"joint_{i}") for i in range(n))
    held = rng.random() < 0.5
    sensors = tuple(channel(f"joint_{i}" if i < n else f"extra_{i}") for i in range(min(n, 2) + m))
    neutral = tuple(
        "hold" if held and i < 2 else min(max(0.0, c.minimum), c.maximum) for i, c in enumerate(actuators)
    )
    slew = tuple(rng.choice((0.0, 1e4, 3e5)) * scale for _ in actuators) if rng.random() < 0.5 else None
    rate = rng.choice((1.0, 50.0, 100.0, 333.3, 1000.0))
    return Profile(Schema(sensors, actuators), rate, 100, (20, 1000), "differential ° 1", neutral, slew)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_both_cores_do_the_same(library: ctypes.CDLL, block: int) -> None:
    for seed in range(block, SESSIONS, BLOCKS):
        both = Both(library, seed)
        both.agree()
        both.live(STEPS)
        both.c.close()
