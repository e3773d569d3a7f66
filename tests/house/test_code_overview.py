"""docs/code_overview.md names every module of the packages that it has a section for, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "code_overview.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## The [\w ]+: `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))


def _modules(package: str) -> set[str]:
    """Modules of a package and of its rooms, and rooms in rooms, but for what Python itself wants there."""
    (folder,) = ROOT.glob(f"*/{package}")
    found = {path.stem for path in (*folder.glob("*.py"), *folder.glob("*/*.py"))}
    return (found | {path.parent.name for path in folder.glob("*/*/*.py")}) - {"__init__", "__main__"}


def _listed(package: str) -> set[str]:
    """What the first columns of the section's tables name."""
    cells = re.findall(r"^\| (`[^|]*) \|", SECTIONS[package], re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_package_has_a_section() -> None:
    assert set(SECTIONS) == {"acclimate", "acclimate_bridge", "acclimate_trainer", "acclimate_export"}


@pytest.mark.parametrize("package", SECTIONS)
def test_every_module_is_named(package: str) -> None:
    assert [name for name in sorted(_modules(package)) if f"`{name}`" not in SECTIONS[package]] == []


@pytest.mark.parametrize("package", SECTIONS)
def test_every_module_that_is_named_is_there(package: str) -> None:
    assert _listed(package) - _modules(package) == set()


def test_links_lead_somewhere() -> None:
    for page in sorted((ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
