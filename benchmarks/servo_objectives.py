"""Servo objectives over the wire: the weights w of one policy are moved, each point zero-shot, and what that changes.

Beside policies of the same size, trained for one w alone for as many steps. The devices are servos that training never
saw, on a virtual clock. Trains in runs/bench/servo_objectives, and goes on there if it was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.file import load
from acclimate.control.trial import EpisodeKey
from acclimate.cores import usable_cores
from acclimate.fields import Json
from acclimate.policy.guard import Guard
from acclimate.policy.objectives import objective, set_objective
from acclimate.policy.policy import Policy
from acclimate.stats import mean_interval
from acclimate.task.episode import Episode, Window
from acclimate.task.features import features as phi_of
from acclimate.task.features import reach
from acclimate.task.spec import TaskSpec
from acclimate_bridge.evaluation.rig import Contest, Place
from acclimate_bridge.simulation.judge import Judge, JudgedSpecimen
from acclimate_bridge.simulation.servo.files import load_servo
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_demo.jobs import Job, run_jobs
from acclimate_trainer.runs.built_in import find_config
from acclimate_trainer.runs.configuration import load_config, to_toml

from benchmarks.harness import Figure
from benchmarks.harness.plots import keep_plot

CONFIG = "servo_wide_objectives"
FOLDER = Path("runs/bench/servo_objectives")
SERVOS = ("MX-64", "MX-106", "XL-320")
DEVICES = 8  # per servo
SECONDS = 8  # of driving
SWITCH_AT = 200  # ticks
NAMES = ("accurate", "frugal", "smooth", "quiet", "fast")  # in the order of w
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
    """What a policy did on all devices: φ per tick (n, d), RMS tracking error in rad and mean square duty (n,)."""

    phi: FloatArray
    error: FloatArray
    energy: FloatArray

    def returns(self, weights: Weights) -> FloatArray:
        """The reward per tick of weights that add up to 1, (n,)."""
        w = np.array([weights.get(name, 0.0) for name in NAMES])
        result: FloatArray = self.phi @ (w / w.sum())
        return result


def run(seed: int) -> Mapping[str, Figure]:
    """Errors (rad), energies (mean square duty) and returns by w, of one policy and of those trained for it alone."""
    out = FOLDER / f"seed{seed}"
    folders = _train(out, seed)
    bundle = load(folders["all"] / "objectives.acclimate")
    policy = Policy(bundle, "onnxruntime")
    contest = Contest("all", {"all": policy}, shots={"all": 0}, steps=100, episodes=1, seed=seed)
    groups = ServoFleet(tuple(load_servo(name) for name in SERVOS)).groups(bundle)
    places = [contest.place(group, number) for group in groups for number in range(DEVICES)]
    figures: dict[str, Figure] = {}
    found: dict[str, Drives] = {}
    for weights in (*PARETO, *OTHERS):
        found[label(weights)] = _drive_all(contest, policy, weights, places)
        figures |= _figures("zero_shot", weights, found[label(weights)])
        print(f"{label(weights)}: {figures[f'error.zero_shot.{label(weights)}']}", flush=True)
    for weights in ALONE:
        name = label(weights)
        alone = Policy(load(folders[name] / "objectives.acclimate"), "onnxruntime")
        done = _drive_all(contest, alone, weights, places)
        figures |= _figures("alone", weights, done)
        # Paired, device by device: what the one policy leaves, and what driving on for accuracy alone would leave.
        best = done.returns(weights)
        figures[f"regret.zero_shot.{name}"] = mean_interval(best - found[name].returns(weights))
        figures[f"regret.unchanged.{name}"] = mean_interval(best - found["accurate=1"].returns(weights))
    figures |= _inferred(contest, policy, places)
    effect, switch = _switch(contest, policy, places)
    figures["ticks_to_effect"] = effect
    keep_plot("servo_objectives", {"switch": switch})
    return figures


def label(weights: Weights) -> str:
    """Such as accurate=1,frugal=0.25."""
    return ",".join(f"{name}={weight:g}" for name, weight in weights.items() if weight)


def _train(out: Path, seed: int) -> dict[str, Path]:
    """Folders of the runs, by `label` of what they are trained for; "all" for all objectives."""
    config = load_config(find_config(CONFIG))
    assert config.objectives is not None
    steps = round(config.objectives.actor_share * config.training.iterations)
    jobs = {"all": config}
    for weights in ALONE:
        # No successor features: with one policy there is nothing to choose from. As many steps of the actor, in longer
        # episodes: what pays for every move lets a load sag as slowly as a short episode does not see.
        only = replace(config.objectives, only=dict(weights), actor_share=1.0, episode_steps=ALONE_STEPS)
        jobs[label(weights)] = replace(
            config, objectives=only, training=replace(config.training, iterations=steps)
        )
    (out / "logs").mkdir(parents=True, exist_ok=True)
    train, export = [], []
    for name, wanted in jobs.items():
        written = out / f"{name}.toml"
        written.write_text(to_toml(wanted), encoding="utf-8")
        train.append(Job(name, ("train", str(written), "--out", str(out / name), "--seed", str(seed)),
                         out / "logs" / f"train_{name}.txt"))  # fmt: skip
        export.append(Job(name, ("export", str(out / name)), out / "logs" / f"export_{name}.txt"))
    cores = usable_cores()
    run_jobs("training", train, cores)
    run_jobs("exporting", export, cores)
    return {name: out / name for name in jobs}


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
        f"error.{kind}.{name}": mean_interval(drives.error),
        f"energy.{kind}.{name}": mean_interval(drives.energy),
        f"chatter.{kind}.{name}": mean_interval(-drives.phi[:, NAMES.index("quiet")] / 5.0),
        f"return.{kind}.{name}": mean_interval(drives.returns(weights)),
    }


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
