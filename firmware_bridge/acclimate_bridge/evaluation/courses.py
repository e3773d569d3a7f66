"""How fast a controller becomes good: one drive without a pause, with something happening in the middle of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.control.drive import Drive
from acclimate.control.trial import EpisodeKey
from acclimate.errors import UsageError
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy

from acclimate_bridge.evaluation.evaluation import Plan, Work, on_all, open_bench
from acclimate_bridge.evaluation.pid import Pid
from acclimate_bridge.evaluation.rig import PID, Bench, Field, Rig
from acclimate_bridge.simulation.changes import ChangeKind, changed
from acclimate_bridge.simulation.deployments import preset_of, privileged
from acclimate_bridge.simulation.plant import Deployment
from acclimate_bridge.simulation.servos import Servo

Since = Literal["start", "change"]
SECONDS = 24.0
_FINE, _COARSE = 0.1, (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 9.0, 10.0)  # s, of a curve's bins; then the end
_SHORTEST, _LONGEST = 2.0, 3600.0  # s


class Span(NamedTuple):
    """Seconds since the start or since the change: after `begin`, up to `end`."""

    since: Since
    begin: float
    end: float


@dataclass(frozen=True)
class Course:
    """`seconds` of driving; the change, if there is one, happens after `change_at` of them."""

    seconds: float = SECONDS
    change: ChangeKind | None = None
    change_at: float = SECONDS / 2

    def __post_init__(self) -> None:
        """Raises UsageError for a course on which nothing can be measured."""
        if not _SHORTEST <= self.seconds <= _LONGEST:
            raise UsageError(f"--seconds must be from {_SHORTEST:g} to {_LONGEST:g}, found {self.seconds:g}")
        if not all(stretch >= _SHORTEST for stretch in self.stretches.values()):
            raise UsageError(
                f"--change-at must leave at least {_SHORTEST:g} s before and after it, "
                f"found {self.change_at:g} of {self.seconds:g}"
            )

    @property
    def stretches(self) -> dict[Since, float]:
        """How long, in s, there is something to see since the start, and since the change."""
        if self.change is None:
            return {"start": self.seconds}
        return {"start": self.change_at, "change": self.seconds - self.change_at}

    def bins(self) -> list[Span]:
        """What a curve's points are taken over."""
        edges = (*(round(k * _FINE, 1) for k in range(10)), *_COARSE)
        ends = {since: [*(e for e in edges if e < end), end] for since, end in self.stretches.items()}
        return [Span(since, *pair) for since, of in ends.items() for pair in pairwise(of)]

    def judged(self) -> list[Span]:
        """The first half second, the second second, all after the first second, and the last two."""
        spans = [
            Span(since, *ends)
            for since, end in self.stretches.items()
            for ends in ((0.0, 0.5), (1.0, 2.0), (1.0, end), (end - 2.0, end))
        ]
        return list(dict.fromkeys(spans))


@dataclass(frozen=True)
class CourseResult:
    """One device: for each controller its tracking error (rad, RMS) in each of the bins, then of the judged spans."""

    servo: str
    device: int
    before: Deployment
    after: Deployment  # the same where nothing changes
    errors: Mapping[str, tuple[float, ...]]
    refusals: Mapping[str, tuple[str, ...]]  # by policy that takes steps, per step; empty where one was taken


@dataclass(frozen=True)
class Courses:
    """All devices of an evaluation over time, in the order of servos, then devices."""

    preset: str
    seed: int
    course: Course
    devices: tuple[CourseResult, ...]


def evaluate_over_time(
    plan: Plan, course: Course, jobs: int = 1, progress: Callable[[int, int], None] | None = None
) -> Courses:
    """As `evaluate`, along a course. Where the plan does not say how many steps to take, it is one."""
    bench = open_bench(plan)
    work = Work(plan, partial(drive_all, course, 1 if plan.shots is None else plan.shots))
    devices = tuple(on_all(work, bench, jobs, progress))
    return Courses(preset_of(bench.manifest), plan.seed, course, devices)


