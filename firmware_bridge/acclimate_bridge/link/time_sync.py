"""The device's clock in the host's time, from PING and PONG: least round trip, with drift by regression."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_WRAP = 1 << 32
_FLOOR = 100e-6  # s that an exchange is uncertain by, at least
_SLACK = 0.1  # or this share of the fastest round trip
_EXPECTED = 0.01  # drift that is nothing special: ceramic resonators and RC oscillators


class _Exchange(NamedTuple):
    device: float  # s, the device's clock in the middle of the exchange
    offset: float  # s, host minus device
    round_trip: float  # s


class TimeSync:
    """Maps device time stamps (u32 µs, wrapping) to seconds of the host's clock.

    A slow exchange says little, because its delay may lie on either way; so it weighs less, by what it took more than
    the fastest one in the window. Through all of them goes a straight line: its slope is the drift, of which is known
    from the first exchange on that it is about a hundredth at most.
    """

    def __init__(self, window: int = 64) -> None:
        self._exchanges: deque[_Exchange] = deque(maxlen=window)
        self.count = 0  # of exchanges so far
        self._newest = 0  # unwrapped device time, µs
        self._offset = 0.0
        self._drift = 0.0
        self._at = 0.0  # device time at which the offset is `_offset`

    @property
    def known(self) -> bool:
        """Whether there has been any exchange."""
        return bool(self._exchanges)

    @property
    def drift(self) -> float:
        """How much faster the host's clock runs, as a share (1e-6 is one part per million)."""
        return self._drift

    @property
    def round_trip(self) -> float:
        """The shortest round trip in the window, in s."""
        return min((e.round_trip for e in self._exchanges), default=0.0)

    @property
    def last_round_trip(self) -> float:
        """Of the newest exchange, in s; 0 before the first."""
        return self._exchanges[-1].round_trip if self._exchanges else 0.0

    def add(self, sent: float, received_t_us: int, answered_t_us: int, back: float) -> None:
        """One exchange: host time of sending and of the answer's arrival (s), and the device's two stamps."""
        arrival = self._unwrap(received_t_us)
        held = ((answered_t_us - received_t_us) % _WRAP) * 1e-6
        round_trip = max(back - sent - held, 0.0)
        device = arrival + held / 2
        self._exchanges.append(_Exchange(device, (sent + back) / 2 - device, round_trip))
        self.count += 1
        self._fit()

    def to_host(self, t_us: int) -> float:
        """Host time in s of a device stamp that lies within half an hour of the newest one."""
        device = self._unwrap(t_us)
        return device + self._offset + self._drift * (device - self._at)

    def _unwrap(self, t_us: int) -> float:
        ahead = (t_us - self._newest) % _WRAP
        if ahead < _WRAP // 2:
            self._newest += ahead
            return self._newest * 1e-6
        return (self._newest + ahead - _WRAP) * 1e-6

    def _fit(self) -> None:
        """Weighted least squares, with the drift drawn to 0 as far as the exchanges leave it open."""
        fastest = self.round_trip
        floor = max(_FLOOR, _SLACK * fastest)
        weights = [(floor + e.round_trip - fastest) ** -2 for e in self._exchanges]
        total = sum(weights)
        pairs = list(zip(weights, self._exchanges, strict=True))
        self._at = sum(w * e.device for w, e in pairs) / total
        self._offset = sum(w * e.offset for w, e in pairs) / total
        spread = sum(w * (e.device - self._at) ** 2 for w, e in pairs)
        along = sum(w * (e.device - self._at) * (e.offset - self._offset) for w, e in pairs)
        self._drift = along / (spread + _EXPECTED**-2)
