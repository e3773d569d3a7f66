"""The bridge's verbs. Nothing heavy is imported here: `acclimate --help` loads this module."""

from __future__ import annotations

import argparse

from acclimate.cli import Verb

_REQUIRES = ("serial", "cobs")


def _configure_ports(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of text")


def _ports(args: argparse.Namespace) -> int:
    from acclimate_bridge.ports import print_ports

    return print_ports(as_json=args.json)


def _configure_simulate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--servo",
        default="MX-64",
        metavar="NAME|FILE",
        help="a built-in servo or a servo file (default: MX-64)",
    )
    add("--drive-gain", type=float, metavar="X", help="factor on the supply (default 1, or the file's)")
    add("--polarity", type=float, metavar="±1", help="-1: wired backwards (default 1, or the file's)")
    add("--delay", type=float, metavar="S", help="link delay in s, at most 0.1 (default 0, or the file's)")
    add(
        "--gravity", type=float, metavar="NM", help="torque of the load held level (default 0, or the file's)"
    )
    add("--inertia", type=float, metavar="KGM2", help="inertia of the load (default 0, or the file's)")
    add("--angle", type=float, default=0.0, metavar="RAD", help="where the joint stands at first (default 0)")
    add("--friction", choices=("m6", "m1"), default="m6", help="rich (m6, default) or simple friction (m1)")
    add("--seed", type=int, default=0, help="of encoder noise and boot ids (default 0)")
    add("--link", metavar="PATH", help="keep a symbolic link to the port at PATH")
    add("--fault", metavar="KIND@SECONDS", help=argparse.SUPPRESS)


def _simulate(args: argparse.Namespace) -> int:
    from acclimate_bridge.simulating import simulate

    return simulate(args)


PORTS = Verb("ports", "list the serial ports of this machine", _configure_ports, _ports, _REQUIRES, "serial")
SIMULATE = Verb(
    "simulate",
    "a simulated servo on a pseudo-terminal, in real time; prints the port",
    _configure_simulate,
    _simulate,
    _REQUIRES,
    "serial",
)
