"""The verb `run` with `--seconds`: one drive without a pause on a device at a port, in real time."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, get_args

from acclimate.clock import RealClock
from acclimate.drive import Drive
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.loop import ControlLoop
from acclimate.loop_stats import LoopStats
from acclimate.policy import Policy, Scope
from acclimate.trial import EpisodeKey, tracking_error
from acclimate.window import Episode

from acclimate_bridge.host_link import HostLink, LinkStats
from acclimate_bridge.options import moment
from acclimate_bridge.references import TrackingReferences
from acclimate_bridge.transport import SerialTransport

KEY = EpisodeKey(0, "measure", 0)  # of the one episode that it is
SCOPES: tuple[Scope, ...] = get_args(Scope)
_SHORTEST, _LONGEST = 0.1, 3600.0  # s


class Reset(NamedTuple):
    """What is to be forgotten, and when, in s of driving."""

    scope: Scope
    at: float


class DrivePlan(NamedTuple):
    """For how long to drive, in s, and what to reset on the way."""

    seconds: float
    resets: tuple[Reset, ...]

    @classmethod
    def of(cls, args: argparse.Namespace) -> DrivePlan | None:
        """As the options of `run` say; None where they mean a trial. Raises UsageError where they contradict."""
        seconds: float | None = args.seconds
        resets = tuple(Reset(*moment("reset", text, "SCOPE", SCOPES)) for text in args.reset or ())
        if seconds is None:
            if resets:
                raise UsageError("--reset needs --seconds; a trial in shots resets by itself what has to be")
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
        return cls(seconds, resets)


class Driven(NamedTuple):
    """What came of it."""

    plan: DrivePlan
    episode: Episode
    forgotten: tuple[tuple[str, ...], ...]  # per reset, the tensors that it put back
    stats: LoopStats
    link: LinkStats


def drive_on(port: str, baud: int, policy: Policy, plan: DrivePlan, seed: int) -> Driven:
    """Drive noise-free, from a fresh policy. Raises DeviceFault, UsageError for a port that is refused."""
    clock, manifest = RealClock(), policy.manifest
    ticks = round(plan.seconds / manifest.control_dt)
    references = TrackingReferences(manifest, ticks, seed, 0)
    events = _events(policy, plan.resets)
    policy.reset("trial")
    with (
        contextlib.closing(SerialTransport(port, baud)) as transport,
        HostLink(transport, clock) as link,
        ControlLoop(policy, link, clock, manifest) as loop,
    ):
        episode = Drive(loop, references(loop.measure(), KEY), events).on(ticks + 1)
        forgotten = tuple(tuple(policy.forgets(scope)) for scope, _ in plan.resets)
        return Driven(plan, episode, forgotten, loop.stats(), link.stats)


def _events(policy: Policy, resets: Sequence[Reset]) -> dict[int, Callable[[], None]]:
    """By tick, what is reset after its command."""
    due: dict[int, list[Scope]] = {}
    for scope, at in resets:
        due.setdefault(round(at / policy.manifest.control_dt), []).append(scope)

    def event(scopes: Sequence[Scope]) -> Callable[[], None]:
        def reset() -> None:
            for scope in scopes:
                policy.reset(scope)

        return reset

    return {tick: event(scopes) for tick, scopes in due.items()}


def curve(policy: Policy, driven: Driven) -> list[tuple[float, float, float]]:
    """From, to (s) and the tracking error (rad, RMS) in between, second by second."""
    metric, dt = tracking_error(policy.manifest), policy.manifest.control_dt
    steps = len(driven.episode.mask)
    edges = [*range(0, steps, max(round(1.0 / dt), 1)), steps]
    parts = [(a, b, driven.episode._replace(obs=driven.episode.obs[a : b + 1])) for a, b in pairwise(edges)]
    return [(round(a * dt, 6), round(b * dt, 6), metric(part)) for a, b, part in parts]


def tree(policy: Policy, driven: Driven) -> dict[str, Json]:
    """What only this way of running has; docs/cli.md documents the fields."""
    resets: list[Json] = [
        {"scope": scope, "at": at, "tensors": list(names)}
        for (scope, at), names in zip(driven.plan.resets, driven.forgotten, strict=True)
    ]
    return {
        "seconds": driven.plan.seconds,
        "rms": tracking_error(policy.manifest)(driven.episode),
        "curve": [{"from": a, "to": b, "rms": rms} for a, b, rms in curve(policy, driven)],
        "resets": resets,
    }


def lines(policy: Policy, driven: Driven) -> list[str]:
    """The same for people."""
    parts = curve(policy, driven)
    worst = max(parts, key=lambda part: part[2])
    driving = f"{driven.plan.seconds:g} s of driving"
    said = [
        f"{driving:<20} "
        f"{tracking_error(policy.manifest)(driven.episode):.4f} rad RMS; in the first second {parts[0][2]:.4f}, "
        f"in the last {parts[-1][2]:.4f}, at worst {worst[2]:.4f} from {worst[0]:g} s"
    ]
    for (scope, at), names in zip(driven.plan.resets, driven.forgotten, strict=True):
        said.append(
            f"reset of the {scope} at {at:g} s: {', '.join(names) or 'nothing'} back to the initial value"
        )
    return said
