"""What choosing an engine found, kept in the user's cache folder: one small JSON per bundle.

It holds for one bundle on one processor with the very engines that were there. Anything else, and a file that is
damaged, is as if nothing were remembered; a folder that cannot be written is no error, but is told.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from acclimate.atomic import write_atomically
from acclimate.cache import cache_folder
from acclimate.engines import ENGINES
from acclimate.errors import UsageError
from acclimate.fields import Json

VARIABLE = "ACCLIMATE_CHOOSE"  # "anew": nothing remembered is believed
_FORMAT = 1
_CPUINFO = Path("/proc/cpuinfo")
_CPU_LINES = 100_000  # at most, of thousands of cores
_CPU_KEYS = ("model name", "flags", "CPU implementer", "CPU variant", "CPU part", "Features")


class Found(NamedTuple):
    """The engine taken, µs of one act on each that was measured, and why others failed."""

    engine: str
    act_us: Mapping[str, float]
    failed: Mapping[str, str]


class Key(NamedTuple):
    """For what a finding holds."""

    bundle: str  # sha256
    machine: str
    engines: Mapping[str, str]  # by name, which file of which time and size each is


def key(bundle: str, engines: Iterable[str]) -> Key:
    """The key of this bundle on this machine, with these engines as they are now. Loads none of them."""
    return Key(bundle, processor(), {name: _identity(name) for name in engines})


def recall(key: Key) -> Found | None:
    """What was found for this very key; None where there is nothing that can be believed."""
    path = _path(key)
    if path is None or os.environ.get(VARIABLE) == "anew":
        return None
    try:
        tree = json.loads(path.read_bytes())
        found = Found(tree["engine"], tree["act_us"], tree["failed"])
        return found if tree["key"] == _key_tree(key) and _sound(found) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def remember(key: Key, found: Found) -> str:
    """Keep what was found, whole or not at all; why not, where that is not possible: every start finds it again."""
    path = _path(key)
    if path is None:
        return "there is no home to keep it in"
    tree: Json = {
        "key": _key_tree(key),
        "engine": found.engine,
        "act_us": dict(found.act_us),
        "failed": dict(found.failed),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(tree, indent=2).encode())
    except OSError as error:
        return f"cannot write {path}: {error.strerror}"
    except UsageError as error:
        return str(error)
    return ""


def _path(key: Key) -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / "choices" / f"{key.bundle}.json"


def _key_tree(key: Key) -> dict[str, Json]:
    return {
        "format": _FORMAT,
        "bundle": key.bundle,
        "machine": key.machine,
        "engines": dict(key.engines),
    }


def _sound(found: Found) -> bool:
    """Whether a file that is JSON has the right things in it."""
    return (
        found.engine in found.act_us
        and all(
            name in ENGINES and isinstance(us, float) and math.isfinite(us)
            for name, us in found.act_us.items()
        )
        and all(isinstance(reason, str) for reason in found.failed.values())
    )


def processor() -> str:
    """The processor: what a card that was moved to another board, or a home that several share, differ in.

    Of each core's description the lines that do not change while it runs, as its clock does; alike cores count once,
    in whatever order they are listed.
    """
    told: set[str] = set()
    try:
        with _CPUINFO.open(encoding="utf-8", errors="replace") as file:
            for line in islice(file, _CPU_LINES):
                name, _, value = line.partition(":")
                if name.strip() in _CPU_KEYS:
                    told.add(f"{name.strip()}: {' '.join(value.split())}")
    except OSError:
        pass
    return "\n".join([os.uname().machine, *sorted(told)])


def _identity(engine: str) -> str:
    """Changes whenever the engine, this package's side of it, or a program that it uses is installed anew."""
    entry = ENGINES[engine]
    specs = [importlib.util.find_spec(module) for module in (entry.home, *entry.modules)]
    files = [spec.origin for spec in specs if spec is not None and spec.origin is not None]
    programs = [path for name in entry.programs if (path := shutil.which(name)) is not None]
    return "; ".join([os.environ.get("CC", "") if entry.programs else "", *map(_stamp, (*files, *programs))])


def _stamp(path: str) -> str:
    try:
        stat = Path(path).stat()
    except OSError:
        return path
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"
