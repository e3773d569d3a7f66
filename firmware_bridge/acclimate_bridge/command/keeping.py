"""What `run` leaves behind, whatever ends it: the recording, what was learned, the report. Each by itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from acclimate.control.recording import Recording
from acclimate.errors import AcclimateError
from acclimate.policy.checkpoint import save_checkpoint
from acclimate.policy.policy import Policy


class Keeping:
    """Around a drive:

    with keeping.whatever_happens():
        ...
    keeping.finish(lambda: print(report))
    """

    def __init__(self, policy: Policy, save: Path | None, record: Path | None) -> None:
        """save, record: files that are known to be writable."""
        self.recording = Recording(record, policy.manifest.task)
        self._policy, self._path = policy, save
        learned = [tensor.name for tensor in policy.manifest.state if tensor.written_by == "adapt"]
        self._before = {name: policy.state(name) for name in learned}

    @contextmanager
    def whatever_happens(self) -> Iterator[None]:
        """Keep what there is where the block does not come to its end; the error goes on.

        What was learned is kept where something was: an earlier checkpoint is not replaced by a policy that has learned
        nothing. The memory of one that adapts as it acts is kept where a person has ended it, and not after a fault,
        which it may have been full of.
        """
        try:
            yield
        except BaseException as error:
            steps = [self.recording.close]
            if self._has_learned() or (not self._before and not isinstance(error, AcclimateError)):
                steps.append(self._save)
            for failure in _each(steps):
                print(f"acclimate: {failure}", file=sys.stderr)
            raise

    def finish(self, report: Callable[[], None]) -> None:
        """All of it, where all went well. Raises the first error once everything was tried."""
        failures = _each([self.recording.close, self._save, report])
        for failure in failures[1:]:
            print(f"acclimate: {failure}", file=sys.stderr)
        if failures:
            raise failures[0]

    def _save(self) -> None:
        if self._path is not None:
            save_checkpoint(self._path, self._policy)

    def _has_learned(self) -> bool:
        return any(not np.array_equal(self._policy.state(name), then) for name, then in self._before.items())


def _each(steps: list[Callable[[], None]]) -> list[AcclimateError]:
    """The errors of steps, all of which are tried."""
    failures = []
    for step in steps:
        try:
            step()
        except AcclimateError as error:
            failures.append(error)
    return failures
