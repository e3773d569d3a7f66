"""The verb `run` with `--seconds` and the like: one drive without a pause, in real time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from acclimate.arrays import FloatArray
from acclimate.control.clock import RealClock
from acclimate.control.device import begin_episode
from acclimate.control.drive import Drive
from acclimate.control.loop_stats import LoopStats
from acclimate.control.trial import EpisodeKey
from acclimate.fields import Json
from acclimate.policy.objectives import set_objective
from acclimate.policy.policy import Policy, Scope
from acclimate.task.episode import Episode

from acclimate_bridge.command import traffic
from acclimate_bridge.command.drive_plan import DrivePlan
from acclimate_bridge.command.feeds import Columns, LiveFeed, reader, require_reach, tabulated
from acclimate_bridge.command.following import Followed, endless, follow
from acclimate_bridge.command.objectives import Listener
from acclimate_bridge.command.operating import Operation, Ready, Tell, armed
from acclimate_bridge.command.traffic import Counters
from acclimate_bridge.command.watch import Watch
from acclimate_bridge.evaluation.episodes import SeededEpisodes
from acclimate_bridge.evaluation.figures import Figures, beside, figures_of, quantity
from acclimate_bridge.simulation.seeding import generator

_DRAWS = 2  # key of the random numbers that actions are drawn by; references and exploration have others
KEY = EpisodeKey(0, "measure", 0)  # of the one episode that it is


class Driven(NamedTuple):
    """What came of it; seconds: of driving."""

    plan: DrivePlan
    seconds: float
    episode: Episode
    forgotten: tuple[tuple[str, ...], ...]  # per reset, the tensors that it put back
    stats: LoopStats
    link: Counters


def prepare(policy: Policy, plan: DrivePlan, fresh: bool) -> None:
    """The policy as it is to begin. fresh: with what it came with."""
    if fresh:
        policy.reset("trial")
    for weights, at in plan.objectives:
        if not at:
            set_objective(policy, weights)


def drive_on(
    machine: Ready,
    policy: Policy,
    plan: DrivePlan,
    operation: Operation,
    watch: Watch,
    *,
    seed: int,
    record: Callable[[Episode], None],
    tell: Tell,
) -> Driven:
    """Drive for the plan's seconds, noise-free unless it says otherwise. Raises DeviceFault, Diverged.

    `record` is given what was driven, also where it is cut short.
    """
    manifest = policy.manifest
    assert plan.seconds is not None  # a plan that streams is for `stream`
    ticks = round(plan.seconds / manifest.control_dt)
    heard = Listener(policy, sys.stdin, tell).poll if plan.listen else None
    reference = _reference(machine, plan, ticks, seed)
    with armed(machine, manifest, operation, watch) as loop:
        events, rng = _events(machine, policy, plan), generator(seed, _DRAWS)
        drive = Drive(loop, reference, events, rng, every=heard, record=record)
        episode = drive.on(ticks + 1, explore=plan.drawn)
    forgotten = tuple(tuple(policy.forgets(scope)) for scope, _ in plan.resets)
    return Driven(plan, plan.seconds, episode, forgotten, loop.stats(), traffic.counters(machine.device))


def _reference(machine: Ready, plan: DrivePlan, ticks: int, seed: int) -> FloatArray:
    """(ticks + 1, n_ref), drawn before the machine is armed: a long one takes a while."""
    if plan.rows:
        columns = Columns(machine.task, machine.device.caps)
        require_reach(plan.rows, columns)
        return tabulated(plan.rows, columns, ticks + 1, machine.task.control_dt)
    episodes = SeededEpisodes(machine.task, ticks, seed, 0, begin=partial(begin_episode, machine.device))
    return episodes(machine.loop.measure(), KEY)


def stream(
    machine: Ready,
    policy: Policy,
    plan: DrivePlan,
    operation: Operation,
    watch: Watch,
    *,
    seed: int,
    tell: Tell,
) -> Followed:
    """Drive noise-free along what comes in, or without an end. Raises DeviceFault, Diverged."""
    manifest, task = policy.manifest, machine.task
    events, ticks = _events(machine, policy, plan), iter(range(1 << 62))
    heard = Listener(policy, sys.stdin, tell).poll if plan.listen else None

    def between() -> None:
        event = events.get(next(ticks))
        if event is not None:
            event()
        if heard is not None:
            heard()

    feed = _live(machine, plan, tell)
    most = None if plan.seconds is None else round(plan.seconds / manifest.control_dt)
    with armed(machine, manifest, operation, watch) as loop:
        rows = feed.rows() if feed else endless(task, loop.measure(), seed)
        done = follow(loop, rows, most, between)
    overtaken, wrong = (feed.overtaken, feed.wrong) if feed else (0, 0)
    seconds = round(done * manifest.control_dt, 6)
    return Followed(seconds, watch.error, overtaken, wrong, loop.stats(), traffic.counters(machine.device))


def _live(machine: Ready, plan: DrivePlan, tell: Tell) -> LiveFeed | None:
    if plan.reference is None or plan.rows:
        return None
    columns = Columns(machine.task, machine.device.caps)
    return LiveFeed(columns, reader(plan.reference), RealClock(), tell)


def _events(machine: Ready, policy: Policy, plan: DrivePlan) -> dict[int, Callable[[], None]]:
    """By tick, what is reset and what is asked for after its command."""
    due: dict[int, list[Callable[[], None]]] = {}

    def reset(scope: Scope) -> None:
        if machine.learner is not None:
            machine.learner.forget()
        policy.reset(scope)

    steps = [(each.at, partial(reset, each.scope)) for each in plan.resets]
    steps += [(at, partial(set_objective, policy, weights)) for weights, at in plan.objectives if at]
    for at, step in steps:
        due.setdefault(round(at / policy.manifest.control_dt), []).append(step)
    return {tick: partial(_all, steps) for tick, steps in due.items()}


def _all(steps: Sequence[Callable[[], None]]) -> None:
    for step in steps:
        step()


def curve(policy: Policy, driven: Driven) -> list[tuple[float, float, Figures]]:
    """From, to (s) and what was measured in between, second by second."""
    episode, task = driven.episode, policy.manifest.task
    steps, dt = len(episode.mask), task.control_dt
    edges = [*range(0, steps, max(round(1.0 / dt), 1)), steps]
    return [
        (
            round(a * dt, 6),
            round(b * dt, 6),
            figures_of(task, episode.obs[a : b + 1], episode.applied[a:b]),
        )
        for a, b in pairwise(edges)
    ]


def tree(policy: Policy, driven: Driven) -> dict[str, Json]:
    """What only this way of running has; docs/cli.md documents the fields."""
    task = policy.manifest.task
    headline = task.headline.name
    resets: list[Json] = [
        {"scope": scope, "at": at, "tensors": list(names)}
        for (scope, at), names in zip(driven.plan.resets, driven.forgotten, strict=True)
    ]
    asked: list[Json] = [{"at": at, "weights": dict(weights)} for weights, at in driven.plan.objectives]
    objectives: dict[str, Json] = {} if policy.manifest.objectives is None else {"objectives": asked}
    return {
        **objectives,
        "seconds": driven.seconds,
        "figures": dict(_overall(policy, driven)),
        "curve": [{"from": a, "to": b, "value": found[headline]} for a, b, found in curve(policy, driven)],
        "resets": resets,
    }


def _overall(policy: Policy, driven: Driven) -> Figures:
    return figures_of(policy.manifest.task, driven.episode.obs, driven.episode.applied)


def lines(policy: Policy, driven: Driven) -> list[str]:
    """The same for people."""
    task, parts, overall = policy.manifest.task, curve(policy, driven), _overall(policy, driven)
    headline = task.headline
    name = headline.name
    worst = (min if headline.higher_is_better else max)(parts, key=lambda part: part[2][name])
    driving = f"{driven.seconds:g} s of driving"
    said = [
        f"{driving:<20} {name} {quantity(headline, overall[name])}; in the first second {parts[0][2][name]:.4f}, "
        f"in the last {parts[-1][2][name]:.4f}, at worst {worst[2][name]:.4f} from {worst[0]:g} s"
    ]
    if len(task.metrics) > 1:
        said.append(f"{'':<20} {beside(task, overall)}")
    for (scope, at), names in zip(driven.plan.resets, driven.forgotten, strict=True):
        said.append(
            f"reset of the {scope} at {at:g} s: {', '.join(names) or 'nothing'} back to the initial value"
        )
    for weights, at in driven.plan.objectives:
        said.append(
            f"objective from {at:g} s on: {', '.join(f'{name}={weight:g}' for name, weight in weights.items())}"
        )
    return said
