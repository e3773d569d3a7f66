"""A policy of the contract at work on the reacher: whole episodes, as a device would drive them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from acclimate_trainer.contract.policy import Policy, Tensors, Window
from acclimate_trainer.tasks import reacher


class Played(NamedTuple):
    """Episodes of S ticks on T tasks, E each."""

    window: Window  # nothing masked
    reward: Tensor  # (T, E, S)


@torch.no_grad()
def play(policy: Policy, state: Tensors, task_vectors: Tensor, begin: reacher.Arms, noise: Tensor) -> Played:
    """Drive arms from `begin` (T, E) for as long as there is noise (T, E, S, n_noise).

    state: stacked, see `contract.stacked`. task_vectors: (T, 12), which the rewards come from and nothing else.
    """
    arms, obs = begin, [reacher.observe(begin, torch.zeros(noise.shape[:2]))]
    torques, rewards = [], []
    for t in range(noise.shape[2]):
        act = policy.act(state, obs[-1], noise[:, :, t])
        state = {**state, **act.next}
        arms = reacher.driven(arms, act.action)
        phi = reacher.features(reacher.directions(arms.angle))  # (T, E, 12)
        rewards.append((phi @ task_vectors.unsqueeze(-1)).squeeze(-1))
        torques.append(act.action)
        obs.append(reacher.observe(arms, rewards[-1]))
    action, reward = torch.stack(torques, 2), torch.stack(rewards, 2)
    return Played(Window(torch.stack(obs, 2), action, torch.ones_like(reward)), reward)
