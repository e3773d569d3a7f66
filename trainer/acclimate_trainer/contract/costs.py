"""What training minimises, tick by tick: terms that families are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.contract.family import Cost
from acclimate_trainer.contract.policy import Window


def headline_cost(spec: TaskSpec, window: Window, reward: Tensor) -> Cost:
    """What the headline metric says of each tick: squared differences of its pairs, or minus the reward."""
    metric = spec.headline
    if not metric.pairs:
        return Cost(metric.name, -reward, root=False)
    squares = [
        (window.obs[:, :, 1:, spec.index(measured)] - window.obs[:, :, 1:, spec.index(wanted)]).square()
        for measured, wanted in metric.pairs
    ]
    total = squares[0] if len(squares) == 1 else torch.stack(squares).mean(0)
    return Cost(metric.name, total)


def change_cost(spec: TaskSpec, window: Window, price: float) -> Cost:
    """The change of the action from tick to tick, of full scale, at a price in the headline's unit per its RMS.

    What shakes wears a gear train, heats a motor and can be heard. It also exploits the simulator's friction, so that a
    policy that pays for it is more accurate on a real machine, too.
    """
    low, high = (torch.tensor(ends) for ends in spec.limits())
    action = limited(spec, window.action) * (2.0 / (high - low))
    change = action[:, :, 1:] - action[:, :, :-1]
    return Cost("change", F.pad(change.square().mean(-1), (1, 0)), price)


def limited(spec: TaskSpec, action: Tensor) -> Tensor:
    """Actions (…, n_act) as a device takes them: within the channels' limits."""
    low, high = spec.limits()
    if len(set(low)) == len(set(high)) == 1:
        return F.hardtanh(action, low[0], high[0])
    return torch.minimum(torch.maximum(action, torch.tensor(low)), torch.tensor(high))
