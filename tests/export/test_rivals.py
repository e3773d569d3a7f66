"""What `acclimate bench` compares engines with: honest only where it computes the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from acclimate.bundle.file import Bundle, load
from acclimate.command.bench.subjects import build, names
from acclimate_export.command.rivals import plain_numpy, torch_eager


def _actions(bundle: Bundle, name: str) -> np.ndarray:
    subject, golden = build(name, bundle), bundle.golden
    return np.stack([subject.act(*tick).copy() for tick in zip(golden.obs, golden.noise, strict=True)])


def test_they_are_found_by_name() -> None:
    assert names()[-2:] == ["numpy", "torch_eager"]


def test_eager_torch_computes_the_golden_sequence(bundle: Bundle) -> None:
    np.testing.assert_allclose(_actions(bundle, "torch_eager"), bundle.golden.action, rtol=1e-5, atol=1e-5)
    subject = torch_eager(bundle)
    assert (subject.adapt is None) == (bundle.golden.adapt is None)
    if subject.adapt is not None:
        subject.adapt()


def test_numpy_computes_the_golden_sequence_of_plain_networks(exported: Mapping[str, Path]) -> None:
    for algorithm in ("maml", "robust", "rl2"):
        bundle = load(exported[algorithm])
        np.testing.assert_allclose(_actions(bundle, "numpy"), bundle.golden.action, rtol=1e-4, atol=1e-5)


def test_numpy_has_nothing_to_say_of_other_policies(exported: Mapping[str, Path]) -> None:
    for algorithm in ("objectives", "oracle"):
        assert plain_numpy(load(exported[algorithm])) is None


def test_numpy_brings_in_nothing_of_torch(exported: Mapping[str, Path]) -> None:
    code = f"""
import sys
from acclimate.command.bench.subjects import build
from acclimate.bundle.file import load
build("numpy", load({str(exported["robust"])!r}))
print([name for name in ("torch", "onnxruntime") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
