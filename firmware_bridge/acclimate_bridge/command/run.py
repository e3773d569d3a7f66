"""The verb `run`: a trial on a device at a port, in real time, or one drive without a pause."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
from collections.abc import Iterator
from typing import NamedTuple

from acclimate.bundle.file import load
from acclimate.bundle.manifest import Manifest
from acclimate.command.options import at_least, writable
from acclimate.control.clock import RealClock
from acclimate.control.loop import ControlLoop
from acclimate.control.loop_stats import LoopStats
from acclimate.control.recording import Recording
from acclimate.control.trial import Measurement, Shot, Trial, TrialPlan, TrialReport
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.policy.adaptation import AdaptWorker
from acclimate.policy.checkpoint import save_checkpoint
from acclimate.policy.guard import Guard
from acclimate.policy.objectives import set_objective
from acclimate.policy.policy import Policy

from acclimate_bridge.command import driving
from acclimate_bridge.command import objectives as wishes
from acclimate_bridge.command.driving import DrivePlan
from acclimate_bridge.command.options import allowed_shots
from acclimate_bridge.evaluation.references import TrackingReferences, episode_steps, generator
from acclimate_bridge.link.host_link import HostLink, LinkStats
from acclimate_bridge.link.transport import SerialTransport
from acclimate_bridge.simulation.deployments import preset_of

EPISODES = 4  # per measurement
_EXPLORATION = 1  # key of its random numbers; references have another


def run(args: argparse.Namespace) -> int:
    """Drive the device at `args.port` as `args` say; print what came of it."""
    bundle = load(args.bundle)
    manifest = bundle.manifest
    if manifest.privileged:
        raise UsageError(
            f"bundle {manifest.name!r} has to be told the device's true parameters, which nobody knows of a "
            "real one; it serves for comparison in `acclimate evaluate`"
        )
    at_least("--seed", args.seed, 0)
    save, record = writable("--save", args.save), writable("--record", args.record)
    plan = DrivePlan.of(args, manifest) or _trial_plan(args, manifest)
    policy, recording = Policy(bundle, args.engine), Recording()
    with _terminable():
        if isinstance(plan, DrivePlan):
            said = _driven(args, policy, plan, recording)
        else:
            said = _tried(args, policy, plan, recording)
    if record is not None:
        recording.save(record)
    if save is not None:
        save_checkpoint(save, policy)
    tree, engine = _head(args, policy) | said.tree, f"engine               {policy.choice.lines()[0]}"
    print(json.dumps(tree, indent=2) if args.json else "\n".join([*said.lines, engine]))
    return 0


class _Said(NamedTuple):
    """What came of it, for programs and for people."""

    tree: dict[str, Json]
    lines: list[str]


def _trial_plan(args: argparse.Namespace, manifest: Manifest) -> TrialPlan:
    episodes = EPISODES if args.episodes is None else at_least("--episodes", args.episodes, 1)
    # Where a step changes what is driven for, the tracking error may well grow: that is not what to judge it by.
    return TrialPlan(allowed_shots(manifest, args.shots), episodes, rollback=manifest.objectives is None)


def _driven(args: argparse.Namespace, policy: Policy, plan: DrivePlan, recording: Recording) -> _Said:
    driven = driving.drive_on(args.port, args.baud, policy, plan, args.seed)
    recording(driving.KEY, driven.episode)
    return _Said(
        driving.tree(policy, driven) | _traffic(driven.stats, driven.link),
        [*driving.lines(policy, driven), *_traffic_lines(driven.stats, driven.link)],
    )


def _tried(args: argparse.Namespace, policy: Policy, plan: TrialPlan, recording: Recording) -> _Said:
    for wish in wishes.wishes_of(args.objective, policy.manifest):
        set_objective(policy, wish.weights)
    report, link = _drive(args.port, args.baud, policy, plan, args.seed, recording)
    return _Said(
        _tree(report) | wishes.tree(policy) | _traffic(report.stats, link),
        [*_lines(report), *wishes.lines(policy, report.shots), *_traffic_lines(report.stats, link)],
    )


def _drive(
    port: str,
    baud: int,
    policy: Policy,
    plan: TrialPlan,
    seed: int,
    recording: Recording,
) -> tuple[TrialReport, LinkStats]:
    clock, manifest = RealClock(), policy.manifest
    references = TrackingReferences(manifest, episode_steps(manifest), seed, 0)
    with (
        contextlib.closing(SerialTransport(port, baud)) as transport,
        HostLink(transport, clock) as link,
        AdaptWorker(policy) as worker,
        ControlLoop(policy, link, clock, manifest) as loop,
    ):
        trial = Trial(loop, references, plan, generator(seed, _EXPLORATION), recording)
        return trial.run(policy, worker, Guard.of(manifest)), link.stats


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does, so that the device is stopped on the way out."""

    def leave(*_: object) -> None:
        raise SystemExit(143)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _head(args: argparse.Namespace, policy: Policy) -> dict[str, Json]:
    manifest, choice = policy.manifest, policy.choice
    return {
        "metric": "tracking_error_rms",
        "unit": "rad",
        "bundle": manifest.name,
        "preset": preset_of(manifest),
        "engine": choice.engine,
        "engine_why": choice.why,
        "port": args.port,
        "seed": args.seed,
    }


