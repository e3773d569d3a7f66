"""How wide to train: the zero-shot error of servos' policies, with and without memory, against the width of the ranges.

A width is the share of every range of the family that training draws its machines from, around the middle; 1.5 is
half as wide again, as far as a servo can be. Widths set by hand and the automatic one train alike but for whether the
ends of the ranges move. Errors are of the first four seconds, twice on each machine, by the model of training, on 256
machines of each of

    training    the ranges of that very training
    validation  the family's whole ranges
    test        the same, other machines
    outside     a quarter of a range beyond one end in one property

Trains in runs/bench/transfer_diversity, and goes on there where it was interrupted. The width to compare the automatic
one with is chosen on validation; so were, with another seed, `good` and `bad`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from acclimate.fields import Json
from acclimate.stats import Floats, clustered_interval, mean_interval
from acclimate_trainer.algorithms.widening import Narrowed, ranges
from acclimate_trainer.api import train
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.play.rollouts import headline
from acclimate_trainer.play.trials import draw_trial, run_trial, trial_costs
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.run_directory import CURVE, RunDirectory
from acclimate_trainer.settings.tables import Value

from benchmarks.harness import Figure
from benchmarks.harness.plots import keep_plot

FOLDER = Path("runs/bench/transfer_diversity")
SEEDS = 2
WIDTHS = (0.25, 0.5, 1.0, 1.5)
AUTOMATIC = "automatic"
SETS = ("training", "validation", "test", "outside")
MACHINES, EPISODES, STEPS = 256, 4, 100
TRIED = 6  # of `good`, `bad`, `most` and `step`, on validation
_CORE, _MOST, _BEYOND = 0.25, 1.5, 0.25
_DRAWN = 20261203
_KINDS: Mapping[str, tuple[dict[str, Value], int]] = {
    "robust": ({"hidden": 26, "episodes": 6, "episode_steps": 75}, 300),
    "rl2": ({"hidden": 17, "episodes": 2, "episode_steps": 75, "side_by_side": 4}, 300),
}
"""Without and with memory: settings, and iterations."""
_GOOD: Mapping[str, tuple[float, float]] = {"robust": (0.1, 0.2), "rl2": (0.1, 0.2)}
Draw: TypeAlias = Callable[[int, np.random.Generator], Floats]


class Trained(NamedTuple):
    """A training, and the error on each machine of every set."""

    width: float
    errors: Mapping[str, Floats]


def run(seed: int) -> Mapping[str, Figure]:
    """KIND.WIDTH.SET.error, rad, over trainings and machines; KIND.automatic.width; of the hand-set width that is best
    on validation, KIND.best_width, and KIND.automatic_to_best, the ratio of both errors on test, over trainings."""
    seeds = range(seed, seed + SEEDS)
    out: dict[str, Figure] = {"tried_on_validation": float(TRIED)}
    shown: dict[str, Json] = {}
    for kind in _KINDS:
        found = {width: [_trained(kind, width, s) for s in seeds] for width in (*map(str, WIDTHS), AUTOMATIC)}
        out |= _figures(kind, found)
        shown[kind] = _shown(found)
    keep_plot("transfer_diversity", shown)
    return out


def _figures(kind: str, found: Mapping[str, Sequence[Trained]]) -> dict[str, Figure]:
    out: dict[str, Figure] = {
        f"{kind}.{width}.{name}.error": clustered_interval(np.stack([t.errors[name] for t in trainings]))
        for width, trainings in found.items()
        for name in SETS
    }
    hand = {
        width: _mean(trainings, "validation").mean()
        for width, trainings in found.items()
        if width != AUTOMATIC
    }
    best = min(hand, key=lambda width: hand[width])
    ratio = _mean(found[AUTOMATIC], "test") / _mean(found[best], "test")
    return out | {
        f"{kind}.automatic.width": mean_interval([t.width for t in found[AUTOMATIC]]),
        f"{kind}.best_width": float(best),
        f"{kind}.automatic_to_best": mean_interval(ratio),
    }


def _mean(trainings: Sequence[Trained], name: str) -> Floats:
    """Of every training, over machines."""
    return np.array([t.errors[name].mean() for t in trainings])


def _shown(found: Mapping[str, Sequence[Trained]]) -> Json:
    tree: dict[str, Json] = {}
    for width, trainings in found.items():
        place = float(np.mean([t.width for t in trainings]))
        by_set: dict[str, Json] = {
            name: {**clustered_interval(np.stack([t.errors[name] for t in trainings])).as_dict()}
            for name in SETS
        }
        tree[width] = {"width": place, **by_set}
    return tree


def _trained(kind: str, width: str, seed: int) -> Trained:
    """Train and drive the machines of every set, or take what is there."""
    path = FOLDER / f"{kind}_{width}_{seed}"
    if not (path / CURVE).is_file():
        train(config(kind, width), out=path, seed=seed)
    done = RunDirectory.open(path)
    family: Narrowed[object] = Narrowed(Complete.of(done.config.opened.family))
    checkpoint = done.load()
    assert checkpoint is not None  # `train` has come to its end
    ends = ranges(checkpoint.meta)
    moves = np.array([p.highest > p.lowest for p in family.properties])
    kept = path / "errors.npz"
    if not kept.is_file():
        made = {name: _errors(done, family, name, _drawn(family, name, ends)) for name in SETS}
        np.savez(kept, **made)  # type: ignore[arg-type]  # to its stub they may be `allow_pickle`
    with np.load(kept) as found:
        errors = {name: found[name] for name in SETS}
    return Trained(float((ends[1] - ends[0])[moves].mean()), errors)


def config(kind: str, width: str) -> dict[str, Value]:
    """Ends move from a core, or stay where they are set by hand."""
    settings, iterations = _KINDS[kind]
    good, bad = _GOOD[kind]
    share = _CORE if width == AUTOMATIC else float(width)
    most = _MOST if width == AUTOMATIC else float(width)
    return {
        "name": f"{kind}_{width}",
        "seed": 0,
        "classical": False,
        "family": {"name": "servo", "options": {"preset": "wide"}},
        kind: settings,
        "widening": {"good": good, "bad": bad, "core": share, "most": most, "machines": 8, "step": 0.2},
        "training": {"iterations": iterations, "meta_batch_size": 16},
    }


def _drawn(family: Complete[object], name: str, ends: Floats) -> Draw:
    """Places (n, properties) of the machines of a set."""
    count = len(family.properties)

    def training(n: int, rng: np.random.Generator) -> Floats:
        return np.asarray(ends[0] + (ends[1] - ends[0]) * rng.random((n, count)))

    def whole(n: int, rng: np.random.Generator) -> Floats:
        return rng.random((n, count))

    def outside(n: int, rng: np.random.Generator) -> Floats:
        places, edges = rng.random((n, count)), _edges(family)
        for i in range(n):
            column, end, room = edges[i % len(edges)]
            places[i, column] = end + room * rng.random()
        return places

    return {"training": training, "outside": outside}.get(name, whole)


def _edges(family: Complete[object]) -> list[tuple[int, float, float]]:
    """Ends of ranges that a machine can be beyond, and by how much."""
    low = [(i, 0.0, max(p.lowest, -_BEYOND)) for i, p in enumerate(family.properties) if p.lowest < 0.0]
    return low + [
        (i, 1.0, min(p.highest - 1.0, _BEYOND)) for i, p in enumerate(family.properties) if p.highest > 1.0
    ]


def _errors(done: RunDirectory, family: Narrowed[object], name: str, draw: Draw) -> Floats:
    """RMS error of every machine over its first episodes, rad; the machines are the same for all trainings."""
    checkpoint, algorithm = done.load(), algorithm_of(done.config)
    assert checkpoint is not None
    policy = algorithm.policy({n: v.detach() for n, v in checkpoint.chosen.items()})
    initial = policy.initial()
    state = {
        t.name: initial[t.name].expand(MACHINES, *t.shape).clone()
        for t in policy.state
        if t.written_by != "act"
    }
    family.draw = draw
    rng = np.random.default_rng([_DRAWN, SETS.index(name)])
    with torch.no_grad():
        trial = draw_trial(family, MACHINES, rng, side_by_side=2, episodes=EPISODES, steps=STEPS)
        costs = trial_costs(family, run_trial(policy, state, family, trial))
    return np.asarray(headline(costs[0]).numpy(), np.float64)
