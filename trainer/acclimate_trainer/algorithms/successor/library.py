"""Deep successor features (Barreto et al. 2017) on the reacher: a library of policies, or one network for all of them.

Policy i is for task w_i. Its ψ_i is learned off-policy, from transitions of whichever policy made them, by

    ψ_i(s, a) ← φ(s, a, s') + γ·ψ_i(s', a'),   a' = argmax_b max_k w_iᵀψ_k(s', b)

(Barreto et al. 2017, algorithm 3 and equation 4; the next action is that of generalised policy improvement), with a
replay memory and a slowly following target network (Mnih et al. 2015, Lillicrap et al. 2016). Targets go along what was
done for as long as that is what policy i does (`successor_features.traced_targets`): one step alone lets ψ's errors
count up to 1/(1 − γ) times in ψ itself, and GPI takes the largest of many values, errors included.

φ is a function of the state that is arrived at, φ(s'), and a network has only to say what acting adds to where one is:

    ψ(s, a) = φ(s)/(1 − γ) + δ(s, a)/(1 − γ),      δ(s, a) = (φ(s') − φ(s)) + γ·δ(s', a')

which is the same equation (put in, φ(s) cancels), as shaping by a potential is (Ng et al. 1999, "Policy Invariance
under Reward Transformations"). φ(s) is alike for all actions and policies, so that GPI by δ chooses as GPI by ψ does;
but ψ is some ten times as large as what actions change about it, and a network would spend itself on that. Where the
code says ψ, it is δ.

Three networks:

- library: one for each policy, and all learn from all transitions.
- separate: each policy learns from its own transitions alone and does not know the others: what one gets for a task
  without any transfer.
- universal: one network that is told z, the objective whose policy it is to be (universal successor features
  approximators, Borsa et al. 2019, equation 9); each transition teaches it for objectives drawn anew.

φ is the family's, or is learned from the rewards of the training tasks (Barreto et al. 2018, "Transfer in Deep
Reinforcement Learning Using Successor Features and Generalised Policy Improvement", section 4): φ̃, of which every
training reward is a linear function.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.algorithms.successor.features import gpi, of_action, traced_targets
from acclimate_trainer.algorithms.successor.policies import UNIT, LibraryPolicy, PolicyConfig, UniversalPolicy
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.networks.psi import (
    Sizes,
    initial_features,
    initial_library,
    initial_universal,
    learned_features,
    library_psi,
    universal_psi,
)
from acclimate_trainer.outer_loop.training import FOR_TRAINING, TrainingConfig, clip_gradient
from acclimate_trainer.play import replay
from acclimate_trainer.settings.limits import BELOW_ONE, COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require
from acclimate_trainer.tasks import reacher

NETWORKS = ("library", "separate", "universal")
FEATURES = ("given", "learned")
OBJECTIVES = ("near", "all")
_TARGET = FOR_TRAINING + "target."
_WIDTH = 2 * reacher.N_INPUTS + 1  # of a transition: inputs before, action, inputs after


@dataclass(frozen=True)
class SuccessorConfig(PolicyConfig):
    """Section [successor] of a config."""

    network: str = "library"
    """library, separate (policies that know nothing of each other) or universal (one network, told the objective)."""
    features: str = "given"
    """φ of the family (given), or one that is learned from the training tasks' rewards (learned)."""
    n_features: int = 4
    """Entries of φ where it is learned."""
    objectives: str = "near"
    """What a universal network is trained for: objectives near the training tasks', w + spread·N(0, 1), or all that
    weigh the family's features, Dirichlet(spread)."""
    spread: float = 0.3
    """See `objectives`."""
    per_transition: int = 4
    """Objectives that a universal network learns for from one transition."""
    hidden: int = 64
    """Width of both hidden layers."""
    discount: float = reacher.DISCOUNT
    """γ."""
    exploration: tuple[float, float] = (1.0, 0.1)
    """Share of random actions at the start, and from half of training on."""
    replay: int = 100_000
    """Transitions that are remembered, in whole episodes."""
    batch: int = 128
    """Transitions of one step of the optimizer, in stretches of one episode."""
    stretch: int = 8
    """Transitions in a row of which targets are made."""
    trace: float = 0.9
    """λ: how far targets go along what was done, for as long as that is what the policy does; 0: one step."""
    steps: int = 60
    """Steps of the optimizer in one iteration."""
    following: float = 0.02
    """How far the target network follows in one step."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no training can be."""
        super().__post_init__()
        for name, valid in (("network", NETWORKS), ("features", FEATURES), ("objectives", OBJECTIVES)):
            if getattr(self, name) not in valid:
                raise UsageError(f"{name} is {getattr(self, name)!r}; valid: {', '.join(valid)}")
        if self.network == "universal" and self.features == "learned":
            raise UsageError(
                "network 'universal' learns from the family's features; expected features 'given', found 'learned'"
            )
        if self.network == "universal" and self.refine_steps:
            raise UsageError(
                "refine_steps refines one policy of a library, which network 'universal' is not; "
                f"expected 0, found {self.refine_steps}"
            )
        counts = ("n_features", "per_transition", "hidden", "replay", "batch", "steps", "stretch")
        require(self, {**dict.fromkeys(counts, COUNT), "spread": NOT_NEGATIVE, "discount": BELOW_ONE,
                       "following": POSITIVE, "trace": SHARE})  # fmt: skip
        for share in self.exploration:
            if not SHARE.holds(share):
                raise UsageError(
                    f"exploration must be two numbers from 0 to 1, found {list(self.exploration)!r}"
                )


