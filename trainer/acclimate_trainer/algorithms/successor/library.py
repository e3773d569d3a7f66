"""Deep successor features (Barreto et al. 2017): a library of policies, or one network for all of them.

Policy i is for task w_i. Its ψ_i is learned off-policy, from transitions of whichever policy made them, by

    ψ_i(s, a) ← φ(s, a, s') + γ·ψ_i(s', a'),   a' = argmax_b max_k w_iᵀψ_k(s', b)

(Barreto et al. 2017, algorithm 3 and equation 4; the next action is that of generalised policy improvement), with a
replay memory and a slowly following target network (Mnih et al. 2015, Lillicrap et al. 2016). Targets go along what was
done for as long as that is what policy i does (`successor_features.traced_targets`): one step alone lets ψ's errors
count up to 1/(1 − γ) times in ψ itself, and GPI takes the largest of many values, errors included.

Where the code says ψ, it is δ: what acting adds to where one is (see `featured`).

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
from typing import Generic, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.errors import UsageError
from acclimate.names import did_you_mean
from torch import Tensor

from acclimate_trainer.algorithms.successor.featured import Featured
from acclimate_trainer.algorithms.successor.features import gpi, of_action, traced_targets
from acclimate_trainer.algorithms.successor.policies import UNIT, LibraryPolicy, PolicyConfig, UniversalPolicy
from acclimate_trainer.compiled.stopwatch import STOPWATCH
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Step, TaskFamily, Tasks
from acclimate_trainer.contract.policy import Tensors, Window
from acclimate_trainer.networks.psi import (
    Sizes,
    initial_features,
    initial_library,
    initial_universal,
    library_psi,
    universal_psi,
)
from acclimate_trainer.outer_loop.training import FOR_TRAINING, TrainingConfig, clip_gradient
from acclimate_trainer.play import replay
from acclimate_trainer.settings.limits import BELOW_ONE, COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require

_TARGET = FOR_TRAINING + "target."
_BESIDE = 3  # of a replayed row, beside the observation: the choice, whether the episode ended in itself, or in time


@dataclass(frozen=True)
class SuccessorConfig(PolicyConfig):
    """Section [successor] of a config."""

    train_on: tuple[str, ...] = ()
    """Names of the features for which there is a policy each, as what is to be got most of; empty: all features."""
    network: Literal["library", "separate", "universal"] = "library"
    """library, separate (policies that know nothing of each other) or universal (one network, told the objective)."""
    features: Literal["given", "learned"] = "given"
    """φ of the family (given), or one that is learned from the training tasks' rewards (learned)."""
    n_features: int = 4
    """Entries of φ where it is learned."""
    objectives: Literal["near", "all"] = "near"
    """What a universal network is trained for: objectives near the training tasks', w + spread·N(0, 1), or all that
    weigh the family's features, Dirichlet(spread)."""
    spread: float = 0.3
    """See `objectives`."""
    per_transition: int = 4
    """Objectives that a universal network learns for from one transition."""
    hidden: int = 64
    """Width of both hidden layers."""
    discount: float = 0.9
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

    window: Window  # (G, B, n …); what is not known of φ is masked
    action: Tensor  # number of the choice, int64 (G, B, n)
    goes_on: Tensor  # 0 where the episode ended in itself (G, B, n)


