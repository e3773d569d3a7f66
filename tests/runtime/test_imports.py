import subprocess
import sys
from pathlib import Path

import acclimate
import pytest
from acclimate.errors import AcclimateError

from . import bundles

HEAVY = ("numpy", "onnxruntime", "onnx", "torch", "acclimate_bridge", "acclimate_trainer", "acclimate_export")


def _loaded_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert (
        _loaded_after("import acclimate, acclimate.command.cli, acclimate.errors, acclimate.command.verbs")
        == set()
    )


def test_driving_a_bundle_needs_numpy_and_one_engine_only(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.acclimate")
    assert _loaded_after(f"import acclimate\nacclimate.load({str(path)!r})") == {"numpy"}
    code = f"import acclimate\nacclimate.Policy(acclimate.load({str(path)!r})); acclimate.ControlLoop"
    assert _loaded_after(code) == {"numpy", "onnxruntime"}


def test_the_device_api_is_at_hand() -> None:
    assert acclimate.AcclimateError is AcclimateError
    for name in ("load", "Policy", "ControlLoop", "Guard", "Window", "RealClock", "save_checkpoint"):
        assert callable(getattr(acclimate, name)), name
        assert name in dir(acclimate)
    with pytest.raises(AttributeError, match="module 'acclimate' has no attribute 'polcy'"):
        acclimate.polcy  # noqa: B018
