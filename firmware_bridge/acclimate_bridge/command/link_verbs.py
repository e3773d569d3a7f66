"""The bridge's verbs that look at a link, or make it a bad one. Nothing heavy is imported here."""

from __future__ import annotations

import argparse

from acclimate.command.cli import Verb

from acclimate_bridge.command.options import add_opening

_REQUIRES = ("serial", "cobs")


def _configure_faults(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--upstream",
        required=True,
        metavar="PORT",
        help="where the device is; sim:NAME for a simulated servo",
    )
    add("--baud", type=int, default=115_200, help="of that port (115200)")
    add("--seed", type=int, default=0, help="of all that happens (0)")
    add("--link", metavar="PATH", help="keep a symbolic link to the port at PATH, also after --unplug")
    of_frames = parser.add_argument_group("shares of the frames in each direction (0)").add_argument
    of_frames("--flip", type=float, metavar="SHARE", help="one bit is flipped")
    of_frames("--drop", type=float, metavar="SHARE", help="lost")
    of_frames("--duplicate", type=float, metavar="SHARE", help="sent twice")
    of_frames("--reorder", type=float, metavar="SHARE", help="overtaken by the next one")
    of_frames("--merge", type=float, metavar="SHARE", help="the zero behind it is lost")
    of_frames("--split", type=float, metavar="SHARE", help="a zero comes in the middle")
    of_time = parser.add_argument_group("time").add_argument
    of_time("--latency", type=float, metavar="MS", help="of every frame")
    of_time("--jitter", type=float, metavar="MS", help="up to so much on top")
    of_time(
        "--burst",
        type=float,
        metavar="MS",
        help="the host gets what has come only this often (a latency timer)",
    )
    of_time("--pace", type=float, metavar="BAUD", help="let bytes take the time that they take at this rate")
    of_time("--drift", type=float, metavar="SHARE", help="the device's clock runs fast by so much: .01")
    of_time("--stall", type=float, metavar="S", help="on average this often nothing comes through …")
    of_time("--stalled", type=float, metavar="S", help="… for up to so long (.2)")
    once = parser.add_argument_group("once, after so many seconds of traffic").add_argument
    once("--unplug", type=float, metavar="S", help="the port vanishes …")
    once("--unplugged", type=float, metavar="S", help="… and comes back after so long (1)")
    once("--reset", type=float, metavar="S", help="the device restarts")
    once("--brown-out", type=float, metavar="S", help="it babbles, and restarts")


def _faults(args: argparse.Namespace) -> int:
    from acclimate_bridge.command.faults import run_faults

    return run_faults(args)


FAULTS = Verb(
    "faults",
    "a link on which things go wrong, in front of a device; prints the port",
    _configure_faults,
    _faults,
    _REQUIRES,
    "serial",
)


def _configure_firmware(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("what", metavar="new", choices=("new",), help="what to do: there is one thing so far")
    add("folder", metavar="FOLDER", help="where the project will be; it must not be there yet")
    add(
        "--channels",
        required=True,
        metavar="BUNDLE|FILE",
        help="whose sensors and actuators: those of a bundle that is to drive it, or of a TOML file",
    )


def _firmware(args: argparse.Namespace) -> int:
    from acclimate_bridge.command.firmware import firmware

    return firmware(args)


FIRMWARE = Verb(
    "firmware",
    "firmware in C for a device of your own, as a project that is ready to build",
    _configure_firmware,
    _firmware,
    _REQUIRES,
    "serial",
)


def _configure_doctor(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("port", metavar="PORT", help="a serial port, a pseudo-terminal, a URL, or sim: to simulate a device")
    add(
        "bundle", nargs="?", metavar="BUNDLE", help="also look at this bundle, and whether the device fits it"
    )
    add_opening(add)
    add("--engine", default="auto", metavar="NAME", help="auto, native, litert or onnxruntime (auto)")
    add("--move", action="store_true", help="also move each actuator a little, there and back")
    add("--json", action="store_true", help="one JSON object on stdout instead of text")


def _doctor(args: argparse.Namespace) -> int:
    from acclimate_bridge.command.doctor.command import run_doctor

    return run_doctor(args)


DOCTOR = Verb(
    "doctor",
    "look at a port, the device behind it and a bundle for it: what is wrong, and what to do about it",
    _configure_doctor,
    _doctor,
    _REQUIRES,
    "serial",
)
