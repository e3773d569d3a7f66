"""What every form of a graph is made from, and what making it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from acclimate.fields import Json

from acclimate_export.graphs.onnx import OnnxGraph
from acclimate_export.graphs.tracing import Traced


class Translation(NamedTuple):
    """A graph to convert: as torch traced it, and as the bundle's ONNX member has it."""

    name: str  # act or adapt
    traced: Traced
    onnx: OnnxGraph


class Converted(NamedTuple):
    """The content of a member, and what `export` says of it: sizes, for one."""

    model: bytes
    facts: Mapping[str, Json]
