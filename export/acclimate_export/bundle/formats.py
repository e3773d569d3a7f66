"""The forms that a bundle's graphs are exported in: ONNX always, and others beside it where asked for.

A new form is a module with one function that takes a `Source` and gives a `Converted`, and an entry in `FORMATS`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, TypeAlias

from acclimate.errors import UsageError

from acclimate_export.graphs.source import Converted, Source

ONNX = "onnx"


Convert: TypeAlias = Callable[[Source], Converted]


class _Entry(NamedTuple):
    """Where a form comes from: the modules it needs, the extra that installs them, its function."""

    requires: tuple[str, ...]
    extra: str
    home: str
    function: str


# By name, which is also the suffix of the members. Loaded when asked for: some need much.
FORMATS = {
    "c": _Entry(("emx_onnx_cgen",), "export", "acclimate_export.c.generate", "to_c"),
    "tflite": _Entry(("litert_torch",), "tflite", "acclimate_export.tflite.convert", "to_tflite"),
}


def parse_formats(text: str) -> tuple[str, ...]:
    """`text` is names with commas between them; what comes back are those beside ONNX, in the order of `FORMATS`.

    Raises UsageError for a name that is unknown, or one whose tools are not installed.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name != ONNX and name not in FORMATS:
            raise UsageError(
                f"--format {text}: no format is called {name!r}; valid: {ONNX}, {', '.join(FORMATS)}"
            )
    wanted = tuple(name for name in FORMATS if name in names)
    for name in wanted:
        _check_installed(name)
    return wanted


def convert(format_name: str, source: Source) -> Converted:
    """`source` in one of `FORMATS`. Raises UsageError where that cannot be done."""
    entry = FORMATS[format_name]
    function: Convert = getattr(import_module(entry.home), entry.function)
    return function(source)


def _check_installed(name: str) -> None:
    entry = FORMATS[name]
    missing = [module for module in entry.requires if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(
            f"--format {name} needs {', '.join(missing)}, which is not installed; install acclimate[{entry.extra}]"
        )
