"""`acclimate[export]` alone: every verb that it lists works without what other extras bring."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFIG = """name = "alone"
seed = 1
[family]
name = "point"
[robust]
hidden = 6
[training]
iterations = 2
meta_batch_size = 4
"""
# The interpreter, with what only other extras install hidden from it.
ALONE = """
import importlib.util, sys

OTHERS = {"ai_edge_litert", "ai_edge_quantizer", "cobs", "flatbuffers", "gymnasium", "jax", "litert_torch", "serial",
          "tflite_runtime"}

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OTHERS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def find(name, package=None, found=importlib.util.find_spec):
    return None if name.partition(".")[0] in OTHERS else found(name, package)

sys.meta_path.insert(0, Hidden())
importlib.util.find_spec = find
from acclimate.command.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def _acclimate(*arguments: str | Path) -> str:
    command = [sys.executable, "-c", ALONE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_trains_exports_and_verifies(tmp_path: Path) -> None:
    verbs = _acclimate("--help")
    assert all(f"\n  {verb} " in verbs for verb in ("train", "export", "verify", "inspect", "bench"))
    assert "\n  run " not in verbs
    (tmp_path / "alone.toml").write_text(CONFIG)
    _acclimate("train", tmp_path / "alone.toml", "--out", tmp_path / "run")
    told = _acclimate("export", tmp_path / "run")
    assert "tflite needs litert_torch, which is not installed; install acclimate[tflite]" in told
    verified = _acclimate("verify", tmp_path / "run" / "robust.acclimate", "--inputs", "20")
    assert {line.split(" agrees")[0] for line in verified.splitlines()} == {
        "act on native",
        "act on onnxruntime",
    }
    _acclimate("inspect", tmp_path / "run" / "robust.acclimate")
