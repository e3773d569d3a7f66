"""The bridge's verbs for servos on a bus. Nothing heavy is imported here."""

from __future__ import annotations

import argparse

from acclimate.command.cli import Verb

_REQUIRES = ("serial", "rustypot")


def _configure_bus(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("action", metavar="ACTION", help="scan, check, set-id, set-baud or selftest")
    add(
        "where",
        metavar="WHERE",
        help="for scan, set-id and set-baud a port; for the others bus.toml or, say, feetech:PORT?id=1",
    )
    add("--family", metavar="NAME", help="dynamixel or feetech (scan: both)")
    add("--baud", type=int, metavar="N", help="at this rate only (those that servos are sold with)")
    add("--to", type=int, metavar="N", help="set-id: the new id; set-baud: the new rate")
    add("--json", action="store_true", help="one JSON object on stdout instead of text")


def _bus(args: argparse.Namespace) -> int:
    from acclimate_bridge.command.bus.command import run_bus

    return run_bus(args)


def _configure_service(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="a .acclimate file")
    add("--device", required=True, metavar="NAME:WHERE|FILE", help="what it is to drive, as for `run`")
    add("--usb", metavar="PORT", help="the port of the adapter, while it is plugged in, for the udev rule")
    add("--user", default="acclimate", metavar="NAME", help="who it runs as (acclimate)")


def _service(args: argparse.Namespace) -> int:
    from acclimate_bridge.command.service import print_service

    return print_service(args)


BUS = Verb(
    "bus",
    "servos on a bus: who is there, what is wrong, ids, a test motion",
    _configure_bus,
    _bus,
    _REQUIRES,
    "bus",
)
SERVICE = Verb(
    "service",
    "print a udev rule and a systemd unit, for a drive that starts with the computer",
    _configure_service,
    _service,
    ("serial", "cobs"),
    "serial",
)
