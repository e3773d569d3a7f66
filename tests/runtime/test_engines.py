import subprocess
import sys
from pathlib import Path

import pytest
from acclimate.engines import ENGINES, available, missing, open_engine
from acclimate.errors import EngineError

# Run before the code under test: as if no module of that name were installed.
HIDE = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in {hidden!r} else find(name, *rest)
"""


def _python(code: str, *hidden: str) -> str:
    program = HIDE.format(hidden=hidden) + code
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_engines_are_opened_by_name() -> None:
    assert open_engine("onnxruntime").name == "onnxruntime"
    assert set(available()) <= set(ENGINES)


@pytest.mark.parametrize("name", available())
def test_an_engine_is_what_its_entry_says(name: str) -> None:
    engine = open_engine(name)
    assert (engine.name, engine.suffix) == (name, ENGINES[name].suffix)


def test_unknown_engines_are_refused_with_the_valid_names() -> None:
    message = "unknown engine 'tensorrt'; valid names: auto, native, litert, onnxruntime"
    with pytest.raises(EngineError, match=message):
        open_engine("tensorrt")


def test_an_engine_that_is_not_installed_is_refused_with_its_extra() -> None:
    code = "from acclimate.engines import missing; print(missing('onnxruntime'))"
    expected = "engine 'onnxruntime' is not installed; install acclimate[onnx]"
    assert _python(code, "onnxruntime") == expected


def test_either_module_makes_an_engine_available() -> None:
    code = "from acclimate.engines import missing; print(missing('litert'))"
    expected = "engine 'litert' is not installed; install acclimate[litert]"
    assert _python(code, "ai_edge_litert", "tflite_runtime") == expected


def test_an_engine_that_cannot_be_loaded_is_refused_in_one_line(tmp_path: Path) -> None:
    """As onnxruntime is where numpy is not the one that it was built for."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('numpy.core failed\\nto import')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "from acclimate.engines import open_engine\ntry: open_engine('onnxruntime')\n"
    code += "except Exception as e: print(type(e).__name__, e)"
    expected = "engine 'onnxruntime' is installed, but cannot be loaded: numpy.core failed to import"
    assert _python(code) == f"EngineError {expected}"


def test_an_installed_engine_lacks_nothing() -> None:
    assert missing("onnxruntime") == ""
