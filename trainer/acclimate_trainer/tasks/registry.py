"""Which task families there are, and how one is opened: built in, of a package, or of a file of the user's.

A package brings families by the entry-point group `acclimate.families`: each entry is a class, as a user's file has
one, whose fields are the section [family.options] of a config.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

from acclimate.errors import UsageError
from acclimate.names import did_you_mean
from acclimate.own_module import import_file
from acclimate.task.spec import TaskSpec

from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.settings.tables import ConfigError, Value, read_table, table_of

GROUP = "acclimate.families"
_ANYTHING = (Exception, SystemExit)  # what code of the user's may raise
_HERE = "acclimate_trainer.tasks"
BUILT_IN: Mapping[str, str] = {
    "servo": f"{_HERE}.servo.family:ServoFamily",
    "arm": f"{_HERE}.arm.family:ArmFamily",
    "quadrotor": f"{_HERE}.quadrotor.family:QuadrotorFamily",
    "pendulum": f"{_HERE}.pendulum:PendulumFamily",
    "point": f"{_HERE}.point:PointFamily",
    "point_frame": f"{_HERE}.point:PointFrameFamily",
    "point_dash": f"{_HERE}.dash:PointDashFamily",
    "bandit": f"{_HERE}.bandit:BanditFamily",
    "tabular": f"{_HERE}.tabular:TabularFamily",
    "four_rooms": f"{_HERE}.four_rooms:FourRoomsFamily",
    "reacher": f"{_HERE}.reacher:ReacherFamily",
}
"""Families that come with Acclimate, by name, as module:Class."""


@dataclass(frozen=True)
class Opened:
    """A family, ready, and where it comes from: `use` and `sha256` of a file of the user's, which others lack."""

    family: TaskFamily[object]
    name: str
    options: Mapping[str, Value]
    use: str | None = None
    sha256: str | None = None


def families() -> list[str]:
    """The names of all families here."""
    return sorted({*BUILT_IN, *(entry.name for entry in metadata.entry_points(group=GROUP))})


def open_family(
    name: str | None,
    use: str | None,
    options: Mapping[str, Value],
    *,
    where: str = "family",
    folders: Sequence[Path] = (),
) -> Opened:
    """The family of that name, or that `use`, FILE.py:Class, names; the file is looked for in `folders`, too.

    where: what to call the place of the settings in errors. Raises ConfigError, in one sentence, for a family that
    there is not, a file that is not there, does not import or lacks the class, and options that a family does not have.
    """
    if (name is None) == (use is None):
        raise ConfigError(
            f'{where}: [family] needs either name, one of {", ".join(families())}, or use = "FILE.py:Class"'
        )
    if use is not None:
        path, cls = _used(use, folders, where)
        family = _built(cls, options, where, f"{path.name}:{cls.__name__}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Opened(family, family.spec.name, _resolved(family, options), f"{path}:{cls.__name__}", digest)
    assert name is not None
    family = _built(_named(name, where), options, where, name)
    return Opened(family, name, _resolved(family, options))


def _named(name: str, where: str) -> type:
    place = BUILT_IN.get(name)
    if place is not None:
        module, _, attribute = place.partition(":")
        found: type = getattr(import_module(module), attribute)
        return found
    for entry in metadata.entry_points(group=GROUP, name=name):
        return _loaded(entry, where)
    raise ConfigError(f"{where}: [family] name is {name!r}{did_you_mean(name, families(), of='valid')}")


def _loaded(entry: metadata.EntryPoint, where: str) -> type:
    """What a package has registered. Raises ConfigError where that is no class, or is not there."""
    try:
        found = entry.load()
    except _ANYTHING as error:
        raise ConfigError(
            f"{where}: family {entry.name!r}, {entry.value}, {_failed('loaded', error)}"
        ) from None
    if isinstance(found, type):
        return found
    raise ConfigError(f"{where}: family {entry.name!r} is {entry.value}, which is no class")


def _used(use: str, folders: Sequence[Path], where: str) -> tuple[Path, type]:
    file, colon, attribute = use.rpartition(":")
    if not colon or not file.endswith(".py") or not attribute.isidentifier():
        raise ConfigError(f'{where}: [family] use is {use!r}, expected "FILE.py:Class"')
    path = find_file(file, folders, where)
    module = _imported(path, where)
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        there = list(_classes(module))
        classes = [name for name in there if not _lacking(vars(module)[name])] or there
        raise ConfigError(
            f"{where}: {path} has no class {attribute!r}; it has: {', '.join(classes) or 'none'}"
        )
    return path, found


def find_file(file: str, folders: Sequence[Path], where: str) -> Path:
    """A file as named, or by that name in one of `folders`. Raises ConfigError."""
    tried = [Path(file)] if Path(file).is_absolute() else [folder / file for folder in (*folders, Path())]
    tried += [folder / Path(file).name for folder in folders]
    for path in tried:
        if path.is_file():
            return path.absolute()
    raise ConfigError(
        f"{where}: [family] use names the file {file}, which does not exist; looked for {tried[0]}"
    )


def _imported(path: Path, where: str) -> ModuleType:
    """The module, anew each time: the file may have changed."""
    try:
        return import_file(f"acclimate_family_{path.stem}", path)
    except _ANYTHING as error:
        raise ConfigError(f"{where}: {path} {_failed('imported', error, path)}") from None


def _failed(what: str, error: BaseException, path: Path | None = None) -> str:
    """One sentence on something that has raised; with the line of `path`, if it came by there."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    line = f" (line {lines[-1]})" if lines else ""
    text = " ".join(str(error).split())
    return f"cannot be {what}: {type(error).__name__}{line}" + (f": {text}" if text else "")


def _classes(module: ModuleType) -> Iterator[str]:
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == module.__name__:
            yield name


def _lacking(cls: type) -> list[str]:
    """What a family has and this class does not; its spec may be its instances' own."""
    return [member for member in ("sample", "parameters", "open") if not hasattr(cls, member)]


def _built(cls: type, options: Mapping[str, Value], where: str, what: str) -> TaskFamily[object]:
    """The class with its options. Raises ConfigError where it is none of a family."""
    lacks = "is no task family: it lacks {!r}; see docs/families.md for the contract"
    for member in _lacking(cls):
        raise ConfigError(f"{where}: {what} {lacks.format(member)}")
    try:
        if is_dataclass(cls):
            family: TaskFamily[object] = _of_options(cls, options, where)
        elif options:
            raise ConfigError(
                f"{where}: {what} takes no options: it is no dataclass; remove [family.options]"
            )
        else:
            family = cls()
        found = getattr(family, "spec", None)
    except UsageError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(f"{where}: {what}: {error}") from None
    except _ANYTHING as error:
        raise ConfigError(f"{where}: {what} {_failed('made', error)}") from None
    if not isinstance(found, TaskSpec):
        raise ConfigError(f"{where}: {what} {lacks.format('spec')}")
    return family


def _of_options(cls: type, options: Mapping[str, Value], where: str) -> TaskFamily[object]:
    made: TaskFamily[object] = read_table(cls, options, where, "family.options")
    return made


def _resolved(family: TaskFamily[object], options: Mapping[str, Value]) -> Mapping[str, Value]:
    """Options with every default written out, as the family itself says or as its fields are."""
    own = getattr(family, "options", None)
    if callable(own):
        found: Mapping[str, Value] = own()
        return found
    made: object = family
    return table_of(made) if is_dataclass(made) and not isinstance(made, type) else options
