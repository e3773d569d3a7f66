"""Files that people write: read as UTF-8, with or without a byte-order mark, as some editors put one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.whole_files import read_bounded

MOST = 16 * 2**20  # bytes


def read_text(path: str | Path, what: str = "file") -> str:
    """The text in a file. Raises UsageError, calling it a `what`, where it cannot be read or is no text."""
    try:
        with Path(path).open("rb") as file:  # a pipe is welcome, as of <(…)
            return read_bounded(file.fileno(), MOST, Path(path)).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {what} {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {path} is not UTF-8 text (byte {error.start} is not)") from None


def read_toml(path: str | Path, what: str = "file") -> dict[str, Any]:
    """The table in a TOML file. Raises UsageError as `read_text`, and for what is not TOML."""
    import tomllib  # not before: a board reads none

    try:
        return tomllib.loads(read_text(path, what))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{what} {path} is not valid TOML: {error}") from None


def read_json(path: str | Path, what: str = "file") -> Json:
    """The value in a JSON file. Raises UsageError as `read_text`, and for what is not JSON."""
    import json

    try:
        value: Json = json.loads(read_text(path, what))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} {path} is not valid JSON: {error}") from None
    return value
