"""The rooms of the packages and what they import of each other, as the source says it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES: Mapping[str, str] = {
    "acclimate": "runtime/acclimate",
    "acclimate_bridge": "firmware_bridge/acclimate_bridge",
    "acclimate_trainer": "trainer/acclimate_trainer",
    "acclimate_export": "export/acclimate_export",
    "acclimate_demo": "export/acclimate_demo",
}
GROUND = "ground"
"""The room of the runtime's modules that lie in none of its folders. Elsewhere such a module is a room by itself."""
_FRONT_DOORS = ("__init__", "__main__")  # of a package: they import what they offer


class Room(NamedTuple):
    """A folder of a package with the modules in it, or the modules on its ground."""

    package: str
    name: str

    def __str__(self) -> str:
        return f"{self.package}.{self.name}"


@dataclass(frozen=True)
class House:
    """imports: which modules of other rooms a room's modules import, and how many times."""

    rooms: tuple[Room, ...]
    imports: Mapping[tuple[Room, Room], int]

    def below(self, room: Room) -> set[Room]:
        """The rooms that `room` imports."""
        return {b for a, b in self.imports if a == room}

    def inside(self, package: str) -> House:
        """One package by itself."""
        rooms = tuple(room for room in self.rooms if room.package == package)
        kept = {pair: n for pair, n in self.imports.items() if {*pair} <= {*rooms}}
        return House(rooms, kept)

    def levels(self) -> dict[Room, int]:
        """How many rooms deep each stands on others. Raises ValueError, naming them, where rooms form a circle."""
        found: dict[Room, int] = {}
        left = {*self.rooms}
        while left:
            ready = {room for room in left if not self.below(room) & left}
            if not ready:
                raise ValueError(f"imports in a circle: {', '.join(sorted(map(str, left)))}")
            found |= {room: 1 + max((found[b] for b in self.below(room)), default=-1) for room in ready}
            left -= ready
        return found

    def direct(self) -> list[tuple[Room, Room]]:
        """The imports without those that follow from others: a → c where there is a → b → c."""
        reach: dict[Room, set[Room]] = {}
        for room in sorted(self.rooms, key=self.levels().__getitem__):
            reach[room] = self.below(room).union(*(reach[b] for b in self.below(room)))
        return [
            (a, b) for a, b in sorted(self.imports) if not any(b in reach[c] for c in self.below(a) - {b})
        ]


def read_house(root: Path = ROOT) -> House:
    """All rooms and their imports."""
    files = {
        (package, path) for package, folder in PACKAGES.items() for path in (root / folder).rglob("*.py")
    }
    rooms: set[Room] = set()
    imports: dict[tuple[Room, Room], int] = {}
    for package, path in sorted(files):
        inside = path.relative_to(root / PACKAGES[package])
        if len(inside.parts) == 1 and inside.stem in _FRONT_DOORS:
            continue
        room = Room(package, inside.parts[0]) if len(inside.parts) > 1 else _alone(package, inside.stem)
        rooms.add(room)
        for module in _imported(path):
            other = _room_of(module, root)
            if other is not None and other != room:
                imports[room, other] = imports.get((room, other), 0) + 1
    return House(tuple(sorted(rooms)), imports)


def _imported(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room_of(name: str, root: Path) -> Room | None:
    """The room of what is imported by a dotted name; None for what is not ours, or comes by a front door."""
    package, *rest = name.split(".")
    if package not in PACKAGES or not rest:
        return None
    folder = root / PACKAGES[package]
    if (folder / rest[0]).is_dir():
        return Room(package, rest[0])
    return _alone(package, rest[0]) if (folder / f"{rest[0]}.py").is_file() else None


def _alone(package: str, module: str) -> Room:
    """The room of a module in no folder."""
    return Room(package, GROUND if package == "acclimate" else module)