def drive_all(course: Course, most: int, bench: Bench, servo: Servo, device: int) -> CourseResult:
    """All controllers along the course on one device; at most so many adaptation steps in each stretch."""
    field = bench.field(servo, device)
    before = field.deployment
    after = changed(servo, before, course.change) if course.change else before
    driver = _Driver(course, bench, field, after)
    errors: dict[str, tuple[float, ...]] = {}
    refusals: dict[str, tuple[str, ...]] = {}
    if bench.pid is not None:
        errors[PID] = driver.classical(bench.pid)
    for name, policy in bench.policies.items():
        steps = min(bench.shots[name], most)
        errors[name], refused = driver.learned(policy, steps)
        if steps:
            refusals[name] = refused
    return CourseResult(servo.name, device, before, after, errors, refusals)


class _Driver:
    """One course on one device, the same for every controller."""

    def __init__(self, course: Course, bench: Bench, field: Field, after: Deployment) -> None:
        self._course, self._bench, self._field, self._after = course, bench, field, after
        self._dt = bench.manifest.control_dt
        self._last = self._tick(course.seconds)
        self._at = self._tick(course.change_at) if course.change else self._last

    def classical(self, pid: Pid) -> tuple[float, ...]:
        """The sign test comes before; then the same start as for everybody. What changes later, it is not told."""
        with self._bench.rig(pid, self._field) as rig:
            self._bench.find_sign(pid, rig, self._field)
        with self._bench.rig(pid, self._field) as rig:
            drive = self._drive(rig)
            drive.on(self._last + 1)
        return self._errors(drive.obs)

    def learned(self, policy: Policy, steps: int) -> tuple[tuple[float, ...], tuple[str, ...]]:
        """A policy that takes no steps drives on and on, and is reset never; what is privileged is told the news."""
        self._bench.prepare(policy, self._field)
        with self._bench.rig(policy, self._field, policy.manifest) as rig:
            drive = self._drive(rig, policy)
            refusals = tuple(self._stepping(policy, drive, steps)) if steps else ()
            if not steps:
                drive.on(self._last + 1)
        return self._errors(drive.obs), refusals

    def _stepping(self, policy: Policy, drive: Drive, steps: int) -> Iterator[str]:
        """Explore and adapt after the start; and after the change once more, from the beginning.

        A device that has become another one is a new task, and a policy's steps begin at the parameters that they
        were meta-trained to begin at. Somebody has to tell it so: it does not notice by itself.
        """
        guard = Guard.of(policy.manifest)
        for until in sorted({self._at + 1, self._last + 1}):
            policy.reset("trial")
            yield from [drive.explore(policy, guard, until) for _ in range(steps)]
            drive.on(until)

    def _drive(self, rig: Rig, policy: Policy | None = None) -> Drive:
        references = self._bench.references(self._field, self._last)
        reference = references(rig.loop.measure(), EpisodeKey(0, "measure", 0))

        def change() -> None:
            rig.plant.deployment = self._after
            if policy is not None and policy.manifest.privileged:
                names = policy.manifest.privileged
                policy.set_state("task", privileged(self._field.servo, self._after, names))

        return Drive(rig.loop, reference, {self._at: change}, self._bench.exploration(self._field))

    def _errors(self, obs: FloatArray) -> tuple[float, ...]:
        task = self._bench.manifest.task
        measured, wanted = (task.index(name) for name in task.headline.pairs[0])
        squares = (obs[:, measured].astype(np.float64) - obs[:, wanted]) ** 2
        spans = [*self._course.bins(), *self._course.judged()]
        return tuple(float(np.sqrt(np.mean(squares[self._rows(span)]))) for span in spans)

    def _rows(self, span: Span) -> slice:
        """What was observed after `begin`, up to `end`."""
        since = self._at if span.since == "change" else 0
        return slice(since + self._tick(span.begin) + 1, since + self._tick(span.end) + 1)

    def _tick(self, seconds: float) -> int:
        return round(seconds / self._dt)
