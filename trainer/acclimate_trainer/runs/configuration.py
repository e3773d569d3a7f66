"""Configs: strict TOML into frozen dataclasses. A key that nothing reads is refused, with the valid ones listed."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from acclimate.errors import UsageError
from acclimate.fields import is_identifier

from acclimate_trainer.algorithms.maml.maml import MamlConfig
from acclimate_trainer.algorithms.reactive import ReactiveConfig
from acclimate_trainer.algorithms.rl2.ppo import PpoConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2Config
from acclimate_trainer.algorithms.rl2.servo_ppo import ServoPpoConfig
from acclimate_trainer.algorithms.rl2.student import StudentConfig
from acclimate_trainer.algorithms.successor.library import SuccessorConfig
from acclimate_trainer.algorithms.successor.objectives import ObjectivesConfig
from acclimate_trainer.baselines.pid_search import PidConfig
from acclimate_trainer.outer_loop.limits import COUNT, NOT_NEGATIVE, require
from acclimate_trainer.outer_loop.training import TrainingConfig
from acclimate_trainer.tasks.servo import PRESETS, ServoRanges

Value: TypeAlias = str | int | float | bool | list["Value"] | dict[str, "Value"]
Section = TypeVar("Section")


class ConfigError(UsageError):
    """A config that cannot be read, or holds what no part of the trainer knows."""


@dataclass(frozen=True)
class FamilyConfig:
    """Section [family] for servos."""

    name: str = "servo"
    """The task family."""
    preset: str = "wide"
    """Ranges to begin with: wide (polarity known) or miswired (polarity unknown)."""
    ranges: Mapping[str, Value] = field(default_factory=dict)
    """Ranges that differ from the preset's, as in `ServoRanges`."""


@dataclass(frozen=True)
class BanditConfig:
    """Section [family] for Bernoulli bandits."""

    name: str = "bandit"
    """The task family."""
    arms: int = 5
    """Arms of a bandit."""
    episodes: int = 10
    """Pulls of a trial."""

    def __post_init__(self) -> None:
        """Raises UsageError for a bandit that cannot be."""
        require(self, {"arms": COUNT, "episodes": COUNT})


@dataclass(frozen=True)
class TabularConfig:
    """Section [family] for random MDPs of 10 states, 5 actions and horizon 10."""

    name: str = "tabular"
    """The task family."""
    episodes: int = 10
    """Episodes of a trial."""

    def __post_init__(self) -> None:
        """Raises UsageError for a trial that cannot be."""
        require(self, {"episodes": COUNT})


@dataclass(frozen=True)
class ReacherConfig:
    """Section [family] for the reacher."""

    name: str = "reacher"
    """The task family."""
    targets: str = "training"
    """Which targets the policies are for: training (4) or test (8)."""
    episode_steps: int = 50
    """Ticks of an episode."""

    def __post_init__(self) -> None:
        """Raises UsageError for targets or episodes that there are not."""
        if self.targets not in ("training", "test"):
            raise UsageError(f"targets is {self.targets!r}; valid: training, test")
        require(self, {"episode_steps": COUNT})


FAMILIES: Mapping[str, type] = {
    "servo": FamilyConfig,
    "bandit": BanditConfig,
    "tabular": TabularConfig,
    "reacher": ReacherConfig,
}


Family: TypeAlias = FamilyConfig | BanditConfig | TabularConfig | ReacherConfig


@dataclass(frozen=True)
class Config:
    """A whole config. Exactly one of the sections in `ALGORITHMS` says what is trained."""

    name: str
    seed: int
    family: Family
    training: TrainingConfig
    maml: MamlConfig | None = None
    rl2: Rl2Config | None = None
    objectives: ObjectivesConfig | None = None
    student: StudentConfig | None = None
    ppo: PpoConfig | ServoPpoConfig | None = None
    robust: ReactiveConfig | None = None
    oracle: ReactiveConfig | None = None
    successor: SuccessorConfig | None = None
    pid: PidConfig | None = None

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

    @property
    def servos(self) -> FamilyConfig:
        """The family of servos. Raises UsageError where it is another, which no device has."""
        if not isinstance(self.family, FamilyConfig):
            raise UsageError(
                f"{self.name} is trained on the family {self.family.name!r}, which no device has; "
                "expected a config of the family 'servo'"
            )
        return self.family


ALGORITHMS = ("maml", "rl2", "objectives", "student", "ppo", "robust", "oracle", "successor")
_TRAIN_ON: Mapping[str, tuple[str, ...]] = {
    "servo": ALGORITHMS[:-1],
    "bandit": ("ppo",),
    "tabular": ("ppo",),
    "reacher": ("successor",),
}


def built_in() -> dict[str, Path]:
    """The configs that come with Acclimate, by name: inside the installed package, or in the checkout."""
    package = Path(__file__).parents[1]
    folders = [package / "configs", package.parents[1] / "configs"]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def find_config(name: str) -> Path:
    """A config file, or the built-in one of that name. Raises ConfigError, listing the built-in ones."""
    path, known = Path(name), built_in()
    if name in known and not path.exists():
        return known[name]
    if not path.is_file():
        raise ConfigError(
            f"there is no config {name}; give a TOML file, or a built-in one: {', '.join(known)}"
        )
    return path


