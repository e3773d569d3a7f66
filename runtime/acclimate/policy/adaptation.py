"""Adaptation beside the loop: hand over a window, go on ticking, ask for the result between two ticks."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol

from acclimate.errors import PolicyError
from acclimate.policy.adapt_result import AdaptResult
from acclimate.policy.policy import Policy
from acclimate.task.episode import Window


class Adapter(Protocol):
    """Runs a policy's `adapt`; one at a time."""

    def submit(self, window: Window) -> None:
        """Start one adaptation step. Raises PolicyError as `Policy.stage` does."""

    def poll(self) -> AdaptResult | None:
        """The result, once; None while there is none."""

    def drop(self) -> None:
        """Wait for what is running, and forget its result."""


class InlineAdapter:
    """Adapts at once, in the caller's thread: for simulated time, where everything must be repeatable."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._result: AdaptResult | None = None

    def submit(self, window: Window) -> None:
        self._result = self._policy.adapt(window)

    def poll(self) -> AdaptResult | None:
        result, self._result = self._result, None
        return result

    def drop(self) -> None:
        self._result = None


class AdaptWorker:
    """Adapts in a thread of its own, so that no tick waits for it. `close` it, or use it in a `with`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="acclimate-adapt")
        self._future: Future[AdaptResult] | None = None
        self._closed = False

    def submit(self, window: Window) -> None:
        """As of `Adapter`. Raises PolicyError after `close`, too."""
        if self._closed:
            raise PolicyError("cannot adapt: this worker is closed; make another one")
        self._policy.stage(window)
        try:
            self._future = self._pool.submit(self._policy.adapt_staged)
        except BaseException:
            self._policy.unstage()
            raise

    def poll(self) -> AdaptResult | None:
        if self._future is None or not self._future.done():
            return None
        future, self._future = self._future, None
        return future.result()

    def drop(self) -> None:
        future, self._future = self._future, None
        if future is not None:
            future.result()

    def close(self) -> None:
        """Wait for what is running, then end the thread; at any time, any number of times."""
        self._closed = True
        self._pool.shutdown()

    def __enter__(self) -> AdaptWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
