"""The checks of a device, in an order in which each may rely on those before it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias, TypeVar

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.control.clock import RealClock
from acclimate.control.device import Clock, Device, DeviceCaps, Sample
from acclimate.control.patience import Patience
from acclimate.control.readings import SLACK
from acclimate.errors import UsageError

Value = TypeVar("Value")
_WATCHED = 20  # control periods
_SILENT = 2.5  # times its patience without a command, after which a watchdog has tripped
_OFF = 0.01  # s that a reading may claim to come from the future: clocks are never quite alike


class DeviceContractError(UsageError):
    """A device that breaks the contract."""


class Subject:
    """A device under test, and what is told to it: neutral, which is where it stands, or as near to zero as it can."""

    def __init__(self, device: Device, clock: Clock) -> None:
        self.device, self.clock = device, clock
        self.where = type(device).__name__

    @property
    def caps(self) -> DeviceCaps:
        return self.device.caps

    @property
    def period(self) -> float:
        return 1.0 / self.caps.rate_hz

    def broken(self, sentence: str) -> DeviceContractError:
        return DeviceContractError(f"{self.where}: {sentence}")

    def call(self, member: str, run: Callable[[], Value]) -> Value:
        """What `run` gives. Raises DeviceContractError for anything that it raises: it is the user's code that runs."""
        try:
            return run()
        except Exception as error:
            raise self.broken(f"{member} raised {type(error).__name__}: {error}") from error

    def latest(self) -> Sample | None:
        return self.call("latest()", self.device.latest)

    def pause(self, periods: float = 1.0) -> None:
        self.clock.sleep_until(self.clock.now() + periods * self.period)

    def reading(self) -> Sample:
        """The first reading within a second. Raises DeviceContractError where none comes."""
        end = self.clock.now() + max(1.0, 5 * self.period)
        while self.clock.now() < end:
            if (sample := self.latest()) is not None:
                return sample
            self.pause(0.5)
        raise self.broken("latest() gives None for 1 s after start(), expected a reading")

    def news(self) -> Sample:
        """A reading from after now. Raises DeviceContractError where none comes within a second."""
        old = self.latest()
        for _ in range(int(max(1.0, 5 * self.period) / self.period)):
            self.pause()
            sample = self.latest()
            if sample is not None and (old is None or sample.seq != old.seq):
                return sample
        raise self.broken(
            "latest() gives nothing new for 1 s after start(), expected readings with a new seq each"
        )

    def neutral(self) -> FloatArray:
        """Where each actuator stands, as far as a sensor of its name says so; else as near to zero as it can."""
        values = dict(zip((c.name for c in self.caps.sensors), self.reading().values.tolist(), strict=True))
        wanted = [(values.get(c.name, 0.0), c) for c in self.caps.actuators]
        return np.array([min(max(v, c.minimum), c.maximum) for v, c in wanted], np.float32)


Check: TypeAlias = Callable[[Subject], Iterator[str]]
"""What a device breaks, a sentence each; later ones may follow from the first."""


def _caps(subject: Subject) -> Iterator[str]:
    """It says of itself what can be true."""
    caps: object = subject.call("caps", lambda: subject.device.caps)
    if not isinstance(caps, DeviceCaps):
        yield f"caps is of type {type(caps).__name__}, expected DeviceCaps"
        return
    yield from (f"caps: {phrase}" for phrase in caps.contradictions())
    shortest, longest = caps.watchdog
    if not 0.0 <= shortest <= longest:
        yield f"caps: its watchdog is from {shortest:g} to {longest:g} s, expected two numbers in order, 0 or more"


def _unarmed(subject: Subject) -> Iterator[str]:
    """It can be looked at before it is armed."""
    sample: object = subject.latest()
    if not (sample is None or isinstance(sample, Sample)):
        yield f"latest() gives a {type(sample).__name__}, expected a Sample or None"


def _armed(subject: Subject) -> Iterator[str]:
    """It can be armed, again as well."""
    for _ in range(2):
        subject.call("start()", lambda: subject.device.start(subject.period))
    faults = subject.news().faults
    if faults:
        yield f"after start() it is in fault ({', '.join(sorted(faults))}), expected a device that obeys"


