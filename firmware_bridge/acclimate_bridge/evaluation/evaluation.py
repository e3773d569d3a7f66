"""Controllers against simulated machines they were never trained on: the measurements behind `evaluate`.

Every machine runs in this process on a virtual clock, over the real wire codec. All controllers meet the same
machines, references and noise, and no number depends on how many processes share the work.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

from acclimate.bundle.file import Bundle, load
from acclimate.bundle.manifest import Manifest
from acclimate.engines import ENGINES, missing
from acclimate.errors import DeviceFault, UsageError
from acclimate.names import did_you_mean
from acclimate.policy.continual import Continual
from acclimate.policy.policy import Policy
from acclimate.task.spec import TaskSpec

from acclimate_bridge.evaluation.episodes import allowed_shots, episode_steps
from acclimate_bridge.evaluation.pid import Pid
from acclimate_bridge.evaluation.rig import PID, Contest, MachineResult, Place
from acclimate_bridge.simulation.worlds import Group, groups_of, world_of

NAMED = ("robust", "oracle")  # algorithms that a bundle is compared with
# What the files beside it that hold them are called; the oracle that counts has the memory of its contestants, too.
_BESIDE = {"robust": ("robust",), "oracle": ("rl2_oracle", "oracle")}
_FEW, _MANY = 8, 24  # machines of each group where there are several, and where there is one
T = TypeVar("T")
_Work = tuple[int, int]  # index of the group, number of the machine


class Fleet(Protocol):
    """Which machines to evaluate on; another process must be able to unpickle it."""

    def groups(self, bundle: Bundle) -> tuple[Group, ...]:
        """Raises UsageError where there are no such machines."""
        ...


@dataclass(frozen=True)
class HeldOutFleet:
    """The held-out machines of the family that the bundle was trained for.

    file: FILE.py:CLASS, where the family's file is not where the bundle says.
    """

    file: str | None = None

    def groups(self, bundle: Bundle) -> tuple[Group, ...]:
        return groups_of(world_of(bundle, self.file))


def usual_engine() -> str:
    """The engine to evaluate on where none is named: the first of these that is installed.

    Not the fastest, which may be another one in the next run, and rounds in another way.
    """
    order = ("onnxruntime", "litert", "native")
    return next((name for name in order if not missing(name)), order[0])


@dataclass(frozen=True)
class Plan:
    """What to evaluate. `against`: bundles to compare with; None: the bundle's neighbours in its folder."""

    bundle: Path
    fleet: Fleet = HeldOutFleet()
    against: tuple[Path, ...] | None = None
    machines: int | None = None  # of each group; None: 8, or 24 where there is one group
    episodes: int = 4
    shots: int | None = None  # None: as many as the bundle allows
    seed: int = 0
    engine: str = field(default_factory=usual_engine)
    tune_pid: bool = False  # on each machine, beside the one that was tuned on the family

    def __post_init__(self) -> None:
        """Raises UsageError for a plan that cannot be."""
        if self.engine not in ENGINES:
            raise UsageError(
                f"engine {self.engine!r} is not one that evaluates{did_you_mean(self.engine, ENGINES)}"
            )
        for name, least in (("machines", 1), ("episodes", 1), ("seed", 0)):
            value: int | None = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least}, found {value}")


@dataclass(frozen=True)
class Results:
    """All machines of an evaluation, in the order of groups, then numbers."""

    task: TaskSpec
    family: str  # as `family_of` calls it
    seed: int
    engine: str
    shots: int  # of the main bundle
    machines: tuple[MachineResult, ...]
    main: str  # its name
    recurrent: bool = False  # whether it adapts as it acts, without steps


class Opened(NamedTuple):
    """What a plan needs in a process: the controllers, and the machines."""

    contest: Contest
    groups: tuple[Group, ...]
    machines: int  # of each group

    def place(self, at: _Work) -> Place:
        return self.contest.place(self.groups[at[0]], at[1])


def evaluate_all(plan: Plan, jobs: int = 1, progress: Callable[[int, int], None] | None = None) -> Results:
    """Run the whole plan on `jobs` processes; `progress(done, total)` counts machines.

    Raises UsageError for a plan that cannot be, BundleError for a bundle that is refused.
    """
    opened = open_plan(plan)  # also where other processes do the work: what is wrong shows here, at once
    machines = tuple(on_all(Work(plan, Contest.run), opened, jobs, progress))
    contest = opened.contest
    main, policy = contest.main, contest.policies[contest.main]
    return Results(
        contest.task,
        family_of(contest.manifest),
        plan.seed,
        plan.engine,
        contest.shots[main],
        machines,
        main,
        recurrent=main not in NAMED and not policy.can_adapt,
    )


@dataclass(frozen=True)
class Work(Generic[T]):
    """What to do on every machine of a plan; another process must be able to import `run`."""

    plan: Plan
    run: Callable[[Contest, Place], T]

    def at(self, opened: Opened, place: _Work) -> T:
        return self.run(opened.contest, opened.place(place))


def on_all(
    work: Work[T], opened: Opened, jobs: int, progress: Callable[[int, int], None] | None
) -> Iterator[T]:
    """The results of all machines, in their order; `opened` is that of the plan."""
    places = list(product(range(len(opened.groups)), range(opened.machines)))
    parallel = min(jobs, len(places))
    results = _elsewhere(work, places, parallel) if parallel > 1 else (work.at(opened, p) for p in places)
    for done, result in enumerate(results, 1):
        yield result
        if progress is not None:
            progress(done, len(places))


