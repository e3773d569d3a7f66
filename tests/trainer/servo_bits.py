"""Losses and gradients of every algorithm on servos, as bytes: what no refactoring may change.

`python -m tests.trainer.servo_bits` writes them anew into servo_bits.json, which is to be done only where a change of
numbers is meant. The bytes depend on processor and torch, which the file names; elsewhere numbers are compared.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from acclimate_trainer.outer_loop.training import Iterative, meta_gradient
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.built_in import built_in
from acclimate_trainer.runs.configuration import load_config
from torch import Tensor

PATH = Path(__file__).with_suffix(".json")
TASKS = 6
# What has come since is left out.
BEFORE = ("family.options.price=0.0",)
BEFORE_OF = {
    "maml": ("maml.exploration_memory=0.0", "maml.step_limit=0.0"),
    "rl2": ("rl2.episodes=2", "rl2.episode_steps=75", "rl2.window=0"),
    "objectives": (
        "objectives.episode_steps=75",
        "objectives.adjoint_decay=0.97",
        "objectives.side_by_side=6",
    ),
}
# A built-in config, and the share of training that is over.
CASES = (
    ("servo_wide_maml", 0.1),
    ("servo_wide_maml", 0.6),
    ("servo_miswired_maml", 0.1),
    ("servo_miswired_maml", 0.6),
    ("servo_wide_robust", 0.5),
    ("servo_miswired_robust", 0.6),
    ("servo_wide_oracle", 0.5),
    ("servo_miswired_oracle", 0.3),
    ("servo_wide_rl2", 0.5),
    ("servo_miswired_rl2", 0.3),
    ("servo_wide_objectives", 0.2),
    ("servo_wide_objectives", 0.8),
)


def machine() -> str:
    """What the last bits of a sum depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def recorded(name: str, progress: float) -> dict[str, str | float]:
    """One iteration's gradient of a built-in config, on a few servos."""
    torch.set_num_threads(1)
    config = load_config(built_in()[name], (*BEFORE, *BEFORE_OF.get(name.split("_")[-1], ())))
    algorithm = algorithm_of(config)
    begin = algorithm.initial(np.random.default_rng([1, 0]))
    meta = {key: value.clone().requires_grad_() for key, value in begin.items()}
    rng = np.random.default_rng([1, 1])
    training = config.training.__class__(**{**vars(config.training), "meta_batch_size": TASKS})
    figures: Mapping[str, float]
    if isinstance(algorithm, Iterative):
        figures = next(iter(algorithm.updates(meta, training, rng, progress)))
    else:
        figures = meta_gradient(algorithm, meta, training, rng, progress)
    gradients = [value.grad for _, value in sorted(meta.items()) if value.grad is not None]
    return {
        "gradient": _hashed(gradients),
        "norm": float(torch.stack([g.square().sum() for g in gradients]).sum().sqrt()),
        "headline": next(iter(figures.values())),
    }


def _hashed(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def key(name: str, progress: float) -> str:
    """How a case is called in the file."""
    return f"{name}@{progress:g}"


def kept() -> Mapping[str, object]:
    """The file."""
    read: Mapping[str, object] = json.loads(PATH.read_text(encoding="utf-8"))
    return read


if __name__ == "__main__":
    cases = {key(*case): recorded(*case) for case in CASES}
    PATH.write_text(json.dumps({"machine": machine(), "cases": cases}, indent=2) + "\n", encoding="utf-8")
    print(f"{len(cases)} cases into {PATH}", file=sys.stderr)
