"""The standard streams as a verb needs them.

What stdout does not take is an error in one sentence, what stderr does not take is lost, and a character that the
terminal does not know is written in ASCII. A descriptor that was closed from the start leads nowhere, so that no file
or port that is opened later becomes stdout.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys

from acclimate.errors import OutputError

ASCII = {
    "−": "-", "–": "-", "—": "-", "…": "...", "×": "x", "·": ".", "→": "->", "±": "+-", "≤": "<=", "≥": ">=", "≈": "~",
    "√": "sqrt ", "∞": "inf", "µ": "u", "°": " deg", "⁰": "0", "¹": "1", "²": "2", "³": "3", "⁻": "-", "φ": "phi",
    "ψ": "psi", "τ": "tau", "σ": "sigma", "ᵀ": "^T", "Δ": "d", "Ω": "Ohm", "█": "#", "░": ".",
    "“": '"', "”": '"', "‘": "'", "’": "'",
}  # fmt: skip
_ERRORS = "acclimate"


def make_ready() -> None:
    """Put streams in place of the process's own; those that a caller has put there are left alone."""
    codecs.register_error(_ERRORS, _in_ascii)
    absent = [number for number in (0, 1, 2) if not _is_open(number)]
    for _ in absent:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(_Told(1, "it is closed" if 1 in absent else ""), sys.__stdout__)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(_Lossy(2, "w", closefd=False), sys.__stderr__)


def settle() -> None:
    """Write out what waits. Where that cannot be, it is dropped, so that Python does not try again as it exits."""
    try:
        sys.stdout.flush()
    except (OutputError, BrokenPipeError):
        with contextlib.suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.stdout.flush()
        raise


class _Told(io.FileIO):
    """Says in one sentence what cannot be written; a reader that has gone is a BrokenPipeError, as ever."""

    def __init__(self, number: int, refusal: str) -> None:
        """refusal: why nothing can be written at all, if that is so."""
        super().__init__(number, "w", closefd=False)
        self._refusal = refusal

    def write(self, data: object, /) -> int:
        if self._refusal:
            reason, self._refusal = self._refusal, ""  # from now on it leads nowhere
            raise OutputError(f"cannot write to stdout: {reason}")
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write to stdout: {error.strerror}") from None


class _Lossy(io.FileIO):
    """Takes everything, and loses what it cannot write."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return len(bytes(data))  # type: ignore[call-overload]


def _stream(raw: io.FileIO, like: io.TextIOWrapper | None) -> io.TextIOWrapper:
    encoding = "utf-8" if like is None else like.encoding
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, _ERRORS, line_buffering=like is None or like.line_buffering
    )


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if character in ASCII:
        return ASCII[character], error.start + 1
    return codecs.backslashreplace_errors(
        UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    )
