"""Meta-training throughput: tasks stacked into one tensor program, against a loop over tasks.

Both compute the same meta-gradient of the same algorithm on 32 tasks with one thread; rounds alternate, so that
what else the machine does falls on both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from acclimate.stats import mean_interval
from acclimate_trainer.algorithms.maml.maml import Maml, MamlConfig
from acclimate_trainer.outer_loop.training import TrainingConfig, meta_gradient, start
from acclimate_trainer.tasks.servo.family import ServoFamily

from benchmarks.harness import Figure

ROUNDS = 6
TASKS = 32


def run(seed: int) -> Mapping[str, Figure]:
    """env-steps per second of both, with intervals over rounds, and their ratio."""
    torch.set_num_threads(1)
    maml = MamlConfig()
    algorithm = Maml(ServoFamily(), maml)
    training = TrainingConfig(meta_batch_size=TASKS)
    meta = {name: value.requires_grad_() for name, value in start(algorithm, seed).meta.items()}

    def stacked(round_: int) -> None:
        meta_gradient(algorithm, meta, training, np.random.default_rng([seed, round_]), 1.0)

    def looped(round_: int) -> None:
        one = replace(training, meta_batch_size=1)
        total = {name: torch.zeros_like(value) for name, value in meta.items()}
        for task in range(TASKS):
            meta_gradient(algorithm, meta, one, np.random.default_rng([seed, round_, task]), 1.0)
            for name, value in meta.items():
                assert value.grad is not None
                total[name] += value.grad / TASKS

    steps = TASKS * _steps_per_task(maml)
    stacked(0)  # warm
    rates: dict[str, list[float]] = {"stacked": [], "loop": []}
    for round_ in range(ROUNDS):
        rates["stacked"].append(steps / _seconds(stacked, round_))
        rates["loop"].append(steps / _seconds(looped, round_))
    ratios = [a / b for a, b in zip(rates["stacked"], rates["loop"], strict=True)]
    return {
        "stacked_env_steps_per_s": mean_interval(rates["stacked"]),
        "loop_env_steps_per_s": mean_interval(rates["loop"]),
        "stacked_vs_loop": mean_interval(ratios),
    }


def _steps_per_task(c: MamlConfig) -> int:
    exploring = c.adapt_steps * c.support_episodes
    return (exploring + (c.adapt_steps + 1) * c.query_episodes) * c.episode_steps


def _seconds(work: Callable[[int], None], round_: int) -> float:
    begin = time.perf_counter()
    work(round_)
    return time.perf_counter() - begin
