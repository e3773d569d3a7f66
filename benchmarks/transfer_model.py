"""A model that adapts to its own prediction errors, in its three forms, on servos and arms that training never saw.

Trains and exports in runs/bench/model, and goes on there where it was interrupted. RL², MAML, the robust policy and the
oracle with a memory are the bundles that ship, one training of each, as of the model here. Machines are those of
`_servos`, of richer friction than any in training, and for the predictions also of the simple one; arms are held out in
the same way. Intervals are over machines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from acclimate.atomic import write_atomically
from acclimate.fields import Json
from acclimate.stats import Floats, mean_interval
from acclimate_bridge.api import evaluate
from acclimate_bridge.evaluation.evaluation import Fleet, HeldOutFleet, Plan, Work, on_all, open_plan
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_demo.report import mapping, number, rows_of

from benchmarks._model import bundle_of, planner_of, predict
from benchmarks._servos import CORES, MACHINES_SEED, SERVOS
from benchmarks.harness import Figure

CONFIGURATIONS = 6  # that were tried on other servos (XL330, STS3215) before these settings were taken
SHIPPED = Path("examples/bundles")
FORMS = {
    "context": "servo_wide_model",
    "gradient": "servo_wide_model_gradient",
    "priors": "servo_wide_model_priors",
}
SHORTER = {"priors": {"training.iterations": 100}}  # than the config says
DEVICES, SECONDS = 8, 24.0  # of each servo; of driving, with a payload dropped in the middle
ARMS = 24
ON_ARMS = {"training.iterations": 12, "training.meta_batch_size": 16, "model.side_by_side": 2}
"""A small part of what the config says: there, only the predictions are judged."""
OPPONENTS = ("rl2", "maml", "robust", "rl2_oracle")
BOUNDS = ("robust", "rl2_oracle")
PARTS = ("before", "after", "settled", "never")  # of `Predicted`
SPANS = {"1s": ("start", 1.0), "late": ("start", 10.0), "after_change": ("change", 1.0)}
"""What is judged: since when, and from which second on, of a second or two."""


def run(seed: int) -> Mapping[str, Figure]:
    """FAMILY.FORM.before, .after, .prediction_ratio: the model's error on a window, without and with a step on the 16
    transitions before it; .settled_ratio: with one on every window before; servo_simple: of the friction of training.
    servo.METHOD.error_1s, .gap_closed_1s: from 1 s to 2 s of driving; .error_late: from 10 s to 12 s, after the 8 s
    that MAML explores; .error_after_change: from 1 s to 2 s after a payload was dropped; .never.error_1s: of a policy
    whose model takes no step."""
    out: dict[str, Figure] = {"configurations_tried": float(CONFIGURATIONS)}
    for form, config in FORMS.items():
        bundle = bundle_of(config, seed, changes=SHORTER.get(form))
        out |= dict(_predictions(f"servo.{form}", bundle, ServoFleet.of(SERVOS), DEVICES))
        report = _over_time(bundle, OPPONENTS if form == "context" else BOUNDS)
        out |= dict(_drives(form, report, others=form == "context"))
    context = bundle_of(FORMS["context"], seed)
    out |= dict(_predictions("servo_simple.context", context, ServoFleet.of(SERVOS, "m1"), DEVICES))
    for form in ("gradient", "context"):
        arm = bundle_of("arm_model", seed, f"arm_model_{form}", {"model.form": form, **ON_ARMS})
        out |= dict(_predictions(f"arm.{form}", arm, HeldOutFleet(), ARMS))
    planner = planner_of(FORMS["context"], seed)
    return out | dict(_drives("planner", _over_time(planner, BOUNDS)))


def _predictions(name: str, bundle: Path, fleet: Fleet, machines: int) -> Iterator[tuple[str, Figure]]:
    found = _predicted(name, bundle, fleet, machines)
    before, after, settled, never = (np.array(found[part], np.float64) for part in PARTS)
    yield f"{name}.before", mean_interval(before)
    yield f"{name}.after", mean_interval(after)
    yield f"{name}.prediction_ratio", mean_interval(after / before.mean())
    yield f"{name}.settled_ratio", mean_interval(settled / before.mean())
    yield f"{name}.never.error_1s", mean_interval(never)


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


def _over_time(bundle: Path, opponents: Sequence[str]) -> Mapping[str, Json]:
    """The report of a drive, with a payload dropped after half of it; one that is there is not made again."""
    path = bundle.with_name(f"{bundle.stem}_over_time.json")
    if not path.is_file():
        against = [SHIPPED / f"servo_wide_{name}.acclimate" for name in opponents]
        evaluate(
            bundle, against=against, servos=SERVOS, machines=DEVICES, seconds=SECONDS, change="payload",
            seed=MACHINES_SEED, jobs=CORES,
        ).save(path)  # fmt: skip
    found: dict[str, Json] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _drives(called: str, report: Mapping[str, Json], *, others: bool = False) -> Iterator[tuple[str, Figure]]:
    """What came of the model, and of others where that is asked for."""
    for label, (since, begin) in SPANS.items():
        names = list(mapping(rows_of(report, "machines")[0]["figures"]))
        errors = {name: _errors(report, name, since, begin) for name in names}
        robust, oracle = (float(errors[name].mean()) for name in ("robust", "oracle"))
        for name in names if others else ["model"]:
            who = f"servo.{called if name == 'model' else name}"
            yield f"{who}.error_{label}", mean_interval(errors[name])
            if name not in ("robust", "oracle"):
                yield f"{who}.gap_closed_{label}", mean_interval((robust - errors[name]) / (robust - oracle))


def _errors(report: Mapping[str, Json], controller: str, since: str, begin: float) -> Floats:
    """Of a controller in a span, on each machine, rad."""
    found = []
    for machine in rows_of(report, "machines"):
        spans = mapping(machine["figures"])[controller]
        assert isinstance(spans, list)
        for span in map(mapping, spans):
            short = number(span["to"]) <= begin + 2.0
            if span["since"] == since and number(span["from"]) == begin and short:
                found.append(number(span["error"]))
    return np.array(found, np.float64)
