"""Every algorithm on every family that is registered here, as far as it can be: tiny, and hardly trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from acclimate.errors import UsageError
from acclimate_export.bundle.trained import Trained
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.configuration import ALGORITHMS, parse_config
from acclimate_trainer.settings.tables import Value
from acclimate_trainer.tasks.registry import families

_RECURRENT: dict[str, Value] = {"hidden": 6, "episodes": 2, "episode_steps": 20, "side_by_side": 2}
_SETTINGS: Mapping[str, dict[str, Value]] = {
    "maml": {"hidden": 6, "support_episodes": 2, "episode_steps": 20},
    "rl2": _RECURRENT,
    "rl2_oracle": _RECURRENT,
    "objectives": {**_RECURRENT, "mixing": 5, "critic": 4},
    "ppo": _RECURRENT,
    "robust": {"hidden": 6},
    "oracle": {"hidden": 6},
    "successor": {"hidden": 6},
}
IMITATES = "student"  # another run's policy; what it makes is a policy of RL²


class Combination(NamedTuple):
    """An algorithm, by its section of a config, on a family."""

    family: str
    algorithm: str

    def __str__(self) -> str:
        return f"{self.family}-{self.algorithm}"

    def trained(self) -> Trained:
        """A policy that is a little off its beginning. Raises UsageError where the family lacks what it takes."""
        tree: dict[str, Value] = {
            "name": "tiny",
            "seed": 0,
            "family": {"name": self.family},
            self.algorithm: _SETTINGS[self.algorithm],
            "training": {},
        }
        config = parse_config(tree, str(self))
        rng = np.random.default_rng(3)
        meta = algorithm_of(config).initial(rng)
        off = {name: value + _little(rng, value.shape) for name, value in meta.items()}
        return Trained.of(config, off, str(self))


def combinations() -> Iterator[Combination]:
    """All of them, those that cannot be included."""
    for family in families():
        for algorithm in ALGORITHMS:
            if algorithm != IMITATES:
                yield Combination(family, algorithm)


def possible() -> Iterator[Combination]:
    """Those that can be."""
    for combination in combinations():
        try:
            combination.trained()
        except UsageError:
            continue
        yield combination


def _little(rng: np.random.Generator, shape: torch.Size) -> torch.Tensor:
    return torch.from_numpy(0.03 * rng.standard_normal(tuple(shape), dtype=np.float32))
