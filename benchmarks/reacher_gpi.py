"""The reacher's eight test targets, for which nobody trained: by successor features and GPI, against training for each.

Returns are mean rewards per tick of greedy episodes, which begin alike for all. A score is 0 for random actions and 1
for a policy that was trained on that very target (`scratch`): by the same algorithm, with as many transitions as the
whole library of four had, and as many steps of the optimizer. Every seed trains everything anew, in
runs/bench/reacher_gpi, and goes on there if it was interrupted. Figures over all targets have n = seeds · 8, each pair
one sample, although the targets of a seed share its library; figures of one target have n = seeds.

best_single     the best of the library's four policies, by itself, chosen with hindsight for each target
gpi             GPI over the library, w known
inferred        the same, w inferred from 50 transitions by the exported `adapt` on onnxruntime; kept at the mean of the
                training tasks where these did not span
inferred_longer the same from WINDOWS more windows of 50 transitions, of which GPI made most
device          the same, and from these windows also last-layer refinement, by the exported graph
trainer         GPI over the library and a fifth policy that began as the best and learned for REFINING iterations on
                the target: a sixth of the transitions that `scratch` had
universal       one network told w (Borsa et al. 2019), trained near the training tasks' w
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from acclimate.atomic import write_atomically
from acclimate.engines import Graph
from acclimate.engines.onnx import OnnxEngine
from acclimate.stats import mean_interval
from acclimate_export.graphs.onnx import to_onnx
from acclimate_export.graphs.tracing import trace_adapt
from acclimate_trainer.algorithms.successor.features import action_values
from acclimate_trainer.algorithms.successor.library import Successor, grown
from acclimate_trainer.algorithms.successor.policies import LibraryPolicy
from acclimate_trainer.api import train as train_config
from acclimate_trainer.contract.policy import Adapt, Policy, Tensors, Window, stacked
from acclimate_trainer.outer_loop.training import Progress, TrainingConfig, train
from acclimate_trainer.play.rollouts import Episodes, draw, rollout
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.tasks import reacher
from acclimate_trainer.tasks.reacher import ReacherFamily, ReacherTasks
from torch import Tensor

from benchmarks.harness import Figure

SEEDS = 3
FOLDER = Path("runs/bench/reacher_gpi")
EPISODES, TICKS = 96, 50
TRIALS = 4  # in which w is inferred, on each target
WINDOWS, GENTLE = 4, 0.02  # windows to refine from, and the noise that explores in them
REFINE_STEPS, REFINE_LR = 10, 0.1
REFINING = TrainingConfig(iterations=20, meta_batch_size=32, outer_lr=0.001, clip=10.0)
FAMILY, TESTED = ReacherFamily(), tuple(reacher.TEST)
W = reacher.task_vectors(TESTED)  # (8, 12)
SHOWN = ("best_single", "gpi", "inferred", "inferred_longer", "device", "trainer", "universal")
Found: TypeAlias = dict[str, list[float]]  # by condition, for each target


def run(seed: int) -> Mapping[str, Figure]:
    """score.CONDITION and return.CONDITION over all test targets, score.CONDITION.TARGET; how well w was inferred."""
    torch.set_num_threads(1)
    found = [_of_seed(number) for number in range(seed, seed + SEEDS)]
    scores = [{name: _scores(one, name) for name in SHOWN} for one in found]
    figures: dict[str, Figure] = {}
    for name in ("random", "scratch", *SHOWN):
        figures[f"return.{name}"] = mean_interval([x for one in found for x in one[name]])
    for name in SHOWN:
        figures[f"score.{name}"] = mean_interval([x for one in scores for x in one[name]])
    for name in SHOWN:
        for i, target in enumerate(TESTED):
            figures[f"score.{name}.{_where(target)}"] = mean_interval([one[name][i] for one in scores])
    for name in ("spanned", "w_error"):
        figures[name] = mean_interval([x for one in found for x in one[name]])
    return figures


def _scores(found: Found, name: str) -> list[float]:
    rows = zip(found[name], found["random"], found["scratch"], strict=True)
    return [(value - low) / (high - low) for value, low, high in rows]


def _where(target: str) -> str:
    """Such as 22_0, in cm."""
    return "_".join(f"{100 * x:.0f}" for x in reacher.TEST[target])


def _of_seed(seed: int) -> Found:
    """Everything of one seed; what has been found is not computed again."""
    folder, found = FOLDER / f"seed{seed}", Found()
    steps: Mapping[str, Callable[[Path, int], Found]] = {
        "zero_shot": _zero_shot,
        "scratch": _scratch,
        "universal": _universal,
        "on_device": _on_device,
        "in_trainer": _in_trainer,
    }
    for name, step in steps.items():
        path = folder / f"{name}.json"
        if not path.exists():
            result = step(folder, seed)
            write_atomically(path, json.dumps(result).encode())
            print(
                f"seed {seed}: " + ", ".join(f"{n} {np.mean(v):.3f}" for n, v in result.items()), flush=True
            )
        found |= json.loads(path.read_bytes())
    return found


def _trained(folder: Path, seed: int, name: str) -> tuple[Successor[object], dict[str, Tensor]]:
    """By the built-in config reacher_NAME, or where that was interrupted."""
    run = train_config(f"reacher_{name}", out=folder / name, seed=seed)
    algorithm, progress = algorithm_of(run.config), run.checkpoint
    assert isinstance(algorithm, Successor)
    assert progress is not None
    return algorithm, {name: value.detach() for name, value in progress.meta.items()}


def _zero_shot(folder: Path, seed: int) -> Found:
    algorithm, meta = _trained(folder, seed, "library")
    policy, n = algorithm.policy(meta), len(algorithm.targets)
    single = [_returns(algorithm.alone(meta, i), seed) for i in range(n)]
    return {
        "random": _returns(policy, seed, noise=100.0),
        "best_single": np.max(single, axis=0).tolist(),
        "gpi": _returns(policy, seed),
    }


def _scratch(folder: Path, seed: int) -> Found:
    algorithm, meta = _trained(folder, seed, "scratch")
    policies = [algorithm.alone(meta, i) for i in range(len(algorithm.targets))]
    state = {name: torch.stack([p.initial()[name] for p in policies]) for name in policies[0].initial()}
    return {"scratch": _returns(policies[0], seed, state)}


def _universal(folder: Path, seed: int) -> Found:
    algorithm, meta = _trained(folder, seed, "universal")
    return {"universal": _returns(algorithm.policy(meta), seed)}


def _on_device(folder: Path, seed: int) -> Found:
    """w inferred from the first window, then refinement from more: both by one exported graph, trial by trial."""
    algorithm, meta = _trained(folder, seed, "library")
    fifty = replace(algorithm.config, window_episodes=5, window_steps=10)
    refining = replace(fifty, refine_steps=REFINE_STEPS, refine_lr=REFINE_LR)
    plain, policy = (Successor(algorithm.family, config).policy(meta) for config in (fifty, refining))
    assert policy.window is not None
    tasks, shape = len(TESTED) * TRIALS, (policy.window.episodes, policy.window.steps)
    truth, rng = W.repeat_interleave(TRIALS, 0), np.random.default_rng([seed, 7])
    infer, refine = _adapt_graph(plain), _adapt_graph(policy)

    def window(state: Tensors, scale: float) -> Window:
        return _played(policy, state, truth, shape, scale, rng).window()

    begin = stacked(policy, tasks, 1)
    inferred = _adapted(infer, begin, window(begin, 1.0))
    known = {**begin, **inferred.next}
    longer = state = known
    for _ in range(WINDOWS):
        longer = {**longer, **_adapted(infer, longer, window(longer, GENTLE)).next}
        state = {**state, **_adapted(refine, state, window(state, GENTLE)).next}
    spanned = inferred.info["rank"] > W.shape[1] - 0.5
    error = (known["task_vector"] - truth).abs().amax(1)
    return {
        "inferred": _by_target(_returns(policy, seed, known, truth)),
        "inferred_longer": _by_target(_returns(policy, seed, longer, truth)),
        "device": _by_target(_returns(policy, seed, state, truth)),
        "spanned": _by_target(spanned.float().tolist()),
        "w_error": [float(error[spanned].mean())],
    }


def _in_trainer(folder: Path, seed: int) -> Found:
    algorithm, meta = _trained(folder, seed, "library")
    policy = algorithm.policy(meta)
    assert isinstance(policy, LibraryPolicy)
    rng = np.random.default_rng([seed, 8])
    begin = FAMILY.open(ReacherTasks(W[:1]), EPISODES, TICKS, rng).obs
    psi = policy.psi(stacked(policy, 1, EPISODES), FAMILY.inputs(begin))
    out = []
    for i, target in enumerate(TESTED):
        best = int(action_values(psi, W[i : i + 1]).amax(-1).mean((0, 1)).argmax())
        larger, copied = grown(algorithm, meta, target, best)
        kept: list[Progress] = []
        train(larger, REFINING, seed, Progress(0, copied, {}), lambda p, _, kept=kept: kept.append(p))  # type: ignore[misc]
        refined = {name: value.detach() for name, value in kept[-1].meta.items()}
        out += _returns(larger.policy(refined), seed, truth=W[i : i + 1])
    return {"trainer": out}


def _returns(
    policy: Policy, seed: int, state: Tensors | None = None, truth: Tensor = W, noise: float = 0.0
) -> list[float]:
    """Mean reward per tick on each task of `truth` (T, 12); without a state, w is known."""
    known = {**stacked(policy, len(truth), EPISODES), "task_vector": truth}
    rng = np.random.default_rng([seed, 9])
    played = _played(policy, state or known, truth, (EPISODES, TICKS), noise, rng)
    return [float(x) for x in played.reward.mean((1, 2))]


@torch.no_grad()
def _played(
    policy: Policy,
    state: Tensors,
    truth: Tensor,
    shape: tuple[int, int],
    scale: float,
    rng: np.random.Generator,
) -> Episodes:
    """Episodes and ticks of `shape` on the tasks of `truth` (T, 12), with noise of that scale."""
    episodes, ticks = shape
    tasks, n_noise = ReacherTasks(truth), policy.n_noise
    around = draw(FAMILY, tasks, rng, explore=episodes, measure=0, steps=ticks, n_noise=n_noise)
    return rollout(policy, state, FAMILY.spec, around._replace(noise=scale * around.noise))


def _by_target(values: Sequence[float]) -> list[float]:
    """Means over the trials of each target."""
    return [float(x) for x in np.reshape(values, (len(TESTED), TRIALS)).mean(1)]


def _adapt_graph(policy: Policy) -> Graph:
    exported = to_onnx(trace_adapt(policy), "adapt")
    return OnnxEngine().load(exported.model, exported.spec, "adapt").bind()


def _adapted(graph: Graph, state: Tensors, window: Window) -> Adapt:
    """`adapt` on the engine, task by task, as each device would."""
    given = {f"state.{name}": value for name, value in state.items()}
    given |= {f"window.{name}": value for name, value in window._asdict().items()}
    rows: dict[str, list[Tensor]] = defaultdict(list)
    for task in range(len(window.mask)):
        for name, array in graph.inputs.items():
            array[...] = given[name][task].numpy()
        graph.run()
        for name, array in graph.outputs.items():
            rows[name].append(torch.from_numpy(array.copy()))
    out = {name: torch.stack(values) for name, values in rows.items()}
    following = {n.removeprefix("next."): v for n, v in out.items() if n.startswith("next.")}
    return Adapt(
        following, {n.removeprefix("info."): v[:, 0] for n, v in out.items() if n.startswith("info.")}
    )
