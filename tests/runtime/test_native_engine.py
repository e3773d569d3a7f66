"""The native engine: conforms, and deals with boards that lack a compiler and caches that hold rubbish."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from acclimate.engines import Engine
from acclimate.engines.c_source import Face, head
from acclimate.engines.native import NativeEngine
from acclimate.manifest import GraphSpec
from emx_onnx_cgen.compiler import Compiler, CompilerOptions

from . import bundles
from .engine_conformance import EngineConformance


def c_model(name: str, model: bytes, spec: GraphSpec) -> bytes:
    options = CompilerOptions(model_name=name, large_temp_threshold_bytes=0, large_weight_threshold=0)
    face = Face(name, 0, spec.inputs, spec.outputs)
    return (head(face) + Compiler(options).compile(onnx.load_from_string(model))).encode()


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Not the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCLIMATE_CACHE", str(folder))
        yield folder


ACT = c_model("act", bundles.act_model(), bundles.manifest().graphs.act)


class TestNativeEngine(EngineConformance):
    @pytest.fixture
    def engine(self) -> Engine:
        return NativeEngine()

    @pytest.fixture
    def act_model(self) -> bytes:
        return ACT

    @pytest.fixture
    def adapt_model(self) -> bytes:
        spec = bundles.manifest().graphs.adapt
        assert spec is not None
        return c_model("adapt", bundles.adapt_model(), spec)
