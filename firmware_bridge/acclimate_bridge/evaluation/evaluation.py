"""Controllers against simulated devices they were never trained on: the measurements behind `evaluate`.

Every device runs in this process on a virtual clock, over the real wire codec. All controllers meet the same
devices, references and noise, and no number depends on how many processes share the work.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Generic, TypeVar

from acclimate.bundle.file import Bundle, load
from acclimate.bundle.manifest import Manifest
from acclimate.command.options import at_least
from acclimate.engines import ENGINES
from acclimate.errors import DeviceFault, UsageError
from acclimate.policy.policy import Policy

from acclimate_bridge.command.options import allowed_shots
from acclimate_bridge.evaluation.pid import Pid, PidGains
from acclimate_bridge.evaluation.references import DEFAULT_STEPS
from acclimate_bridge.evaluation.rig import Bench, DeviceResult
from acclimate_bridge.simulation.deployments import preset_of
from acclimate_bridge.simulation.servos import Friction, Servo

NAMED = ("robust", "oracle")  # what a bundle is compared with; names of algorithms, and of files beside it
T = TypeVar("T")
_Work = tuple[int, int]  # index of the servo, number of the device


@dataclass(frozen=True)
class Plan:
    """What to evaluate. `against`: bundles to compare with; None: the bundle's neighbours in its folder."""

    bundle: Path
    servos: tuple[Servo, ...]
    against: tuple[Path, ...] | None = None
    devices: int = 8
    episodes: int = 4
    shots: int | None = None  # None: as many as the bundle allows
    seed: int = 0
    friction: Friction = "m6"
    engine: str = (
        "onnxruntime"  # one, by name: which is fastest changes from run to run, and roundings with it
    )


@dataclass(frozen=True)
class Results:
    """All devices of an evaluation, in the order of servos, then devices."""

    preset: str
    seed: int
    shots: int  # of the main bundle
    devices: tuple[DeviceResult, ...]
    main: str  # its name
    recurrent: bool = False  # whether it adapts as it acts, without steps


def evaluate(plan: Plan, jobs: int = 1, progress: Callable[[int, int], None] | None = None) -> Results:
    """Run the whole plan on `jobs` processes; `progress(done, total)` counts devices.

    Raises UsageError for a plan that cannot be, BundleError for a bundle that is refused.
    """
    bench = open_bench(plan)  # also where other processes do the work: what is wrong shows here, at once
    devices = tuple(on_all(Work(plan, Bench.run), bench, jobs, progress))
    main, policy = bench.main, bench.policies[bench.main]
    recurrent = main not in NAMED and not policy.can_adapt
    return Results(preset_of(bench.manifest), plan.seed, bench.shots[main], devices, main, recurrent)


@dataclass(frozen=True)
class Work(Generic[T]):
    """What to do on every device of a plan; another process must be able to import `run`."""

    plan: Plan
    run: Callable[[Bench, Servo, int], T]

    def at(self, bench: Bench, place: _Work) -> T:
        return self.run(bench, self.plan.servos[place[0]], place[1])


def on_all(
    work: Work[T], bench: Bench, jobs: int, progress: Callable[[int, int], None] | None
) -> Iterator[T]:
    """The results of all devices, in their order; `bench` is that of the plan."""
    plan = work.plan
    places = list(product(range(len(plan.servos)), range(plan.devices)))
    parallel = min(jobs, len(places))
    results = _elsewhere(work, places, parallel) if parallel > 1 else (work.at(bench, p) for p in places)
    for done, result in enumerate(results, 1):
        yield result
        if progress is not None:
            progress(done, len(places))


def open_bench(plan: Plan) -> Bench:
    """Load the bundles of a plan and replay their golden sequences. Raises as `evaluate`."""
    _check(plan)
    main = load(plan.bundle)
    bundles = {main.manifest.algorithm: main}
    for path in _opponents(plan):
        other = load(path)
        _check_opponent(main, other)
        name = other.manifest.algorithm
        if name in bundles:
            raise UsageError(f"{path} and {bundles[name].path} are both called {name!r}; leave one out")
        bundles[name] = other
    manifests = {name: bundle.manifest for name, bundle in bundles.items()}
    return Bench(
        main.manifest.algorithm,
        {name: Policy(bundle, plan.engine) for name, bundle in bundles.items()},
        _pid(manifests),
        shots=_shots(manifests, plan.shots),
        steps=_steps(bundles),
        episodes=plan.episodes,
        seed=plan.seed,
        friction=plan.friction,
    )


def _pid(manifests: Mapping[str, Manifest]) -> Pid | None:
    """With the gains that the main bundle carries, or else another one."""
    tuned = (PidGains.of(m.baselines["pid"]) for m in manifests.values() if "pid" in m.baselines)
    gains = next(tuned, None)
    return Pid(gains, next(iter(manifests.values()))) if gains else None


def _shots(manifests: Mapping[str, Manifest], wanted: int | None) -> dict[str, int]:
    """Adaptation steps by name: as many as asked for, if the bundle allows as many."""
    allowed = {name: allowed_shots(m, None) for name, m in manifests.items()}
    if wanted is not None:
        most = max(allowed, key=lambda name: allowed[name])  # the first, where none adapts
        allowed_shots(manifests[most], wanted)
        allowed = {name: min(wanted, steps) for name, steps in allowed.items()}
    return allowed


def _steps(bundles: Mapping[str, Bundle]) -> int:
    """Ticks of an episode: as in the windows of those that have one."""
    windows = [(bundle, bundle.manifest.window) for bundle in bundles.values()]
    found = {w.steps: bundle.path for bundle, w in windows if w is not None}
    if len(found) > 1:
        (one, a), (other, b) = list(found.items())[:2]
        raise UsageError(f"{b} cannot be compared with {a}: its episodes have {other} ticks, expected {one}")
    return next(iter(found), DEFAULT_STEPS)


def _opponents(plan: Plan) -> Sequence[Path]:
    if plan.against is not None:
        return plan.against
    neighbours = [plan.bundle.with_name(f"{name}.acclimate") for name in NAMED]
    return [path for path in neighbours if path.is_file() and path.absolute() != plan.bundle.absolute()]


def _check(plan: Plan) -> None:
    if not plan.servos:
        raise UsageError("an evaluation needs at least one servo")
    names = [servo.name for servo in plan.servos]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two servos are called {name!r}; give each its own name in its file")
    if plan.engine not in ENGINES:
        raise UsageError(
            f"--engine {plan.engine} is not one that evaluates; valid names: {', '.join(ENGINES)}"
        )
    at_least("--devices", plan.devices, 1)
    at_least("--episodes", plan.episodes, 1)
    at_least("--seed", plan.seed, 0)


def _check_opponent(main: Bundle, other: Bundle) -> None:
    """Only what was made for the same devices and tasks compares."""
    for what, of in (("task family", _family), ("control_dt", _rate), ("channels", _channels)):
        if of(main.manifest) != of(other.manifest):
            raise UsageError(
                f"{other.path} cannot be compared with {main.path}: its {what} is {of(other.manifest)}, "
                f"expected {of(main.manifest)}"
            )


def _family(manifest: Manifest) -> str:
    return f"{manifest.family.name}, preset {preset_of(manifest)}"


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
                "a process of the evaluation died (out of memory?); try again with --jobs 1"
            ) from error


_bench: Bench | None = None  # of this process, where it is one of several


def _open_here(plan: Plan) -> None:
    global _bench
    _bench = open_bench(plan)


def _run_here(work: Work[T], place: _Work) -> T:
    assert _bench is not None  # the pool calls _open_here first
    return work.at(_bench, place)
