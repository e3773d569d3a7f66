"""Servo objectives over the wire: the weights w of one policy are moved, each point zero-shot, and what that changes.

Five trainings, each on the same servos, which training never saw, on a virtual clock. `OBJECTIVE.told_over_ignored` is
what a policy that is told its objective earns beyond the same one that drives for accuracy whatever is asked, reward
per tick, paired servo by servo; `OBJECTIVE.told_over_HOW` beyond the same network that chooses among its policies in
another way: `argmax` takes the one whose value is largest, `uniform` the mean of all, `actor` none but the one for the
objective itself. Beside policies of the same size, trained for one w alone for as many steps, of the first seed.

Trains in runs/bench/servo_objectives, and goes on there if it was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.file import load, write_bundle
from acclimate.bundle.manifest import Tolerance
from acclimate.control.trial import EpisodeKey
from acclimate.cores import usable_cores
from acclimate.fields import Json
from acclimate.policy.guard import Guard
from acclimate.policy.objectives import objective, set_objective
from acclimate.policy.policy import Policy
from acclimate.stats import Interval, clustered_interval, mean_interval
from acclimate.task.episode import Episode, Window
from acclimate.task.features import features as phi_of
from acclimate.task.features import reach
from acclimate.task.spec import TaskSpec
from acclimate_bridge.evaluation.rig import Contest, Place
from acclimate_bridge.simulation.judge import Judge, JudgedSpecimen
from acclimate_bridge.simulation.servo.files import load_servo
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_demo.jobs import Job, run_jobs
from acclimate_export.bundle.bundling import make_parts
from acclimate_export.bundle.trained import Trained, from_run
from acclimate_trainer.algorithms.successor.objective_policies import ObjectivesPolicy
from acclimate_trainer.runs.built_in import find_config
from acclimate_trainer.runs.configuration import load_config, to_toml
from acclimate_trainer.runs.run_directory import RunDirectory

from benchmarks.harness import Figure
from benchmarks.harness.plots import keep_plot

CONFIG = "servo_wide_objectives"
FOLDER = Path("runs/bench/servo_objectives")
SERVOS = ("MX-64", "MX-106", "XL-320")
DEVICES = 8  # per servo
TRAININGS = 5
SECONDS = 8  # of driving
SWITCH_AT = 200  # ticks
NAMES = ("accurate", "frugal", "smooth", "quiet", "fast")  # in the order of w
BUNDLE = "objectives.acclimate"
IGNORING = "accurate=1"  # whatever is asked
_LOOSE = 1e-3
HOWS = ("argmax", "uniform", "actor")
Weights = Mapping[str, float]

# The path of the Pareto picture, from accurate to frugal, and what else an operator may ask for.
PARETO: tuple[Weights, ...] = tuple(
    {"accurate": 1.0, "frugal": x} for x in (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
)
OTHERS: tuple[Weights, ...] = (
    {"accurate": 1.0, "quiet": 1.0},
    {"accurate": 1.0, "smooth": 1.0},
    {"fast": 1.0},
)
ALONE: tuple[Weights, ...] = (*PARETO[2::2], OTHERS[0])  # for which a policy is trained alone
ALONE_STEPS = 200  # ticks of an episode
REWARDED: Weights = {
    "accurate": 1.0,
    "frugal": 0.7,
    "smooth": 0.2,
    "quiet": 0.4,
    "fast": 2.0,
}  # to be inferred


class Drives(NamedTuple):
    """What a policy did on all n devices, or policies of several trainings did, which come first."""

    phi: FloatArray  # (n, d) per tick
    error: FloatArray  # (n,) RMS of tracking, rad
    energy: FloatArray  # (n,) mean square duty

    @classmethod
    def of(cls, trainings: Sequence[Drives]) -> Drives:
        return cls(*(np.stack(column) for column in zip(*trainings, strict=True)))

    def returns(self, weights: Weights) -> FloatArray:
        """The reward per tick of weights that add up to 1, (n,)."""
        w = np.array([weights.get(name, 0.0) for name in NAMES])
        result: FloatArray = self.phi @ (w / w.sum())
        return result


def run(seed: int) -> Mapping[str, Figure]:
    """Errors (rad), energies (mean square duty) and returns by w, of one policy and of those trained for it alone."""
    seeds = [seed + k for k in range(TRAININGS)]
    folders = _train(seeds)
    policies = [Policy(load(folders["all", s] / BUNDLE), "onnxruntime") for s in seeds]
    contest = Contest("all", {"all": policies[0]}, shots={"all": 0}, steps=100, episodes=1, seed=seed)
    groups = ServoFleet(tuple(load_servo(name) for name in SERVOS)).groups(policies[0].bundle)
    places = [contest.place(group, number) for group in groups for number in range(DEVICES)]
    figures: dict[str, Figure] = {}
    found: dict[str, Drives] = {}
    for weights in (*PARETO, *OTHERS):
        name = label(weights)
        found[name] = Drives.of([_drive_all(contest, policy, weights, places) for policy in policies])
        figures |= _figures("zero_shot", weights, found[name])
        if name != IGNORING:
            more = found[name].returns(weights) - found[IGNORING].returns(weights)
            figures[f"{name}.told_over_ignored"] = clustered_interval(more)
            print(f"{name}.told_over_ignored: {figures[f'{name}.told_over_ignored']}", flush=True)
    for how in HOWS:
        others = [Policy(load(_choosing(folders["all", s], how)), "onnxruntime") for s in seeds]
        for weights in ALONE:
            done = Drives.of([_drive_all(contest, policy, weights, places) for policy in others])
            more = found[label(weights)].returns(weights) - done.returns(weights)
            figures[f"{label(weights)}.told_over_{how}"] = clustered_interval(more)
    for weights in ALONE:
        name = label(weights)
        alone = Policy(load(_choosing(folders[name, seed], "actor")), "onnxruntime")  # there is no other
        done = _drive_all(contest, alone, weights, places)
        figures |= _figures("alone", weights, Drives.of([done]))
        # Paired, device by device: what the one policy leaves, and what driving on for accuracy alone would leave.
        best = done.returns(weights)
        figures[f"regret.zero_shot.{name}"] = mean_interval(best - found[name].returns(weights)[0])
        figures[f"regret.unchanged.{name}"] = mean_interval(best - found[IGNORING].returns(weights)[0])
    figures |= _inferred(contest, policies[0], places)
    effect, switch = _switch(contest, policies[0], places)
    figures["ticks_to_effect"] = effect
    keep_plot("servo_objectives", {"switch": switch})
    return figures


def label(weights: Weights) -> str:
    """Such as accurate=1,frugal=0.25."""
    return ",".join(f"{name}={weight:g}" for name, weight in weights.items() if weight)


def _choosing(folder: Path, how: str) -> Path:
    """The bundle of a run's network that chooses among its policies in another way."""
    out = folder / f"{how}.acclimate"
    if not out.is_file():
        trained, _ = from_run(RunDirectory.open(folder))
        if how == "actor":
            policy = trained.policy
            assert isinstance(policy, ObjectivesPolicy)
            changed = replace(trained, policy=policy.actor())
        else:  # by how much values differ decides, in units of the softmax's temperature
            psi = trained.meta["psi"] * {"argmax": 1e4, "uniform": 0.0}[how]
            changed = Trained.of(trained.config, {**trained.meta, "psi": psi}, str(folder))
        parts = make_parts(changed, {}, {})
        # What w is inferred to be, which rounding decides, is not asked of these.
        manifest = replace(parts.manifest, tolerance=Tolerance(golden_rel=_LOOSE))
        write_bundle(out, manifest, parts.members)
    return out


