"""The verb `run`: a trial on a device at a port, in real time, or one drive without a pause."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from acclimate.bundle.file import Bundle, load
from acclimate.bundle.manifest import Manifest
from acclimate.command.options import at_least, heed_trust, writable
from acclimate.control.device import Simulated, begin_episode
from acclimate.control.recording import Recording
from acclimate.control.trial import Measurement, Shot, Trial, TrialPlan, TrialReport
from acclimate.errors import DeviceUnplugged, Diverged, UsageError
from acclimate.fields import Json
from acclimate.json_text import json_text
from acclimate.policy.adaptation import AdaptWorker
from acclimate.policy.guard import Guard
from acclimate.policy.objectives import set_objective
from acclimate.policy.pace import require_pace
from acclimate.policy.policy import Policy
from acclimate.policy.temperature import check_temperature, set_temperature
from acclimate.task.spec import TaskSpec

from acclimate_bridge.command import driving, following, learning, objectives, traffic
from acclimate_bridge.command.connecting import address_of
from acclimate_bridge.command.drive_plan import DrivePlan
from acclimate_bridge.command.keeping import Keeping
from acclimate_bridge.command.learned import Learned
from acclimate_bridge.command.operating import Operation, Ready, Tell, armed, ready
from acclimate_bridge.command.reconnecting import Identity, Patient, consents
from acclimate_bridge.command.telling import Teller
from acclimate_bridge.command.watch import Announced, Watch
from acclimate_bridge.evaluation.episodes import SeededEpisodes, allowed_shots, episode_steps
from acclimate_bridge.evaluation.evaluation import family_of
from acclimate_bridge.evaluation.figures import Figures, beside, quantity
from acclimate_bridge.evaluation.report import headline_tree
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
    address = address_of(args)
    learned, patient = Learned.of(args), Patient.of(args, address)
    record, operation = writable("--record", args.record), Operation.of(args, manifest)
    if args.temperature is not None:
        check_temperature(manifest, args.temperature)
    plan = DrivePlan.of(args, manifest) or _trial_plan(args, manifest)
    wanted = objectives.asked_for(args.objective, manifest) if isinstance(plan, TrialPlan) else ()
    policy = Policy(bundle, args.engine)
    if policy.choice.remark:
        print(f"acclimate: {policy.choice.remark}", file=sys.stderr, flush=True)
    if not args.allow_late:
        require_pace(policy)
    learned.load(policy)
    if args.temperature is not None:
        set_temperature(policy, args.temperature)
    for weights, _ in wanted:
        set_objective(policy, weights)
    keeping = Keeping(policy, learned.save, record)
    with (
        keeping.whatever_happens(),
        Teller(sys.stderr) as tell,
    ):
        watch = Watch(manifest.task, operation.abort_error, tell if sys.stderr.isatty() else None)
        identity, fresh = Identity.of(address.where), not learned.known
        while True:
            try:
                with ready(address, bundle, policy, operation, watch, tell) as machine:
                    simulated = _tell_simulated(machine, bundle)
                    run = _Run(args, machine, policy, operation, watch, tell, keeping.recording)
                    said = run.said(plan, fresh)
                break
            except DeviceUnplugged as fault:
                address, fresh = address._replace(where=_back(identity, patient, fault)), False
    tree, engine = (
        _head(args, simulated, policy) | said.tree,
        f"engine               {policy.choice.lines()[0]}",
    )
    text = json_text(tree) if args.json else "\n".join([*said.lines, engine])
    keeping.finish(lambda: print(text, flush=True), save=not said.refused)
    if wrong := "" if operation.dry_run else watch.verdict():
        raise Diverged(wrong)
    return 0


def _back(identity: Identity, patient: Patient, fault: DeviceUnplugged) -> str:
    """The port of an unplugged device that is back and may move again. Raises the fault where there is none."""
    if patient.seconds:
        print(f"acclimate: {fault}; waiting {patient.seconds:g} s for it", file=sys.stderr, flush=True)
        port = patient.await_return(identity)
        if port is not None and consents(port):
            return port
    raise fault


def _tell_simulated(machine: Ready, bundle: Bundle) -> str | None:
    """What is simulated, said to people; None for a machine that is there."""
    device = machine.device
    if not isinstance(device, Simulated):
        return None
    said = [f"simulating {device.simulates}", remark(bundle)]
    print(*filter(None, said), sep="\n", file=sys.stderr, flush=True)
    return device.simulates


class _Said(NamedTuple):
    """What came of it, for programs and for people."""

    tree: dict[str, Json]
    lines: list[str]
    refused: bool = False  # whether there were adaptation steps, and the guard let none of them go live


def _trial_plan(args: argparse.Namespace, manifest: Manifest) -> TrialPlan:
    episodes = EPISODES if args.episodes is None else at_least("--episodes", args.episodes, 1)
    shots = allowed_shots(manifest, args.shots)
    # Where a step changes what is driven for, the tracking error may well grow: that is not what to judge it by.
    return TrialPlan(shots, episodes, rollback=manifest.objectives is None)


class _Run(NamedTuple):
    """All that a run has to do with."""

    args: argparse.Namespace
    machine: Ready
    policy: Policy
    operation: Operation
    watch: Watch
    tell: Tell
    recording: Recording

    def said(self, plan: DrivePlan | TrialPlan, fresh: bool) -> _Said:
        """Drive as planned, and say what came of it; fresh: with a policy that has learned nothing yet."""
        if isinstance(plan, TrialPlan):
            said = self._tried(replace(plan, fresh=fresh))
        else:
            driving.prepare(self.policy, plan, fresh=fresh)
            said = self._streamed(plan) if plan.streams else self._driven(plan)
        dry, learner = self.machine.dry, self.machine.learner
        said = said._replace(
            tree=said.tree | learning.tree(learner), lines=[*said.lines, *learning.lines(learner)]
        )
        return said if dry is None else _Said(said.tree | {"dry_run": dry.tree()}, dry.lines())

    def _driven(self, plan: DrivePlan) -> _Said:
        seed, record = self.args.seed, partial(self.recording, driving.KEY)
        driven = driving.drive_on(
            self.machine,
            self.policy,
            plan,
            self.operation,
            self.watch,
            seed=seed,
            record=record,
            tell=self.tell,
        )
        return _Said(
            driving.tree(self.policy, driven) | traffic.tree(driven.stats, driven.link),
            [*driving.lines(self.policy, driven), *traffic.lines(driven.stats, driven.link)],
        )

    def _streamed(self, plan: DrivePlan) -> _Said:
        followed = driving.stream(
            self.machine, self.policy, plan, self.operation, self.watch, seed=self.args.seed, tell=self.tell
        )
        task = self.policy.manifest.task
        return _Said(
            following.tree(task, followed) | traffic.tree(followed.stats, followed.link),
            [*following.lines(task, followed), *traffic.lines(followed.stats, followed.link)],
        )

    def _tried(self, plan: TrialPlan) -> _Said:
        tried = self._try(plan)
        report = tried.report
        return _Said(
            _tree(tried) | objectives.tree(self.policy) | traffic.tree(report.stats, tried.link),
            [
                *_lines(self.policy.manifest.task, tried),
                *objectives.lines(self.policy, report.shots),
                *traffic.lines(report.stats, tried.link),
            ],
            refused=bool(report.shots) and not any(shot.accepted.ok for shot in report.shots),
        )

    def _try(self, plan: TrialPlan) -> _Tried:
        machine, manifest, seed = self.machine, self.policy.manifest, self.args.seed
        with (
            AdaptWorker(self.policy) as worker,
            armed(machine, manifest, self.operation, self.watch) as loop,
        ):
            begin = partial(begin_episode, machine.device)
            episodes = SeededEpisodes(machine.task, episode_steps(manifest), seed, 0, begin=begin)
            announced = Announced(episodes, self.watch)
            trial = Trial(loop, announced, plan, generator(seed, _EXPLORATION), self.recording)
            return _Tried(
                trial.run(self.policy, worker, Guard.of(manifest)), traffic.counters(machine.device)
            )


class _Tried(NamedTuple):
    report: TrialReport
    link: traffic.Counters

    @property
    def measured(self) -> tuple[Measurement, ...]:
        """Before, and after each step."""
        return (self.report.before, *(shot.after for shot in self.report.shots))


def _head(args: argparse.Namespace, simulated: str | None, policy: Policy) -> dict[str, Json]:
    manifest, choice = policy.manifest, policy.choice
    return {
        **headline_tree(manifest.task),
        "bundle": manifest.name,
        "family": family_of(manifest),
        "engine": choice.engine,
        "engine_why": choice.why,
        "port": args.device or args.port,
        "simulated": simulated,
        "seed": args.seed,
    }


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


def _shot_line(task: TaskSpec, number: int, shot: Shot) -> str:
    steps = f"after {number} step{'s' if number > 1 else ''}"
    line = f"{steps:<20} {_figures(task, shot.after.values)} over {len(shot.after.episodes)} episodes"
    if not shot.accepted.ok:
        return f"{line}; the step was not taken: {shot.accepted.reason}"
    return f"{line}; the step was taken back: {shot.kept.reason}" if shot.undone else line
