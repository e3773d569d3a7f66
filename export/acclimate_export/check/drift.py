"""A policy that remembers, on the engine and in torch side by side: does what they remember stay the same?

Elsewhere the engine gets torch's running state anew in every tick. Here each carries its own, over many episodes of one
trial in which something happens to the machine, where that can be, so that a difference could build up. Both see what
torch saw.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle
from acclimate.engines import Engine
from acclimate.fields import Json
from acclimate.policy.policy import Policy
from acclimate_trainer.contract.policy import stacked
from acclimate_trainer.play.rollouts import initial_of
from acclimate_trainer.play.trials import draw_trial, run_trial
from torch import Tensor

from acclimate_export.bundle.trained import Trained, as_array
from acclimate_export.check.differences import Largest, finite, limit_of

LIMIT = 1e-4  # on max_rel: rounding goes round and round here; in a single tick a tenth of this is allowed
_STEPS = 100  # ticks of an episode


class Drift(NamedTuple):
    """The largest difference in action or running state over `ticks` consecutive ones, on one engine."""

    engine: str
    max_abs: float
    max_rel: float
    tensor: str
    ticks: int
    limit: float = LIMIT

    @property
    def ok(self) -> bool:
        return self.max_rel <= self.limit  # False for NaN

    def __str__(self) -> str:
        verdict = "remembers what torch does" if self.ok else "DRIFTS away from torch"
        return (
            f"act on {self.engine} {verdict} over {self.ticks} consecutive ticks: at most {self.max_rel:.1e} "
            f"relative, in {self.tensor!r} (limit {self.limit:g})"
        )

    def tree(self) -> dict[str, Json]:
        """As docs/cli.md describes it."""
        return {**self._asdict(), "max_abs": finite(self.max_abs), "max_rel": finite(self.max_rel)}


def remembers(trained: Trained) -> bool:
    """Whether something that `act` writes outlives an episode."""
    return any(t.written_by == "act" and t.reset == "trial" for t in trained.policy.state)


@torch.no_grad()
def drift(trained: Trained, bundle: Bundle, engine: Engine, ticks: int, seed: int) -> Drift:
    """Drive a machine of the family for `ticks`, in episodes of at most 100. Raises as `Policy`."""
    obs = _driven(trained, ticks, np.random.default_rng([seed, 1]))
    expected, found = _in_torch(trained, obs), _on_engine(trained, Policy(bundle, engine), obs)
    worst = {name: float(np.abs(found[name] - value).max()) for name, value in expected.items()}
    scale = {name: float(np.abs(value).max()) for name, value in expected.items()}
    return Drift(engine.name, *Largest.of(worst, scale), len(obs), limit_of(bundle, engine, LIMIT))


def _driven(trained: Trained, ticks: int, rng: np.random.Generator) -> Tensor:
    """What torch's policy observes on a machine that changes, where that can be, (ticks, n_obs)."""
    episodes = math.ceil(ticks / _STEPS)
    family, n_noise = trained.family, trained.policy.n_noise
    trial = draw_trial(
        family, 1, rng, side_by_side=1, episodes=episodes, steps=_STEPS, change=1.0, n_noise=n_noise
    )
    parts = run_trial(trained.policy, stacked(trained.policy, 1, 1), family, trial)
    obs = torch.cat([part.obs[0, 0, :-1] for part in parts])[:ticks]
    return F.pad(obs, (0, trained.policy.spec.n_obs - obs.shape[1]))  # no rewards, if it takes any


def _in_torch(trained: Trained, obs: Tensor) -> dict[str, FloatArray]:
    """The action and what `act` wrote, after each tick."""
    policy, seen = trained.policy, list[dict[str, Tensor]]()
    live = stacked(policy, 1, 1)
    for tick, row in enumerate(obs):
        if tick % _STEPS == 0:
            live |= initial_of(policy, (1, 1), ("episode",))
        act = policy.act(live, row.expand(1, 1, -1), torch.zeros(1, 1, policy.n_noise))
        live |= act.next
        seen.append({"action": act.action, **act.next})
    return {name: np.stack([as_array(values[name][0, 0]) for values in seen]) for name in seen[0]}


def _on_engine(trained: Trained, policy: Policy, obs: Tensor) -> dict[str, FloatArray]:
    """The same, by the bundle's graph, as the runtime runs it."""
    written = [t.name for t in trained.policy.state if t.written_by == "act"]
    seen: dict[str, list[FloatArray]] = {name: [] for name in ("action", *written)}
    for tick, row in enumerate(as_array(obs)):
        if tick % _STEPS == 0:
            policy.reset("episode")
        seen["action"].append(policy.act(row).copy())
        for name in written:
            seen[name].append(policy.state(name))
    return {name: np.stack(values) for name, values in seen.items()}
