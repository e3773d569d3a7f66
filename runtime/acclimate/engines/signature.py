"""The manifest is trusted nowhere: a graph itself must have the tensors that the manifest names."""

from __future__ import annotations

from collections.abc import Sequence

from acclimate.bundle.manifest import TensorSpec
from acclimate.errors import EngineError


def check_signature(found: Sequence[TensorSpec], expected: Sequence[TensorSpec], where: str) -> None:
    """Raises EngineError unless both have the same names with the same shapes; `where` ends in "input" or "output"."""
    shapes, wanted = ({t.name: t.shape for t in tensors} for tensors in (found, expected))
    for name in wanted:
        if name not in shapes:
            raise EngineError(f"{where} {name!r} is in the manifest, but the graph has: {', '.join(shapes)}")
    for name, shape in shapes.items():
        if name not in wanted:
            raise EngineError(
                f"{where} {name!r} is in the graph, but the manifest lists: {', '.join(wanted)}"
            )
        if shape != wanted[name]:
            raise EngineError(
                f"{where} {name!r} is of shape {list(shape)}, expected one of shape {list(wanted[name])}"
            )
