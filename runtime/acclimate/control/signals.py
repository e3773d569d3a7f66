"""A program that is ended by a signal ends as by an error: whatever it drives is stopped on the way out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from acclimate.errors import UsageError

_ENDING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGINT") if hasattr(signal, name)
)


class Stopped(SystemExit):
    """Raised where a signal ends the program; the exit code is that of a shell, 128 + number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Let SIGTERM, SIGHUP and SIGQUIT end the block as an exception, `Stopped`, as Ctrl-C does by KeyboardInterrupt.

    Only the first one counts: nothing interrupts the way out. A signal that the program ignores it goes on ignoring.

    with acclimate.stopping_on_signals(), HostLink(transport, clock) as link: ...
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("stopping_on_signals() is for the main thread, which is the one that gets signals")
    before = {n: handler for n in _ENDING if (handler := signal.getsignal(n)) is not signal.SIG_IGN}

    def leave(number: int, _: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)

    for number in before:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
