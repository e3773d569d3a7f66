"""The forms of a bundle's graphs: ONNX always, and beside it all that can be made here, or what is asked for.

A new form is a module with one function that takes a `Translation` and gives a `Converted`, and an entry in `FORMATS`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import NamedTuple, TypeAlias

from acclimate.errors import UsageError
from acclimate.names import did_you_mean

from acclimate_export.graphs.translation import Converted, Translation

ONNX = "onnx"
Convert: TypeAlias = Callable[[Translation], Converted]


class Selection(NamedTuple):
    """Forms to make beside ONNX, and why each of the others is not, in a sentence.

    asked: they were named one by one; where one of them cannot hold a graph, that is an error.
    """

    names: tuple[str, ...]
    left_out: Mapping[str, str]
    asked: bool

    def without(self, name: str) -> Selection:
        """The same but for one of them, which is made in another way."""
        return self._replace(names=tuple(each for each in self.names if each != name))


ONNX_ONLY = Selection((), {}, asked=True)


class Forms(NamedTuple):
    """What came of a selection: members by name, and why each form that is not among them is not."""

    members: Mapping[str, Converted]
    left_out: Mapping[str, str]


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


def select_forms(text: str | None) -> Selection:
    """`text` is names with commas between them; None stands for all that this machine has the tools for.

    Raises UsageError for a name that is unknown, or one whose tools are not installed.
    """
    if text is None:
        lacking = {name: reason for name in FORMATS if (reason := _lacking(name))}
        return Selection(tuple(name for name in FORMATS if name not in lacking), lacking, asked=False)
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name != ONNX and name not in FORMATS:
            raise UsageError(
                f"--format {text}: no format is called {name!r}{did_you_mean(name, [ONNX, *FORMATS], of='valid')}"
            )
    wanted = tuple(name for name in FORMATS if name in names)
    for reason in filter(None, map(_lacking, wanted)):
        raise UsageError(f"--format {text}: {reason}")
    return Selection(
        wanted, {name: "it was not asked for" for name in FORMATS if name not in wanted}, asked=True
    )


def convert(selection: Selection, sources: Sequence[Translation]) -> Forms:
    """Every graph in every form selected. Raises UsageError for a form that was asked for and cannot be made."""
    members: dict[str, Converted] = {}
    left_out = dict(selection.left_out)
    for name in selection.names:
        try:
            members |= {f"{source.name}.{name}": _converted(name, source) for source in sources}
        except UsageError as error:
            if selection.asked:
                raise
            left_out[name] = str(error)
    return Forms(members, left_out)


def _converted(name: str, source: Translation) -> Converted:
    entry = FORMATS[name]
    function: Convert = getattr(import_module(entry.home), entry.function)
    return function(source)


def _lacking(name: str) -> str:
    """What a form needs that is not installed; empty where all is there."""
    entry = FORMATS[name]
    missing = [module for module in entry.requires if importlib.util.find_spec(module) is None]
    if not missing:
        return ""
    return f"{name} needs {', '.join(missing)}, which is not installed; install acclimate[{entry.extra}]"
