"""A PID tuned on one machine alone, as a good engineer would who has it on the bench.

The search begins at the family's gains and draws around the best of all before, ever more narrowly. It has no bounds
that an optimum could lie beyond. The references are others than those that anything is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.task.metrics import Pool
from acclimate.task.spec import TaskSpec

from acclimate_bridge.evaluation.pid import Pid, PidGains, gains_of

_TUNED = PidGains._fields[:4]
_LEAST = 1e-4  # of a gain to begin with: below it a search by factors would stay at nothing


@dataclass(frozen=True)
class Search:
    """How to search.

    spread: a factor that gains differ by at most in the first round; narrower: the power of it that remains each round.
    """

    rounds: int = 7
    candidates: int = 10
    spread: float = 16.0
    narrower: float = 0.6


SEARCH = Search()


def cost(spec: TaskSpec, episodes: Sequence[tuple[FloatArray, FloatArray]], price: float) -> float:
    """The headline metric over episodes (obs, action), and the RMS change of the action, of full scale, at a price."""
    pool, changes = Pool(spec), list[FloatArray]()
    low, high = (np.array(ends, np.float32) for ends in spec.limits())
    for obs, action in episodes:
        pool.add(obs, action)
        changes.append(np.diff(2.0 * np.clip(action, low, high) / (high - low), axis=0))
    shaken = float(np.sqrt(np.mean(np.square(np.concatenate(changes)))))
    return pool.values()[spec.headline.name] + price * shaken


def tuned(
    settings: Mapping[str, float],
    signs: Sequence[float],
    spec: TaskSpec,
    judge: Callable[[Pid], float],
    rng: np.random.Generator,
    search: Search = SEARCH,
) -> Pid:
    """The best PID by `judge`, lower is better, for a machine of which it is known which way each motor turns.

    settings: the family's gains, to begin with.
    """
    gains = gains_of(settings, spec.action_scalars)
    best = np.log(np.maximum(np.array([gain[:4] for gain in gains]), _LEAST))  # (n_act, 4)

    def made(logarithms: FloatArray) -> Pid:
        signed = np.exp(logarithms) * np.array(signs)[:, None]
        rows = zip(spec.action_scalars, signed, strict=True)
        return Pid({f"{a}.{n}": float(g) for a, row in rows for n, g in zip(_TUNED, row, strict=True)}, spec)

    least, spread = judge(made(best)), np.log(search.spread)
    for _ in range(search.rounds):
        drawn = best + spread * rng.uniform(-1.0, 1.0, (search.candidates, *best.shape))
        costs = [judge(made(each)) for each in drawn]
        if min(costs) < least:
            best, least = drawn[int(np.argmin(costs))], min(costs)
        spread *= search.narrower
    return made(best)
