"""`PYTHON _replay.py BUNDLE ENGINE GRAPH INPUTS.npz OUTPUTS.npz`: a graph on an engine of another installation.

It imports the runtime only, which it finds beside this checkout's benchmarks, and so runs on any Python with numpy and
an engine: tflite-runtime wants an older numpy than torch. Every array has an axis of samples in front.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))

from acclimate.bundle.file import load
from acclimate.engines import Graph, open_engine


def replay(graph: Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output for every sample."""
    count = len(next(iter(inputs.values())))
    found = {name: np.empty((count, *array.shape), np.float32) for name, array in graph.outputs.items()}
    for i in range(count):
        for name, array in graph.inputs.items():
            array[...] = inputs[name][i]
        graph.run()
        for name, array in graph.outputs.items():
            found[name][i] = array
    return found


def bound(path: Path, engine_name: str, graph_name: str) -> Graph:
    """A graph of a bundle on an engine. Raises EngineError."""
    bundle, engine = load(path), open_engine(engine_name)
    graphs = {"act": bundle.manifest.graphs.act, "adapt": bundle.manifest.graphs.adapt}
    spec = graphs[graph_name]
    assert spec is not None
    member = f"{graph_name}.{engine.suffix}"
    return engine.load(bundle.members[member], spec, f"{path}: {member}").bind()


if __name__ == "__main__":
    _, _path, _engine, _graph, _inputs, _outputs = sys.argv
    with np.load(_inputs) as _arrays:
        _found = replay(bound(Path(_path), _engine, _graph), dict(_arrays))
    np.savez(_outputs, **_found)  # type: ignore[arg-type]  # to its stub they may be `allow_pickle`
