"""The verb `run`: a trial on a device at a port, in real time, or one drive without a pause."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import NamedTuple

from acclimate.bundle.file import Bundle, load
from acclimate.bundle.manifest import Manifest
from acclimate.command.options import at_least, heed_trust, writable
from acclimate.control.clock import RealClock
from acclimate.control.loop import ControlLoop
from acclimate.control.loop_stats import LoopStats
from acclimate.control.recording import Recording
from acclimate.control.trial import Measurement, Shot, Trial, TrialPlan, TrialReport
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.json_text import json_text
from acclimate.policy.adaptation import AdaptWorker
from acclimate.policy.checkpoint import save_checkpoint
from acclimate.policy.guard import Guard
from acclimate.policy.objectives import set_objective
from acclimate.policy.policy import Policy
from acclimate.task.spec import TaskSpec

from acclimate_bridge.command import driving, objectives
from acclimate_bridge.command.driving import DrivePlan
from acclimate_bridge.command.sim_port import DeviceAt, device_at
from acclimate_bridge.evaluation.episodes import SeededEpisodes, allowed_shots, episode_steps
from acclimate_bridge.evaluation.evaluation import family_of
from acclimate_bridge.evaluation.figures import Figures, beside, quantity
from acclimate_bridge.evaluation.report import headline_tree
from acclimate_bridge.link.host_link import HostLink, LinkStats
from acclimate_bridge.link.transport import SerialTransport
from acclimate_bridge.simulation.seeding import generator
from acclimate_bridge.simulation.worlds import remark

EPISODES = 4  # per measurement
_EXPLORATION = 1  # key of its random numbers; references have another


def run(args: argparse.Namespace) -> int:
    """Drive the device at `args.port` as `args` say; print what came of it."""
    bundle = load(args.bundle)
    manifest = bundle.manifest
    if manifest.privileged:
        raise UsageError(
            f"bundle {manifest.name!r} needs the device's true parameters, which are unknown for a real device; "
            "compare with it in `acclimate evaluate`"
        )
    heed_trust(args, bundle)
    at_least("--seed", args.seed, 0)
    save, record = writable("--save", args.save), writable("--record", args.record)
    plan = DrivePlan.of(args, manifest) or _trial_plan(args, manifest)
    policy, recording = Policy(bundle, args.engine), Recording()
    with _terminable(), device_at(args.port, args.bundle, args.seed) as device:
        _tell_simulated(device, bundle)
        if isinstance(plan, DrivePlan):
            said = _driven(args, device.port, policy, plan, recording)
        else:
            said = _tried(args, device.port, policy, plan, recording)
    if record is not None:
        recording.save(record)
    if save is not None:
        save_checkpoint(save, policy)
    tree, engine = _head(args, device, policy) | said.tree, f"engine               {policy.choice.lines()[0]}"
    print(json_text(tree) if args.json else "\n".join([*said.lines, engine]))
    return 0


def _tell_simulated(device: DeviceAt, bundle: Bundle) -> None:
    if device.simulated is not None:
        said = [f"simulating {device.simulated}", remark(bundle)]
        print(*filter(None, said), sep="\n", file=sys.stderr, flush=True)


class _Said(NamedTuple):
    """What came of it, for programs and for people."""

    tree: dict[str, Json]
    lines: list[str]


def _trial_plan(args: argparse.Namespace, manifest: Manifest) -> TrialPlan:
    episodes = EPISODES if args.episodes is None else at_least("--episodes", args.episodes, 1)
    # Where a step changes what is driven for, the tracking error may well grow: that is not what to judge it by.
    return TrialPlan(allowed_shots(manifest, args.shots), episodes, rollback=manifest.objectives is None)


def _driven(
    args: argparse.Namespace, port: str, policy: Policy, plan: DrivePlan, recording: Recording
) -> _Said:
    driven = driving.drive_on(port, args.baud, policy, plan, args.seed)
    recording(driving.KEY, driven.episode)
    return _Said(
        driving.tree(policy, driven) | _traffic(driven.stats, driven.link),
        [*driving.lines(policy, driven), *_traffic_lines(driven.stats, driven.link)],
    )


def _tried(
    args: argparse.Namespace, port: str, policy: Policy, plan: TrialPlan, recording: Recording
) -> _Said:
    for weights, _ in objectives.asked_for(args.objective, policy.manifest):
        set_objective(policy, weights)
    tried = _try(port, args.baud, policy, plan, args.seed, recording)
    report = tried.report
    return _Said(
        _tree(tried) | objectives.tree(policy) | _traffic(report.stats, tried.link),
        [
            *_lines(policy.manifest.task, tried),
            *objectives.lines(policy, report.shots),
            *_traffic_lines(report.stats, tried.link),
        ],
    )


class _Tried(NamedTuple):
    report: TrialReport
    link: LinkStats

    @property
    def measured(self) -> tuple[Measurement, ...]:
        """Before, and after each step."""
        return (self.report.before, *(shot.after for shot in self.report.shots))


def _try(port: str, baud: int, policy: Policy, plan: TrialPlan, seed: int, recording: Recording) -> _Tried:
    clock, manifest = RealClock(), policy.manifest
    task, steps = manifest.task, episode_steps(manifest)
    with (
        contextlib.closing(SerialTransport(port, baud)) as transport,
        HostLink(transport, clock) as link,
        AdaptWorker(policy) as worker,
        ControlLoop(policy, link, clock, manifest) as loop,
    ):
        episodes = SeededEpisodes(task, steps, seed, 0, begin=link.begin_episode)
        trial = Trial(loop, episodes, plan, generator(seed, _EXPLORATION), recording)
        return _Tried(trial.run(policy, worker, Guard.of(manifest)), link.stats)


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


def _head(args: argparse.Namespace, device: DeviceAt, policy: Policy) -> dict[str, Json]:
    manifest, choice = policy.manifest, policy.choice
    return {
        **headline_tree(manifest.task),
        "bundle": manifest.name,
        "family": family_of(manifest),
        "engine": choice.engine,
        "engine_why": choice.why,
        "port": args.port,
        "simulated": device.simulated,
        "seed": args.seed,
    }


def _traffic(stats: LoopStats, link: LinkStats) -> dict[str, Json]:
    return {"loop": dict(stats.as_dict()), "link": dict(link._asdict())}


def _tree(tried: _Tried) -> dict[str, Json]:
    report = tried.report
    rows: list[Json] = [
        {
            "shots": k,
            "figures": dict(measurement.values),
            "episodes": [dict(each) for each in measurement.episodes],
        }
        for k, measurement in enumerate(tried.measured)
    ]
    shots: list[Json] = [
        {
            "accepted": shot.accepted.ok,
            "kept": not shot.undone,
            "reason": shot.accepted.reason or (shot.kept.reason if shot.undone else ""),
            "valid": shot.valid,
            "info": dict(shot.result.info),
        }
        for shot in report.shots
    ]
    return {"rows": rows, "shots": shots}


def _lines(task: TaskSpec, tried: _Tried) -> list[str]:
    first, shots = tried.report.before, tried.report.shots
    measured = "before adapting" if shots else "measured"
    return [
        f"{measured:<20} {_figures(task, first.values)} over {len(first.episodes)} episodes",
        *(_shot_line(task, number, shot) for number, shot in enumerate(shots, 1)),
    ]


def _figures(task: TaskSpec, figures: Figures) -> str:
    others = beside(task, figures)
    headline = f"{task.headline.name} {quantity(task.headline, figures[task.headline.name])}"
    return f"{headline} ({others})" if others else headline


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


def _shot_line(task: TaskSpec, number: int, shot: Shot) -> str:
    steps = f"after {number} step{'s' if number > 1 else ''}"
    line = f"{steps:<20} {_figures(task, shot.after.values)} over {len(shot.after.episodes)} episodes"
    if not shot.accepted.ok:
        return f"{line}; the step was not taken: {shot.accepted.reason}"
    return f"{line}; the step was taken back: {shot.kept.reason}" if shot.undone else line
