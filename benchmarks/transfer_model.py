"""A model that adapts to its own prediction errors, in its three forms, on servos and arms that training never saw.

Trains and exports in runs/bench/model, and goes on there where it was interrupted. RL², MAML, the robust policy and the
oracle with a memory are the bundles that ship, one training of each; identify, then control is trained here. Machines
are those of `_servos`, of richer friction than any in training; arms are held out in the same way. Intervals are over
trainings and machines, both drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from acclimate.fields import Json
from acclimate.stats import Floats, Interval, clustered_interval, mean_interval
from acclimate_bridge.api import evaluate
from acclimate_bridge.evaluation.evaluation import Fleet, HeldOutFleet, Plan, Work, on_all, open_plan
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_demo.report import mapping, number, rows_of

from benchmarks._model import Predicted, bundle_of, planner_of, predict
from benchmarks._servos import CORES, MACHINES_SEED, SERVOS
from benchmarks.harness import Figure

CONFIGURATIONS = 6  # that were tried on other servos (XL330, STS3215) before these settings were taken
SHIPPED = Path("examples/bundles")
FORMS = {
    "context": "servo_wide_model",
    "gradient": "servo_wide_model_gradient",
    "priors": "servo_wide_model_priors",
}
TRAININGS = {"context": 2, "gradient": 1, "priors": 1}
DEVICES, SECONDS = 8, 24.0  # of each servo; of driving, with a payload dropped in the middle
ARMS = 24
ARM_ITERATIONS = 60  # of the other forms on arms, of which only the predictions are judged
OPPONENTS = ("rl2", "maml", "robust", "rl2_oracle")
BOUNDS = ("robust", "rl2_oracle")
SPANS = {"1s": ("start", 1.0), "late": ("start", 10.0), "after_change": ("change", 1.0)}
"""What is judged: since when, and from which second on, of a second or two."""


def run(seed: int) -> Mapping[str, Figure]:
    """FAMILY.FORM.before, .after, .prediction_ratio: the model's error on a window, without and with a step on the 16
    transitions before it. servo.METHOD.error_1s, .gap_closed_1s: from 1 s to 2 s of driving; .error_late: from 10 s to
    12 s, after the 8 s that MAML explores; .error_after_change: from 1 s to 2 s after a payload was dropped;
    .never.error_1s: of a policy whose model takes no step."""
    out: dict[str, Figure] = {"configurations_tried": float(CONFIGURATIONS)}
    for form, config in FORMS.items():
        bundles = [bundle_of(config, s) for s in range(seed, seed + TRAININGS[form])]
        out |= dict(_predictions(f"servo.{form}", bundles, ServoFleet.of(SERVOS), DEVICES))
        reports = [_over_time(bundle, OPPONENTS if form == "context" else BOUNDS) for bundle in bundles]
        out |= dict(_drives({"model": form}, reports, others=form == "context"))
    planner, identify = planner_of(FORMS["context"], seed), bundle_of("servo_wide_identify", seed)
    out |= dict(_drives({"model": "planner"}, [_over_time(planner, BOUNDS)]))
    out |= dict(_drives({}, [_over_time(identify, BOUNDS)]))
    out |= dict(_arms(seed))
    return out


def _predictions(
    name: str, bundles: Sequence[Path], fleet: Fleet, machines: int
) -> Iterator[tuple[str, Figure]]:
    found = [list(_predicted(bundle, fleet, machines)) for bundle in bundles]
    before = np.array([[each.before.mean() for each in row] for row in found], np.float64)
    after = np.array([[each.after.mean() for each in row] for row in found], np.float64)
    yield f"{name}.before", _interval(before)
    yield f"{name}.after", _interval(after)
    yield f"{name}.prediction_ratio", _interval(after / before.mean())
    yield f"{name}.never.error_1s", _interval(np.array([[each.never for each in row] for row in found]))


def _predicted(bundle: Path, fleet: Fleet, machines: int) -> Iterator[Predicted]:
    plan = Plan(bundle, fleet, against=(), machines=machines, seed=MACHINES_SEED)
    yield from on_all(Work(plan, predict), open_plan(plan), CORES, None)


def _interval(values: Floats) -> Interval:
    """Over trainings and machines, (trainings, machines); of one training over machines alone."""
    return clustered_interval(values) if len(values) > 1 else mean_interval(values[0])


def _over_time(bundle: Path, opponents: Sequence[str]) -> Mapping[str, Json]:
    """The report of a drive, with a payload dropped after half of it."""
    against = [SHIPPED / f"servo_wide_{name}.acclimate" for name in opponents]
    found = evaluate(
        bundle, against=against, servos=SERVOS, machines=DEVICES, seconds=SECONDS, change="payload",
        seed=MACHINES_SEED, jobs=CORES,
    )  # fmt: skip
    return found.tree


def _drives(
    called: Mapping[str, str], reports: Sequence[Mapping[str, Json]], *, others: bool = False
) -> Iterator[tuple[str, Figure]]:
    """What came of each controller; of those that others are measured by, only where that is asked for."""
    for label, (since, begin) in SPANS.items():
        names = list(mapping(rows_of(reports[0], "machines")[0]["figures"]))
        errors = {name: _errors(reports, name, since, begin) for name in names}
        robust, oracle = (float(errors[name].mean()) for name in ("robust", "oracle"))
        for name in names if others else [name for name in names if name not in ("pid", "robust", "oracle")]:
            who = f"servo.{called.get(name, name)}"
            yield f"{who}.error_{label}", _interval(errors[name])
            if name not in ("robust", "oracle"):
                yield f"{who}.gap_closed_{label}", _interval((robust - errors[name]) / (robust - oracle))


def _errors(reports: Sequence[Mapping[str, Json]], controller: str, since: str, begin: float) -> Floats:
    """Of a controller in a span, rad, (trainings, machines)."""
    return np.array([[*_of_machines(report, controller, since, begin)] for report in reports], np.float64)


def _of_machines(report: Mapping[str, Json], controller: str, since: str, begin: float) -> Iterator[float]:
    for machine in rows_of(report, "machines"):
        spans = mapping(machine["figures"])[controller]
        assert isinstance(spans, list)
        for span in map(mapping, spans):
            short = number(span["to"]) <= begin + 2.0
            if span["since"] == since and number(span["from"]) == begin and short:
                yield number(span["error"])


def _arms(seed: int) -> Iterator[tuple[str, Figure]]:
    """The other forms are trained for less, since only their predictions are judged."""
    context = bundle_of("arm_model", seed)
    bundles = {"context": context} | {
        form: bundle_of("arm_model", seed, ARM_ITERATIONS, form=form) for form in ("gradient", "priors")
    }
    for form, bundle in bundles.items():
        yield from _predictions(f"arm.{form}", [bundle], HeldOutFleet(), ARMS)
    report = evaluate(
        context, against=[SHIPPED / "arm_rl2.acclimate"], machines=ARMS, seconds=8.0, seed=MACHINES_SEED,
        jobs=CORES,
    ).tree  # fmt: skip
    for name, called in {"model": "context", "rl2": "rl2", "pid": "pid"}.items():
        yield f"arm.{called}.error_1s", _interval(_errors([report], name, "start", 1.0))
