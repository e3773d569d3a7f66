"""What a policy that kept every direction open is worth when one is asked for: steps until it goes there.

A point is first to be fast, in any direction (config `point_entropy`), once with maximum entropy and once by the same
method at a temperature of nearly 0, which explores in a tenth of its ticks. Then it is to go one of 8 ways (config
`point_entropy_east`, other headings), from either start and from random parameters, all fine-tuned alike, two episodes
at a time. A start has got there when its noise-free policy earns THRESHOLD; one that has not after MOST steps counts
with so many, which favours the slow. Most settings were chosen on other ways: 0.4, 2.0 and 4.3 rad.

Trains in runs/bench/transfer_entropy, and goes on there where it was interrupted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from acclimate.atomic import write_atomically
from acclimate.fields import Json
from acclimate.stats import mean_interval
from acclimate_trainer.algorithms.entropy.entropy import Entropy, EntropyConfig
from acclimate_trainer.outer_loop.training import FOR_TRAINING, Progress, TrainingConfig, start, train
from acclimate_trainer.play.rollouts import Episodes, draw, rollout
from acclimate_trainer.runs.built_in import find_config
from acclimate_trainer.runs.configuration import Config, load_config
from acclimate_trainer.tasks.dash import Dashers, PointDashFamily

from benchmarks.harness import Figure
from benchmarks.harness.plots import keep_plot

FOLDER = Path("runs/bench/transfer_entropy")
SEEDS, WAYS = 5, 8
HEADINGS = tuple(2.0 * math.pi * k / WAYS for k in range(WAYS))
EPISODES = 2  # of an iteration of fine-tuning
MOST = 4800  # control ticks of fine-tuning
THRESHOLD = 30.0  # reward of an episode; a policy trained for that heading alone comes to about 40
CONFIGURATIONS = 23  # of maximum entropy and of fine-tuning that were tried, together
STARTS = ("maximum_entropy", "deterministic", "random")
_FIRST = 100  # seeds below were used up in trying
_PATHS = 48  # episodes in the picture


class _ArrivedError(Exception):
    """Fine-tuning is done."""


def run(seed: int) -> Mapping[str, Figure]:
    """`steps.START`: control ticks until it goes the way, over ways; `arrived.START`: share of the ways it went at all.

    `ratio_to_START`: of mean steps, that start's over maximum entropy's. `directions.START`: of 8, into which at least
    2 % of 128 episodes went before fine-tuning.
    """
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[list[float]]] = {}
    spread: dict[str, list[float]] = {}
    for each in range(seed + _FIRST, seed + _FIRST + SEEDS):
        trained = {name: _pretrained(name, each) for name in STARTS[:2]}
        for name, progress in trained.items():
            share = np.histogram(_ways(_played(name, progress, 128)), WAYS, (-0.5, WAYS - 0.5))[0] / 128
            spread.setdefault(name, []).append(float((share > 0.02).sum()))
        if each == seed + _FIRST:
            keep_plot("transfer_entropy", {name: _paths(name, p) for name, p in trained.items()})
        for name in STARTS:
            found.setdefault(name, []).append([_steps(name, way, each, trained) for way in range(WAYS)])
            print(f"seed {each}, {name}: {found[name][-1]}", flush=True)
    return _figures(found, spread)


def _figures(found: Mapping[str, list[list[float]]], spread: Mapping[str, list[float]]) -> dict[str, Figure]:
    """Intervals are over seeds."""
    means = {name: np.array(steps).clip(max=MOST).mean(1) for name, steps in found.items()}
    figures: dict[str, Figure] = {"configurations_tried": float(CONFIGURATIONS)}
    for name, steps in found.items():
        figures[f"steps.{name}"] = mean_interval(means[name])
        figures[f"arrived.{name}"] = mean_interval((np.array(steps) <= MOST).mean(1))
        if name != STARTS[0]:
            figures[f"ratio_to_{name}"] = mean_interval(means[name] / means[STARTS[0]])
    return figures | {f"directions.{name}": mean_interval(ways) for name, ways in spread.items()}


def _greedy(config: EntropyConfig) -> EntropyConfig:
    """The method at a temperature of nearly 0."""
    return replace(config, temperature=1e-3, entropy=0.0, exploration=0.1)


def _config(name: str) -> Config:
    return load_config(find_config(name))


def _broad(name: str) -> tuple[Entropy[Dashers], TrainingConfig]:
    config = _config("point_entropy")
    assert config.entropy is not None
    settings = config.entropy if name == STARTS[0] else _greedy(config.entropy)
    return Entropy(PointDashFamily(), settings), config.training


def _pretrained(name: str, seed: int) -> Progress:
    """Trained to be fast, in any direction."""
    algorithm, training = _broad(name)
    path = FOLDER / f"{name}_{seed}.pt"
    begin = start(algorithm, seed)
    if not path.exists():
        kept = [begin]
        train(algorithm, training, seed, begin, lambda progress, _: kept.__setitem__(0, progress))
        policy = {n: v.detach() for n, v in kept[0].meta.items() if not n.startswith(FOR_TRAINING)}
        torch.save(policy, path)
    return replace(begin, meta={**begin.meta, **torch.load(path, weights_only=True)})


def _steps(name: str, way: int, seed: int, trained: Mapping[str, Progress]) -> float:
    """Control ticks of fine-tuning until the policy goes that way; infinite where it never did."""
    path = FOLDER / f"{name}_{seed}_{way}.json"
    if not path.exists():
        write_atomically(path, json.dumps(_fine_tuned(name, way, seed, trained)).encode())
    found: float | None = json.loads(path.read_bytes())
    return math.inf if found is None else found


def _fine_tuned(name: str, way: int, seed: int, trained: Mapping[str, Progress]) -> int | None:
    config = _config("point_entropy_east")
    assert config.entropy is not None
    family = PointDashFamily(**{**dict(config.family.options), "heading": HEADINGS[way]})  # type: ignore[arg-type]
    algorithm = Entropy(family, config.entropy)
    ticks = EPISODES * family.horizon
    training = replace(config.training, iterations=MOST // ticks, meta_batch_size=EPISODES, final_lr=1.0)
    done = 0

    def report(progress: Progress, _: Mapping[str, float]) -> None:
        nonlocal done
        done = progress.iteration
        if float(played(algorithm, progress, 4, explore=False).reward.sum(-1).mean()) >= THRESHOLD:
            raise _ArrivedError

    try:
        train(algorithm, training, seed, _begun(algorithm, name, seed, trained), report)
    except _ArrivedError:
        return done * ticks
    return None


def _begun(algorithm: Entropy[Dashers], name: str, seed: int, trained: Mapping[str, Progress]) -> Progress:
    """As a config's `start` has it, at the same temperature from every start."""
    fresh = start(algorithm, seed)
    if name == "random":
        return fresh
    learned = trained[name].meta
    kept = {n: v for n, v in learned.items() if not n.startswith(FOR_TRAINING) and n != "log_alpha"}
    return replace(fresh, meta={**fresh.meta, **kept})


