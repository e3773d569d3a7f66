"""Random windows of transitions to test with."""

from __future__ import annotations

import torch
from acclimate.task.spec import TaskSpec
from acclimate_trainer.contract.policy import Window

from .servo_tasks import FAMILY


def random_window(
    tasks: int,
    episodes: int,
    steps: int,
    *,
    seed: int = 0,
    masked: float = 0.0,
    spec: TaskSpec = FAMILY.spec,
) -> Window:
    """Observations about as large as a machine's may be, and actions, some beyond their limits.

    A share `masked` of the transitions is masked.
    """
    rng = torch.Generator().manual_seed(seed)
    size = [0.5 * (c.maximum - c.minimum) for c in spec.observation for _ in range(c.size)]
    low, high = (torch.tensor(ends) for ends in spec.limits())
    obs = 0.5 * torch.tensor(size) * torch.randn(tasks, episodes, steps + 1, spec.n_obs, generator=rng)
    spread = 0.35 * (high - low)
    action = 0.5 * (low + high) + spread * torch.randn(tasks, episodes, steps, spec.n_act, generator=rng)
    mask = (torch.rand(tasks, episodes, steps, generator=rng) >= masked).to(obs.dtype)
    return Window(obs, action, mask)