class Batch(NamedTuple):
    """Stretches of n transitions in a row, of G groups: one for all policies, or one for each."""

    x: Tensor  # inputs before each, and after the last (G, B, n + 1, f)
    action: Tensor  # int64 (G, B, n)


class Successor:
    """Trains ψ for tasks on the reacher; an `training.Iterative`."""

    def __init__(
        self,
        targets: Sequence[int],
        episode_steps: int,
        config: SuccessorConfig,
        play: Sequence[int] | None = None,
    ) -> None:
        """targets: which of the family's targets the policies are for. play: which of these policies act; None: all.

        Raises UsageError for an episode that no stretch fits into.
        """
        if config.stretch > episode_steps:
            raise UsageError(
                f"[successor] stretch must fit into episodes of {episode_steps} steps, found {config.stretch}"
            )
        self.targets, self.config = tuple(targets), config
        self.episode_steps, self._play = episode_steps, tuple(range(len(targets)) if play is None else play)
        self._universal, self._separate = config.network == "universal", config.network == "separate"
        self._given = reacher.one_hot(torch.tensor(self.targets))  # (P, 12)
        self._learned = config.features == "learned"
        d = config.n_features if self._learned else reacher.N_FEATURES
        self.sizes = Sizes(reacher.N_INPUTS, config.hidden, reacher.N_ACTIONS, d)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The networks' parameters; what only training has: target network, replay memory, and rewards' weights."""
        policies, c = len(self.targets), self.config
        params = (
            initial_universal(self.sizes, rng)
            if self._universal
            else initial_library(policies, self.sizes, rng)
        )
        target = {_TARGET + name: value.clone() for name, value in params.items()}
        if self._learned:
            params |= initial_features(reacher.N_INPUTS, self.sizes.features, policies, rng)
        groups, episodes = policies if self._separate else 1, max(1, c.replay // self.episode_steps)
        return params | target | replay.empty(groups, episodes, self.episode_steps, _WIDTH)

    def task_vectors(self, meta: Tensors) -> Tensor:
        """w of each policy's task, (P, d)."""
        return meta["features.rewards"].detach().T if self._learned else self._given

    def policy(self, meta: Tensors) -> LibraryPolicy | UniversalPolicy:
        """For devices; its w is at first that of all training tasks at once."""
        params = {name: meta[name].detach() for name in self._names(meta)}
        vectors = self.task_vectors(meta)
        if self._universal:
            return UniversalPolicy(params, vectors, self.config.discount, self.config)
        return LibraryPolicy(params, vectors.mean(0), self.config.discount, self.config)

    def alone(self, meta: Tensors, policy: int) -> LibraryPolicy:
        """One policy of a library by itself, for its own task."""
        own = {
            n: meta[n][policy : policy + 1].detach()
            for n in self._names(meta)
            if not n.startswith("features.")
        }
        return LibraryPolicy(own, self.task_vectors(meta)[policy], self.config.discount, self.config)

    def updates(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Iterator[dict[str, float]]:
        """One iteration: an episode on every arm, then several steps of the optimizer."""
        learned = {name: meta[name] for name in self._names(meta)}
        figures = {"return": self._explore(meta, config.meta_batch_size, rng, progress)}
        for _ in range(self.config.steps):
            loss, found = self.loss(meta, rng)
            norm = clip_gradient(loss, learned, config.clip)
            self._follow(meta)
            yield figures | found | {"grad_norm": norm}

    def loss(self, meta: Tensors, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Squared TD error of ψ in the networks' units, and of rewards where φ is learned; and figures to report."""
        c = self.config
        batch = _batch(replay.draw(meta, max(1, c.batch // c.stretch), c.stretch, rng))
        phi = self._features(meta, batch.x)  # (G, B, n + 1, d)
        change = phi.diff(dim=2).detach() / UNIT
        error = (
            self._universal_error(meta, batch, change, rng)
            if self._universal
            else self._library_error(meta, batch, change)
        )
        td = error.square().flatten(1).mean(1).sum()
        if not self._learned:
            return td, {"td_loss": float(td.detach())}
        rewards = reacher.features(batch.x[..., :4])[..., list(self.targets)]
        explained = F.mse_loss(phi @ meta["features.rewards"], rewards)
        return td + explained, {"td_loss": float(td.detach()), "reward_loss": float(explained.detach())}

    def _features(self, meta: Tensors, x: Tensor) -> Tensor:
        """φ (…, d) of arriving where the inputs are x (…, f)."""
        return learned_features(meta, x) if self._learned else reacher.features(x[..., :4])

    def _library_error(self, meta: Tensors, batch: Batch, change: Tensor) -> Tensor:
        """Of every policy and transition, (P, B, n, d)."""
        policies, w = len(self.targets), self.task_vectors(meta)
        x, action, change = (t.expand(policies, *t.shape[1:]) for t in (*batch, change))
        found = of_action(self._psi(meta, x[:, :, :-1]), action)
        with torch.no_grad():
            every = self._psi(_target(meta), x).flatten(1, 2)  # (P, B · (n + 1), A, d)
            own = gpi(every.unsqueeze(2) if self._separate else _by_task(every), w).action
            target = self._targets(change, of_action(every, own), own, action)
        return found - target

    def _universal_error(
        self, meta: Tensors, batch: Batch, change: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """Of every objective drawn and transition, (1, B · per_transition, n, d)."""
        n, actions = self.config.per_transition, self.sizes.actions
        x, action, change = (t[0].repeat_interleave(n, 0) for t in (*batch, change))
        z = self.objectives(len(x), rng)
        found = of_action(universal_psi(meta, x[:, :-1], z.unsqueeze(1), actions), action)
        with torch.no_grad():
            every = universal_psi(_target(meta), x, z.unsqueeze(1), actions)  # (rows, n + 1, A, d)
            own = torch.einsum("rtad,rd->rta", every, z).argmax(-1)
            target = self._targets(change, of_action(every, own), own, action)
        return (found - target).unsqueeze(0)

    def _targets(self, change: Tensor, following: Tensor, own: Tensor, action: Tensor) -> Tensor:
        """Of ψ (…, n, d); `following` and the policy's `own` actions at n + 1 states, in the order of these."""
        stretches = (*action.shape[:-1], action.shape[-1] + 1)
        agrees = (own.view(stretches)[..., :-1] == action).to(change.dtype)
        ahead = following.view(*stretches, -1)
        return traced_targets(change, ahead, agrees, self.config.discount, self.config.trace)

    def objectives(self, n: int, rng: np.random.Generator) -> Tensor:
        """Objectives z (n, d) that a universal network learns for."""
        c, d = self.config, self.sizes.features
        if c.objectives == "all":
            return torch.tensor(rng.dirichlet(np.full(d, c.spread), n), dtype=torch.float32)
        near = self._given[torch.from_numpy(rng.integers(0, len(self.targets), n))]
        return near + c.spread * torch.tensor(rng.standard_normal((n, d)), dtype=torch.float32)

    @torch.no_grad()
    def _explore(self, meta: Tensors, arms: int, rng: np.random.Generator, progress: float) -> float:
        """An episode on `arms` arms, shared out over the tasks that are played; remembered; the mean return."""
        tasks, rows = len(self._play), max(1, arms // len(self._play))
        first, last = self.config.exploration
        share = first + (last - first) * min(1.0, 2.0 * progress)
        state, steps, total = reacher.reset((tasks, rows), rng), [], 0.0
        mine = torch.tensor([self.targets[i] for i in self._play])[:, None, None].expand(tasks, rows, 1)
        x = _inputs(state)
        for _ in range(self.episode_steps):
            random = torch.from_numpy(rng.integers(0, self.sizes.actions, (tasks, rows)))
            at_random = torch.from_numpy(rng.random((tasks, rows)) < share)
            action = torch.where(at_random, random, self._greedy(meta, x))
            state = reacher.step(state, action)
            before, x = x, _inputs(state)
            steps.append(torch.cat([before, action.unsqueeze(-1).float(), x], -1))
            total += float(reacher.features(x[..., :4]).gather(-1, mine).mean())
        seen = torch.stack(steps, 2)  # (tasks, rows, steps, width)
        replay.write(meta, seen if self._separate else seen.flatten(0, 1).unsqueeze(0))
        return total

    def _greedy(self, meta: Tensors, x: Tensor) -> Tensor:
        """What the tasks that are played would do at inputs x (tasks, rows, f), by generalised policy improvement."""
        w, policies = self.task_vectors(meta)[list(self._play)], len(self.targets)
        tasks, rows = x.shape[:2]
        if self._universal:
            psi = universal_psi(
                meta, x.unsqueeze(2), self._given, self.sizes.actions
            )  # (tasks, rows, P, A, d)
        elif self._separate:
            psi = self._psi(meta, x).unsqueeze(2)
        else:
            every = self._psi(meta, x.reshape(1, tasks * rows, -1).expand(policies, -1, -1))
            psi = every.transpose(0, 1).reshape(tasks, rows, policies, *every.shape[2:])
        return gpi(psi, w).action

    def _psi(self, params: Tensors, x: Tensor) -> Tensor:
        """ψ (P, …, A, d) of each policy on inputs x (P, …, f)."""
        psi = library_psi(params, x.flatten(1, -2), self.sizes.actions)
        return psi.reshape(*x.shape[:-1], *psi.shape[-2:])

    @torch.no_grad()
    def _follow(self, meta: Tensors) -> None:
        for name, value in meta.items():
            if name.startswith(_TARGET):
                value.lerp_(meta[name.removeprefix(_TARGET)], self.config.following)

    @staticmethod
    def _names(meta: Mapping[str, Tensor]) -> list[str]:
        """Of the parameters that learn."""
        return [name for name in meta if not name.startswith(FOR_TRAINING)]


def grown(algorithm: Successor, meta: Tensors, target: int, best: int) -> tuple[Successor, dict[str, Tensor]]:
    """A library with one more policy, for family target `target`, that begins as a copy of policy `best`.

    Only the new one acts, exploring as at the end of training; all go on learning from what it sees, and from what is
    remembered: refinement in the target. For features that are given.
    """
    policies, last = len(algorithm.targets), algorithm.config.exploration[1]
    config = replace(algorithm.config, exploration=(last, last))
    larger = Successor((*algorithm.targets, target), algorithm.episode_steps, config, play=(policies,))
    stacked = {name for name in meta if name.removeprefix(_TARGET)[0] in "wb" and name[-1].isdigit()}
    copied = {
        name: torch.cat([value, value[best : best + 1]]) if name in stacked else value.clone()
        for name, value in meta.items()
    }
    return larger, {name: value.detach() for name, value in copied.items()}


def _batch(rows: Tensor) -> Batch:
    """Replayed rows (G, B, n, width)."""
    n = reacher.N_INPUTS
    return Batch(torch.cat([rows[..., :n], rows[..., -1:, n + 1 :]], dim=-2), rows[..., n].long())


def _inputs(arms: reacher.Arms) -> Tensor:
    return reacher.inputs(reacher.directions(arms.angle), arms.velocity)


def _target(meta: Tensors) -> dict[str, Tensor]:
    """The target network's parameters, named as the network's."""
    return {name.removeprefix(_TARGET): value for name, value in meta.items() if name.startswith(_TARGET)}


def _by_task(psi: Tensor) -> Tensor:
    """Every policy's ψ (P, rows, A, d) for each policy's task to choose from, (T, rows, P, A, d)."""
    return psi.transpose(0, 1).expand(len(psi), -1, -1, -1, -1)
