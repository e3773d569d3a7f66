"""The configs that come with Acclimate. Imports nothing heavy: a name that is wrong is told at once."""

from __future__ import annotations

from pathlib import Path

from acclimate.errors import UsageError
from acclimate.names import did_you_mean


def built_in() -> dict[str, Path]:
    """The configs that come with Acclimate, by name: inside the installed package, or in the checkout."""
    package = Path(__file__).parents[1]
    folders = [package / "configs", package.parents[1] / "configs"]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def find_config(name: str) -> Path:
    """A config file, or the built-in one of that name. Raises UsageError, listing the built-in ones."""
    path, known = Path(name), built_in()
    if name in known and not path.exists():
        return known[name]
    if not path.is_file():
        raise UsageError(
            f"there is no config {name!r}"
            + did_you_mean(name, known, of="give a TOML file, or a built-in one")
        )
    return path
