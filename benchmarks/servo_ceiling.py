"""What a policy that is made for one servo alone could reach, on the friction model of training: the ceiling of all
that must find out what they drive, the oracle included. A few servos, RL²'s policy trained on for each.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from acclimate.stats import mean_interval
from acclimate_export.bundle.trained import Trained as Policies
from acclimate_export.bundle.trained import from_run
from acclimate_trainer.baselines.specialist import error, specialist
from acclimate_trainer.compiled.driving import compiling, forget
from acclimate_trainer.outer_loop.training import TrainingConfig
from acclimate_trainer.runs.run_directory import RunDirectory

from benchmarks._servos import PRESETS, Trained, policies
from benchmarks.harness import Figure

NAMES = ("rl2", "rl2_oracle")
SERVOS = 6
SERVOS_SEED = 20261207
TRAINING = TrainingConfig(iterations=200, meta_batch_size=8, outer_lr=0.005)


def run(seed: int) -> Mapping[str, Figure]:
    """PRESET.CONTROLLER.error, rad, over servos: of RL², of the oracle with a memory, and of specialists."""
    torch.set_num_threads(1)
    policies([seed], NAMES)
    out: dict[str, Figure] = {}
    for preset in PRESETS:
        trained = {name: from_run(RunDirectory.open(Trained(preset, name, seed).run))[0] for name in NAMES}
        with compiling(True):
            found = _errors(trained, seed)
        for name, errors in found.items():
            out[f"{preset}.{name}.error"] = mean_interval(errors)
    return out


def _errors(trained: Mapping[str, Policies], seed: int) -> dict[str, list[float]]:
    general = trained["rl2"]
    family, config = general.family, general.config.rl2
    assert config is not None  # it is RL²
    found: dict[str, list[float]] = {name: [] for name in (*NAMES, "specialist")}
    rng = np.random.default_rng(SERVOS_SEED)
    for _ in range(SERVOS):
        machine = family.sample(1, rng)
        forget()  # what was compiled for the one before
        alone = specialist(family, machine, general.meta, config, TRAINING, seed)
        controllers = {name: each.policy for name, each in trained.items()} | {"specialist": alone}
        for name, policy in controllers.items():
            found[name].append(error(policy, family, machine))
    return found