def open_plan(plan: Plan) -> Opened:
    """Load the bundles of a plan and replay their golden sequences; find its machines. Raises as `evaluate_all`."""
    main = load(plan.bundle)
    bundles = {main.manifest.algorithm: main}
    for path in _opponents(plan, main):
        other = load(path)
        _check_opponent(main, other)
        name = other.manifest.algorithm
        if name in bundles:
            raise UsageError(f"{path} and {bundles[name].path} are both called {name!r}; leave one out")
        bundles[name] = other
    manifests = {name: bundle.manifest for name, bundle in bundles.items()}
    contest = Contest(
        main.manifest.algorithm,
        {name: Policy(bundle, plan.engine) for name, bundle in bundles.items()},
        _pid(manifests),
        shots=_shots(manifests, plan.shots),
        steps=_steps(bundles),
        episodes=plan.episodes,
        seed=plan.seed,
        tune=plan.tune_pid,
    )
    groups = _groups(plan, main)
    return Opened(contest, groups, plan.machines or (_MANY if len(groups) == 1 else _FEW))


def _groups(plan: Plan, bundle: Bundle) -> tuple[Group, ...]:
    groups = plan.fleet.groups(bundle)
    if not groups:
        raise UsageError("an evaluation needs at least one machine")
    names = [group.name for group in groups]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two machines are called {name!r}; give each its own name in its file")
    return groups


def family_of(manifest: Manifest) -> str:
    """What a bundle's machines are called: their family, and what of its options is said in words."""
    words = [value for value in manifest.family.options.values() if isinstance(value, str)]
    return " ".join([manifest.family.name, *words])


def _pid(manifests: Mapping[str, Manifest]) -> Pid | None:
    """With the settings that the main bundle carries, or else another one."""
    tuned = (m.baselines[PID] for m in manifests.values() if PID in m.baselines)
    settings = next(tuned, None)
    return Pid(settings, next(iter(manifests.values())).task) if settings else None


def _shots(manifests: Mapping[str, Manifest], wanted: int | None) -> dict[str, int]:
    """Adaptation steps by name: as many as asked for, if the bundle allows as many."""
    allowed = {name: allowed_shots(m, None) for name, m in manifests.items()}
    if wanted is not None:
        most = max(allowed, key=lambda name: allowed[name])  # the first, where none adapts
        allowed_shots(manifests[most], wanted)
        allowed = {name: min(wanted, steps) for name, steps in allowed.items()}
    return allowed


def _steps(bundles: Mapping[str, Bundle]) -> int:
    """Ticks of an episode: as in the windows of those that explore in episodes."""
    exploring = [b for b in bundles.values() if b.manifest.window and not Continual.suits(b.manifest)]
    found = {episode_steps(bundle.manifest): bundle.path for bundle in exploring}
    if len(found) > 1:
        (one, a), (other, b) = list(found.items())[:2]
        raise UsageError(f"{b} cannot be compared with {a}: its episodes have {other} ticks, expected {one}")
    return next(iter(found), episode_steps(next(iter(bundles.values())).manifest))


def _opponents(plan: Plan, main: Bundle) -> Sequence[Path]:
    if plan.against is not None:
        return plan.against
    found = (_neighbour(main, names) for role, names in _BESIDE.items() if role != main.manifest.algorithm)
    return [path for path in found if path is not None]


def _neighbour(main: Bundle, names: Sequence[str]) -> Path | None:
    """The file of the first of these names beside a bundle: NAME, or as servo_wide_NAME beside servo_wide_maml."""
    stem, algorithm = main.path.stem, main.manifest.algorithm
    prefixes = [stem.removesuffix(algorithm)] if stem.endswith(f"_{algorithm}") else []
    places = [main.path.with_name(f"{p}{name}.acclimate") for p in (*prefixes, "") for name in names]
    return next((path for path in places if path.is_file()), None)


def _check_opponent(main: Bundle, other: Bundle) -> None:
    """Only what was made for the same machines and tasks compares."""
    for what, of in (("task family", family_of), ("control_dt", _rate), ("channels", _channels)):
        if of(main.manifest) != of(other.manifest):
            raise UsageError(
                f"{other.path} cannot be compared with {main.path}: its {what} is {of(other.manifest)}, "
                f"expected {of(main.manifest)}"
            )


def _rate(manifest: Manifest) -> str:
    return f"{manifest.control_dt:g} s"


def _channels(manifest: Manifest) -> str:
    observed = ", ".join(channel.name for channel in manifest.observation)
    return f"({observed}) -> ({', '.join(channel.name for channel in manifest.action)})"


def _elsewhere(work: Work[T], places: Sequence[_Work], processes: int) -> Iterator[T]:
    # spawn, not fork: an engine's threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _open_here, (work.plan,)) as pool:
        try:
            yield from pool.map(partial(_run_here, work), places)
        except BrokenProcessPool as error:
            raise DeviceFault(
                "a process of the evaluation died (out of memory?); try again with one job alone"
            ) from error


_opened: Opened | None = None  # in this process, where it is one of several


def _open_here(plan: Plan) -> None:
    global _opened
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _opened = open_plan(plan)


def _end_with_parent() -> None:
    """Whatever ended it, nobody is there any more to be told what comes out."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is one of the pool's processes
    parent.join()
    os._exit(1)


def _run_here(work: Work[T], place: _Work) -> T:
    assert _opened is not None  # the pool calls _open_here first
    return work.at(_opened, place)
