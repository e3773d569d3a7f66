"""The verb `run` with `--seconds`: one drive without a pause on a device at a port, in real time."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple, get_args

from acclimate.bundle.manifest import Manifest
from acclimate.control.clock import RealClock
from acclimate.control.drive import Drive
from acclimate.control.loop import ControlLoop
from acclimate.control.loop_stats import LoopStats
from acclimate.control.trial import EpisodeKey
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.policy.objectives import features_of, set_objective
from acclimate.policy.policy import Policy, Scope
from acclimate.task.episode import Episode

from acclimate_bridge.command.objectives import Listener, ObjectiveAt, asked_for
from acclimate_bridge.command.options import moment
from acclimate_bridge.evaluation.episodes import SeededEpisodes
from acclimate_bridge.evaluation.figures import Figures, beside, figures_of, quantity
from acclimate_bridge.link.host_link import HostLink, LinkStats
from acclimate_bridge.link.transport import SerialTransport

KEY = EpisodeKey(0, "measure", 0)  # of the one episode that it is
SCOPES: tuple[Scope, ...] = get_args(Scope)
_SHORTEST, _LONGEST = 0.1, 3600.0  # s


class Reset(NamedTuple):
    """What is to be forgotten, and when, in s of driving."""

    scope: Scope
    at: float


class DrivePlan(NamedTuple):
    """For how long to drive, in s, what to reset on the way, and what to drive for; `listen`: to stdin, too."""

    seconds: float
    resets: tuple[Reset, ...]
    objectives: tuple[ObjectiveAt, ...] = ()
    listen: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace, manifest: Manifest) -> DrivePlan | None:
        """As the options of `run` say; None where they mean a trial. Raises UsageError where they contradict."""
        seconds: float | None = args.seconds
        resets = tuple(Reset(*moment("reset", text, "SCOPE", SCOPES)) for text in args.reset or ())
        if seconds is None:
            if resets:
                raise UsageError("--reset needs --seconds; a trial in shots does its own resets")
            if args.listen:
                raise UsageError("--listen needs --seconds; a trial in shots measures one objective")
            return None
        if args.shots is not None or args.episodes is not None:
            raise UsageError(
                "--seconds drives on without shots and episodes; leave out --shots and --episodes"
            )
        if not _SHORTEST <= seconds <= _LONGEST:
            raise UsageError(f"--seconds must be from {_SHORTEST:g} to {_LONGEST:g}, found {seconds:g}")
        for scope, at in resets:
            if at >= seconds:
                raise UsageError(f"--reset {scope}@{at:g} comes after the end: --seconds is {seconds:g}")
        if args.listen:
            features_of(manifest)
        return cls(seconds, resets, asked_for(args.objective, manifest, seconds), args.listen)


class Driven(NamedTuple):
    """What came of it."""

    plan: DrivePlan
    episode: Episode
    forgotten: tuple[tuple[str, ...], ...]  # per reset, the tensors that it put back
    stats: LoopStats
    link: LinkStats


def drive_on(
    port: str, baud: int, policy: Policy, plan: DrivePlan, seed: int, record: Callable[[Episode], None]
) -> Driven:
    """Drive noise-free, from a fresh policy. Raises DeviceFault, UsageError for a port that is refused.

    `record` is given what was driven, also where it is cut short.
    """
    clock, manifest = RealClock(), policy.manifest
    ticks = round(plan.seconds / manifest.control_dt)
    events = _events(policy, plan)
    policy.reset("trial")
    for weights, at in plan.objectives:
        if not at:
            set_objective(policy, weights)
    heard = Listener(policy, sys.stdin, _tell).poll if plan.listen else None
    with (
        contextlib.closing(SerialTransport(port, baud)) as transport,
        HostLink(transport, clock) as link,
        ControlLoop(policy, link, clock, manifest) as loop,
    ):
        episodes = SeededEpisodes(manifest.task, ticks, seed, 0, begin=link.begin_episode)
        drive = Drive(loop, episodes(loop.measure(), KEY), events, every=heard, record=record)
        episode = drive.on(ticks + 1)
        forgotten = tuple(tuple(policy.forgets(scope)) for scope, _ in plan.resets)
        return Driven(plan, episode, forgotten, loop.stats(), link.stats)


def _events(policy: Policy, plan: DrivePlan) -> dict[int, Callable[[], None]]:
    """By tick, what is reset and what is asked for after its command."""
    due: dict[int, list[Callable[[], None]]] = {}
    steps = [(reset.at, partial(policy.reset, reset.scope)) for reset in plan.resets]
    steps += [(at, partial(set_objective, policy, weights)) for weights, at in plan.objectives if at]
    for at, step in steps:
        due.setdefault(round(at / policy.manifest.control_dt), []).append(step)
    return {tick: partial(_all, steps) for tick, steps in due.items()}


def _all(steps: Sequence[Callable[[], None]]) -> None:
    for step in steps:
        step()


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


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
        "seconds": driven.plan.seconds,
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
    driving = f"{driven.plan.seconds:g} s of driving"
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
