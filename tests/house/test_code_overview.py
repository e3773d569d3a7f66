"""docs/code_overview.md names every module under the room that it is in, and no other; and links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "code_overview.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## The [\w ]+: `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
GROUND = ""  # the part of a section that is about no room
UNNAMED = {"__init__", "__main__"}


def _parts(package: str) -> dict[str, str]:
    """What the package's section says of each room, and of the modules that are in none."""
    ground, *rest = re.split(r"^\*\*([\w ]+)(?:/\*\*|\*\*) — ", SECTIONS[package], flags=re.MULTILINE)
    parts = dict(zip(rest[::2], rest[1::2], strict=True))
    return {GROUND: ground + parts.pop("The ground", ""), **parts}


def _modules(package: str) -> dict[str, set[str]]:
    """The modules of each room, and folders in it; those in no room by the name of the ground."""
    (folder,) = ROOT.glob(f"*/{package}")
    rooms = {path.parent.name for path in folder.glob("*/*.py")}
    found = {room: _inside(folder / room) for room in rooms}
    return {GROUND: {path.stem for path in folder.glob("*.py")} - UNNAMED, **found}


def _inside(room: Path) -> set[str]:
    return {p.stem for p in room.glob("*.py")} - UNNAMED | {p.parent.name for p in room.glob("*/*.py")}


def _listed(text: str) -> Iterator[str]:
    """What the first columns of tables name."""
    for cell in re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE):
        yield from re.findall(r"`(\w+)`", cell)


def test_every_package_has_a_section() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/acclimate*/py.typed")}
    assert set(SECTIONS) == packages - {"acclimate_demo"}


@pytest.mark.parametrize("package", SECTIONS)
def test_every_room_has_a_part(package: str) -> None:
    assert set(_parts(package)) == set(_modules(package))


@pytest.mark.parametrize("package", SECTIONS)
def test_every_module_is_named_in_its_room(package: str) -> None:
    parts = _parts(package)
    missing = {
        room: {name for name in modules if f"`{name}`" not in parts[room]}
        for room, modules in _modules(package).items()
    }
    assert {room: names for room, names in missing.items() if names} == {}


@pytest.mark.parametrize("package", SECTIONS)
def test_every_module_that_a_room_lists_is_there(package: str) -> None:
    modules = _modules(package)
    extra = {room: {*_listed(text)} - modules[room] for room, text in _parts(package).items()}
    assert {room: names for room, names in extra.items() if names} == {}


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
