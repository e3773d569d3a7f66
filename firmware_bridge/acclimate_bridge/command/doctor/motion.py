"""A small motion of each actuator: which sensor answers, in which direction, and how soon."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from acclimate.command.checks import Check
from acclimate.control.device import Clock, Sample
from acclimate.errors import DeviceFault

from acclimate_bridge.command.doctor.link import noise
from acclimate_bridge.link.host_link import HostLink

SHARE = 0.15  # of the way from neutral to the nearer end of an actuator's range
_PULSE, _REST = 0.25, 0.5  # s
_NOISES, _LEAST = 6.0, 1e-3  # times its noise, and of its range: what a sensor must show of a motion


def check_motion(link: HostLink, clock: Clock, readings: np.ndarray) -> Iterator[Check]:
    """Push each actuator there and back, one after the other; readings (n, sensors): at rest. Ends with a stop."""
    try:
        link.start()
        for number, actuator in enumerate(link.caps.actuators):
            yield _pushed(actuator.name, _push(link, clock, number), noise(readings), link)
    except DeviceFault as fault:
        yield Check("motion", "it ended in a fault", str(fault))
    finally:
        link.stop()


def _neutral(link: HostLink, sample: Sample) -> np.ndarray:
    """Where each actuator stands, if a sensor of its name says so; else as near to zero as it can."""
    values = dict(zip((c.name for c in link.caps.sensors), sample.values.tolist(), strict=True))
    wanted = [(values.get(c.name, 0.0), c) for c in link.caps.actuators]
    return np.array([min(max(v, c.minimum), c.maximum) for v, c in wanted], np.float32)


def _push(link: HostLink, clock: Clock, number: int) -> np.ndarray:
    """Readings from the push on, (ticks, sensors), there and back."""
    sample = _reading(link, clock)
    neutral, channel = _neutral(link, sample), link.caps.actuators[number]
    room = max(min(channel.maximum - neutral[number], neutral[number] - channel.minimum), 0.0)
    by = SHARE * (room or channel.maximum - channel.minimum)
    seen = []
    for sign, seconds in ((1.0, _PULSE), (-1.0, _PULSE), (0.0, _REST)):
        targets = neutral.copy()
        targets[number] = min(max(neutral[number] + sign * by, channel.minimum), channel.maximum)
        seen += _told(link, clock, targets, seconds)
    link.idle(neutral)
    return np.array(seen)


def _told(link: HostLink, clock: Clock, targets: np.ndarray, seconds: float) -> list[np.ndarray]:
    period, seen = 1.0 / link.caps.rate_hz, []
    for _ in range(max(round(seconds / period), 2)):
        link.command(targets)
        clock.sleep_until(clock.now() + period)
        sample = link.latest()
        if sample is not None and sample.faults:
            raise DeviceFault(f"the device is in fault ({', '.join(sorted(sample.faults))})")
        if sample is not None:
            seen.append(sample.values.copy())
    return seen


def _reading(link: HostLink, clock: Clock) -> Sample:
    end = clock.now() + 1.0
    while clock.now() < end:
        sample = link.latest()
        if sample is not None and not sample.stale and not sample.faults:
            return sample
        clock.sleep_until(clock.now() + 0.5 / link.caps.rate_hz)
    raise DeviceFault("the device gives no reading to begin from")


def _pushed(name: str, seen: np.ndarray, still: np.ndarray, link: HostLink) -> Check:
    """still (sensors,): the noise of each."""
    first = len(seen) * _PULSE / (2 * _PULSE + _REST)
    moved = seen[: int(first) + 1] - seen[0]
    spans = np.array([c.maximum - c.minimum for c in link.caps.sensors])
    least = np.maximum(_NOISES * still, _LEAST * spans)
    score = np.abs(moved).max(axis=0) / least
    best = int(np.argmax(score))
    if score[best] < 1.0:
        return Check(
            f"motion of {name}",
            "no sensor answers",
            "check its power and wiring, and that it is free to move; a weak motor may need more than this little push",
        )
    after = int(np.argmax(np.abs(moved[:, best]) > 0.5 * least[best])) / link.caps.rate_hz
    at = int(np.argmax(np.abs(moved[:, best])))
    way = "with" if moved[at, best] > 0.0 else "against"
    sensor = link.caps.sensors[best]
    return Check(
        f"motion of {name}", f"{sensor.name} moves {way} it by {abs(moved[at, best]):.3g} {sensor.unit}, after "
        f"{after * 1e3:.0f} ms"
    )  # fmt: skip
