"""A folder with everything that firmware for one's own channels needs."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

from acclimate.errors import UsageError

from acclimate_bridge.firmware import c_tables
from acclimate_bridge.simulation.profile import Profile

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}")
_COPIED = {
    "src": "src",
    "boards/host/main.c": "host/main.c",
    "templates/Makefile": "Makefile",
}
_BAUDS = (115_200, 230_400, 460_800, 921_600, 2_000_000)
_USABLE = 0.9  # of the line


def sources() -> Path:
    """The C that comes along: inside the installed package, or in the checkout. Raises UsageError without it."""
    package = Path(__file__).parents[1]
    for folder in (package / "firmware_c", package.parent / "firmware"):
        if (folder / "src" / "acclimate.h").is_file():
            return folder
    raise UsageError(
        "the C sources of the firmware did not come with this installation; install acclimate again"
    )


def check_name(folder: Path) -> None:
    """Raises UsageError for a folder that is there, or that Arduino could not call a sketch."""
    if not _NAME.fullmatch(folder.name):
        raise UsageError(
            f"{folder.name!r} cannot be the name of a sketch: letters, digits, '_', '.' and '-', at most 63, beginning "
            "with a letter or digit"
        )
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists; choose a new folder")


def write_project(folder: Path, profile: Profile) -> None:
    """Write `folder`, whole or not at all. Raises UsageError where it is there, or cannot be made."""
    check_name(folder)
    came = sources()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UsageError(f"cannot make {folder}: {error.strerror}") from None
    try:
        _fill(beside, folder.name, profile, came)
        beside.chmod(0o755)
        beside.rename(folder)
    except OSError as error:
        raise UsageError(f"cannot make {folder}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(beside)


def _fill(folder: Path, name: str, profile: Profile, came: Path) -> None:
    for source, target in _COPIED.items():
        (folder / target).parent.mkdir(exist_ok=True)
        if (came / source).is_dir():
            shutil.copytree(came / source, folder / target)
        else:
            shutil.copyfile(came / source, folder / target)
    words = {
        "NAME": name,
        "BAUD": str(_baud(profile)),
        "TABLE": c_tables.table(profile),
        "SENSE": c_tables.sense_lines(profile),
        "APPLY": c_tables.apply_lines(profile),
        "STANDING": c_tables.standing_lines(profile),
    }
    filled = {"README.md": "README.md", "sketch.ino": f"{name}.ino", "machine.c": "host/machine.c"}
    for template, target in filled.items():
        text = (came / "templates" / template).read_text(encoding="utf-8")
        _write(folder / target, re.sub(r"@([A-Z]+)@", lambda found: words[found[1]], text))
    interface = (came / "boards" / "machine.h").read_text(encoding="utf-8")
    _write(folder / "machine.h", interface.replace('"acclimate.h"', '"src/acclimate.h"'))
    _write(folder / "channels.h", c_tables.header(profile))
    _write(folder / "channels.c", c_tables.tables(profile))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _baud(profile: Profile) -> int:
    """The slowest usual one that carries two readings a period."""
    needed = (
        10
        * profile.rate_hz
        * max(2 * (34 + 4 * len(profile.schema.sensors)), 20 + 4 * len(profile.schema.actuators))
    )
    return next((baud for baud in _BAUDS if needed <= _USABLE * baud), _BAUDS[-1])
