"""Controllers against simulated devices they were never trained on: the measurements behind `evaluate`.

Every device runs in this process on a virtual clock, over the real wire codec. All controllers meet the same
devices, references and noise, and no number depends on how many processes share the work.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from acclimate.bundle import Bundle, load
from acclimate.errors import DeviceFault, UsageError
from acclimate.manifest import Manifest
from acclimate.policy import Policy

from acclimate_bridge.bench import ADAPTIVE, Bench, DeviceResult
from acclimate_bridge.options import allowed_shots, at_least
from acclimate_bridge.pid import Pid
from acclimate_bridge.servos import Friction, Servo

NAMED = ("robust", "oracle")  # algorithms that give their controller its name
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


@dataclass(frozen=True)
class Results:
    """All devices of an evaluation, in the order of servos, then devices."""

    preset: str
    seed: int
    shots: int
    devices: tuple[DeviceResult, ...]


def evaluate(plan: Plan, jobs: int = 1, progress: Callable[[int, int], None] | None = None) -> Results:
    """Run the whole plan on `jobs` processes; `progress(done, total)` counts devices.

    Raises UsageError for a plan that cannot be, BundleError for a bundle that is refused.
    """
    bench = open_bench(plan)  # also where other processes do the work: what is wrong shows here, at once
    work = list(product(range(len(plan.servos)), range(plan.devices)))
    parallel = min(jobs, len(work))
    devices: list[DeviceResult] = []
    for device in _elsewhere(plan, work, parallel) if parallel > 1 else _here(bench, plan, work):
        devices.append(device)
        if progress is not None:
            progress(len(devices), len(work))
    return Results(bench.manifest.family.preset, plan.seed, bench.shots, tuple(devices))


def open_bench(plan: Plan) -> Bench:
    """Load the bundles of a plan and replay their golden sequences. Raises as `evaluate`."""
    _check(plan)
    main = load(plan.bundle)
    manifest = main.manifest
    names = {_name(main): main}
    for path in _opponents(plan):
        other = load(path)
        _check_opponent(main, other)
        if _name(other) in names:
            raise UsageError(
                f"{path} and {names[_name(other)].path} are both called {_name(other)!r}; leave one out"
            )
        names[_name(other)] = other
    gains = manifest.baselines.pid
    return Bench(
        manifest,
        {name: Policy(bundle) for name, bundle in names.items()},
        Pid(gains, manifest) if gains else None,
        shots=allowed_shots(manifest, plan.shots),
        episodes=plan.episodes,
        seed=plan.seed,
        friction=plan.friction,
    )


def _name(bundle: Bundle) -> str:
    """What a bundle is called in the report."""
    algorithm = bundle.manifest.algorithm
    return algorithm if algorithm in NAMED else ADAPTIVE


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
    return f"{manifest.family.name}, preset {manifest.family.preset}"


def _rate(manifest: Manifest) -> str:
    return f"{manifest.control_dt:g} s"


def _channels(manifest: Manifest) -> str:
    observed = ", ".join(channel.name for channel in manifest.observation)
    return f"({observed}) -> ({', '.join(channel.name for channel in manifest.action)})"


def _here(bench: Bench, plan: Plan, work: Sequence[_Work]) -> Iterator[DeviceResult]:
    for servo, device in work:
        yield bench.run(plan.servos[servo], device)


def _elsewhere(plan: Plan, work: Sequence[_Work], processes: int) -> Iterator[DeviceResult]:
    # spawn, not fork: an engine's threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _open_here, (plan,)) as pool:
        try:
            yield from pool.map(_run_here, work)
        except BrokenProcessPool as error:
            raise DeviceFault(
                "a process of the evaluation died (out of memory?); try again with --jobs 1"
            ) from error


_bench: tuple[Bench, Plan] | None = None  # of this process, where it is one of several


def _open_here(plan: Plan) -> None:
    global _bench
    _bench = open_bench(plan), plan


def _run_here(work: _Work) -> DeviceResult:
    assert _bench is not None  # the pool calls _open_here first
    bench, plan = _bench
    return bench.run(plan.servos[work[0]], work[1])
