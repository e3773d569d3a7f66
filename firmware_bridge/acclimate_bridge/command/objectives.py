"""What an operator asks a running device to drive for: on the command line, at a moment, or line by line from stdin."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TextIO

from acclimate.bundle.manifest import Manifest
from acclimate.control.trial import Shot
from acclimate.errors import AcclimateError, UsageError
from acclimate.fields import Json
from acclimate.policy.objectives import described, features_of, objective, parse_objective, set_objective
from acclimate.policy.policy import Policy

_WAITING = 8  # lines that may wait to be obeyed
_LONGEST = 1024  # characters of a line
_UNEXPLAINED = 0.1  # share of the rewards that is left over where they are no wᵀφ


class ObjectiveAt(NamedTuple):
    """Weights by name, and when they are set, in s of driving; 0 is before the first tick."""

    weights: Mapping[str, float]
    at: float

    @classmethod
    def parse(cls, text: str, manifest: Manifest) -> ObjectiveAt:
        """NAME=WEIGHT,…[@SECONDS]. Raises UsageError."""
        weights, timed, after = text.partition("@")
        try:
            at = float(after) if timed else 0.0
        except ValueError:
            at = math.nan
        if not (math.isfinite(at) and at >= 0.0):
            raise UsageError(f"objective {text!r}: expected NAME=WEIGHT,…[@SECONDS] with SECONDS at least 0")
        return cls(parse_objective(weights, features_of(manifest)), at)


def asked_for(
    texts: Sequence[str] | None, manifest: Manifest, seconds: float | None = None
) -> tuple[ObjectiveAt, ...]:
    """All that `--objective` says. Raises UsageError for one after the end, or, without `seconds`, on the way."""
    asked = tuple(ObjectiveAt.parse(text, manifest) for text in texts or ())
    for _, at in asked:
        if seconds is None and at:
            raise UsageError("--objective with @SECONDS needs --seconds; without it, it holds from the start")
        if seconds is not None and at >= seconds:
            raise UsageError(f"--objective …@{at:g} comes after the end: --seconds is {seconds:g}")
    return asked


class Listener:
    """Sets objectives that come in as lines, while the loop runs; a line that cannot be is answered, not obeyed."""

    def __init__(self, policy: Policy, lines: TextIO, answer: Callable[[str], None]) -> None:
        """`answer` is called by the loop: it must not wait."""
        self._policy, self._answer = policy, answer
        self._features = features_of(policy.manifest)
        self._queue: queue.Queue[str] = queue.Queue(_WAITING)
        # A daemon: nobody can interrupt a read that waits for a person.
        threading.Thread(target=self._listen, args=(lines,), daemon=True).start()

    def poll(self) -> None:
        """Obey one line, if one has come in. For the loop's thread, between two ticks; it never waits."""
        try:
            line = self._queue.get_nowait()
        except queue.Empty:
            return
        try:
            set_objective(self._policy, parse_objective(line, self._features))
            self._answer(f"drives for {described(self._policy)}")
        except AcclimateError as error:
            self._answer(f"{error}; it still drives for {described(self._policy)}")

    def _listen(self, lines: TextIO) -> None:
        """Whoever writes faster than the loop obeys is made to wait."""
        while line := lines.readline(_LONGEST):
            if line.strip():
                self._queue.put(line.strip())


def tree(policy: Policy) -> dict[str, Json]:
    """The weights at the end, where there are such."""
    return {} if policy.manifest.objectives is None else {"objective": dict(objective(policy))}


def lines(policy: Policy, shots: Sequence[Shot]) -> list[str]:
    """The same for people, after what each step that inferred them was worth."""
    if policy.manifest.objectives is None:
        return []
    features = len(policy.manifest.features)
    inferred = [_inferred(number, shot.result.info, features) for number, shot in enumerate(shots, 1)]
    return [*inferred, f"{'objective':<20} {described(policy)}"]


def _inferred(number: int, info: Mapping[str, float], features: int) -> str:
    """What a step made of the rewards that it saw."""
    rank, left = round(info["rank"]), info["residual_share"]
    if rank < features:
        said = (
            f"the rewards seen tell only {rank} of {features} features apart; the weights were kept: drive on, "
            "or along other references"
        )
    elif left > _UNEXPLAINED:
        said = f"no weights explain these rewards: {left:.0%} of them is left over"
    else:
        said = f"inferred from {info['valid']:.0f} more rewards, of which {left:.2%} is left over"
    return f"{f'weights, step {number}':<20} {said}"
