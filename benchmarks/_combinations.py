"""Every algorithm on every family that is registered here, where it can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from acclimate_export.bundle.trained import Trained
from acclimate_trainer.algorithms.needs import NEEDS, refusal
from acclimate_trainer.outer_loop.training import start, train
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.configuration import Config, parse_config
from acclimate_trainer.settings.tables import Value
from acclimate_trainer.tasks.registry import families, open_family

IMITATE = ("student", "mimic", "imitation")  # other policies; what they make is a policy of RL²
IDENTIFIES = "identify"  # its fit is in float64, which LiteRT lacks, and takes a minute to export
_RECURRENT: dict[str, Value] = {"hidden": 6, "episodes": 2, "episode_steps": 20, "side_by_side": 2}
_TINY: Mapping[str, dict[str, Value]] = {
    "maml": {
        "hidden": 6,
        "support_episodes": 12,
        "episode_steps": 50,
    },  # enough for its regression to be sound
    "rl2": _RECURRENT,
    "rl2_oracle": _RECURRENT,
    "model": {"hidden": 6, "model_hidden": 6, "size": 3, "episodes": 1, "windows": 2, "side_by_side": 2},
    "objectives": {**_RECURRENT, "mixing": 5, "critic": 4},
    "features": {"width": 4, "hidden": 6},
    "ppo": _RECURRENT,
    "robust": {"hidden": 6},
    "oracle": {"hidden": 6},
    "successor": {"hidden": 6},
    "entropy": {"hidden": 6, "levels": 3, "window_episodes": 2, "window_steps": 20, "replay": 200},
}


class Combination(NamedTuple):
    """An algorithm, by its section of a config, on a family."""

    family: str
    algorithm: str

    def __str__(self) -> str:
        return f"{self.family}-{self.algorithm}"

    def tiny(self, seed: int = 3) -> Trained:
        """A small policy that is a little off its beginning."""
        config, rng = self._config(_TINY[self.algorithm]), np.random.default_rng(seed)
        meta = algorithm_of(config).initial(rng)
        return Trained.of(config, {name: _off(rng, value) for name, value in meta.items()}, str(self))

    def trained(self, iterations: int, tasks: int, seed: int) -> Trained:
        """A policy of the usual size after hardly any training."""
        config = self._config({})
        algorithm, training = algorithm_of(config), config.training
        training = replace(training, iterations=iterations, meta_batch_size=tasks)
        found = [start(algorithm, seed)]
        train(algorithm, training, seed, found[0], lambda after, _: found.append(after))
        return Trained.of(config, found[-1].meta, str(self))

    def _config(self, settings: Mapping[str, Value]) -> Config:
        tree: dict[str, Value] = {
            "name": "hardly_trained",
            "seed": 0,
            "family": {"name": self.family},
            self.algorithm: dict(settings),
            "training": {},
        }
        return parse_config(tree, str(self))


def combinations() -> Iterator[Combination]:
    """All but those of `IMITATE` and `IDENTIFIES`."""
    for name in families():
        family = open_family(name, None, {}).family
        for algorithm in NEEDS:
            if algorithm not in (*IMITATE, IDENTIFIES) and refusal(algorithm, family) is None:
                yield Combination(name, algorithm)


def _off(rng: np.random.Generator, value: torch.Tensor) -> torch.Tensor:
    return value + torch.from_numpy(0.03 * rng.standard_normal(tuple(value.shape), dtype=np.float32))
