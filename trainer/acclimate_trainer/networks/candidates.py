"""The actions that are compared where the value of each is asked for: all that there are, or a grid over their range.

Values of a static set are a graph with static shapes, and a distribution over a set may have as many modes as it likes,
which a Gaussian around one mean has not.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from acclimate.errors import UsageError
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.networks.choices import Choices

MOST = 256  # candidates of one machine
_USUAL, _FEWEST = 25, 3  # candidates where nobody says how many, and values of each action


@dataclass(frozen=True)
class Candidates:
    """A actions, and what a network is told of each."""

    table: Tensor  # in the channels' units, (A, n_act)
    codes: Tensor  # one-hot where actions are choices, else the action within ±1, (A, c)
    choices: Choices | None
    step: float  # between two candidates side by side, within ±1; 0 where actions are choices
    beside: Tensor  # of each, the differences of values that say where between neighbours the largest is, (A, 2·c·A)
    center: Tensor  # of the range, (n_act,)
    half: Tensor

    @classmethod
    def of(cls, spec: TaskSpec, levels: int) -> Candidates:
        """levels: values along each entry of a continuous action, both ends among them; 0: as many as are usual.

        Raises UsageError for more candidates than can be compared.
        """
        low, high = (torch.tensor(ends) for ends in spec.limits())
        center, half = 0.5 * (low + high), 0.5 * (high - low)
        if spec.discrete:
            choices = Choices.of(spec)
            each = torch.eye(len(choices))
            return cls(choices.table, each, choices, 0.0, torch.zeros(len(each), 0), center, half)
        levels = levels or max(_FEWEST, int(_USUAL ** (1.0 / spec.n_act) + 1e-9))
        if levels < 2 or levels**spec.n_act > MOST:
            most = int(MOST ** (1.0 / spec.n_act) + 1e-9)
            raise UsageError(
                f"levels = {levels} makes {levels**spec.n_act} candidates of {spec.n_act} actions; expected at most "
                f"{MOST}, and at least both ends of each: levels from 2 to {most}"
            )
        grid = torch.tensor(list(product(torch.linspace(-1.0, 1.0, levels).tolist(), repeat=spec.n_act)))
        step = 2.0 / (levels - 1)
        return cls(center + grid * half, grid, None, step, _differences(grid, step), center, half)

    def __len__(self) -> int:
        return len(self.table)

    def refined(self, drawn: Tensor, q: Tensor, least: Tensor) -> Tensor:
        """Actions within ±1, (…, c), at most half a step from the candidates `drawn` (…), by values q (…, A).

        Along each entry the largest value of the parabola through a candidate and both beside it; at the end of a range
        the candidate itself. least: of a curvature, (…), so that what is flat is left alone.
        """
        rows = F.embedding(drawn, self.beside).view(*drawn.shape, -1, len(self))  # (…, 2·c, A)
        slope, curvature = torch.matmul(rows, q.unsqueeze(-1)).squeeze(-1).chunk(2, -1)
        away = slope / (2.0 * torch.maximum(curvature, least.unsqueeze(-1)))
        return F.embedding(drawn, self.codes) + self.step * F.hardtanh(away, -0.5, 0.5)

    def code(self, action: Tensor) -> Tensor:
        """Actions as taken (…, n_act), in the channels' units, as a network is told of them (…, c)."""
        if self.choices is not None:
            return self.choices.taken(action)
        return F.hardtanh((action - self.center) / self.half)


def _differences(grid: Tensor, step: float) -> Tensor:
    """Of each candidate and entry, Q₊ − Q₋ and 2·Q − Q₊ − Q₋, as weights of all values: (A, 2·c·A)."""
    apart = ((grid - grid.unsqueeze(1)) / step).round()  # (A, A, c) in steps, from row to column
    slopes, curvatures = [], []
    for entry in range(grid.shape[1]):
        along = apart[..., entry] * (apart.abs().sum(-1) == apart[..., entry].abs())
        up, down = (along == 1.0).float(), (along == -1.0).float()
        inner = up.sum(1, keepdim=True) * down.sum(1, keepdim=True)
        slopes.append(inner * (up - down))
        curvatures.append(inner * (2.0 * torch.eye(len(grid)) - up - down))
    return torch.cat([*slopes, *curvatures], 1)
