"""How fast a controller becomes good: one drive without a pause, with something happening in the middle of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Literal, NamedTuple

from acclimate.control.drive import Drive
from acclimate.control.trial import EpisodeKey
from acclimate.errors import UsageError
from acclimate.names import did_you_mean
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy
from acclimate.task.spec import TaskSpec

from acclimate_bridge.evaluation.evaluation import Plan, Work, family_of, on_all, open_plan
from acclimate_bridge.evaluation.figures import Figures
from acclimate_bridge.evaluation.pid import Pid
from acclimate_bridge.evaluation.rig import PID, Contest, Place, Rig, tell_truth
from acclimate_bridge.simulation.seeding import CHANGE, generator
from acclimate_bridge.simulation.specimen import Living, Specimen

Since = Literal["start", "change"]
SECONDS = 24.0
_FINE = 10  # narrow bins at a curve's begin
_COARSE = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 9.0, 10.0)  # s, of the others; then the end
_SHORTEST, _LONGEST = 2.0, 3600.0  # s


class Span(NamedTuple):
    """Seconds since the start or since the change: after `begin`, up to `end`."""

    since: Since
    begin: float
    end: float


@dataclass(frozen=True)
class Course:
    """`seconds` of driving; the change, if there is one, happens after `change_at` of them.

    finest: how wide a curve's first bins are, s; at least a control period.
    """

    seconds: float = SECONDS
    change: str | None = None  # one of the machines' changes
    change_at: float = SECONDS / 2
    finest: float = 0.1

    def __post_init__(self) -> None:
        """Raises UsageError for a course on which nothing can be measured."""
        if not _SHORTEST <= self.seconds <= _LONGEST:
            raise UsageError(f"seconds must be from {_SHORTEST:g} to {_LONGEST:g}, found {self.seconds:g}")
        if not all(stretch >= _SHORTEST for stretch in self.stretches.values()):
            raise UsageError(
                f"change_at must leave at least {_SHORTEST:g} s before and after it, "
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
        fine = [round(k * self.finest, 9) for k in range(_FINE)]
        edges = (*fine, *(e for e in _COARSE if e > fine[-1]))
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
    """One machine: for each controller the headline metric in each of the bins, and all metrics in the judged spans."""

    group: str
    number: int
    before: Mapping[str, float]  # true parameters
    after: Mapping[str, float]  # the same where nothing changes
    curves: Mapping[str, tuple[float, ...]]
    judged: Mapping[str, tuple[Figures, ...]]
    refusals: Mapping[str, tuple[str, ...]]  # by policy that takes steps, per step; empty where one was taken


@dataclass(frozen=True)
class Courses:
    """All machines of an evaluation over time, in the order of groups, then numbers."""

    task: TaskSpec
    family: str
    seed: int
    engine: str
    course: Course
    machines: tuple[CourseResult, ...]


def evaluate_over_time(
    plan: Plan, course: Course, jobs: int = 1, progress: Callable[[int, int], None] | None = None
) -> Courses:
    """As `evaluate_all`, along a course. Where the plan does not say how many steps to take, it is one."""
    opened = open_plan(plan)
    course = replace(course, finest=max(course.finest, opened.contest.task.control_dt))
    _check_change(opened.place((0, 0)).machine, course)
    work = Work(plan, partial(drive_all, course, 1 if plan.shots is None else plan.shots))
    machines = tuple(on_all(work, opened, jobs, progress))
    contest = opened.contest
    return Courses(contest.task, family_of(contest.manifest), plan.seed, plan.engine, course, machines)


def _check_change(machine: Specimen, course: Course) -> None:
    if course.change is None or course.change in machine.changes:
        return
    valid = (
        did_you_mean(course.change, machine.changes, of="valid") if machine.changes else ": nothing ever does"
    )
    raise UsageError(f"change {course.change!r} does not happen to machines such as {machine.name}{valid}")


def drive_all(course: Course, most: int, contest: Contest, place: Place) -> CourseResult:
    """All controllers along the course on one machine; at most so many adaptation steps in each stretch."""
    driver = _Driver(course, contest, place)
    driven: dict[str, Drive] = {}
    refusals: dict[str, tuple[str, ...]] = {}
    if contest.pid is not None:
        driven[PID] = driver.classical(contest.pid)
    for name, policy in contest.policies.items():
        steps = min(contest.shots[name], most)
        driven[name], refused = driver.learned(policy, steps)
        if steps:
            refusals[name] = refused
    spans = [course.bins(), course.judged()]
    headline = contest.task.headline.name
    curves, judged = ({name: driver.figures(d, of) for name, d in driven.items()} for of in spans)
    return CourseResult(
        place.group,
        place.number,
        *driver.truths(),
        {name: tuple(figures[headline] for figures in of) for name, of in curves.items()},
        judged,
        refusals,
    )


def drive_main(course: Course, contest: Contest, place: Place) -> Drive:
    """The main bundle along the course on one machine, without steps."""
    return _Driver(course, contest, place).learned(contest.policies[contest.main], 0)[0]


class _Driver:
    """One course on one machine, the same for every controller."""

    def __init__(self, course: Course, contest: Contest, place: Place) -> None:
        self._course, self._contest, self._place = course, contest, place
        self._dt = contest.manifest.control_dt
        self._last = self._tick(course.seconds)
        self._at = self._tick(course.change_at) if course.change else self._last

    def truths(self) -> tuple[dict[str, float], dict[str, float]]:
        """The true parameters before and after the change."""
        plant = self._place.machine.start(generator(0))
        before = dict(plant.parameters)
        self._change(plant)
        return before, dict(plant.parameters)

    def classical(self, pid: Pid) -> Drive:
        """The sign test comes before; then the same start as for everybody. What changes later, it is not told."""
        with self._contest.rig(pid, self._place) as rig:
            self._contest.find_sign(pid, rig, self._place)
        with self._contest.rig(pid, self._place) as rig:
            drive = self._drive(rig)
            drive.on(self._last + 1)
            return drive

    def learned(self, policy: Policy, steps: int) -> tuple[Drive, tuple[str, ...]]:
        """A policy that takes no steps drives on and on, and is reset never; what is privileged is told the news."""
        policy.restore()
        with self._contest.rig(policy, self._place, policy.manifest) as rig:
            tell_truth(policy, rig.plant)
            drive = self._drive(rig, policy)
            refusals = tuple(self._stepping(policy, drive, steps)) if steps else ()
            if not steps:
                drive.on(self._last + 1)
            return drive, refusals

    def figures(self, drive: Drive, spans: list[Span]) -> tuple[Figures, ...]:
        """Every metric in each span, of what was observed after `begin`, up to `end`."""
        return tuple(drive.metrics(*self._ticks(span)) for span in spans)

    def _stepping(self, policy: Policy, drive: Drive, steps: int) -> Iterator[str]:
        """Explore and adapt after the start; and after the change once more, from the beginning.

        A machine that has become another one is a new task, and a policy's steps begin at the parameters that they
        were meta-trained to begin at. Somebody has to tell it so: it does not notice by itself.
        """
        guard = Guard.of(policy.manifest)
        for until in sorted({self._at + 1, self._last + 1}):
            policy.reset("trial")
            yield from [drive.explore(policy, guard, until) for _ in range(steps)]
            drive.on(until)

    def _drive(self, rig: Rig, policy: Policy | None = None) -> Drive:
        episodes = self._contest.references(self._place, self._last, rig.link)
        reference = episodes(rig.loop.measure(), EpisodeKey(0, "measure", 0))

        def change() -> None:
            self._change(rig.plant)
            if policy is not None:
                tell_truth(policy, rig.plant)

        return Drive(rig.loop, reference, {self._at: change}, self._contest.exploration(self._place))

    def _change(self, plant: Living) -> None:
        if self._course.change is not None:
            plant.change(self._course.change, generator(self._contest.seed, *self._place.key, CHANGE))

    def _ticks(self, span: Span) -> tuple[int, int]:
        """Those whose outcome falls into the span: from, until."""
        since = self._at if span.since == "change" else 0
        return since + self._tick(span.begin), since + self._tick(span.end)

    def _tick(self, seconds: float) -> int:
        return round(seconds / self._dt)
