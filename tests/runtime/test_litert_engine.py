from __future__ import annotations

import pytest
from acclimate.engines import Engine
from acclimate.engines.litert import LitertEngine

from . import tflite_models
from .engine_conformance import EngineConformance


class TestLitertEngine(EngineConformance):
    @pytest.fixture
    def engine(self) -> Engine:
        return LitertEngine()

    @pytest.fixture
    def act_model(self) -> bytes:
        return tflite_models.act_model()

    @pytest.fixture
    def adapt_model(self) -> bytes:
        return tflite_models.adapt_model()
