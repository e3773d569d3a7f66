"""Configs: strict TOML into frozen dataclasses. A key that nothing reads is refused, with the valid ones listed."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import tomli_w
from acclimate.errors import UsageError
from acclimate.fields import is_identifier
from acclimate.text_files import read_toml

from acclimate_trainer.algorithms.distillation.imitation import ImitationConfig
from acclimate_trainer.algorithms.distillation.mimic import MimicConfig
from acclimate_trainer.algorithms.distillation.student import StudentConfig
from acclimate_trainer.algorithms.entropy.entropy import EntropyConfig
from acclimate_trainer.algorithms.features.features import FeaturesConfig
from acclimate_trainer.algorithms.identify.identify import IdentifyConfig
from acclimate_trainer.algorithms.maml.maml import MamlConfig
from acclimate_trainer.algorithms.model.model import ModelConfig
from acclimate_trainer.algorithms.reactive import ReactiveConfig
from acclimate_trainer.algorithms.rl2.ppo import PpoConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2Config
from acclimate_trainer.algorithms.successor.library import SuccessorConfig
from acclimate_trainer.algorithms.successor.objectives import ObjectivesConfig
from acclimate_trainer.algorithms.widening import WideningConfig
from acclimate_trainer.outer_loop.training import TrainingConfig
from acclimate_trainer.settings.limits import NOT_NEGATIVE, require
from acclimate_trainer.settings.tables import ConfigError, Value, read_table, table_of
from acclimate_trainer.tasks.registry import Opened, open_family

Tree: TypeAlias = Mapping[str, Value]
Changes: TypeAlias = Mapping[str, object] | Iterable[str]
"""Values by SECTION.KEY, or texts SECTION.KEY=VALUE, as in maml.hidden=64, where a value is written as in TOML."""


@dataclass(frozen=True)
class FamilyConfig:
    """Section [family]: either a name or a file of one's own."""

    name: str | None = None
    """A family that is built in, or that a package brings."""
    use: str | None = None
    """A class in a file, as in "robot.py:Arm", relative to the config."""
    options: Mapping[str, Value] = field(default_factory=dict)
    """Options of the family: the fields of its class."""


@dataclass(frozen=True)
class Config:
    """A whole config. Exactly one of the sections in `ALGORITHMS` says what is trained."""

    name: str
    seed: int
    family: FamilyConfig
    training: TrainingConfig
    classical: bool = True
    """Whether the family's classical controllers, if it has any, are tuned, too: the bundle carries them to compare."""
    start: str = ""
    """Folder of a run whose policy training begins with, as Actor-Mimic's student: those of its parameters that this
    one has, too. Empty: anew."""
    widening: WideningConfig | None = None
    """Whether ranges widen in the course of training, by performance; else machines are drawn from the whole ones."""
    maml: MamlConfig | None = None
    rl2: Rl2Config | None = None
    rl2_oracle: Rl2Config | None = None
    identify: IdentifyConfig | None = None
    model: ModelConfig | None = None
    objectives: ObjectivesConfig | None = None
    student: StudentConfig | None = None
    mimic: MimicConfig | None = None
    imitation: ImitationConfig | None = None
    features: FeaturesConfig | None = None
    ppo: PpoConfig | None = None
    robust: ReactiveConfig | None = None
    oracle: ReactiveConfig | None = None
    successor: SuccessorConfig | None = None
    entropy: EntropyConfig | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for a name that no run and no bundle can have."""
        if not is_identifier(self.name):
            raise UsageError(
                f"name must be letters, digits, '_', '.' and '-', beginning with a letter, found {self.name!r}"
            )
        require(self, {"seed": NOT_NEGATIVE})

    @property
    def algorithm(self) -> str:
        return next(name for name in ALGORITHMS if getattr(self, name) is not None)

    @cached_property
    def opened(self) -> Opened:
        """The family. Raises as `open_family`."""
        return open_family(self.family.name, self.family.use, self.family.options, where=self.name)

    def tree(self) -> dict[str, Value]:
        """The config, every default written out, as TOML and JSON have it; `parse_config` reads it back to the same."""
        tree = table_of(self)
        family: dict[str, Value] = {"options": dict(self.opened.options)}
        family |= {"name": self.opened.name} if self.opened.use is None else {"use": self.opened.use}
        return tree | {"family": family}


ALGORITHMS = (
    "maml",
    "rl2",
    "rl2_oracle",
    "identify",
    "model",
    "objectives",
    "student",
    "mimic",
    "imitation",
    "features",
    "ppo",
    "robust",
    "oracle",
    "successor",
    "entropy",
)


def load_config(path: Path, changes: Changes = ()) -> Config:
    """Read a TOML config, with some changes.

    Raises ConfigError with one sentence that names file, section and key.
    """
    try:
        tree = read_toml(path, "config")
    except UsageError as error:
        raise ConfigError(str(error)) from None
    return parse_config(tree, str(path), path.parent, changes)


def _pairs(changes: Changes) -> Iterator[tuple[str, object]]:
    """Keys and values. Raises ConfigError for a text that has not both."""
    if isinstance(changes, Mapping):
        yield from changes.items()
        return
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise ConfigError(f"--set {change!r} is not SECTION.KEY=VALUE, as in maml.hidden=64")
        yield key, _read_value(text.strip())


def _set(tree: dict[str, object], key: str, value: object) -> None:
    """A value into a tree. Raises ConfigError; what key and value may be is checked with the rest."""
    *sections, last = (part.strip() for part in key.split("."))
    if not last or not all(sections):
        raise ConfigError(f"cannot set {key!r}: expected SECTION.KEY, as in maml.hidden")
    for name in sections:
        inner = tree.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"cannot set {key!r}: {name} is no section")
        tree = inner
    tree[last] = value


def _read_value(text: str) -> Value:
    """A value as in TOML; what is none is text, so that quotes may be left out."""
    try:
        value: Value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value


def parse_config(tree: Tree, where: str, folder: Path | None = None, changes: Changes = ()) -> Config:
    """A config from its TOML tree; `where` names the file in errors, `folder` is its own. Raises as `load_config`."""
    changed: dict[str, object] = copy.deepcopy(dict(tree))
    for key, value in _pairs(changes):
        _set(changed, key, value)
    config = read_table(Config, _at_home(changed, folder), where)
    given = [name for name in ALGORITHMS if getattr(config, name) is not None]
    if len(given) != 1:
        found = " and ".join(f"[{name}]" for name in given) or "none"
        raise ConfigError(
            f"{where}: expected exactly one of the sections {', '.join(f'[{n}]' for n in ALGORITHMS)}, found {found}"
        )
    family = config.family
    opened = open_family(family.name, family.use, family.options, where=where)
    vars(config)["opened"] = opened  # what `opened` would give, with the file's name in its errors
    return config


def _at_home(tree: Mapping[str, object], folder: Path | None) -> Mapping[str, object]:
    """The tree, with the family's file as it is called from anywhere."""
    family = tree.get("family")
    use = family.get("use") if isinstance(family, dict) else None
    if folder is None or not isinstance(family, dict) or not isinstance(use, str):
        return tree
    file, colon, name = use.rpartition(":")
    path = folder / file
    return {**tree, "family": {**family, "use": f"{path.absolute()}{colon}{name}"}} if colon else tree


def to_toml(config: Config) -> str:
    """The resolved config, every default written out, as TOML that `load_config` reads back to the same."""
    return tomli_w.dumps(config.tree())
