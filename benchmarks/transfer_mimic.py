"""Actor-Mimic on servos of preset wide: what a student keeps of eight teachers, and what it is worth on servos that no
teacher knew, as the start of a policy for each of them. Five trainings.

Works in runs/bench/transfer_mimic, and goes on there where it was interrupted. Everything is measured on the friction
model of training, where teachers are at home; `transfer_shots` has the student on another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from acclimate.stats import Floats, clustered_interval, mean_interval
from acclimate_trainer.algorithms.distillation.mimic import Mimic, MimicConfig
from acclimate_trainer.algorithms.distillation.pupils import RecurrentPupil
from acclimate_trainer.algorithms.distillation.teachers import Specialists, learn_alone
from acclimate_trainer.algorithms.rl2.rl2 import Rl2
from acclimate_trainer.api import train
from acclimate_trainer.compiled.driving import compiling
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.contract.sources import Sources
from acclimate_trainer.networks.view import View
from acclimate_trainer.outer_loop.training import FOR_TRAINING, TrainingConfig
from acclimate_trainer.play.rollouts import Episodes, draw, headline, rollout
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.run_directory import RunDirectory

from benchmarks.harness import Figure

CONFIG = "servo_wide_mimic"
FOLDER = Path("runs/bench/transfer_mimic")
SEEDS = 5
TRIED = (
    2  # configurations on validation machines: hidden 17 with steps of .02, and the one that the config has
)
JUDGED, NEW = 20261210, 20261211  # seeds of what is driven, and of the servos that no teacher knew
SERVOS = 8  # of these
EPISODES, STEPS = 8, 100  # that a policy is judged by
THRESHOLDS = (0.02, 0.01, 0.007)  # rad; the second is what RL² reaches on the whole family
EVERY, LONGEST = 4, 80  # steps of the optimizer between two looks, and at most
RATES = (0.01, 0.03)  # step sizes, of which either beginning has the one that suits it best
Family = Complete[Any]


class Judged(NamedTuple):
    """On each machine: the family's reward per tick, and the error, rad."""

    reward: Floats
    error: Floats


def run(seed: int) -> Mapping[str, Figure]:
    """share_of_teachers: of what the teachers' reward has over that of a motor that is left alone, on their own servos;
    with the errors of teachers, student and such a motor, rad, error_of_teachers and so on. worst_share: of one servo.

    steps_to_T.student and .scratch: steps of the optimizer until a policy for one new servo alone is within an error of
    T, a median over servos, from the student and from nothing, each with the best of two step sizes, rate_T;
    ratio_to_scratch_T: the second over the first, which counts as one look at least; ratio_to_scratch: to 0.01 rad.
    reached_T.NAME: the share of servos where it came so far within 80 steps. configurations: tried before.
    """
    torch.set_num_threads(1)
    with compiling(True):
        found = [_one(each) for each in range(seed, seed + SEEDS)]
    kept, curves = zip(*found, strict=True)
    return {"configurations": float(TRIED), **_kept(kept), **_faster(curves)}


def _one(seed: int) -> tuple[Mapping[str, Judged], Mapping[str, Floats]]:
    run = train(CONFIG, seed=seed, out=FOLDER / f"seed{seed}", changes={"classical": False})
    directory = RunDirectory.open(run.path)
    algorithm, progress = algorithm_of(directory.config), directory.load()
    assert isinstance(algorithm, Mimic)
    assert progress is not None
    assert algorithm.specialists is not None
    sources = algorithm.specialists.family
    policy, meta = algorithm.policy(progress.meta), progress.meta
    own = {name: value for name, value in meta.items() if not name.startswith(FOR_TRAINING)}
    count = algorithm.specialists.count
    everyone = {
        "teachers": _judge(policy, algorithm.specialists.own(meta), sources, count),
        "student": _judge(policy, _each(own, count), sources, count),
        "still": _judge(policy, _each({name: 0.0 * value for name, value in own.items()}, count), sources, count),
    }  # fmt: skip
    config = directory.config.mimic
    assert config is not None
    return everyone, _learned(Complete.of(directory.config.opened.family), config, own, seed)


