"""The verb `faults`: from its arguments to a bad link in front of a device."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from acclimate.command.options import at_least
from acclimate.json_text import json_text

from acclimate_bridge.command.connecting import SCHEME
from acclimate_bridge.link.line import Transport
from acclimate_bridge.link.transport import SerialTransport
from acclimate_bridge.simulation.faults.plan import KINDS, FaultPlan
from acclimate_bridge.simulation.faults.proxy import FaultProxy
from acclimate_bridge.simulation.simulator import listening
from acclimate_bridge.simulation.spawn import simulated_port

IN_MS = ("latency", "jitter", "burst")
OTHERS = ("pace", "drift", "stall", "stalled", "unplug", "unplugged", "reset", "brown_out")


def run_faults(args: argparse.Namespace) -> int:
    """Serve a bad link until SIGINT or SIGTERM; its port is the first line on stdout, and what it did comes last."""
    plan = plan_of(args)
    rng = np.random.default_rng(at_least("--seed", args.seed, 0))
    link = Path(args.link) if args.link else None
    with _upstream(args.upstream, args.baud) as (transport, reboot):
        proxy = FaultProxy(transport, plan, rng, reboot=reboot, announce=_tell, link=link)
        with contextlib.closing(proxy), listening() as signals:
            print(proxy.port, flush=True)
            _tell(f"a link to {args.upstream} on which things go wrong; Ctrl-C ends it")
            proxy.run(signals)
    print(json_text(proxy.report()))
    return 0


def plan_of(args: argparse.Namespace) -> FaultPlan:
    """What is to go wrong. Raises UsageError for what cannot be."""
    given = {name: getattr(args, name) for name in (*KINDS, *OTHERS)}
    given |= {name: None if (ms := getattr(args, name)) is None else ms * 1e-3 for name in IN_MS}
    return FaultPlan(**{name: value for name, value in given.items() if value is not None})


@contextlib.contextmanager
def _upstream(port: str, baud: int) -> Iterator[tuple[Transport, Callable[[], None]]]:
    """The device, simulated if so named, and how to reset it."""
    with contextlib.ExitStack() as stack:
        if port.startswith(SCHEME):
            task = port.removeprefix(SCHEME)
            device = stack.enter_context(simulated_port(*([f"--task={task}"] if task else [])))
            transport = stack.enter_context(contextlib.closing(SerialTransport(device.port, baud)))
            yield transport, device.reboot
        else:
            transport = stack.enter_context(contextlib.closing(SerialTransport(port, baud)))
            yield transport, transport.reset


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
