"""What `acclimate ports` prints."""

from __future__ import annotations

from acclimate.fields import Json
from acclimate.json_text import json_text
from serial.tools import list_ports


def print_ports(*, as_json: bool) -> int:
    """One line per serial port: device, description, hardware id; with `as_json` {"ports": [...]}."""
    ports = sorted(list_ports.comports(), key=lambda p: str(p.device))
    if as_json:
        tree: list[Json] = [
            {"port": p.device, "description": p.description, "hardware_id": p.hwid} for p in ports
        ]
        print(json_text({"ports": tree}))
    elif not ports:
        print("no serial ports found; `acclimate run BUNDLE --port sim:` simulates a device as well")
    for p in [] if as_json else ports:
        print(f"{p.device:<20} {p.description}  [{p.hwid}]")
    return 0
