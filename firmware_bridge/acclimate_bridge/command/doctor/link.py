"""The link to a device: how fast it answers, what is lost, how its clock runs, what the line carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from acclimate.command.checks import Check
from acclimate.control.device import Clock
from acclimate.control.patience import Patience
from acclimate.errors import MismatchError

from acclimate_bridge.link.host_link import HostLink

WATCHED = 3.0  # s
_PINGS = 60
_LOST, _DRIFT = 0.01, 0.015  # shares
_BINS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 1e9)  # ms


def watch(link: HostLink, clock: Clock) -> tuple[list[float], np.ndarray]:
    """Round trips in s, and readings, (n, sensors), of some seconds in which nothing is driven."""
    trips, readings, seq = list[float](), list[np.ndarray](), None
    period = min(1.0 / link.caps.rate_hz, 0.05)
    begin = clock.now()
    while clock.now() - begin < WATCHED:
        if len(trips) < _PINGS and (trip := link.ping()) is not None:
            trips.append(trip)
        sample = link.latest()
        if sample is not None and sample.seq != seq:
            seq = sample.seq
            readings.append(sample.values.copy())
        clock.sleep_until(clock.now() + period)
    return trips, np.array(readings, np.float32).reshape(len(readings), len(link.caps.sensors))


def noise(readings: np.ndarray) -> np.ndarray:
    """Of each sensor, the standard deviation of what is not motion; readings (n, sensors)."""
    if len(readings) < 2:
        return np.zeros(readings.shape[1])
    found: np.ndarray = np.sqrt(np.mean(np.diff(readings.astype(float), axis=0) ** 2, axis=0) / 2)
    return found


def check_link(link: HostLink, trips: Sequence[float], period: float) -> Iterator[Check]:
    """After `watch`; period: of the commands that are to come, in s."""
    yield _round_trip(trips, period)
    yield _losses(link)
    yield _drift(link)
    yield _budget(link)
    yield _rhythm(link)
    yield _watchdog(link, period)


def _round_trip(trips: Sequence[float], period: float) -> Check:
    if not trips:
        return Check("round trip", "no PING was answered", "check the firmware: protocol.md, section 9")
    ms = 1e3 * np.array(trips)
    p50, p99 = np.percentile(ms, (50, 99))
    counts, _ = np.histogram(ms, _BINS)
    shown = ", ".join(f"<{high:g}: {n}" for high, n in zip(_BINS[1:-1], counts, strict=False) if n)
    slow = p99 > 0.5e3 * period
    remedy = "lower the latency timer, raise the baud rate, or relieve this machine" if slow else ""
    rate = min(1e3 / (2 * p99), 1000.0)
    return Check(
        "round trip",
        f"{p50:.2f} ms, p99 {p99:.2f} ms ({shown} ms); good for control at up to {rate:.0f} Hz",
        remedy,
    )


def _losses(link: HostLink) -> Check:
    stats = link.stats
    bad = stats.lost + stats.damaged + stats.device_damaged
    share = bad / max(stats.received + bad, 1)
    found = f"{stats.received} frames, {stats.lost} lost, {stats.damaged} damaged, {stats.device_damaged} on its side"
    return Check(
        "frame errors", found, "" if share < _LOST else "check cable, ground, termination and baud rate"
    )


def _drift(link: HostLink) -> Check:
    drift = link.stats.drift
    remedy = "" if abs(drift) < _DRIFT else "check the clock source of the board: crystal, not RC oscillator"
    return Check("clock", f"it runs {abs(drift) * 100:.2f} % {'slow' if drift > 0 else 'fast'}", remedy)


def _budget(link: HostLink) -> Check:
    share = link.load
    if share is None:
        return Check("link budget", "this line is not paced by a baud rate")
    return Check("link budget", f"{share:.0%} of the line", "" if share < 0.9 else "raise the baud rate")


def _rhythm(link: HostLink) -> Check:
    return Check(
        "arrivals", "readings come evenly" if link.advice is None else "in bursts", link.advice or ""
    )


def _watchdog(link: HostLink, period: float) -> Check:
    low, high = link.caps.watchdog
    found = f"from {low * 1e3:g} to {high * 1e3:g} ms"
    try:
        patience = Patience.of(period, link.caps.watchdog)
    except MismatchError as error:
        return Check("watchdog", found, str(error))
    return Check("watchdog", f"{found}; {patience.watchdog * 1e3:g} ms will be set")
