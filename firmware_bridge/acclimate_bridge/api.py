"""Evaluating and simulating from Python, as easy as from the command line.

acclimate_bridge.evaluate("adaptive.acclimate", servos=["XL-320", "MX-64"])

with acclimate_bridge.simulate("adaptive.acclimate", "XL-320") as device:
    ...  # device.port, as any serial port

with acclimate_bridge.simulate_here("adaptive.acclimate", "#7") as device:
    ...  # device.link and device.clock, for a control loop on simulated time
"""

from __future__ import annotations

import contextlib
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
from acclimate.atomic import write_atomically
from acclimate.bundle.file import load
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.json_text import json_text
from acclimate.names import did_you_mean
from acclimate.stats import Interval

from acclimate_bridge.evaluation import courses_report, report
from acclimate_bridge.evaluation.courses import SECONDS, Course, Courses, evaluate_over_time
from acclimate_bridge.evaluation.evaluation import HeldOutFleet, Plan, Results, evaluate_all, usual_engine
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.simulation.choice import Choice
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.lockstep import LockstepTransport, VirtualClock
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_bridge.simulation.servo.motors import Friction
from acclimate_bridge.simulation.spawn import SimulatedPort, simulated_port
from acclimate_bridge.simulation.specimen import Living
from acclimate_bridge.simulation.worlds import choose, world_for

File: TypeAlias = "str | PathLike[str]"
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What an evaluation has found; its `repr` is the table that `acclimate evaluate` prints."""

    results: Results | Courses

    def __getitem__(self, controller: str) -> tuple[Interval, ...]:
        """The headline of a controller over all machines: after 0, 1, … steps, or in each of the judged spans."""
        rows = self._rows()
        found = tuple(figure for name, figure in rows if name == controller)
        if not found:
            names = list(dict.fromkeys(name for name, _ in rows))
            raise UsageError(
                f"no controller is called {controller!r}{did_you_mean(controller, names, of='there are')}"
            )
        return found

    @property
    def gap_closed(self) -> Mapping[str, float | None]:
        """By the number of steps, the share of the gap from robust policy to oracle; empty for a drive over time."""
        return report.gap_closed(self.results) if isinstance(self.results, Results) else {}

    @property
    def tree(self) -> dict[str, Json]:
        """What `acclimate evaluate --json` prints."""
        found = self.results
        return report.tree(found) if isinstance(found, Results) else courses_report.tree(found)

    @property
    def lines(self) -> list[str]:
        """The table, line by line."""
        found = self.results
        return report.table(found) if isinstance(found, Results) else courses_report.table(found)

    def save(self, path: File) -> None:
        """Write the JSON object."""
        write_atomically(Path(path), (json_text(self.tree) + "\n").encode())

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"

    def _rows(self) -> list[tuple[str, Interval]]:
        found = self.results
        if isinstance(found, Results):
            return [(r.controller, r.figure) for r in report.rows(found) if r.group == report.ALL]
        return [(p.controller, p.figure) for p in courses_report.summary(found) if p.group == report.ALL]


def evaluate(
    bundle: File,
    *,
    against: Sequence[File] | None = None,
    servos: Sequence[str] | None = None,
    friction: Friction | None = None,
    outside: float | None = None,
    family: str | None = None,
    machines: int | None = None,
    episodes: int = 4,
    shots: int | None = None,
    seconds: float | None = None,
    change: str | None = None,
    change_at: float | None = None,
    seed: int = 0,
    engine: str | None = None,
    tune_pid: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Evaluation:
    """Compare a bundle with other controllers on simulated machines that it never saw.

    against: bundles to compare with; robust and oracle beside it if left out. servos, friction: of a bundle for servos,
    these types; outside: beyond the ranges of training by up to this factor. family: FILE.py:CLASS, where that is not
    where the bundle says. seconds, change, change_at: drive without a pause, with something happening on the way.
    tune_pid: compare with a PID tuned on each machine alone, too. progress(done, total) counts machines.

    Raises UsageError, in one sentence, for what cannot be.
    """
    of_servos = servos is not None or friction is not None or outside is not None
    plan = Plan(
        bundle=Path(bundle),
        fleet=ServoFleet.of(servos, friction, outside) if of_servos else HeldOutFleet(family),
        against=None if against is None else tuple(Path(path) for path in against),
        machines=machines,
        episodes=episodes,
        shots=shots,
        seed=seed,
        engine=engine or usual_engine(),
        tune_pid=tune_pid,
    )
    if seconds is None and change is None:
        return Evaluation(evaluate_all(plan, jobs, progress))
    seconds = SECONDS if seconds is None else seconds
    course = Course(seconds, change, seconds / 2 if change_at is None else change_at)
    return Evaluation(evaluate_over_time(plan, course, jobs, progress))


@contextlib.contextmanager
def simulate(
    bundle: File | None = None, machine: str = "", *, family: str | None = None, seed: int = 0
) -> Iterator[SimulatedPort]:
    """A simulated device in a process of its own, in real time, for as long as the block runs; see its `port`.

    bundle: of whose family it is; or family: FILE.py:CLASS, or a built-in name. machine: "#7" for held-out machine 7,
    "NAME=VALUE,…" for true parameters, or the name of a servo; the first held-out one if left out.
    """
    which = [str(bundle)] if bundle is not None else []
    which += ["--family", family] if family is not None else []
    with simulated_port(*which, f"--task={machine}", f"--seed={seed}") as device:
        yield device


@dataclass(frozen=True, repr=False)
class DeviceHere:
    """A simulated device in this process, on simulated time: its clock only moves when somebody sleeps on it."""

    name: str
    link: HostLink  # an `acclimate.control.device.Device`
    clock: VirtualClock
    plant: Living

    def __repr__(self) -> str:
        return f"<simulated {self.name}: {self.plant.described()}>"


@contextlib.contextmanager
def simulate_here(
    bundle: File | None = None, machine: str = "", *, family: str | None = None, seed: int = 0
) -> Iterator[DeviceHere]:
    """As `simulate`, in this process and as fast as it can be: for tests, and for control loops on simulated time."""
    if bundle is None and family is None:
        family = "servo"
    world = world_for(family, None if bundle is None else load(Path(bundle)))
    specimen, clock = choose(world, Choice.parse(machine), seed), VirtualClock()
    plant = specimen.start(np.random.default_rng(seed))
    transport = LockstepTransport(DeviceCore(plant, specimen.profile, boot_id=1), clock, specimen.name)
    with HostLink(transport, clock, samples_per_period=1) as link:
        yield DeviceHere(specimen.name, link, clock, plant)
