"""A board that LiteRT has left behind: tflite-runtime 2.14 and numpy 1, in an environment of its own."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest
from acclimate.bundle.file import load

from tests.house.conftest import Board, install, wheel
from tests.house.environments import link

from .conftest import ALGORITHMS

__all__ = ["wheel"]  # the fixture
OLD = ("tflite-runtime==2.14.0", "numpy==1.26.4")
ADAPT = """
import json, sys
import acclimate, numpy
from acclimate.engines.litert import LitertEngine
bundle = acclimate.load(sys.argv[1])
policy = acclimate.Policy(bundle, "litert")
result = policy.adapt(bundle.golden.adapt.window)
policy.commit()
found = {name: policy.state(name) for name in bundle.golden.adapt.next}
print(json.dumps({
    "engine": LitertEngine().version,
    "numpy": numpy.__version__,
    "finite": result.finite,
    "step_norm": result.info["step_norm"],
    "off": max(float(abs(found[n] - value).max()) for n, value in bundle.golden.adapt.next.items()),
}))
"""


@pytest.fixture(scope="module")
def old_board(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Board:
    if sys.version_info[:2] != (3, 11):
        pytest.skip("tflite-runtime 2.14 has no wheel for this Python, only for 3.11 and older")
    return install(tmp_path_factory, "old_board", *OLD, wheel)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_policy_reproduces_its_golden_sequence(
    old_board: Board, exported: Mapping[str, Path], algorithm: str
) -> None:
    done = old_board.run(old_board.acclimate, "inspect", exported[algorithm], "--engine", "litert", "--json")
    assert done.returncode == 0, done.stderr
    golden = json.loads(done.stdout)["golden"]
    assert (golden["engine"], golden["ok"]) == ("litert", True)
    graphs = {"act"} | ({"adapt"} if load(exported[algorithm]).manifest.graphs.adapt else set())
    assert {row["graph"] for row in golden["rows"]} == graphs
    assert done.stderr == ""


def test_it_adapts(old_board: Board, exported: Mapping[str, Path]) -> None:
    done = old_board.run(old_board.python, "-c", ADAPT, exported["maml"])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["engine"], found["numpy"]) == ("tflite-runtime 2.14.0", "1.26.4")
    assert found["finite"]
    assert found["step_norm"] > 0.0
    assert found["off"] < 1e-4


def test_a_quantised_policy_runs_there_too(old_board: Board, quantised: Path) -> None:
    done = old_board.run(old_board.acclimate, "inspect", quantised, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["golden"]["engine"] == "litert"


def test_with_numpy_2_the_engine_is_refused_in_one_sentence(
    old_board: Board, exported: Mapping[str, Path], tmp_path: Path
) -> None:
    """It was built for numpy 1, and crashes in its import; pip cannot know."""
    newer = tmp_path / "numpy2"
    newer.mkdir()
    link(metadata.distribution("numpy"), newer)
    code = f"import sys; sys.path.insert(0, {str(newer)!r})\nimport acclimate\n"
    code += "bundle = acclimate.load(sys.argv[1])\ntry: acclimate.Policy(bundle, 'litert')\n"
    code += "except Exception as error: print(type(error).__name__, error)"
    done = old_board.run(old_board.python, "-c", code, exported["rl2"])
    assert done.returncode == 0, done.stderr
    expected = (
        r"EngineError tflite-runtime 2\.14\.0 needs numpy 1, and this is numpy 2\.\S+; install 'numpy<2'\n"
    )
    assert re.fullmatch(expected, done.stdout)
