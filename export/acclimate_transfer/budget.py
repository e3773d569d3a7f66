"""The same budget for every method: parameters of a network, and control ticks that training may simulate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from acclimate.errors import UsageError
from acclimate.text_files import read_toml
from acclimate_trainer.algorithms.needs import refusal
from acclimate_trainer.outer_loop.training import ticks_per_iteration
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.built_in import built_in
from acclimate_trainer.runs.configuration import Config, parse_config
from acclimate_trainer.settings.tables import Value

from acclimate_transfer.families import Place
from acclimate_transfer.methods import Method, Settings

_WIDEST = 1024
_UNTRAINED: Mapping[str, Value] = {"iterations": 1, "meta_batch_size": 1, "outer_lr": 1e-12, "validations": 0}


class Budget(NamedTuple):
    """parameters: of the network that acts; samples: control ticks in training."""

    parameters: int
    samples: float


class Affordable(NamedTuple):
    """A config within a budget: what it is, whose settings it has, and what of the budget it uses."""

    config: Config
    tuned: str  # the built-in config that the settings are of; empty where they are defaults
    parameters: int
    samples: float


def unfit(method: Method, place: Place) -> str | None:
    """Why a method does not go on a family, in a sentence; None where it does."""
    return refusal(method.section, place.family())


def affordable(name: str, method: Method, variant: Settings, place: Place, budget: Budget) -> Affordable:
    """The config that trains `method` on a family, as wide and as long as the budget allows. Raises UsageError."""
    tuned, section, training = _tuned(method.section, place)
    settings = {**section, **variant}
    config = _config(name, method.section, place, settings, training)
    width = _widest(config, method, budget.parameters)
    if width is not None:
        settings = {**settings, **dict.fromkeys(method.widths, width)}
        config = _config(name, method.section, place, settings, training)
    if method.trained_on == "nothing":
        made = _config(name, method.section, place, _section(config, method.section), _UNTRAINED)
        return Affordable(made, tuned, parameters(config), 0.0)
    each = ticks_per_iteration(algorithm_of(config), config.training, config.seed)
    if each == 0:
        raise UsageError(f"[{method.section}] simulates nothing, so that no budget of samples can be kept")
    iterations = int(budget.samples // each)
    if iterations < 1:
        raise UsageError(
            f"--samples: an iteration of [{method.section}] takes {each / 1e6:.3g} million ticks, more than "
            f"{budget.samples / 1e6:.3g} million"
        )
    long = _config(
        name, method.section, place, _section(config, method.section), {**training, "iterations": iterations}
    )
    return Affordable(long, tuned, parameters(config), each * iterations)


def parameters(config: Config) -> int:
    """Of the network that acts; step sizes and curvatures, and what only training has, have a dot in their names."""
    meta = algorithm_of(config).initial(np.random.default_rng(0))
    return sum(value.numel() for name, value in meta.items() if "." not in name)


def _widest(config: Config, method: Method, most: int) -> int | None:
    """The largest width within a number of parameters; None where even the least is beyond it."""
    settings = _section(config, method.section)

    def fits(width: int) -> bool:
        wider = {**settings, **dict.fromkeys(method.widths, width)}
        return parameters(parse_config({**config.tree(), method.section: wider}, config.name)) <= most

    if not fits(1):
        return None
    low, high = 1, _WIDEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _section(config: Config, section: str) -> dict[str, Value]:
    found = config.tree()[section]
    assert isinstance(found, dict)
    return found


def _config(name: str, section: str, place: Place, settings: Settings, training: Settings) -> Config:
    torch.set_num_threads(1)
    tree: dict[str, Value] = {
        "name": name,
        "seed": 0,
        "classical": False,
        "family": place.table,
        section: dict(settings),
        "training": dict(training),
    }
    return parse_config(tree, f"transfer {name}")


def _tuned(section: str, place: Place) -> tuple[str, dict[str, Value], dict[str, Value]]:
    """The settings of the built-in config for that algorithm and family, of the same preset if there is one."""
    found = [
        (name, tree)
        for name, path in sorted(built_in().items())
        if section in (tree := _tree(path)) and _family(tree).get("name") == place.name
    ]
    same = [each for each in found if _preset(each[1]) == place.options.get("preset")]
    for name, tree in same or found:
        own, training = dict(tree[section]), dict(tree.get("training", {}))  # type: ignore[call-overload]
        training.pop("iterations", None)
        return name, own, training
    return "", {}, {}


def _tree(path: Path) -> Mapping[str, object]:
    return read_toml(path, "config")


def _family(tree: Mapping[str, object]) -> Mapping[str, object]:
    family = tree.get("family")
    return family if isinstance(family, dict) else {}


def _preset(tree: Mapping[str, object]) -> object:
    options = _family(tree).get("options")
    return options.get("preset") if isinstance(options, dict) else None