def _shaped(subject: Subject) -> Iterator[str]:
    """A reading has one float32 for each sensor."""
    values: object = subject.reading().values
    n = len(subject.caps.sensors)
    if not isinstance(values, np.ndarray):
        yield f"latest().values is a {type(values).__name__}, expected an array"
    elif values.shape != (n,):
        yield f"latest().values has shape {list(values.shape)}, expected [{n}], a number for each sensor"
    elif values.dtype != np.float32:
        yield f"latest().values is of type {values.dtype}, expected float32"


def _within(subject: Subject) -> Iterator[str]:
    """A reading is within what the device has declared."""
    values = subject.reading().values.tolist()
    for channel, value in zip(subject.caps.sensors, values, strict=True):
        slack = SLACK * (channel.maximum - channel.minimum)
        if not (value != value or channel.minimum - slack <= value <= channel.maximum + slack):
            yield (
                f"latest() gives {value:.4g} {channel.unit} for {channel.name!r}, outside of the "
                f"{channel.minimum:g} to {channel.maximum:g} that caps declares"
            )


def _typed(subject: Subject) -> Iterator[str]:
    """What else a reading says is of its type."""
    sample = subject.reading()
    for name, kinds in (("seq", int), ("latches", int), ("stale", (bool, np.bool_)), ("t", (float, int))):
        if not isinstance(getattr(sample, name), kinds):
            yield f"latest().{name} is a {type(getattr(sample, name)).__name__}, expected {_named(kinds)}"
    if not (isinstance(sample.faults, frozenset) and all(isinstance(f, str) for f in sample.faults)):
        yield f"latest().faults is {sample.faults!r}, expected a frozenset of names"


def _named(kinds: type | tuple[type, ...]) -> str:
    return (kinds[0] if isinstance(kinds, tuple) else kinds).__name__


def _timed(subject: Subject) -> Iterator[str]:
    """A reading is stamped with the clock that the loop runs on."""
    subject.pause()
    sample, now = subject.reading(), subject.clock.now()
    if not -_OFF <= now - sample.t <= 1.0:
        yield (
            f"latest().t is {now - sample.t:.3g} s ago by the clock that it was given, expected a moment just passed: "
            "t is in seconds of the host's clock (acclimate.RealClock)"
        )


def _fresh(subject: Subject) -> Iterator[str]:
    """New readings come, at about the rate that the device has declared, and are told from old ones."""
    seen, stamps = set[int](), list[float]()
    for _ in range(_WATCHED):
        subject.pause()
        sample = subject.reading()
        if sample.seq not in seen:
            seen.add(sample.seq)
            stamps.append(sample.t)
    if len(seen) < _WATCHED // 2:
        yield (
            f"latest() gave {len(seen)} new readings in {_WATCHED} periods of {subject.period:g} s, expected about one "
            "each: seq must change with every new reading, and rate_hz must be true"
        )
    if sorted(stamps) != stamps:
        yield "latest().t runs backwards from one reading to the next"


def _prompt(subject: Subject) -> Iterator[str]:
    """It answers, and takes commands, without waiting for the device."""
    neutral = subject.neutral()
    members: list[tuple[str, Callable[[], object]]] = [
        ("latest()", subject.device.latest),
        ("command()", lambda: subject.device.command(neutral)),
        ("idle()", lambda: subject.device.idle(neutral)),
    ]
    for name, member in members:
        began = subject.clock.now()
        for _ in range(_WATCHED):
            subject.call(name, member)
        took = (subject.clock.now() - began) / _WATCHED
        if took > 0.5 * subject.period:
            yield _slow(name, took, subject.period)


def _slow(name: str, took: float, period: float) -> str:
    return (
        f"{name} takes {took * 1e3:.3g} ms, expected an answer without waiting: the loop has "
        f"{period * 1e3:g} ms for everything"
    )