def _train(seeds: Sequence[int]) -> dict[tuple[str, int], Path]:
    """Folders of the runs, by `label` of what they are trained for and seed; "all" for all objectives."""
    config = load_config(find_config(CONFIG))
    assert config.objectives is not None
    steps = round(config.objectives.actor_share * config.training.iterations)
    jobs = {("all", seed): config for seed in seeds}
    for weights in ALONE:
        # No successor features: with one policy there is nothing to choose from. As many steps of the actor, in longer
        # episodes: what pays for every move lets a load sag as slowly as a short episode does not see.
        only = replace(config.objectives, only=dict(weights), actor_share=1.0, episode_steps=ALONE_STEPS)
        jobs[label(weights), seeds[0]] = replace(
            config, objectives=only, training=replace(config.training, iterations=steps)
        )
    (FOLDER / "logs").mkdir(parents=True, exist_ok=True)
    train, export, folders = [], [], dict[tuple[str, int], Path]()
    for (name, seed), wanted in jobs.items():
        key = f"{name}_{seed}"
        folder = folders[name, seed] = FOLDER / f"seed{seed}" / name
        written = FOLDER / f"{key}.toml"
        written.write_text(to_toml(wanted), encoding="utf-8")
        if (folder / BUNDLE).is_file():
            continue
        arguments: tuple[str, ...] = ("train", str(written), "--out", str(folder), "--seed", str(seed))
        train.append(Job(key, arguments, FOLDER / "logs" / f"train_{key}.txt"))
        if name == "all":
            arguments = ("export", str(folder), "--format", "onnx")
            export.append(Job(key, arguments, FOLDER / "logs" / f"export_{key}.txt"))
    cores = usable_cores()
    run_jobs("training", train, cores)
    run_jobs("exporting", export, cores)
    return folders