class Successor(Generic[Tasks]):
    """Trains ψ for tasks of a discrete family with features; a `training.Iterative`."""

    def __init__(
        self,
        family: TaskFamily[Tasks] | Complete[Tasks],
        config: SuccessorConfig,
        play: Sequence[int] | None = None,
    ) -> None:
        """play: which policies act; None: all.

        Raises UsageError for features that there are not, and for an episode that no stretch fits into.
        """
        self.family = Complete.of(family)
        spec = self.family.spec
        if config.stretch > spec.horizon:
            raise UsageError(
                f"[successor] stretch must fit into episodes of {spec.horizon} steps, found {config.stretch}"
            )
        self.config, self.view = config, Featured.of(self.family)
        self.targets = _numbers(self.view.names, config.train_on)
        self._play = tuple(range(len(self.targets)) if play is None else play)
        self._universal, self._separate = config.network == "universal", config.network == "separate"
        self._given = torch.eye(len(self.view.names))[list(self.targets)]  # (P, d)
        self._learned = config.features == "learned"
        d = config.n_features if self._learned else len(self.view.names)
        self.sizes = Sizes(self.family.n_inputs, config.hidden, len(self.view.choices), d)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """The networks' parameters; what only training has: target network, replay memory, and rewards' weights."""
        policies, c, spec = len(self.targets), self.config, self.family.spec
        params = (
            initial_universal(self.sizes, rng)
            if self._universal
            else initial_library(policies, self.sizes, rng)
        )
        target = {_TARGET + name: value.clone() for name, value in params.items()}
        if self._learned:
            params |= initial_features(self.sizes.inputs, self.sizes.features, policies, rng)
        groups, episodes = policies if self._separate else 1, max(1, c.replay // spec.horizon)
        return params | target | replay.empty(groups, episodes, spec.horizon + 1, spec.n_obs + _BESIDE)

    def task_vectors(self, meta: Tensors) -> Tensor:
        """w of each policy's task, (P, d)."""
        return meta["features.rewards"].detach().T if self._learned else self._given

    def policy(self, meta: Tensors) -> LibraryPolicy | UniversalPolicy:
        """For devices; its w is at first that of all training tasks at once."""
        params = {name: meta[name].detach() for name in self._names(meta)}
        vectors = self.task_vectors(meta)
        if self._universal:
            return UniversalPolicy(params, vectors, self.config.discount, self.config, self.view)
        return LibraryPolicy(params, vectors.mean(0), self.config.discount, self.config, self.view)

    def alone(self, meta: Tensors, policy: int) -> LibraryPolicy:
        """One policy of a library by itself, for its own task."""
        own = {
            n: meta[n][policy : policy + 1].detach()
            for n in self._names(meta)
            if not n.startswith("features.")
        }
        return LibraryPolicy(
            own, self.task_vectors(meta)[policy], self.config.discount, self.config, self.view
        )

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
        c, view = self.config, self.view
        batch = self._batch(replay.draw(meta, max(1, c.batch // c.stretch), c.stretch + 1, rng))
        learned = {n: v for n, v in meta.items() if n.startswith("features.")}
        gains, known = view.gains(batch.window, c.discount, learned)
        batch = batch._replace(window=batch.window._replace(mask=batch.window.mask * known))
        change = gains.detach() / UNIT
        error, mask = (
            self._universal_error(meta, batch, change, rng)
            if self._universal
            else self._library_error(meta, batch, change)
        )
        squares = error.square().mean(-1) * mask
        td = (squares.flatten(1).sum(1) / mask.flatten(1).sum(1).clamp_min(1.0)).sum()
        if not self._learned:
            return td, {"td_loss": float(td.detach())}
        rewards = self.family.features(batch.window)[0][..., list(self.targets)]
        phi, _ = view.features(batch.window, learned)
        explained = F.mse_loss(phi @ meta["features.rewards"], rewards)
        return td + explained, {"td_loss": float(td.detach()), "reward_loss": float(explained.detach())}

    def _library_error(self, meta: Tensors, batch: Batch, change: Tensor) -> tuple[Tensor, Tensor]:
        """Of every policy and transition, (P, B, n, d), and which of them count, (P, B, n)."""
        policies, w = len(self.targets), self.task_vectors(meta)
        x = self.view.inputs(batch.window.obs)
        columns = (x, batch.action, change, batch.goes_on, batch.window.mask)
        x, action, change, goes_on, mask = (t.expand(policies, *t.shape[1:]) for t in columns)
        found = of_action(self._psi(meta, x[:, :, :-1]), action)
        with torch.no_grad():
            every = self._psi(_target(meta), x).flatten(1, 2)  # (P, B · (n + 1), A, d)
            own = gpi(every.unsqueeze(2) if self._separate else _by_task(every), w).action
            target = self._targets(change, of_action(every, own), own, action, goes_on, mask)
        return found - target, mask

    def _universal_error(
        self, meta: Tensors, batch: Batch, change: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Of every objective drawn and transition, (1, B · per_transition, n, d), and which of them count."""
        n, actions = self.config.per_transition, self.sizes.actions
        x = self.view.inputs(batch.window.obs)
        columns = (x, batch.action, change, batch.goes_on, batch.window.mask)
        x, action, change, goes_on, mask = (t[0].repeat_interleave(n, 0) for t in columns)
        z = self.objectives(len(x), rng)
        found = of_action(universal_psi(meta, x[:, :-1], z.unsqueeze(1), actions), action)
        with torch.no_grad():
            every = universal_psi(_target(meta), x, z.unsqueeze(1), actions)  # (rows, n + 1, A, d)
            own = torch.einsum("rtad,rd->rta", every, z).argmax(-1)
            target = self._targets(change, of_action(every, own), own, action, goes_on, mask)
        return (found - target).unsqueeze(0), mask.unsqueeze(0)

    def _targets(
        self, change: Tensor, following: Tensor, own: Tensor, action: Tensor, goes_on: Tensor, mask: Tensor
    ) -> Tensor:
        """Of ψ (…, n, d); `following` and the policy's `own` actions at n + 1 states, in the order of these."""
        stretches = (*action.shape[:-1], action.shape[-1] + 1)
        agrees = (own.view(stretches)[..., :-1] == action).to(change.dtype) * mask
        ahead = following.view(*stretches, -1)
        return traced_targets(change, ahead, agrees, goes_on, self.config.discount, self.config.trace)

    def objectives(self, n: int, rng: np.random.Generator) -> Tensor:
        """Objectives z (n, d) that a universal network learns for."""
        c, d = self.config, self.sizes.features
        if c.objectives == "all":
            return torch.tensor(rng.dirichlet(np.full(d, c.spread), n), dtype=torch.float32)
        near = self._given[torch.from_numpy(rng.integers(0, len(self.targets), n))]
        return near + c.spread * torch.tensor(rng.standard_normal((n, d)), dtype=torch.float32)

    @torch.no_grad()
    def _explore(self, meta: Tensors, machines: int, rng: np.random.Generator, progress: float) -> float:
        """An episode on `machines` machines, shared out over the policies that act; remembered; the mean return."""
        policies, rows, spec = len(self._play), max(1, machines // len(self._play)), self.family.spec
        first, last = self.config.exploration
        share = first + (last - first) * min(1.0, 2.0 * progress)
        session = self.family.open(self.family.sample(policies, rng), rows, spec.horizon, rng)
        STOPWATCH.ticks += policies * rows * spec.horizon
        seen, actions, ends = [session.obs], list[Tensor](), list[Step]()
        for _ in range(spec.horizon):
            random = torch.from_numpy(rng.integers(0, self.sizes.actions, (policies, rows)))
            at_random = torch.from_numpy(rng.random((policies, rows)) < share)
            actions.append(torch.where(at_random, random, self._greedy(meta, self.view.inputs(seen[-1]))))
            ends.append(session.step(self.view.choices.action(actions[-1])))
            seen.append(session.obs)
        terminated, truncated = (torch.stack([end[i] for end in ends], 2) for i in (1, 2))
        beside = torch.stack([torch.stack(actions, 2), terminated, truncated], -1).float()
        episodes = torch.cat([torch.stack(seen, 2), F.pad(beside, (0, 0, 0, 1))], -1)
        replay.write(meta, episodes if self._separate else episodes.flatten(0, 1).unsqueeze(0))
        phi, _ = self.family.features(self._batch(episodes).window)  # (policies, rows, S, d)
        mine = self._given[list(self._play)].unsqueeze(-1)  # (policies, d, 1)
        return float((phi.flatten(1, 2) @ mine).mean() * spec.horizon)

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

    def _batch(self, rows: Tensor) -> Batch:
        """Replayed rows (G, B, n + 1, width): observations, and beside each what was done there and what ended."""
        obs, beside = rows[..., :-_BESIDE], rows[:, :, :-1, -_BESIDE:]
        action, terminated, truncated = beside.unbind(-1)
        unknown = torch.maximum(truncated, terminated) if self.view.by_state else truncated
        number = action.long()
        return Batch(Window(obs, self.view.choices.action(number), 1.0 - unknown), number, 1.0 - terminated)

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


def grown(
    algorithm: Successor[Tasks], meta: Tensors, feature: str, best: int
) -> tuple[Successor[Tasks], dict[str, Tensor]]:
    """A library with one more policy, for the most of that feature, that begins as a copy of policy `best`.

    Only the new one acts, exploring as at the end of training; all go on learning from what it sees, and from what is
    remembered: refinement in the target. For features that are given.
    """
    policies, last = len(algorithm.targets), algorithm.config.exploration[1]
    names = (*(algorithm.view.names[i] for i in algorithm.targets), feature)
    config = replace(algorithm.config, exploration=(last, last), train_on=names)
    larger = Successor(algorithm.family, config, play=(policies,))
    stacked = {name for name in meta if name.removeprefix(_TARGET)[0] in "wb" and name[-1].isdigit()}
    copied = {
        name: torch.cat([value, value[best : best + 1]]) if name in stacked else value.clone()
        for name, value in meta.items()
    }
    return larger, {name: value.detach() for name, value in copied.items()}


def _numbers(names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Which features these are; all of them where none is named. Raises UsageError."""
    for name in wanted:
        if name not in names:
            raise UsageError(
                f"[successor] train_on: there is no feature {name!r}{did_you_mean(name, names, of='valid')}"
            )
    return tuple(names.index(name) for name in wanted or names)


def _target(meta: Tensors) -> dict[str, Tensor]:
    """The target network's parameters, named as the network's."""
    return {name.removeprefix(_TARGET): value for name, value in meta.items() if name.startswith(_TARGET)}


def _by_task(psi: Tensor) -> Tensor:
    """Every policy's ψ (P, rows, A, d) for each policy's task to choose from, (T, rows, P, A, d)."""
    return psi.transpose(0, 1).expand(len(psi), -1, -1, -1, -1)
