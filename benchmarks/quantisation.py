"""What 8 bits cost: policies whose weights stay, as TFLite with quantised weights, beside the same in float32.

Trains the robust policy, the oracle and RL² on preset wide in runs/bench/quantisation, and goes on there if it was
interrupted. Each is quantised as by `acclimate export --quantize`; the loss is that of single ticks of simulated
servos, and of driving servos that training never saw, with the same references.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

import torch
from acclimate.bundle.file import Bundle
from acclimate.bundle.manifest import SCHEMES
from acclimate.cores import usable_cores
from acclimate.policy.policy import Policy
from acclimate_demo.jobs import Job, run_jobs
from acclimate_export.bundle.bundling import make_parts
from acclimate_export.bundle.formats import select_forms
from acclimate_export.bundle.trained import Trained, from_run
from acclimate_export.check.loss import MEMBER, measure
from acclimate_export.check.quantisation import as_bundle, with_member
from acclimate_trainer.runs.run_directory import RunDirectory

from benchmarks.harness import Figure

ALGORITHMS = ("robust", "oracle", "rl2")
MACHINES = 48  # that each is driven on
ROUNDS, CALLS = 15, 2000  # of act, hot
FOLDER = Path("runs/bench/quantisation")


def run(seed: int) -> Mapping[str, Figure]:
    """ALGORITHM.SCHEME: what docs/cli.md says of `quantised`, the member's size, and µs of one act."""
    figures: dict[str, Figure] = {}
    for algorithm, run_folder in _trained(FOLDER / f"seed{seed}", seed).items():
        torch.set_num_threads(1)
        trained, _ = from_run(run_folder)
        figures |= {f"{algorithm}.{name}": figure for name, figure in _figures(trained)}
    return figures


def _trained(out: Path, seed: int) -> dict[str, RunDirectory]:
    (out / "logs").mkdir(parents=True, exist_ok=True)
    train = [
        Job(name, ("train", f"servo_wide_{name}", "--out", str(out / name), "--seed", str(seed)),
            out / "logs" / f"train_{name}.txt")
        for name in ALGORITHMS
    ]  # fmt: skip
    run_jobs("training", train, usable_cores())
    return {name: RunDirectory.open(out / name) for name in ALGORITHMS}


def _figures(trained: Trained) -> Iterator[tuple[str, Figure]]:
    plain = make_parts(trained, {}, {}, select_forms("tflite"))
    yield "float32.bytes", float(len(plain.members[MEMBER]))
    bundles = {"float32": as_bundle(plain)}
    for scheme in SCHEMES:
        parts = with_member(trained, plain, scheme)
        bundles[scheme] = as_bundle(parts)
        loss = measure(trained, bundles[scheme], MACHINES)
        yield f"{scheme}.bytes", float(len(parts.members[MEMBER]))
        yield f"{scheme}.action_rms", loss.action_rms
        yield f"{scheme}.action_max", loss.action_max
        yield f"{scheme}.golden", loss.golden
        for name, interval in loss.driving.items():
            yield f"{scheme}.{loss.metric.name}.{name}", interval
    for name, microseconds in _times(bundles).items():
        yield f"{name}.act_us", microseconds


def _times(bundles: Mapping[str, Bundle]) -> dict[str, float]:
    """µs of one act on LiteRT, hot, in turns: the median over rounds of each round's mean."""
    policies = {name: Policy(bundle, "litert") for name, bundle in bundles.items()}
    rounds: dict[str, list[float]] = {name: [] for name in policies}
    for _ in range(ROUNDS):
        for name, policy in policies.items():
            rounds[name].append(_round(policy))
    return {name: median(times) for name, times in rounds.items()}


def _round(policy: Policy) -> float:
    obs, act = policy.bundle.golden.obs[0], policy.act
    begin = time.perf_counter()
    for _ in range(CALLS):
        act(obs)
    return 1e6 * (time.perf_counter() - begin) / CALLS