def _drive_all(contest: Contest, policy: Policy, weights: Weights, places: Sequence[Place]) -> Drives:
    episodes = [_drive(contest, policy, weights, place) for place in places]
    phi = np.stack([features(contest.task, episode).mean(0) for episode in episodes])
    errors = [np.sqrt(np.mean((e.obs[1:, 0] - e.obs[1:, 2]) ** 2)) for e in episodes]
    energy = [np.mean(e.applied**2) for e in episodes]
    return Drives(phi, np.array(errors), np.array(energy))


def _drive(
    contest: Contest, policy: Policy, weights: Weights, place: Place, switch: Weights | None = None
) -> Episode:
    """One drive without a pause from a fresh policy; at `SWITCH_AT`, other weights, if any."""
    policy.restore()
    set_objective(policy, {name: weights.get(name, 0.0) for name in NAMES})
    done = 0

    def between() -> None:
        nonlocal done
        if done == SWITCH_AT and switch is not None:
            set_objective(policy, {name: switch.get(name, 0.0) for name in NAMES})
        done += 1

    with contest.rig(policy, place, policy.manifest) as rig:
        ticks = round(SECONDS / policy.manifest.control_dt)
        reference = contest.references(place, ticks)(rig.loop.measure(), EpisodeKey(0, "measure", 0))
        return rig.loop.run_episode(reference, between=between)


def features(task: TaskSpec, episode: Episode) -> FloatArray:
    """φ of every tick with three before it, (steps − 2, d), of what was measured and commanded."""
    past, steps = reach(task.features), len(episode.applied)
    actions = task.action_scalars

    def observed(name: str, ago: int) -> FloatArray:
        return episode.obs[past - ago : steps + 1 - ago, task.index(name)].astype(float)

    def commanded(name: str, ago: int) -> FloatArray:
        return episode.applied[past - 1 - ago : steps - ago, actions.index(name)].astype(float)

    return np.stack(phi_of(task.features, observed, commanded), axis=-1)


def _figures(kind: str, weights: Weights, drives: Drives) -> dict[str, Figure]:
    name = label(weights)
    return {
        f"error.{kind}.{name}": _over_both(drives.error),
        f"energy.{kind}.{name}": _over_both(drives.energy),
        f"chatter.{kind}.{name}": _over_both(-drives.phi[..., NAMES.index("quiet")] / 5.0),
        f"return.{kind}.{name}": _over_both(drives.returns(weights)),
    }


def _over_both(values: FloatArray) -> Interval:
    """Over trainings and devices; of one training over devices."""
    return mean_interval(values[0]) if len(values) == 1 else clustered_interval(values)


def _inferred(contest: Contest, policy: Policy, places: Sequence[Place]) -> dict[str, Figure]:
    """How far from the truth w is that was inferred from the rewards of one second, relative to its largest weight."""
    errors = []
    for place in places:
        policy.restore()
        spec = policy.manifest.window
        assert spec is not None
        judged = JudgedSpecimen(place.machine, Judge(contest.task, REWARDED))
        with contest.rig(policy, replace(place, machine=judged), policy.manifest) as rig:
            references = contest.references(place, spec.steps)
            noise = contest.exploration(place)
            reference = references(rig.loop.measure(), EpisodeKey(0, "explore", 0))
            window = Window.of([rig.loop.run_episode(reference, explore=True, rng=noise)])
            result = policy.adapt(window)
            if Guard.of(policy.manifest).accept(result, window).ok:
                policy.commit()
        found = objective(policy)
        worst = max(abs(found[name] - REWARDED[name]) for name in NAMES)
        errors.append(worst / max(REWARDED.values()))
    return {"inferred_w_error": mean_interval(errors), "inferred_w_error_worst": max(errors)}


def _switch(contest: Contest, policy: Policy, places: Sequence[Place]) -> tuple[float, dict[str, Json]]:
    """After how many ticks the commands differ from those of a twin whose weights stay, on the slowest device.

    And the first device's drive: position and target (rad), duty, and the tick whose command the change followed.
    """
    before, after = {"fast": 1.0}, {"accurate": 0.2, "quiet": 1.0}
    late, shown = 0, dict[str, Json]()
    for place in places:
        changed = _drive(contest, policy, before, place, after)
        same = _drive(contest, policy, before, place)
        first = int(np.argmax(np.abs(changed.applied - same.applied).max(1) > 0.0))
        late = max(late, first - SWITCH_AT)
        shown = shown or {
            **{name: _rounded(changed.obs[:-1, i]) for name, i in (("position", 0), ("target", 2))},
            "duty": _rounded(changed.applied[:, 0]),
            **{"at": SWITCH_AT, "before": label(before), "after": label(after)},
        }
    return float(late), shown


def _rounded(values: FloatArray) -> Json:
    numbers: Json = np.round(values.astype(float), 4).tolist()
    return numbers
