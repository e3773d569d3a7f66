"""The verb `simulate`: from its arguments to a running device."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

import numpy as np
from acclimate.bundle.file import Bundle, load
from acclimate.command.options import at_least
from acclimate.errors import UsageError
from acclimate.policy.objectives import parse_objective
from acclimate.task.spec import TaskSpec
from acclimate.task.world import World

from acclimate_bridge.command import servo_options
from acclimate_bridge.command.options import moment
from acclimate_bridge.command.simulate_bus import simulate_bus
from acclimate_bridge.simulation.choice import Choice
from acclimate_bridge.simulation.judge import Judge, JudgedSpecimen
from acclimate_bridge.simulation.servo.world import ServoWorld
from acclimate_bridge.simulation.simulator import FAULTS, Change, Fault, Simulator, linked, listening
from acclimate_bridge.simulation.specimen import Specimen
from acclimate_bridge.simulation.worlds import choose, remark, world_for


def simulate(args: argparse.Namespace) -> int:
    """Serve a simulated machine until SIGINT or SIGTERM; its port is the first line on stdout."""
    at_least("--seed", args.seed, 0)
    if args.bus is not None:
        return simulate_bus(args)
    if args.disturb:
        raise UsageError("--disturb is for servos on a bus; add --bus dynamixel or --bus feetech")
    fault = Fault(*moment("fault", args.fault, "KIND", FAULTS)) if args.fault else None
    bundle = load(args.bundle) if args.bundle else None
    machine = _machine(args, bundle)
    simulator = Simulator(
        machine,
        np.random.default_rng(args.seed),
        fault=fault,
        changes=[_change(machine, text) for text in args.change or ()],
        announce=_tell,
        owner=sys.stdin if args.attached else None,
    )
    link = Path(args.link) if args.link else None
    with contextlib.closing(simulator), linked(simulator.port, link), listening() as signals:
        print(simulator.port, flush=True)
        ends = "" if args.attached else "; Ctrl-C ends it"
        _tell(f"simulating {machine.name}, {simulator.described()}{ends}")
        if bundle is not None and not args.family and (said := remark(bundle)):
            _tell(said)
        simulator.run(signals)
    return 0


def _machine(args: argparse.Namespace, bundle: Bundle | None) -> Specimen:
    """The machine that is meant, with its judge where it has one."""
    servos = not args.family and bundle is None
    world = ServoWorld() if servos else world_for(args.family, bundle)
    machine = _chosen(args, world, plain=servos)
    if args.reward is None:
        return machine
    return JudgedSpecimen(machine, _judge(args.reward, bundle.manifest.task if bundle else world.spec))


def _chosen(args: argparse.Namespace, world: World, *, plain: bool) -> Specimen:
    """plain: neither a family nor a bundle is given, and what is not said is said by the servo's description."""
    of_servos = servo_options.given(args)
    if of_servos and not isinstance(world, ServoWorld):
        raise UsageError(f"{of_servos[0]} is for servos; this is a machine of family {world.spec.name!r}")
    if of_servos and args.task is not None:
        raise UsageError(f"--task and {of_servos[0]} both say which servo; give one of them")
    if of_servos or (plain and args.task is None):
        return servo_options.specimen(args)
    return choose(world, Choice.parse(args.task or ""), args.seed)


def _judge(text: str, spec: TaskSpec) -> Judge:
    return Judge(spec, parse_objective(text, spec.features))


def _change(machine: Specimen, text: str) -> Change:
    if not machine.changes:
        raise UsageError(f"--change {text}: machines such as {machine.name} never change")
    return Change(*moment("change", text, "KIND", machine.changes))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
