"""A policy that remembers, on the engine and in torch side by side: does what they remember stay the same?

Elsewhere the engine gets torch's running state anew in every tick. Here each carries its own, over many episodes of one
trial in which something happens to the machine, where that can be, so that a difference could build up. Both see what
torch saw.

Some policies let any difference build up: when they decide which way a motor is wired, the last bit may tip the
balance. From there on no engine can be nearer to torch than torch is to itself. So where the limit is passed, torch is
run once more with every tick disturbed as rounding disturbs it, on several machines, and what counts are the ticks
before it parts from itself, on the machine on which that takes longest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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

LIMIT = 1e-4  # on max_rel: rounding goes round and round here
_ROUNDING = 1e-6  # of the largest value: what engines differ by in a single tick
_STEPS = 100  # ticks of an episode
_MACHINES = 8  # on which it is tried how long torch agrees with itself


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
    on_engine, limit = Policy(bundle, engine), limit_of(bundle, engine, LIMIT)

    def compared(obs: Tensor) -> Drift:
        on_engine.reset("trial")
        expected, found = _in_torch(trained, obs), _on_engine(trained, on_engine, obs)
        return Drift(engine.name, *_largest(expected, found), len(obs), limit)

    obs = _driven(trained, ticks, np.random.default_rng([seed, 1]))
    first = compared(obs)
    return first if first.ok else compared(_undisputed(trained, obs, ticks, seed))


def _undisputed(trained: Trained, obs: Tensor, ticks: int, seed: int) -> Tensor:
    """Of several drives the one on which torch agrees with itself longest, as far as it does; `obs` is the first."""
    longest = obs[:1]
    for number in range(_MACHINES):
        drawn = _driven(trained, ticks, np.random.default_rng([seed, 1, number])) if number else obs
        agreed = _agreed(trained, drawn, np.random.default_rng([seed, 2, number]))
        longest = drawn[:agreed] if agreed > len(longest) else longest
        if len(longest) == ticks:
            break
    return longest


def _agreed(trained: Trained, obs: Tensor, rng: np.random.Generator) -> int:
    """After how many ticks torch parts from itself where each of them is disturbed."""
    expected = _in_torch(trained, obs)
    scale = {name: float(np.abs(value).max()) for name, value in expected.items()}
    disturbed = _in_torch(trained, obs, {name: _ROUNDING * x for name, x in scale.items()}, rng)
    apart = np.zeros(len(obs), np.bool_)
    for name, value in expected.items():
        difference = np.abs(disturbed[name] - value).reshape(len(obs), -1).max(1)
        apart |= difference > LIMIT * scale[name]
    return int(np.argmax(apart)) if apart.any() else len(obs)


def _largest(expected: Mapping[str, FloatArray], found: Mapping[str, FloatArray]) -> Largest:
    worst = {name: float(np.abs(found[name] - value).max()) for name, value in expected.items()}
    scale = {name: float(np.abs(value).max()) for name, value in expected.items()}
    return Largest.of(worst, scale)


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


def _in_torch(
    trained: Trained,
    obs: Tensor,
    disturbed: Mapping[str, float] | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, FloatArray]:
    """The action and what `act` wrote, after each tick.

    disturbed: by how much, up or down by chance, each of these differs in every tick.
    """
    policy, seen = trained.policy, list[dict[str, Tensor]]()
    live = stacked(policy, 1, 1)
    for tick, row in enumerate(obs):
        if tick % _STEPS == 0:
            live |= initial_of(policy, (1, 1), ("episode",))
        act = policy.act(live, row.expand(1, 1, -1), torch.zeros(1, 1, policy.n_noise))
        following = act.next if rng is None else _disturbed(act.next, disturbed or {}, rng)
        live |= following
        seen.append({"action": act.action, **following})
    return {name: np.stack([as_array(values[name][0, 0]) for values in seen]) for name in seen[0]}


def _disturbed(
    values: Mapping[str, Tensor], by: Mapping[str, float], rng: np.random.Generator
) -> dict[str, Tensor]:
    signs = {
        name: rng.choice(np.array([-1.0, 1.0], np.float32), tuple(x.shape)) for name, x in values.items()
    }
    return {name: x + by[name] * torch.from_numpy(signs[name]) for name, x in values.items()}


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
