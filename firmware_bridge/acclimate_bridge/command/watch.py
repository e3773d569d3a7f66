"""An eye on a drive while it goes on: how well it follows, a line about it each second, and when it has to end."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from acclimate.arrays import FloatArray
from acclimate.control.loop import ControlLoop
from acclimate.control.trial import EpisodeKey, References
from acclimate.errors import Diverged
from acclimate.task.spec import TaskSpec

_TOO_LONG = 0.25  # s beyond the bound until a drive is ended
_KEPT = 60  # s of driving that the verdict looks back on
_LAST = 1 / 3  # of that, at least one second: what the verdict is about
_WORSE = 1.5  # times the error of standing still …
_FLOOR = 0.1  # … or this share of what is asked for, whatever is more: worse than that, it diverged


class _Pair(NamedTuple):
    """Where in the observation what is measured is, and what is wanted."""

    measured: int
    wanted: int
    name: str


class _Second(NamedTuple):
    """Sums over ticks and pairs: of the squared error, and of what it had been where the machine had not moved."""

    error: float
    still: float
    terms: int

    def and_also(self, error: float, still: float, terms: int) -> _Second:
        return _Second(self.error + error, self.still + still, self.terms + terms)


class Watch:
    """Give it to a loop as `every`; call `begin` where another episode begins, and where one follows another thing.

    Of a task whose headline is no tracking error there is nothing to watch.
    """

    def __init__(
        self, task: TaskSpec, abort_error: float = math.inf, tell: Callable[[str], None] | None = None
    ) -> None:
        """abort_error: in the headline's unit; Diverged is raised where a pair is beyond it for a quarter second."""
        pairs = task.headline.pairs if task.headline.kind == "rms" else ()
        self._pairs = [_Pair(task.index(m), task.index(w), m) for m, w in pairs]
        self._task, self._abort, self._tell = task, abort_error, tell
        self._per_second = max(round(1.0 / task.control_dt), 1)
        self._loop: ControlLoop | None = None
        self._total = _Second(0.0, 0.0, 0)
        self._what = "driving"
        self.begin(self._what)

    def of(self, loop: ControlLoop) -> None:
        """Watch this loop."""
        self._loop, loop.every = loop, self

    def begin(self, what: str, anew: bool = True) -> None:
        """An episode begins; `what` for people. anew: the verdict is about what comes now."""
        if anew:
            self._seconds: deque[_Second] = deque(maxlen=_KEPT)
            self._tick = self._beyond = 0
        self._what, self._start = what, list[float]()
        self._sum = _Second(0.0, 0.0, 0)

    def __call__(self) -> None:
        """After each tick."""
        if self._loop is None or not self._pairs:
            return
        obs = self._loop.obs.tolist()
        measured = [obs[pair.measured] for pair in self._pairs]
        wanted = [obs[pair.wanted] for pair in self._pairs]
        if not self._start:
            self._start = measured
        worst = max(abs(m - w) for m, w in zip(measured, wanted, strict=True))
        self._beyond = self._beyond + 1 if worst > self._abort else 0
        if self._beyond > _TOO_LONG * self._per_second:
            self._end(measured, wanted)
        error = sum((m - w) ** 2 for m, w in zip(measured, wanted, strict=True))
        still = sum((s - w) ** 2 for s, w in zip(self._start, wanted, strict=True))
        self._sum = self._sum.and_also(error, still, len(wanted))
        self._total = self._total.and_also(error, still, len(wanted))
        self._tick += 1
        if self._tick % self._per_second == 0:
            self._second()

    @property
    def error(self) -> float:
        """Root mean square over all that was watched; NaN where there was nothing."""
        return math.sqrt(self._total.error / self._total.terms) if self._total.terms else math.nan

    def verdict(self) -> str:
        """Why this is no drive to go on with; empty where all is well. About the last third of what was watched."""
        kept = [*self._seconds, *([self._sum] if self._sum.terms else [])]
        last = kept[-max(math.ceil(_LAST * len(kept)), 1) :]
        terms = sum(second.terms for second in last)
        if not terms:
            return ""
        error, still = (math.sqrt(sum(second[k] for second in last) / terms) for k in (0, 1))
        if error <= max(_WORSE * still, _FLOOR * self._asked()):
            return ""
        unit = self._task.headline.unit
        return (
            f"it diverged: the error in the end, {error:.3g} {unit}, is larger than that of standing still, "
            f"{still:.3g} {unit}"
        )

    def _asked(self) -> float:
        kind = self._task.reference
        return max((track.amplitude for track in kind.tracks), default=1.0) if kind else 1.0

    def _second(self) -> None:
        second = self._sum
        self._seconds.append(second)
        self._sum = _Second(0.0, 0.0, 0)
        if self._tell is not None:
            error, unit = math.sqrt(second.error / second.terms), self._task.headline.unit
            seconds = self._tick * self._task.control_dt
            self._tell(f"{self._what:<28} {seconds:6.0f} s   {self._task.headline.name} {error:.4f} {unit}")

    def _end(self, measured: list[float], wanted: list[float]) -> None:
        worst = max(range(len(wanted)), key=lambda k: abs(measured[k] - wanted[k]))
        raise Diverged(
            f"{self._pairs[worst].name!r} is at {measured[worst]:.4g} where {wanted[worst]:.4g} was asked for, more "
            f"than {self._abort:g} away for {_TOO_LONG:g} s; the device was stopped"
        )


class Announced:
    """The references of a trial, told to a watch as they are asked for."""

    def __init__(self, references: References, watch: Watch) -> None:
        self._references, self._watch = references, watch
        self._last: tuple[int, str] | None = None

    def __call__(self, obs: FloatArray, key: EpisodeKey) -> FloatArray:
        """As `References`."""
        reference = self._references(obs, key)
        phase = key.shot, key.purpose
        self._watch.begin(_words(key), anew=phase != self._last)
        self._last = phase
        return reference


def _words(key: EpisodeKey) -> str:
    if key.purpose == "measure":
        return f"after {key.shot} step{'s' * (key.shot != 1)}" if key.shot else "before adapting"
    return f"{'exploring' if key.purpose == 'explore' else 'adapting'} for step {key.shot + 1}"