def load_config(path: Path) -> Config:
    """Read a TOML config. Raises ConfigError with one sentence that names file, section and key."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    return parse_config(tree, str(path))


def parse_config(tree: Mapping[str, Value], where: str) -> Config:
    """A config from its TOML tree; `where` names the file in errors. Raises as `load_config`."""
    family = _family(tree.get("family"), where)
    ppo = ServoPpoConfig if family is FamilyConfig else PpoConfig
    config = _section(Config, tree, where, "", {"family": family, "ppo": ppo})
    given = [name for name in ALGORITHMS if getattr(config, name) is not None]
    if len(given) != 1:
        found = " and ".join(f"[{name}]" for name in given) or "none"
        raise ConfigError(
            f"{where}: expected exactly one of the sections {', '.join(f'[{n}]' for n in ALGORITHMS)}, found {found}"
        )
    valid = _TRAIN_ON[config.family.name]
    if config.algorithm not in valid:
        raise ConfigError(
            f"{where}: [{config.algorithm}] does not train on the family {config.family.name!r}; "
            f"valid there: {', '.join(f'[{name}]' for name in valid)}"
        )
    if isinstance(config.family, FamilyConfig):
        family_ranges(config.family, where)
    return config


def family_ranges(config: FamilyConfig, where: str) -> ServoRanges:
    """The preset's ranges with the config's own in their place. Raises ConfigError."""
    if config.preset not in PRESETS:
        raise ConfigError(f"{where}: [family] preset is {config.preset!r}; valid: {', '.join(PRESETS)}")
    table = PRESETS[config.preset].as_dict() | dict(config.ranges)
    return _section(ServoRanges, table, where, "family.ranges")


def to_toml(config: Config) -> str:
    """The resolved config, every default written out, as TOML that `load_config` reads back to the same."""
    tree = {key: value for key, value in asdict(config).items() if value is not None}
    scalars = {key: value for key, value in tree.items() if not isinstance(value, Mapping)}
    tables = {key: dict(value) for key, value in tree.items() if isinstance(value, Mapping)}
    for outer, table in list(tables.items()):
        for inner in [key for key, value in table.items() if isinstance(value, Mapping)]:
            tables[f"{outer}.{inner}"] = dict(table.pop(inner))
    sections = [_lines(scalars), *(f"[{name}]\n{_lines(table)}" for name, table in sorted(tables.items()))]
    return "\n".join(sections)


def _lines(table: Mapping[str, Value]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())


def _toml(value: Value | tuple[Value, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)


def _section(
    cls: type[Section], table: object, where: str, path: str, chosen: Mapping[str, type] | None = None
) -> Section:
    """`table` as the dataclass `cls`; `path` is the section's name, empty for the top.

    chosen: which class a field is that may be one of several.
    """
    place = f"{where}: [{path}]" if path else f"{where}:"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place} must be a section, found {table!r}")
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise ConfigError(f"{place} unknown key {key!r}; valid keys: {', '.join(known)}")
    missing = [
        name for name, f in known.items() if f.default is f.default_factory is MISSING and name not in table
    ]
    if missing:
        raise ConfigError(f"{place} lacks {missing[0]!r}")
    types = get_type_hints(cls) | dict(chosen or {})
    dot = f"{path}." if path else ""
    values = {key: _value(types[key], value, where, dot + key) for key, value in table.items()}
    try:
        return cls(**values)
    except UsageError as error:
        raise ConfigError(f"{place} {error}") from None


def _value(expected: object, value: object, where: str, path: str) -> object:
    """`value` as a field of type `expected`. Raises ConfigError where it is not one."""
    if type(None) in get_args(expected):
        expected = get_args(expected)[0]
    if isinstance(expected, type) and is_dataclass(expected):
        return _section(expected, value, where, path)
    if get_origin(expected) is Mapping:
        if isinstance(value, Mapping):
            return value
        raise ConfigError(f"{where}: {path} must be a section, found {value!r}")
    if get_origin(expected) is tuple:
        if isinstance(value, list | tuple) and len(value) == 2:
            return tuple(_number(v, where, path) for v in value)
        raise ConfigError(f"{where}: {path} must be two numbers, found {value!r}")
    if expected is float:
        return _number(value, where, path)
    if isinstance(expected, type) and type(value) is expected:
        return value
    wanted = "an integer" if expected is int else "a string"
    raise ConfigError(f"{where}: {path} must be {wanted}, found {value!r}")


def _family(table: object, where: str) -> type:
    """Which class the section [family] is, by its key `name`; servos where it has none."""
    name = table.get("name", "servo") if isinstance(table, Mapping) else "servo"
    if name not in list(FAMILIES):
        raise ConfigError(f"{where}: [family] name is {name!r}; valid: {', '.join(map(repr, FAMILIES))}")
    return FAMILIES[name]


def _number(value: object, where: str, path: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ConfigError(f"{where}: {path} must be a finite number, found {value!r}")
