"""The bundles that come with Acclimate, by name."""

from __future__ import annotations

from pathlib import Path

from acclimate.errors import UsageError


def shipped() -> dict[str, Path]:
    """All of them, by name: inside the installed package, or in the checkout."""
    package = Path(__file__).parent
    folders = (package / "bundles", package.parents[1] / "examples" / "bundles")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.acclimate"))}


def shipped_bundle(name: str) -> Path:
    """Raises UsageError where it is not there."""
    found = shipped()
    if name not in found:
        known = ", ".join(found) or "none here; `make bundles` makes them"
        raise UsageError(f"no bundle {name!r} came with this installation; valid names: {known}")
    return found[name]