def _traffic(stats: LoopStats, link: LinkStats) -> dict[str, Json]:
    return {"loop": dict(stats.as_dict()), "link": dict(link._asdict())}


def _tree(report: TrialReport) -> dict[str, Json]:
    measured = (report.before, *(shot.after for shot in report.shots))
    rows: list[Json] = [
        {"shots": k, "rms": measurement.headline, "errors": _each(measurement)}
        for k, measurement in enumerate(measured)
    ]
    shots: list[Json] = [
        {
            "accepted": shot.accepted.ok,
            "kept": shot.kept.ok,
            "reason": shot.accepted.reason or shot.kept.reason,
            "valid": shot.valid,
            "info": dict(shot.result.info),
        }
        for shot in report.shots
    ]
    return {"rows": rows, "shots": shots}


def _each(measurement: Measurement) -> list[Json]:
    return [next(iter(episode.values())) for episode in measurement.episodes]


def _lines(report: TrialReport) -> list[str]:
    measured = "before adapting" if report.shots else "measured"
    return [
        f"{measured:<20} {report.before.headline:.4f} rad RMS over {len(report.before.episodes)} episodes",
        *(_shot_line(number, shot) for number, shot in enumerate(report.shots, 1)),
    ]


def _traffic_lines(stats: LoopStats, link: LinkStats) -> list[str]:
    return [
        f"loop                 {stats.ticks} ticks, {stats.late} late, {stats.skipped} skipped, "
        f"jitter p50 {stats.jitter_p50 * 1e3:.2f} ms, p99 {stats.jitter_p99 * 1e3:.2f} ms, "
        f"bias {stats.bias * 1e6:+.0f} µs",
        f"                     {stats.stale} stale, {stats.bad} unusable, {stats.clamped} clamped, "
        f"{stats.slewed} slew-limited, {stats.rearmed} times armed again",
        f"link                 {link.received} frames, {link.lost} lost, {link.damaged} damaged, "
        f"round trip {link.round_trip * 1e3:.2f} ms",
    ]


def _shot_line(number: int, shot: Shot) -> str:
    steps = f"after {number} step{'s' if number > 1 else ''}"
    line = f"{steps:<20} {shot.after.headline:.4f} rad RMS over {len(shot.after.episodes)} episodes"
    if not shot.accepted.ok:
        return f"{line}; the step was not taken: {shot.accepted.reason}"
    return line if shot.kept.ok else f"{line}; the step was taken back: {shot.kept.reason}"
