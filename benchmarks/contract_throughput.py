"""What the contract of families costs: meta-training on servos before it and with it, in one run.

Before is commit 4ad9d21, the last one in which the trainer knew servos only, taken from the repository's history into a
temporary folder. Both compute the same gradients, by torch to the bit (tests/trainer/test_servo_bits.py); processes of
all take turns, so that what else the machine does falls on all. With the contract roll-outs are compiled, as `train`
has them where there is a compiler, or run by torch alone, as before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from acclimate.stats import mean_interval

from benchmarks._history import checked_out
from benchmarks.harness import Figure

BEFORE = "4ad9d21"
ROOT = Path(__file__).parents[1]
_FREE = ("family.options.price=0",)
CONFIGS: Mapping[str, tuple[str, ...]] = {
    "servo_wide_maml": _FREE,
    "servo_wide_rl2": (*_FREE, "rl2.episodes=2", "rl2.window=0"),
    "servo_wide_robust": _FREE,
    "servo_wide_objectives": _FREE,
}
"""What is trained, and what has to be set to train the same today: short trials, and a change of duty that is free."""
ROUNDS, ITERATIONS = 8, 4
_PROGRAM = """
import json, sys, time
import numpy as np, torch
torch.set_num_threads(1)
seed, iterations, compiled, configs = sys.argv[1:]
try:
    from acclimate_trainer.compiled.driving import compiling
    from acclimate_trainer.outer_loop.training import meta_gradient
    from acclimate_trainer.runs.algorithms import algorithm_of
    from acclimate_trainer.runs.built_in import built_in
    from acclimate_trainer.runs.configuration import load_config
except ImportError:
    from acclimate_trainer.configuration import built_in, load_config
    from acclimate_trainer.running import algorithm_of
    from acclimate_trainer.training import meta_gradient
    from contextlib import nullcontext as compiling
seconds = {}
for name, changes in json.loads(configs).items():
    config = load_config(built_in()[name], changes) if changes else load_config(built_in()[name])
    algorithm = algorithm_of(config)
    meta = {k: v.requires_grad_() for k, v in algorithm.initial(np.random.default_rng(0)).items()}
    with compiling(compiled == "compiled"):
        meta_gradient(algorithm, meta, config.training, np.random.default_rng(0), 0.5)  # warm
        begin = time.process_time()
        for i in range(int(iterations)):
            meta_gradient(algorithm, meta, config.training, np.random.default_rng([int(seed), i]), 0.5)
        seconds[name] = (time.process_time() - begin) / int(iterations)
print(json.dumps(seconds))
"""


def run(seed: int) -> Mapping[str, Figure]:
    """By config: throughput with the contract over that before it, and the same by torch alone, with intervals over
    rounds."""
    with tempfile.TemporaryDirectory() as folder:
        before = checked_out(BEFORE, Path(folder), "runtime", "firmware_bridge", "trainer", "configs")
        unchanged = dict.fromkeys(CONFIGS, ())
        rounds = [
            (
                _seconds(before, seed + i, unchanged),
                _seconds(ROOT, seed + i, CONFIGS, compiled=True),
                _seconds(ROOT, seed + i, CONFIGS),
            )
            for i in range(ROUNDS)
        ]
    found: dict[str, Figure] = {}
    for name in CONFIGS:
        found[f"{name}.after_over_before"] = mean_interval(was[name] / now[name] for was, now, _ in rounds)
        found[f"{name}.by_torch_over_before"] = mean_interval(was[name] / now[name] for was, _, now in rounds)
    return found


def _seconds(
    root: Path, seed: int, configs: Mapping[str, Sequence[str]], *, compiled: bool = False
) -> dict[str, float]:
    """Processor time of one meta-gradient, s, by config."""
    path = os.pathsep.join(str(root / name) for name in ("runtime", "firmware_bridge", "trainer"))
    command = [
        sys.executable,
        "-c",
        _PROGRAM,
        str(seed),
        str(ITERATIONS),
        "compiled" if compiled else "torch",
        json.dumps(configs),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path}
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found
