"""A discrete family with features, as policies of successor features see it.

Networks give δ, what acting adds to where one is, in place of ψ. Where φ is a function φ(s') of the state that is
arrived at, ψ is mostly that, whatever is done and by whichever policy:

    ψ(s, a) = φ(s)/(1 − γ) + δ(s, a)/(1 − γ),      δ(s, a) = φ(s') − φ(s) + γ·δ(s', a')

which is ψ's own Bellman equation (put in, φ(s) cancels), as shaping by a potential is (Ng et al. 1999, "Policy
Invariance under Reward Transformations"). GPI by δ chooses as GPI by ψ does, and a network need not spend itself on
what is some ten times as large as what actions change about it. Of other features δ is (1 − γ)·ψ:

    δ(s, a) = (1 − γ)·φ(s, a, s') + γ·δ(s', a')
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Tasks
from acclimate_trainer.contract.policy import Tensors, Window
from acclimate_trainer.networks.choices import Choices
from acclimate_trainer.networks.psi import learned_features

_TRIED, _TRIED_SEED = 8, 20261123  # machines on which it is seen whether φ is a function of the state
_SAME = 1e-4
_GIVEN: Tensors = {}


@dataclass(frozen=True)
class Featured:
    """See the module."""

    family: Complete[object]
    choices: Choices
    by_state: bool  # whether φ is a function of the state that is arrived at, as far as random actions show

    @classmethod
    def of(cls, family: Complete[Tasks]) -> Featured:
        choices = Choices.of(family.spec)
        window = _tried(family, choices)
        phi, known = family.features(window)
        away = (phi - _at(family, window.obs[:, :, 1:])).abs().amax(-1) * known
        return cls(family, choices, bool(away.max() < _SAME))  # type: ignore[arg-type]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.family.spec.features)

    def inputs(self, obs: Tensor) -> Tensor:
        """What a network sees of obs (…, n_obs): (…, f). A reward that the family does not observe may come last."""
        return self.family.inputs(obs[..., : self.family.spec.n_obs])

    def features(self, window: Window, learned: Tensors = _GIVEN) -> tuple[Tensor, Tensor]:
        """φ of every transition (T, K, S, d), and which of them are known (T, K, S).

        learned: the parameters of learned features (see `networks.psi`), where it is not the family's own φ.
        """
        if not learned:
            return self.family.features(self._own(window))
        phi = learned_features(learned, self.inputs(window.obs[:, :, 1:]))
        return phi, torch.ones_like(window.mask)

    def gains(self, window: Window, discount: float, learned: Tensors = _GIVEN) -> tuple[Tensor, Tensor]:
        """What every transition adds to δ beside what follows, (T, K, S, d), and which of them are known (T, K, S)."""
        phi, known = self.features(window, learned)
        if learned:
            return phi - learned_features(learned, self.inputs(window.obs[:, :, :-1])), known
        if not self.by_state:
            return (1.0 - discount) * phi, known
        return phi - _at(self.family, self._own(window).obs[:, :, :-1]), known

    def _own(self, window: Window) -> Window:
        """The window with what the family observes, and no further reward."""
        return window._replace(obs=window.obs[..., : self.family.spec.n_obs])


def _at(family: Complete[Tasks], obs: Tensor) -> Tensor:
    """φ (T, K, n, d) of arriving at obs (T, K, n, n_obs), where it is a function of that."""
    tasks, episodes, n = obs.shape[:3]
    pairs = obs.reshape(tasks, episodes * n, 1, -1).expand(-1, -1, 2, -1)
    action = obs.new_zeros(tasks, episodes * n, 1, family.spec.n_act)
    phi, _ = family.features(Window(pairs, action, torch.ones_like(action[..., 0])))
    return phi.view(tasks, episodes, n, -1)


def _tried(family: Complete[Tasks], choices: Choices) -> Window:
    """An episode of random actions on a few machines."""
    rng, steps = np.random.default_rng(_TRIED_SEED), family.spec.horizon
    session = family.open(family.sample(_TRIED, rng), 1, steps, rng)
    obs, actions = [session.obs], list[Tensor]()
    for _ in range(steps):
        choice = torch.from_numpy(rng.integers(0, len(choices), session.obs.shape[:2]))
        actions.append(choices.action(choice))
        session.step(actions[-1])
        obs.append(session.obs)
    action = torch.stack(actions, 2)
    return Window(torch.stack(obs, 2), action, torch.ones(action.shape[:3]))
