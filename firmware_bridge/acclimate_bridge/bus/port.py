"""A bus as bytes in registers: what rustypot does, with every number checked before it leaves.

Only its register calls are used: its calls in radians turn NaN into a goal of 0 and infinity into 32767, and fewer
values than ids into a malformed broadcast. It gives no partial results: where one servo is missed, all are.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import rustypot
import serial
from acclimate.errors import UsageError

from acclimate_bridge.bus.models import TABLES, Family
from acclimate_bridge.bus.registers import Register
from acclimate_bridge.link.transport import refusal

_LATENCY = 0.004  # s, on top of the time on the wire, that an answer may take: more costs a tick …
_CALM = 0.03  # … and while nothing is driven
_BITS = 10  # of a byte
_OVERHEAD = 11  # bytes of an answer around its data, at most
_RETURN_DELAY = 508e-6  # s, the longest that can be set
_TRIES = 5
_LATE = 0.03  # s that an answer may come too late
LAST_ID = 252


class Missed(Exception):  # noqa: N818  (what happened, not what went wrong in the program)
    """No answer, or none that can be read. garbled: something came, but it is not an answer."""

    def __init__(self, text: str, garbled: bool, gone: bool = False) -> None:
        super().__init__(text)
        self.garbled, self.gone = garbled, gone


class Answer(NamedTuple):
    """Bytes from a table, and the error byte of the status packet that they came in."""

    data: bytes
    error: int


class ServoPort:
    """One port, and whoever is on it."""

    def __init__(self, name: str, family: Family, baud: int) -> None:
        """Raises UsageError for a port that is not there, not allowed or in use."""
        self.name, self.family, self.baud = name, family, baud
        self.exchanges = self.missed = 0
        self._waits = latency(name)
        self._expected = 1, 16
        made = (
            rustypot.Xl330PyController if family is Family.DYNAMIXEL else rustypot.Sts3215PyController
        )  # of each protocol one: bytes are bytes
        try:
            self._wire = made(name, baud, self._patience(1, 16) + _CALM)
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(refusal(name, error)) from error

    def read(self, number: int, start: int, length: int) -> Answer:
        """Bytes of one servo. Raises Missed."""
        with self._exchange():
            data, error = self._wire.read_raw_data_with_error(number, start, length)
        return Answer(bytes(data), error)

    def value(self, number: int, register: Register) -> int:
        """A register of one servo. Raises Missed."""
        return register.decode(self.read(number, register.address, register.size).data, register.address)

    def write(self, number: int, register: Register, value: int) -> int:
        """Set a register of one servo; the error byte of its answer. Raises Missed, ValueError."""
        data = register.encode(value)
        with self._exchange():
            return int(self._wire.write_raw_data_with_error(_valid(number), register.address, data))

    def sync_read(self, numbers: Sequence[int], start: int, length: int) -> list[Answer]:
        """The same bytes of several servos, in one exchange. Raises Missed where one of them is."""
        with self._exchange():
            found = self._wire.sync_read_raw_data_with_error(list(numbers), start, length)
        answers = [Answer(bytes(data), error) for data, error in found]
        if len(answers) != len(numbers) or any(len(answer.data) != length for answer in answers):
            raise Missed("answers of another shape", garbled=True)
        return answers

    def sync_write(self, numbers: Sequence[int], register: Register, values: Sequence[int]) -> None:
        """Set a register of several servos at once; nobody answers. Raises Missed, ValueError."""
        if len(values) != len(numbers) or len({*numbers}) != len(numbers):
            raise ValueError(f"{len(values)} values for {len(numbers)} servos")
        data = [register.encode(value) for value in values]
        for number in numbers:
            _valid(number)
        with self._exchange():
            self._wire.sync_write_raw_data(list(numbers), register.address, data)

    def ping(self, number: int) -> bool:
        """Whether a servo answers. Raises Missed where what comes is no answer."""
        try:
            self.value(number, TABLES[self.family].register("model_number"))
        except Missed as missed:
            if missed.garbled:
                raise
            return False
        return True

    @property
    def slow(self) -> str | None:
        """What is to be said of an adapter that holds answers back; None where it does not."""
        if self._waits <= _LATENCY:
            return None
        return (
            f"the adapter on {self.name} waits {self._waits * 1e3:.0f} ms for more bytes before it passes any on, at "
            "each reading; acclimate service prints the udev rule that stops that"
        )

    def settle(self) -> None:
        """Let an answer that is late pass by: nothing in it says which question it answers."""
        time.sleep(_LATE)

    def agree(self, number: int, model: int) -> None:
        """Settle until question and answer belong together again: a servo gives the model number that is known."""
        register = TABLES[self.family].register("model_number")
        for _ in range(_TRIES):
            self.settle()
            with contextlib.suppress(Missed):
                if self.value(number, register) == model:
                    return

    def set_baud(self, baud: int) -> None:
        """Speak at another rate from now on."""
        self.baud = baud
        self._wire.set_baudrate(baud)
        self.be_calm()

    def be_calm(self) -> None:
        """Wait longer for answers: nothing is driven."""
        self._wire.set_timeout(self._patience(1, 16) + _CALM)

    @contextlib.contextmanager
    def calm(self) -> Iterator[None]:
        """As long as the block runs."""
        self.be_calm()
        try:
            yield
        finally:
            self.expect(*self._expected)

    def expect(self, servos: int, length: int) -> None:
        """Give answers the time that so many of so many bytes take."""
        self._expected = servos, length
        self._wire.set_timeout(self._patience(servos, length))

    def close(self) -> None:
        self._wire.close()

    def _patience(self, servos: int, length: int) -> float:
        return _LATENCY + self._waits + servos * ((_OVERHEAD + length) * _BITS / self.baud + _RETURN_DELAY)

    @contextlib.contextmanager
    def _exchange(self) -> Iterator[None]:
        self.exchanges += 1
        try:
            yield
        except (RuntimeError, OSError) as error:
            self.missed += 1
            text = str(error)
            gone = "I/O error" in text or "roken pipe" in text or isinstance(error, OSError)
            raise Missed(text, garbled="timed out" not in text and not gone, gone=gone) from error


def latency(name: str) -> float:
    """How long a USB adapter waits for more bytes, in s, once it was asked not to."""
    unwilling = (serial.SerialException, OSError, ValueError, NotImplementedError)
    with contextlib.suppress(*unwilling), serial.Serial(name, exclusive=True) as port:
        port.set_low_latency_mode(True)
    timer = Path("/sys/bus/usb-serial/devices") / Path(name).resolve().name / "latency_timer"
    with contextlib.suppress(OSError, ValueError):
        return 1e-3 * int(timer.read_text())
    return 0.0


def _valid(number: int) -> int:
    if not 0 <= number <= LAST_ID:
        raise ValueError(f"{number} is no id: it would be a broadcast, or nobody's")
    return number
