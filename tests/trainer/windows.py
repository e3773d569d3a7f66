"""Random windows of transitions to test with."""

from __future__ import annotations

import torch
from acclimate_trainer.contract.policy import Window


def random_window(tasks: int, episodes: int, steps: int, *, seed: int = 0, masked: float = 0.0) -> Window:
    """Observations as a servo might give them; a share `masked` of the transitions is masked."""
    rng = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1.0, 3.0, 1.0, 1.0])
    obs = scale * torch.randn(tasks, episodes, steps + 1, 4, generator=rng)
    action = 0.7 * torch.randn(tasks, episodes, steps, 1, generator=rng)
    mask = (torch.rand(tasks, episodes, steps, generator=rng) >= masked).to(obs.dtype)
    return Window(obs, action, mask)
