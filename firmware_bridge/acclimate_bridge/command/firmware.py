"""The verb `firmware`: a project for a device of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from acclimate_bridge.firmware.channels import read_profile
from acclimate_bridge.firmware.project import check_name, write_project


def firmware(args: argparse.Namespace) -> int:
    """Write the project, and say what comes next."""
    folder = Path(args.folder).absolute()
    check_name(folder)
    profile = read_profile(args.channels, f"{folder.name} 1")
    write_project(folder, profile)
    schema = profile.schema
    print(
        f"{args.folder}: {_counted(len(schema.sensors), 'sensor')} and "
        f"{_counted(len(schema.actuators), 'actuator')} at {profile.rate_hz:g} Hz"
    )
    print(
        f"next: fill in sense and apply in {args.folder}/{folder.name}.ino; {args.folder}/README.md says how"
    )
    return 0


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
