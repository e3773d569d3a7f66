"""The machines of a family: found by its name, and chosen among.

Worlds come from the entry-point group `acclimate.worlds` (`acclimate.task.world`). One whose machines are more than
ticks, as servos are, gives specimens of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from acclimate.bundle.file import Bundle
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.task.spec import TaskSpec
from acclimate.task.world import Opener, World

from acclimate_bridge.simulation.choice import Choice
from acclimate_bridge.simulation.seeding import named
from acclimate_bridge.simulation.specimen import Specimen
from acclimate_bridge.simulation.ticks import TickSpecimen

GROUP = "acclimate.worlds"
_ANY = "*"


class Group(Protocol):
    """Held-out machines of one type, which an evaluation sums up by itself."""

    @property
    def name(self) -> str: ...

    def machine(self, seed: int, number: int) -> Specimen:
        """The same for the same two numbers."""
        ...


@runtime_checkable
class Wired(Protocol):
    """A world that says itself what its machines are on the wire."""

    def choose(self, choice: Choice, seed: int) -> Specimen:
        """The machine that is meant. Raises UsageError for what there is not."""
        ...

    def groups(self) -> tuple[Group, ...]:
        """All held-out machines."""
        ...


def open_world(name: str, use: str | None, options: Mapping[str, Json]) -> World:
    """The world of a family; arguments as of `Opener`. Raises UsageError where nothing here simulates it."""
    entries = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    entry = entries.get(name) if use is None else None
    entry = entry or entries.get(_ANY)
    if entry is None:
        raise UsageError(
            f"machines of family {name!r} cannot be simulated here; acclimate[train] simulates those of any family"
        )
    try:
        opener = cast(Opener, entry.load())
    except ImportError as error:
        raise UsageError(
            f"machines of family {name!r} cannot be simulated here, since {error.name or entry.value!r} is missing; "
            "install acclimate[train]"
        ) from error
    return opener(name, use, options)


def world_of(bundle: Bundle, file: str | None = None) -> World:
    """The machines that a bundle was trained for.

    file: FILE.py:CLASS that defines them; else it is looked for, as `family_file` says. Raises UsageError.
    """
    family = bundle.manifest.family
    if file is None and family.use is not None:
        file = f"{family_file(bundle)}:{family.use.rpartition(':')[2]}"
    return open_world(family.name, file, family.options)


def family_file(bundle: Bundle) -> Path:
    """The file that defines a bundle's machines: here, beside the bundle, or in a folder here.

    If there are several, it is the one that the bundle was trained with. Raises UsageError where there is none.
    """
    family = bundle.manifest.family
    assert family.use is not None  # as for all that is not built in
    name, _, member = family.use.rpartition(":")
    places = [Path(name), bundle.path.with_name(name), *sorted(Path().glob(f"*/{name}"))]
    found = [path for path in places if path.is_file()]
    if not found:
        raise UsageError(
            f"the machines of this bundle are defined by {name}, which is neither here nor beside the bundle; "
            f"say where it is: --family FILE.py:{member}"
        )
    return next((path for path in found if _digest(path) == family.sha256), found[0])


def remark(bundle: Bundle) -> str | None:
    """What to say of a bundle whose machines are no longer defined as they were; None where they are."""
    family = bundle.manifest.family
    if family.use is None or _digest(path := family_file(bundle)) == family.sha256:
        return None
    return (
        f"{path} has changed since this bundle was exported: its machines may be others than those trained on"
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def world_for(family: str | None, bundle: Bundle | None) -> World:
    """The machines of --family (FILE.py:CLASS, or a built-in name), or else of the bundle.

    Raises UsageError where nothing here simulates them.
    """
    if bundle is not None:
        return world_of(bundle, family)
    assert family is not None
    name, use = (family.rpartition(":")[2], family) if ":" in family else (family, None)
    return open_world(name, use, {})


def choose(world: World, choice: Choice, seed: int) -> Specimen:
    """The machine that is meant, of whatever world. Raises UsageError for what there is not."""
    if isinstance(world, Wired):
        return world.choose(choice, seed)
    spec = world.spec
    if choice.name is not None:
        raise UsageError(
            f"machines of family {spec.name!r} have no names, found {choice.name!r}; choose #NUMBER or NAME=VALUE with "
            f"{_names(spec)}"
        )
    if choice.values:
        if choice.number is not None:
            raise UsageError(
                "the parameters of a held-out machine are fixed: choose #NUMBER or NAME=VALUE, not both"
            )
        world.with_parameters(choice.values)  # so that what is wrong shows at once
        return TickSpecimen(spec.name, spec, partial(world.with_parameters, choice.values))
    return HeldOut(world).machine(seed, choice.number or 0)


def groups_of(world: World) -> tuple[Group, ...]:
    """All held-out machines of whatever world."""
    return world.groups() if isinstance(world, Wired) else (HeldOut(world),)


@dataclass(frozen=True)
class HeldOut:
    """The held-out machines of a world of ticks."""

    world: World

    @property
    def name(self) -> str:
        return self.world.spec.name

    def machine(self, seed: int, number: int) -> TickSpecimen:
        return TickSpecimen(
            f"{self.name} #{number}", self.world.spec, partial(self.world.held_out, seed, number)
        )


def key_of(group: Group, number: int) -> tuple[int, int]:
    """Of all random numbers around one machine."""
    return named(group.name), number


def _names(spec: TaskSpec) -> str:
    return ", ".join(parameter.name for parameter in spec.parameters) or "no parameters"
