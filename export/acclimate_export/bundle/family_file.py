"""The file of a family of the user's own: a bundle holds its name and hash, and a policy is rebuilt with it."""

from __future__ import annotations

import contextlib
import hashlib
import tomllib
from pathlib import Path

from acclimate.bundle.file import Bundle
from acclimate.errors import BundleError
from acclimate.fields import Json
from acclimate_trainer.runs.run_directory import CONFIG
from acclimate_trainer.tasks.registry import Opened


def bare(use: str) -> str:
    """FILE.py:Class without the folder of the file, which means nothing on another machine."""
    file, _, name = use.rpartition(":")
    return f"{Path(file).name}:{name}"


def at_home(section: Json, bundle: Bundle, given: Path | None) -> Json:
    """Section [family] of a bundle's config with the path that its file has here.

    given: where the user says that it is; else it is looked for where the bundle's run has it from, beside the bundle,
    here, and, unchanged, in the folders here. Raises BundleError where there is no such file.
    """
    family = bundle.manifest.family
    assert isinstance(section, dict)
    assert family.use is not None
    assert family.sha256 is not None
    file, _, name = family.use.rpartition(":")
    places = [given] if given else [*_recorded(file, bundle), bundle.path.parent / file, Path(file)]
    nearby = (
        [] if given else [each for each in sorted(Path().glob(f"*/{file}")) if _digest(each) == family.sha256]
    )
    path = next((place for place in (*places, *nearby) if place.is_file()), None)
    if path is None:
        looked = " or ".join(dict.fromkeys(map(str, places)))
        raise BundleError(
            f"{bundle.path} was trained on the family {family.use}, whose file (SHA-256 {_short(family.sha256)}) "
            f"is not {looked}; say where it is with --family FILE.py"
        )
    return {**section, "use": f"{path.absolute()}:{name}"}


def changed(opened: Opened, bundle: Bundle) -> str:
    """That the file has changed since the export, in one sentence; empty where it has not, or there is none."""
    before, now = bundle.manifest.family, opened
    if before.use is None or before.sha256 is None or before.sha256 == now.sha256:
        return ""
    return (
        f"{_file(now.use or now.name)} has changed since {bundle.path} was exported: its SHA-256 was "
        f"{_short(before.sha256)}, and is {_short(now.sha256 or 'none')}"
    )


def _recorded(file: str, bundle: Bundle) -> list[Path]:
    """Where the run has it from that the bundle lies in, if it does."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        text = (bundle.path.parent / CONFIG).read_text(encoding="utf-8")
        path = Path(_file(tomllib.loads(text)["family"]["use"]))
        return [path] if path.name == file else []
    return []


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _file(use: str) -> str:
    return use.rpartition(":")[0] or use


def _short(sha256: str) -> str:
    return f"{sha256[:12]}…"
