"""The compiler at work, where `c_library` does not find what it wants in the cache."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from acclimate.engines.c_compiler import Compiler
from acclimate.errors import EngineError

_CODE, _LIBRARY = "graph.c", "graph.so"
_TIMEOUT = 600.0  # s; the largest graph takes seconds on a desktop


def compiled(source: bytes, compiler: Compiler, where: str, flags: Sequence[Sequence[str]]) -> bytes:
    """A library for this very processor, or, where the compiler does not know it, for any of its kind.

    Raises EngineError with what the compiler says first; `where` names the source.
    """
    with scratch() as folder:
        (folder / _CODE).write_bytes(source)
        for known in flags:
            refusal = _run([*compiler.command, *known, "-o", _LIBRARY, _CODE, "-lm"], folder)
            if not refusal:
                return (folder / _LIBRARY).read_bytes()
    raise EngineError(f"{where} is refused by {compiler.command[0]}: {refusal}")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards. Raises EngineError where none can be made or written to."""
    try:
        with tempfile.TemporaryDirectory(prefix="acclimate-") as folder:
            yield Path(folder)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise EngineError(
            f"engine 'native' has no folder to compile in ({reason}); set $TMPDIR to one that can be written, or use "
            "another engine"
        ) from None


def _run(command: list[str], folder: Path) -> str:
    """Empty where it worked, or else the line that says why not."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return " ".join(str(error).split())
    said = [line.strip() for line in done.stderr.splitlines()]
    errors = [line for line in said if "error: " in line or "undefined reference" in line]
    return (errors or said or [f"exit code {done.returncode}"])[0] if done.returncode else ""