def _obedient(subject: Subject) -> Iterator[str]:
    """It takes commands of the right shape, and copies them."""
    for name in ("idle", "command"):
        targets = subject.neutral()
        tell = getattr(subject.device, name)
        before = sys.getrefcount(targets)
        subject.call(f"{name}()", lambda tell=tell, targets=targets: tell(targets))  # type: ignore[misc]
        if sys.getrefcount(targets) > before:
            yield f"{name}() keeps the array that it is given, expected a copy: the caller writes into it again"
        subject.pause()
    subject.call("idle()", lambda: subject.device.idle(subject.neutral()))


def _watched(subject: Subject) -> Iterator[str]:
    """Where it has a watchdog, that trips when commands cease, says so, rests in neutral, and is cleared once."""
    longest = subject.caps.watchdog[1]
    if not 0.0 < longest < math.inf:
        return
    patience = subject.call("caps", lambda: Patience.of(subject.period, subject.caps.watchdog)).watchdog
    subject.call("start()", lambda: subject.device.start(subject.period))
    subject.call("idle()", lambda: subject.device.idle(subject.neutral()))
    subject.pause(_SILENT * patience / subject.period)
    if faults := subject.news().faults:
        yield f"in neutral it is in fault ({', '.join(sorted(faults))}) after a while, expected its watchdog to rest"
    before = subject.news().latches
    subject.call("command()", lambda: subject.device.command(subject.neutral()))
    subject.pause(_SILENT * patience / subject.period)
    tripped = subject.news()
    if tripped.faults != {"watchdog"}:
        found = ", ".join(sorted(tripped.faults)) or "none"
        yield (
            f"{_SILENT * patience:.2g} s after the last command() its faults are {found}, expected watchdog: caps says "
            f"that it goes safe by itself within {longest:g} s"
        )
        return
    if tripped.latches == before:
        yield "latest().latches is the same before and after the watchdog, expected another number for each latching"
    yield from _cleared(subject, tripped)


def _cleared(subject: Subject, tripped: Sample) -> Iterator[str]:
    other = tripped._replace(latches=tripped.latches + 1)
    subject.call("rearm()", lambda: subject.device.rearm(other))
    if not subject.news().faults:
        yield "rearm() cleared a latching that its reading did not tell of, expected that one and no other"
    subject.call("rearm()", lambda: subject.device.rearm(tripped))
    end = subject.clock.now() + 1.0
    while (faults := subject.news().faults) and subject.clock.now() < end:
        pass
    if faults:
        yield f"after rearm() it is still in fault ({', '.join(sorted(faults))}), expected a device that obeys"


def _stopped(subject: Subject) -> Iterator[str]:
    """It can be stopped any number of times, looked at then, and armed again."""
    for _ in range(3):
        subject.call("stop()", subject.device.stop)
    subject.latest()
    subject.call("start() after stop()", lambda: subject.device.start(subject.period))
    faults = subject.news().faults
    if faults:
        yield f"after stop() and start() it is in fault ({', '.join(sorted(faults))}): a stop is no emergency stop"


def _closed(subject: Subject) -> Iterator[str]:
    """It can be closed, and closed again."""
    for _ in range(2):
        subject.call("close()", subject.device.close)
    yield from ()


CHECKS: Mapping[str, Check] = {
    "says_what_can_be": _caps,
    "is_looked_at_unarmed": _unarmed,
    "is_armed": _armed,
    "has_a_value_for_each_sensor": _shaped,
    "stays_within_its_ranges": _within,
    "has_readings_of_the_right_types": _typed,
    "has_the_hosts_time": _timed,
    "has_news": _fresh,
    "takes_commands": _obedient,
    "does_not_wait": _prompt,
    "has_a_watchdog_that_trips": _watched,
    "is_stopped_and_armed_again": _stopped,
    "is_closed": _closed,
}
"""By name."""


def check_device(device: Device, clock: Clock | None = None) -> None:
    """Raises DeviceContractError for the first check that `device` does not pass; it is stopped in any case.

    clock: the one that its readings are stamped with; real time if left out.
    """
    subject = Subject(device, clock or RealClock())
    try:
        for check in CHECKS.values():
            for sentence in check(subject):
                raise subject.broken(sentence)
    finally:
        device.stop()
