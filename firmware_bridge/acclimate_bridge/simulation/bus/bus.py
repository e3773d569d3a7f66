"""Servos on one pair of wires: what they answer, when the bytes are on the wire, and what goes wrong there.

Half-duplex: an instruction takes as long as its bytes do at the baud rate, then each servo waits its return delay and
answers. Whoever speaks meanwhile spoils what is on the wire. Time comes from outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from acclimate_bridge.bus.models import Family
from acclimate_bridge.simulation.bus.packets import BROADCAST, Dynamixel2, Feetech, Instruction, Packet
from acclimate_bridge.simulation.bus.servo import LENGTH, OK, RESULT_FAIL, BusServo

_BITS = 10  # of a byte on the wire: start, eight, stop
_HELD_BACK = 0.04  # s

Disturbance: TypeAlias = Literal["corrupt", "short", "silent", "garbage", "late", "error", "brown-out"]
DISTURBANCES: tuple[Disturbance, ...] = get_args(Disturbance)
"""What may happen to an answer: a flipped bit, a cut, none, noise before it, one that an adapter
holds back, a latched hardware error, a restart."""


class Disturber:
    """What happens to the answers, drawn with `shares` of them."""

    def __init__(self, rng: np.random.Generator, shares: Mapping[Disturbance, float]) -> None:
        self.rng, self.shares = rng, dict(shares)
        self.done: dict[str, int] = dict.fromkeys(DISTURBANCES, 0)

    def next(self) -> Disturbance | None:
        """What happens to the next answer, if anything."""
        at = self.rng.random()
        for kind, share in self.shares.items():
            if at < share:
                self.done[kind] += 1
                return kind
            at -= share
        return None


class _Speech(NamedTuple):
    """Bytes that are on the wire until `end`."""

    end: float
    data: bytes


class SimulatedBus:
    """Bytes of the host in, bytes for the host out."""

    def __init__(
        self, family: Family, servos: Sequence[BusServo], disturber: Disturber | None = None
    ) -> None:
        self.servos = list(servos)
        self.disturber = disturber
        self.collisions = 0
        self.seen: Callable[[Packet, float], None] | None = (
            None  # what an observer is told of each instruction
        )
        self._wire = Dynamixel2() if family is Family.DYNAMIXEL else Feetech()
        self._speech: deque[_Speech] = deque()
        self._busy_until = 0.0
        self._registered: dict[int, tuple[int, bytes]] = {}

    def receive(self, data: bytes, now: float, baud: int) -> None:
        """Take what the host has written at `now` with its port at `baud`."""
        self.advance(now)
        spent = len(data) * _BITS / baud
        if self._speech and self._busy_until > now:  # both speak at once: nobody understands a word
            self.collisions += 1
            self._speech.clear()
            self._busy_until = now + spent
            return
        heard = [servo for servo in self.servos if servo.baud == baud]
        self._busy_until = max(now, self._busy_until) + spent
        for packet in self._wire.feed(data):
            if heard:
                self._obey(packet, heard, baud)

    def advance(self, now: float) -> None:
        """All servos live until `now`."""
        for servo in self.servos:
            servo.advance(now)

    def take(self, now: float) -> bytes:
        """What has come over the wire until `now`."""
        data = b""
        while self._speech and self._speech[0].end <= now:
            data += self._speech.popleft().data
        return data

    @property
    def due(self) -> float | None:
        """When the next answer is complete."""
        return self._speech[0].end if self._speech else None

    def _obey(self, packet: Packet, heard: Sequence[BusServo], baud: int) -> None:
        now = self._busy_until
        awake = [servo for servo in heard if servo.answers(now)]
        for servo in awake:
            servo.heard(now)
        if self.seen is not None:
            self.seen(packet, now)
        kind = packet.instruction
        if kind in (Instruction.SYNC_READ, Instruction.FAST_SYNC_READ):
            self._sync_read(packet, awake, baud)
        elif kind == Instruction.SYNC_WRITE:
            self._sync_write(packet, awake)
        elif packet.id == BROADCAST:
            self._broadcast(packet, awake, baud)
        else:
            mine = [servo for servo in awake if servo.number == packet.id]
            self._say([(servo, answer) for servo in mine if (answer := self._answer(servo, packet))], baud)

    def _broadcast(self, packet: Packet, awake: Sequence[BusServo], baud: int) -> None:
        for servo in sorted(awake, key=lambda servo: servo.number):
            answer = self._answer(servo, packet)
            if packet.instruction == Instruction.PING and answer:
                self._say([(servo, answer)], baud)

    def _answer(self, servo: BusServo, packet: Packet) -> bytes | None:
        """What a servo answers to an instruction of its own, after obeying it; None where it is silent."""
        wire, level = self._wire, servo.get("status_level")
        kind, params = packet.instruction, packet.params
        if kind == Instruction.PING:
            about = servo.read(servo.table.register("model_number").address, 2) + bytes(
                [servo.get("firmware")]
            )
            return wire.status(servo.number, servo.error, b"" if servo.feetech else about)
        number = servo.number
        if kind == Instruction.READ:
            if len(params) != 2 * wire.width:
                return wire.status(number, servo.error | LENGTH, b"")
            address, length = self._place(params)
            return (
                wire.status(number, servo.error, servo.read(address, length))
                if level or servo.feetech
                else None
            )
        refused = self._change(servo, kind, params)
        error = servo.error if servo.feetech else servo.error | refused
        return wire.status(number, error, b"") if level >= (1 if servo.feetech else 2) else None

    def _change(self, servo: BusServo, kind: int, params: bytes) -> int:
        width = self._wire.width
        if kind == Instruction.WRITE:
            return servo.write(int.from_bytes(params[:width], "little"), params[width:])
        if kind == Instruction.REG_WRITE:
            self._registered[servo.number] = (int.from_bytes(params[:width], "little"), params[width:])
            return OK
        if kind == Instruction.ACTION:
            held = self._registered.pop(servo.number, None)
            return servo.write(*held) if held else OK
        if kind == Instruction.REBOOT:
            servo.restart(self._busy_until)
            return OK
        return RESULT_FAIL

    def _place(self, params: bytes) -> tuple[int, int]:
        width = self._wire.width
        return int.from_bytes(params[:width], "little"), int.from_bytes(params[width : 2 * width], "little")

    def _sync_read(self, packet: Packet, awake: Sequence[BusServo], baud: int) -> None:
        (address, length), ids = self._place(packet.params), packet.params[2 * self._wire.width :]
        asked = [[servo for servo in awake if servo.number == number] for number in ids]
        if packet.instruction == Instruction.FAST_SYNC_READ and isinstance(self._wire, Dynamixel2):
            answering = [found[0] for found in asked if found]
            if len(answering) == len(ids):  # a gap in the one packet spoils it for all
                blocks = [(s.number, s.error, s.read(address, length)) for s in answering]
                for servo, part in zip(answering, self._wire.fast_status(blocks), strict=True):
                    self._say([(servo, part)], baud, delay=servo is answering[0])
            return
        for found in asked:
            self._say(
                [(s, self._wire.status(s.number, s.error, s.read(address, length))) for s in found], baud
            )

    def _sync_write(self, packet: Packet, awake: Sequence[BusServo]) -> None:
        (address, length), rest = self._place(packet.params), packet.params[2 * self._wire.width :]
        if length == 0 or len(rest) % (length + 1):
            return  # malformed: a servo takes no part of it
        for at in range(0, len(rest), length + 1):
            for servo in awake:
                if servo.number == rest[at]:
                    servo.write(address, rest[at + 1 : at + 1 + length])

    def _say(self, answers: Sequence[tuple[BusServo, bytes]], baud: int, *, delay: bool = True) -> None:
        """Put an answer on the wire; several at once are what two servos of one id make of it."""
        if not answers:
            return
        servo, data = answers[0]
        for _, other in answers[1:]:
            data = bytes(a & b >> 1 for a, b in zip(data, other, strict=False))
        kind = self.disturber.next() if self.disturber else None
        data = self._disturbed(kind, servo, data)
        self._busy_until += (servo.delay if delay else 0.0) + len(data) * _BITS / baud
        if data:
            self._speech.append(_Speech(self._busy_until + _HELD_BACK * (kind == "late"), data))

    def _disturbed(self, kind: Disturbance | None, servo: BusServo, data: bytes) -> bytes:
        if kind in (None, "late") or self.disturber is None:
            return data
        rng = self.disturber.rng
        at = int(rng.integers(len(data)))
        if kind == "corrupt":
            return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        if kind == "short":
            return data[:at]
        if kind == "garbage":
            return rng.bytes(int(rng.integers(1, 12))) + data
        if kind == "error":
            servo.alarm |= 1 << 5
        elif kind == "brown-out":
            servo.restart(self._busy_until)
        return data if kind == "error" else b""