@torch.no_grad()
def played(algorithm: Entropy[Dashers], progress: Progress, machines: int, *, explore: bool) -> Episodes:
    """An episode on each of some machines, always the same: by draws, or without noise."""
    policy, family, rng = algorithm.policy(progress.meta), algorithm.family, np.random.default_rng(99)
    around = draw(
        family, family.sample(machines, rng), rng, explore=int(explore), measure=int(not explore),
        steps=family.spec.horizon, n_noise=policy.n_noise,
    )  # fmt: skip
    state = {name: value.expand(machines, *value.shape) for name, value in policy.initial().items()}
    return rollout(policy, state, family.spec, around)


def _played(name: str, progress: Progress, machines: int) -> Episodes:
    return played(_broad(name)[0], progress, machines, explore=True)


def _ways(episodes: Episodes) -> np.ndarray:
    """Which of the 8 ways each episode went."""
    x, y = episodes.obs[:, 0, -1, 0].numpy(), episodes.obs[:, 0, -1, 1].numpy()
    ways: np.ndarray = np.round(np.arctan2(y, x) * WAYS / (2.0 * math.pi)) % WAYS
    return ways


def _paths(name: str, progress: Progress) -> Json:
    """Places along some episodes, in m."""
    places = _played(name, progress, _PATHS).obs[:, 0, ::3, :2].numpy()
    paths: Json = np.round(places.astype(float), 2).tolist()
    return paths
