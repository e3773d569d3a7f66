"""What `run` leaves behind, whatever ends it: the recording, what was learned, the report. Each by itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from acclimate.command.results import attempt, hand_over
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
            keep = self._has_learned() or (not self._before and not isinstance(error, AcclimateError))
            for failure in attempt(self.recording.close, *([self._save] if keep else [])):
                print(f"acclimate: {failure}", file=sys.stderr)
            raise

    def finish(self, report: Callable[[], None], *, save: bool = True) -> None:
        """All of it, where all went well. Raises the first error once everything was tried.

        save: False where nothing that was learned may be relied on; an earlier checkpoint stays as it is.
        """
        if self._path is not None and not save:
            print(f"acclimate: nothing was learned; {self._path} is not written", file=sys.stderr, flush=True)
        hand_over(self.recording.close, *([self._save] if save else []), report)

    def _save(self) -> None:
        if self._path is not None:
            save_checkpoint(self._path, self._policy)

    def _has_learned(self) -> bool:
        return any(not np.array_equal(self._policy.state(name), then) for name, then in self._before.items())