def _each(params: Tensors, count: int) -> dict[str, torch.Tensor]:
    return {name: value.detach().expand(count, *value.shape).clone() for name, value in params.items()}


@torch.no_grad()
def _judge(policy: Policy, params: Tensors, family: Family, count: int) -> Judged:
    """Networks, stacked over machines, each on its own, in noise-free episodes that are always the same."""
    rng = np.random.default_rng(JUDGED)
    around = draw(family, family.sample(count, rng), rng, explore=0, measure=EPISODES, steps=STEPS)
    driven: Episodes = rollout(policy, params, family.spec, around)
    window = driven.window()
    reward = family.reward(window).mean(dim=(1, 2))
    error = headline(family.costs(window, driven.reward)[0])
    return Judged(*(np.asarray(each.double().numpy(), np.float64) for each in (reward, error)))


def _kept(found: Sequence[Mapping[str, Judged]]) -> dict[str, Figure]:
    shares = np.stack([
        (each["student"].reward - each["still"].reward) / (each["teachers"].reward - each["still"].reward)
        for each in found
    ])  # fmt: skip
    out: dict[str, Figure] = {
        "share_of_teachers": clustered_interval(shares),
        "worst_share": float(shares.min()),
    }
    for name in found[0]:
        out[f"error_of_{name}"] = clustered_interval([each[name].error for each in found])
    return out


def _learned(family: Family, config: MimicConfig, student: Tensors, seed: int) -> Mapping[str, Floats]:
    """Errors on servos that no teacher knew, (rates, looks, servos), of policies for each alone, by their beginning."""
    sources = Sources(family, family.sample(SERVOS, np.random.default_rng(NEW)))
    pupil = RecurrentPupil(View.of(family), config.hidden)
    alone = Specialists(sources, pupil, Rl2(sources, replace(config, change=0.0)))
    scratch = alone.own(alone.initial(np.random.default_rng([NEW, seed])))
    starts = {"student": _each(student, SERVOS), "scratch": scratch}
    return {
        name: np.stack([_curve(alone, begin, pupil.policy(student), seed, rate) for rate in RATES])
        for name, begin in starts.items()
    }


def _curve(alone: Specialists[Any], begin: Tensors, policy: Policy, seed: int, rate: float) -> Floats:
    own = {name: value.detach().clone().requires_grad_() for name, value in begin.items()}
    adam, learning = torch.optim.Adam(own.values(), lr=rate), TrainingConfig()
    errors, steps, iteration = [_judge(policy, own, alone.family, SERVOS).error], 0, 0
    while steps < LONGEST:
        for piece in alone.pieces(np.random.default_rng([seed, iteration]), 1.0):
            learn_alone(piece, own, learning)
            adam.step()
            steps += 1
            if steps % EVERY == 0:
                errors.append(_judge(policy, own, alone.family, SERVOS).error)
        iteration += 1
    return np.stack(errors)


def _faster(curves: Sequence[Mapping[str, Floats]]) -> dict[str, Figure]:
    out: dict[str, Figure] = {}
    for threshold in THRESHOLDS:
        medians = {}
        for name in curves[0]:
            needed = np.stack(
                [_steps_to(threshold, each[name]) for each in curves]
            )  # (trainings, rates, servos)
            each = np.median(np.minimum(needed, LONGEST), axis=2)
            best = int(each.mean(axis=0).argmin())
            medians[name] = each[:, best]
            out[f"steps_to_{threshold:g}.{name}"] = mean_interval(medians[name])
            out[f"reached_{threshold:g}.{name}"] = clustered_interval(np.isfinite(needed[:, best]))
            out[f"rate_{threshold:g}.{name}"] = RATES[best]
        ratio = medians["scratch"] / np.maximum(medians["student"], EVERY)
        out[f"ratio_to_scratch_{threshold:g}"] = mean_interval(ratio)
    out["ratio_to_scratch"] = out[f"ratio_to_scratch_{THRESHOLDS[1]:g}"]
    return out


def _steps_to(threshold: float, errors: Floats) -> Floats:
    """Steps (rates, servos) until a servo's error is within it for the first time; infinity where it never is."""
    within = errors <= threshold
    first = within.argmax(axis=1) * float(EVERY)
    return np.where(within.any(axis=1), first, np.inf)
