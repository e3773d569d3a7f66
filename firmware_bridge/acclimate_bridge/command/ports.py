"""What `acclimate ports` prints."""

from __future__ import annotations

import json

from serial.tools import list_ports


def print_ports(*, as_json: bool) -> int:
    """One line per serial port: device, description, hardware id; with `as_json` {"ports": [...]}."""
    ports = [
        {"port": p.device, "description": p.description, "hardware_id": p.hwid}
        for p in sorted(list_ports.comports(), key=lambda p: str(p.device))
    ]
    if as_json:
        print(json.dumps({"ports": ports}, indent=2))
    elif not ports:
        print("no serial ports found; `acclimate run BUNDLE --port sim:` simulates a device as well")
    for port in [] if as_json else ports:
        print(f"{port['port']:<20} {port['description']}  [{port['hardware_id']}]")
    return 0
