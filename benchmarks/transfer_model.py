"""A model that adapts to its own prediction errors, in its three forms, on servos and arms that training never saw.

Five trainings of each form, beside five of RL², MAML, identify-then-control, the robust policy and the oracle with a
memory, which are those of `_servos`. Trains and exports in runs/bench/model and runs/bench/servos, and goes on there
where it was interrupted. Machines are those of `_servos`, of richer friction than any in training, and for the
predictions also of the simple one; arms are held out in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from acclimate.atomic import write_atomically
from acclimate.fields import Json
from acclimate.stats import Floats, clustered_interval, mean_interval
from acclimate_bridge.api import evaluate
from acclimate_bridge.evaluation.evaluation import Fleet, HeldOutFleet, Plan, Work, on_all, open_plan
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_demo.report import mapping, number, rows_of

from benchmarks._model import bundle_of, planner_of, predict
from benchmarks._servos import CORES, MACHINES_SEED, SEEDS, SERVOS, Trained, policies
from benchmarks.harness import Figure

CONFIGURATIONS = 6  # that were tried on other servos (XL330, STS3215) before these settings were taken
PRESET = "wide"
FORMS = {
    "context": "servo_wide_model",
    "gradient": "servo_wide_model_gradient",
    "priors": "servo_wide_model_priors",
}
SHORTER = {"priors": {"training.iterations": 100}}  # than the config says
DEVICES, SECONDS = 8, 24.0  # of each servo; of driving, with a payload dropped in the middle
ARMS = 24
ON_ARMS: Mapping[str, str | int] = {
    "training.iterations": 60,
    "training.meta_batch_size": 16,
    "model.side_by_side": 2,
}
"""A small part of what the config says: there, only the predictions are judged."""
OPPONENTS = ("rl2", "maml", "identify", "robust", "rl2_oracle")
BOUNDS = ("robust", "rl2_oracle")
PARTS = ("before", "after", "settled", "never")  # of `Predicted`
SPANS = {"1s": ("start", 1.0), "late": ("start", 10.0), "after_change": ("change", 1.0)}
"""What is judged: since when, and from which second on, of a second or two."""
Report: TypeAlias = Mapping[str, Json]


def run(seed: int) -> Mapping[str, Figure]:
    """FAMILY.FORM.before, .after, .prediction_ratio: the model's error on a window, without and with a step on the 16
    transitions before it; .settled_ratio: with one on every window before; servo_simple: of the friction of training.
    servo.METHOD.error_1s, .gap_closed_1s: from 1 s to 2 s of driving; .error_late: from 10 s to 12 s, after the 8 s
    that MAML explores; .error_after_change: from 1 s to 2 s after a payload was dropped; .never.error_1s: of a policy
    whose model takes no step."""
    seeds = range(seed, seed + SEEDS)
    policies(seeds, OPPONENTS, (PRESET,))
    out: dict[str, Figure] = {"configurations_tried": float(CONFIGURATIONS)}
    for form, config in FORMS.items():
        bundles = [bundle_of(config, each, changes=SHORTER.get(form)) for each in seeds]
        others = OPPONENTS if form == "context" else BOUNDS
        out |= _predictions(f"servo.{form}", bundles, ServoFleet.of(SERVOS), DEVICES)
        out |= _drives(form, _over_time(bundles, seeds, others), others=form == "context")
    bundles = [bundle_of(FORMS["context"], each) for each in seeds]
    out |= _predictions("servo_simple.context", bundles, ServoFleet.of(SERVOS, "m1"), DEVICES)
    for form in ("gradient", "context"):
        changes = {**ON_ARMS, "model.form": form}
        arms = [bundle_of("arm_model", each, f"arm_model_{form}", changes) for each in seeds]
        out |= _predictions(f"arm.{form}", arms, HeldOutFleet(), ARMS)
    planners = [planner_of(FORMS["context"], each) for each in seeds]
    return out | _drives("planner", _over_time(planners, seeds, BOUNDS))


def _predictions(name: str, bundles: Sequence[Path], fleet: Fleet, machines: int) -> dict[str, Figure]:
    found = [_predicted(name, bundle, fleet, machines) for bundle in bundles]
    before, after, settled, never = (_stacked([each[part] for each in found]) for part in PARTS)
    usual = before.mean(
        1, keepdims=True
    )  # of a training: machines where little happens have hardly any error
    return {
        f"{name}.before": clustered_interval(before),
        f"{name}.after": clustered_interval(after),
        f"{name}.prediction_ratio": clustered_interval(after / usual),
        f"{name}.settled_ratio": clustered_interval(settled / usual),
        f"{name}.never.error_1s": clustered_interval(never),
    }


def _stacked(rows: Sequence[Sequence[float]]) -> Floats:
    """(trainings, machines)"""
    return np.array(rows, np.float64)


def _predicted(name: str, bundle: Path, fleet: Fleet, machines: int) -> Mapping[str, list[float]]:
    """Means over the windows of each machine, by part; what is there is not made again."""
    path = bundle.with_name(f"{bundle.stem}_{name}_predicted.json")
    if not path.is_file():
        plan = Plan(bundle, fleet, against=(), machines=machines, seed=MACHINES_SEED)
        found = list(on_all(Work(plan, predict), open_plan(plan), CORES, None))
        columns = {part: [float(np.mean(getattr(each, part))) for each in found] for part in PARTS}
        write_atomically(path, json.dumps(columns).encode())
    read: dict[str, list[float]] = json.loads(path.read_text(encoding="utf-8"))
    return read


def _over_time(bundles: Sequence[Path], seeds: Sequence[int], others: Sequence[str]) -> list[Report]:
    """The report of a drive of each, beside those of its own seed, with a payload dropped after half of it; one that is
    there is not made again."""
    return [_driven(bundle, s, others) for bundle, s in zip(bundles, seeds, strict=True)]


def _driven(bundle: Path, seed: int, others: Sequence[str]) -> Report:
    path = bundle.with_name(f"{bundle.stem}_over_time.json")
    if not path.is_file():
        evaluate(
            bundle, against=[Trained(PRESET, name, seed).bundle for name in others], servos=SERVOS, machines=DEVICES,
            seconds=SECONDS, change="payload", seed=MACHINES_SEED, jobs=CORES,
        ).save(path)  # fmt: skip
    found: dict[str, Json] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _drives(called: str, reports: Sequence[Report], *, others: bool = False) -> dict[str, Figure]:
    """What came of the model, and of others where that is asked for."""
    out: dict[str, Figure] = {}
    for label, (since, begin) in SPANS.items():
        names = list(mapping(rows_of(reports[0], "machines")[0]["figures"]))
        errors = {name: _stacked([_errors(each, name, since, begin) for each in reports]) for name in names}
        robust, oracle = (errors[name].mean(1) for name in ("robust", "oracle"))
        for name in names if others else ["model"]:
            who = f"servo.{called if name == 'model' else name}"
            out[f"{who}.error_{label}"] = clustered_interval(errors[name])
            if name not in ("robust", "oracle"):
                closed = (robust - errors[name].mean(1)) / (robust - oracle)
                out[f"{who}.gap_closed_{label}"] = mean_interval(closed)
    return out


def _errors(report: Report, controller: str, since: str, begin: float) -> list[float]:
    """Of a controller in a span, on each machine, rad."""
    found = []
    for machine in rows_of(report, "machines"):
        spans = mapping(machine["figures"])[controller]
        assert isinstance(spans, list)
        for span in map(mapping, spans):
            short = number(span["to"]) <= begin + 2.0
            if span["since"] == since and number(span["from"]) == begin and short:
                found.append(number(span["error"]))
    return found
