"""Episodes of a trial or drive, written as one .npz that numpy reads: as it goes, and whatever ends it."""

from __future__ import annotations

import io
import json
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from acclimate.arrays import FloatArray
from acclimate.atomic import write_atomically
from acclimate.control.trial import EpisodeKey, Purpose
from acclimate.errors import AcclimateError, UsageError
from acclimate.fields import Fields
from acclimate.task.episode import Episode
from acclimate.task.spec import TaskSpec
from acclimate.task.spec_json import read_spec, spec_tree

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
_GROWTH = (
    1.25  # by which what is recorded grows until all of it is written again: in all a few times its size
)


class Recording:
    """Collects episodes, in the order in which they ran; give it to `Trial` as `record`.

    With a path, all that has come so far is written there again and again, in a thread of its own, and finally by
    `close`: even a power cut leaves most of it.
    """

    def __init__(self, path: Path | None = None, task: TaskSpec | None = None) -> None:
        """task: what was driven, for whoever reads the file later."""
        self.keys: list[EpisodeKey] = []
        self.episodes: list[Episode] = []
        self._path, self._task = path, task
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="acclimate-record")
        self._writing: Future[None] | None = None
        self._written = 0  # ticks

    def __call__(self, key: EpisodeKey, episode: Episode) -> None:
        self.keys.append(key)
        self.episodes.append(episode)
        ticks = sum(len(each.mask) for each in self.episodes)
        idle = self._writing is None or self._writing.done()
        if self._path is not None and idle and ticks >= _GROWTH * self._written:
            self._written = ticks
            self._writing = self._pool.submit(
                _write, self._path, list(self.keys), list(self.episodes), self._task
            )

    def save(self, path: Path) -> None:
        """Write arrays with one row per episode; nothing where there was none.

        obs (n, steps + 1, n_obs), action and applied (n, steps, n_act), mask (n, steps); steps (n,): transitions of the
        episode, after which its row holds zeros, as of one that was cut short; shot (n,): adaptation steps before it;
        purpose (n,): 0 measure, 1 explore, 2 wait; task: what was driven, as JSON in UTF-8.
        """
        _write(path, self.keys, self.episodes, self._task)

    def close(self) -> None:
        """Write all of it to the path, if there is one. Raises UsageError where it cannot be written."""
        self._pool.shutdown()
        if self._path is not None:
            self.save(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Record(NamedTuple):
    """What a file holds: obs (n, steps + 1, n_obs), applied (n, steps, n_act), mask (n, steps); task, where it says.

    rows: which episodes of the file these are, (n,).
    """

    obs: FloatArray
    applied: FloatArray
    mask: FloatArray
    task: TaskSpec | None
    rows: NDArray[np.int64]


def load_record(path: Path) -> Record:
    """Read what `Recording` has written, but for what was cut short. Raises UsageError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            whole = arrays["steps"] == arrays["steps"].max() if "steps" in arrays else slice(None)
            obs, applied, mask = (arrays[name][whole] for name in ("obs", "applied", "mask"))
            rows = np.arange(len(arrays["mask"]))[whole]
            task = arrays["task"].tobytes().decode() if "task" in arrays else None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is not a recording; `acclimate run --record FILE` makes one") from error
    shapes = obs.ndim == applied.ndim == 3 and mask.ndim == 2
    if not (shapes and obs.shape[:2] == (len(mask), mask.shape[1] + 1) and applied.shape[:2] == mask.shape):
        raise UsageError(f"{path} is not a recording: its arrays do not fit each other")
    return Record(obs, applied, mask, None if task is None else _task(task, path), rows)


def _task(text: str, path: Path) -> TaskSpec:
    try:
        return read_spec(Fields.of(json.loads(text), "task"))
    except (ValueError, AcclimateError) as error:
        raise UsageError(f"{path} does not say what was recorded: {error}") from error


def _write(path: Path, keys: list[EpisodeKey], episodes: list[Episode], task: TaskSpec | None) -> None:
    if not episodes:
        return
    arrays = {name: _rows([getattr(e, name) for e in episodes]) for name in Episode._fields}
    arrays["steps"] = np.array([len(episode.mask) for episode in episodes], np.int64)
    arrays["shot"] = np.array([key.shot for key in keys], np.int64)
    arrays["purpose"] = np.array([PURPOSES.index(key.purpose) for key in keys], np.int64)
    if task is not None:
        arrays["task"] = np.frombuffer(json.dumps(spec_tree(task)).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub takes names for allow_pickle
    write_atomically(path, buffer.getvalue())


def _rows(arrays: list[FloatArray]) -> FloatArray:
    """One row each, with zeros after those that are shorter than others."""
    longest = max(len(array) for array in arrays)
    rows = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(rows, arrays, strict=True):
        row[: len(array)] = array
    return rows
