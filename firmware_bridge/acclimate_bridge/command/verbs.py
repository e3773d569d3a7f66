"""The bridge's verbs. Nothing heavy is imported here: `acclimate --help` loads this module."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from acclimate.command.cli import Verb
from acclimate.command.options import add_trust

from acclimate_bridge.command.options import add_opening

_REQUIRES = ("serial", "cobs")
_MACHINE = "#NUMBER of a held-out one, NAME=VALUE,… for true parameters, or the name of a servo"


def _configure_ports(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of text")


def _ports(args: argparse.Namespace) -> int:
    from acclimate_bridge.command.ports import print_ports

    return print_ports(as_json=args.json)


def _configure_simulate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "bundle", nargs="?", metavar="BUNDLE", help="a machine of the family that this bundle was trained for"
    )
    add(
        "--family",
        metavar="FILE.py:CLASS",
        help="or of this one: a file and class of yours, or a built-in name",
    )
    add("--task", metavar="MACHINE", help=f"which machine: {_MACHINE} (the first held-out one)")
    add(
        "--change",
        action="append",
        metavar="KIND@SECONDS",
        help="what happens to it after SECONDS of being driven: to a servo payload, polarity or supply, to others any; "
        "may be given several times",
    )
    add(
        "--reward",
        metavar="NAME=WEIGHT,…",
        help="measure a reward, too, by the features of its family, as accurate, frugal, smooth, quiet and fast",
    )
    add("--seed", type=int, default=0, help="of held-out machines, noise and boot ids (0)")
    add("--link", metavar="PATH", help="keep a symbolic link to the port at PATH")
    add("--fault", metavar="KIND@SECONDS", help=argparse.SUPPRESS)
    add("--attached", action="store_true", help=argparse.SUPPRESS)  # ends when stdin does
    _configure_servo(parser.add_argument_group("servos only").add_argument)
    _configure_bus(parser.add_argument_group("a bus of servos").add_argument)


def _configure_servo(add: Callable[..., object]) -> None:
    add(
        "--servo",
        action="append",
        metavar="NAME|FILE",
        help="a built-in servo or a servo file (MX-64); with --bus NAME=ID, once for each",
    )
    add("--drive-gain", type=float, metavar="X", help="factor on the supply (1, or the file's)")
    add("--polarity", type=float, metavar="±1", help="-1: wired backwards (1, or the file's)")
    add("--delay", type=float, metavar="S", help="link delay in s, at most 0.1 (0, or the file's)")
    add("--gravity", type=float, metavar="NM", help="torque of the load held level (0, or the file's)")
    add("--inertia", type=float, metavar="KGM2", help="inertia of the load (0, or the file's)")
    add("--angle", type=float, metavar="RAD", help="where the joint stands at first (0)")
    add("--friction", choices=("m6", "m1"), help="rich (m6) or simple friction (m1) (m6)")
    add("--rate", type=float, metavar="HZ", help="at which it measures (100)")


def _configure_bus(add: Callable[..., object]) -> None:
    add(
        "--bus",
        metavar="FAMILY",
        help="servos on a bus that speaks their own protocol: dynamixel or feetech; each by --servo NAME=ID",
    )
    add("--baud", type=int, default=1_000_000, help="of servos and bus (1000000)")
    add(
        "--disturb",
        action="append",
        metavar="KIND=SHARE",
        help="this share of the answers is spoilt: corrupt, short, silent, garbage, late, error or brown-out",
    )


def _simulate(args: argparse.Namespace) -> int:
    from acclimate_bridge.command.simulate import simulate

    return simulate(args)


PORTS = Verb("ports", "list the serial ports of this machine", _configure_ports, _ports, _REQUIRES, "serial")
SIMULATE = Verb(
    "simulate",
    "a simulated device on a pseudo-terminal, in real time; prints the port",
    _configure_simulate,
    _simulate,
    _REQUIRES,
    "serial",
)


def _configure_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="a .acclimate file")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--port",
        help="sim: to simulate a device as well (also sim:#7, sim:XL-320, sim:NAME=VALUE,…); or a serial port, a "
        "pseudo-terminal, or a URL such as socket://host:port",
    )
    where.add_argument(
        "--device",
        metavar="NAME:WHERE|FILE",
        help="or a device by name: a bus of servos (bus.toml, dynamixel:PORT?id=1, feetech:PORT?id=1), one of an "
        "installed package, or of yours (FILE.py:FUNCTION)",
    )
    add_opening(add)
    add("--engine", default="auto", metavar="NAME", help="auto, native, litert or onnxruntime (auto)")
    add_trust(parser)
    add(
        "--allow-late",
        action="store_true",
        help="drive also where act takes longer here than the control period",
    )
    add("--shots", type=int, metavar="N", help="adaptation steps (as many as the bundle allows)")
    add("--episodes", type=int, metavar="N", help="episodes per measurement (4)")
    add("--seconds", type=float, metavar="S", help="instead of all that: drive for S seconds without a pause")
    add(
        "--reset",
        action="append",
        metavar="SCOPE@SECONDS",
        help="with --seconds: begin a new trial or episode on the way; may be given several times",
    )
    add(
        "--objective",
        action="append",
        metavar="NAME=WEIGHT,…[@SECONDS]",
        help="what to drive for, with names from the bundle; with --seconds also later on the way, as often as given",
    )
    add("--listen", action="store_true", help="with --seconds: take such objectives from stdin, a line each")
    add(
        "--temperature",
        type=float,
        metavar="X",
        help="of a maximum-entropy policy: draw actions, with --seconds all the time, at X of the temperature of "
        "training; 0 does what is best",
    )
    add("--seed", type=int, default=0, help="of references and exploration (0)")
    add("--load", metavar="FILE", help="begin with what was learned before, as --save wrote it")
    add("--save", metavar="FILE", help="write what was learned to FILE")
    add("--keep", metavar="FILE", help="--load FILE where it is there, and --save FILE: one for each machine")
    add("--record", metavar="FILE", help="write every episode to FILE, an .npz")
    add("--json", action="store_true", help="one JSON object on stdout instead of text")
    _configure_operation(parser.add_argument_group("operating a machine").add_argument)


def _configure_operation(add: Callable[..., object]) -> None:
    add(
        "--reference",
        metavar="FILE|-|HOST:PORT",
        help="what to follow instead of something random: rows of a time and targets, from a file, from stdin (-) or "
        "from a TCP server",
    )
    add(
        "--forever",
        action="store_true",
        help="drive on until Ctrl-C or SIGTERM, which then end with exit code 0",
    )
    add(
        "--reconnect",
        type=float,
        metavar="S",
        help="wait so long for a device that was unplugged, ask, and begin the drive again with what was learned",
    )
    add("--dry-run", action="store_true", help="do all of it but move, and say what would have been sent")
    add("--max-action", type=float, metavar="SHARE", help="at most this share of every action, 0 to 1 (1)")
    add(
        "--amplitude",
        type=float,
        metavar="X",
        help="random references go no further than X, in the sensor's unit",
    )
    add("--abort-error", type=float, metavar="X", help="end with exit code 3 where the error is beyond X")
    add("--approach", action="store_true", help="go slowly to where the policy may begin")
    add("--return", dest="go_back", action="store_true", help="go slowly back to where it stood")
    add(
        "--no-sign-test",
        action="store_true",
        help="take for granted which way the motors of a new machine turn",
    )
    add(
        "--release-estop", action="store_true", help="the emergency stop was pressed, and may be released now"
    )


def _run(args: argparse.Namespace) -> int:
    from acclimate_bridge.command.run import run

    return run(args)


def _configure_evaluate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="a .acclimate file")
    add(
        "--against",
        nargs="*",
        metavar="BUNDLE",
        help="bundles to compare with (robust and oracle beside BUNDLE)",
    )
    add(
        "--machines",
        "--devices",
        type=int,
        metavar="N",
        help="held-out machines of each type (8, or 24 of one)",
    )
    add(
        "--family", metavar="FILE.py:CLASS", help="where the bundle's family is, if not where the bundle says"
    )
    add("--episodes", type=int, default=4, metavar="N", help="episodes per measurement (4)")
    add("--shots", type=int, metavar="N", help="adaptation steps (as many as the bundle allows)")
    add("--tune-pid", action="store_true", help="compare with a PID tuned on each machine alone, too")
    add("--seconds", type=float, metavar="S", help="drive for S seconds without a pause, not in episodes")
    add(
        "--change",
        metavar="KIND",
        help="what happens on the way: payload, polarity or supply of a servo, or any",
    )
    add("--change-at", type=float, metavar="S", help="after how many seconds (half of --seconds, 24)")
    add(
        "--engine",
        metavar="NAME",
        help="native, litert or onnxruntime (onnxruntime, or else litert or native)",
    )
    add("--seed", type=int, default=0, help="of machines, references and noise (0)")
    add("--jobs", type=int, metavar="N", help="processes (one per CPU); no number depends on it")
    add("--output", metavar="FILE", help="also write the JSON object to FILE")
    add("--json", action="store_true", help="one JSON object on stdout instead of a table")
    of_servos = parser.add_argument_group("servos only").add_argument
    of_servos(
        "--servo", nargs="+", metavar="NAME|FILE", help="these types, by name or file (all built-in ones)"
    )
    of_servos("--friction", choices=("m6", "m1"), help="rich (m6) or simple friction (m1) (m6)")
    of_servos(
        "--outside",
        type=float,
        metavar="FACTOR",
        help="outside the ranges of training: gain, inertia, friction or delay beyond them by up to FACTOR",
    )


def _evaluate(args: argparse.Namespace) -> int:
    from acclimate_bridge.command.evaluate import run_evaluation

    return run_evaluation(args)


RUN = Verb(
    "run",
    "measure, adapt and measure again, on a simulated device or a real one",
    _configure_run,
    _run,
    _REQUIRES,
    "serial",
)
EVALUATE = Verb(
    "evaluate",
    "compare a bundle with other controllers on simulated machines that it never saw",
    _configure_evaluate,
    _evaluate,
    _REQUIRES,
    "serial",
)
