"""Automatic widening of the ranges that machines are drawn from, by performance.

Diverse machines in training make policies that need no real one (Sadeghi and Levine 2017, "CAD²RL"). Too diverse from
the start, they teach a policy without memory to do nothing. So training begins with machines from a core of every
range, and each end of a range moves by itself (OpenAI et al. 2019, "Solving Rubik's Cube with a Robot Hand", section 5,
automatic domain randomisation): outwards where the policy does well on machines that stand at this end, inwards where
it does badly.

    φ ← φ ± step     where the mean loss of `machines` machines at φ is ≤ good, or ≥ bad

There the machines at an end are among those trained on; here they are driven beside training, without a gradient, so
that any algorithm with a loss for each machine can be widened as it is. The machines that validation judges by do not
move: they are those of the whole ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias

import numpy as np
import torch
from acclimate.errors import UsageError
from numpy.typing import NDArray
from torch import Tensor

from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Tasks
from acclimate_trainer.contract.policy import Policy, Tensors
from acclimate_trainer.outer_loop.training import (
    FOR_TRAINING,
    Losses,
    LossesOf,
    PerTask,
    Piecewise,
    TrainingConfig,
)
from acclimate_trainer.settings.limits import COUNT, POSITIVE, require

Floats: TypeAlias = NDArray[np.float64]
_ENDS = FOR_TRAINING + "widening.ends"  # (2, P): where each range begins and ends
_SUMS = (
    FOR_TRAINING + "widening.sums"
)  # (2, P, 2): of losses at each end since it last moved, and of how many


@dataclass(frozen=True)
class WideningConfig:
    """Section [widening] of a config, beside that of an algorithm."""

    good: float
    """Mean loss on machines at an end of a range from which this end moves outwards; in the unit of the loss that
    training minimises, as `validation` in metrics.jsonl is: on servos rad."""
    bad: float
    """Mean loss from which it moves inwards."""
    core: float = 0.2
    """Share of every range that training begins with."""
    most: float = 1.0
    """How wide ranges may get: 1 is as wide as the family's own, more is beyond them."""
    step: float = 0.1
    """By what share of its range an end moves."""
    machines: int = 32
    """Machines at an end by which it is judged."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no widening can be."""
        require(self, {"core": POSITIVE, "most": POSITIVE, "step": POSITIVE, "machines": COUNT})
        if self.bad < self.good:
            raise UsageError(f"bad must be at least good, {self.good:g}, found {self.bad:g}")
        if self.core > self.most:
            raise UsageError(f"core must be at most most, {self.most:g}, found {self.core:g}")


class Narrowed(Complete[Tasks]):
    """A family whose machines are drawn by the places that `draw` gives, (n, P); without one, from its whole ranges."""

    def __init__(self, family: Complete[Tasks]) -> None:
        super().__init__(family.family)
        self.draw: Callable[[int, np.random.Generator], Floats] | None = None
        _ = self.typical if self.spec.parameters else None  # of the whole ranges, and never of a part of them

    def sample(self, n: int, rng: np.random.Generator, progress: float = 1.0) -> Tasks:
        """`progress` changes nothing where ranges are narrowed."""
        if self.draw is None:
            return super().sample(n, rng, progress)
        return self.placed(self.draw(n, rng), rng)


class Widened(Generic[Tasks]):
    """Trains by another algorithm, on ranges that widen; a `training.Piecewise`, and `training.Prepared`."""

    def __init__(self, family: Narrowed[Tasks], algorithm: PerTask, config: WideningConfig) -> None:
        """`algorithm` draws its machines from `family`. Raises UsageError where nothing can be narrowed."""
        if not family.properties:
            raise UsageError(
                f"[widening] does nothing on the family {family.spec.name!r}: it draws the same machines whatever the "
                "progress, and has no `properties` and `placed`; see docs/families.md"
            )
        self._family, self._algorithm, self._config = family, algorithm, config
        properties = family.properties
        easiest = np.array([p.easiest for p in properties])
        half = 0.5 * np.array([config.core, config.most])[:, None]
        room = np.array([(p.lowest, p.highest) for p in properties]).T  # (2, P)
        limits = np.clip(np.array([0.5 - half[1], 0.5 + half[1]]), *room[:, None])
        self._least, self._most = limits[0], limits[1]  # (P,) where ranges may begin and end
        middle = np.clip(easiest, self._least + half[0], self._most - half[0])  # a core lies within these
        self._core = np.clip(np.array([middle - half[0], middle + half[0]]), self._least, self._most)

    def initial(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Those of the algorithm, and what widening has found so far."""
        ends = torch.tensor(self._core, dtype=torch.float32)
        return self._algorithm.initial(rng) | {_ENDS: ends, _SUMS: torch.zeros(*ends.shape, 2)}

    def prepare(
        self, meta: Tensors, config: TrainingConfig, rng: np.random.Generator, progress: float
    ) -> Mapping[str, float]:
        """Judge machines at the ends of ranges, move these, and let the iteration draw from what is between them."""
        ends, sums = meta[_ENDS], meta[_SUMS]
        which, losses = self._judge(meta, config.meta_batch_size, rng, progress)
        with torch.no_grad():
            sums.view(-1, 2).index_add_(0, which, torch.stack([losses, torch.ones_like(losses)], -1))
            self._move(ends, sums)
        now = _numbers(ends)
        self._family.draw = lambda n, rng: _uniform(now, n, rng)
        return {"width": self._width(now)}

    def _judge(
        self, meta: Tensors, machines: int, rng: np.random.Generator, progress: float
    ) -> tuple[Tensor, Tensor]:
        """Which end, of 2 · P, each of some machines stands at, and its loss."""
        ends = _numbers(meta[_ENDS])
        count = ends.shape[1]
        which = (rng.integers(2 * count) + np.arange(machines)) % (2 * count)

        def at_ends(n: int, rng: np.random.Generator) -> Floats:
            """An algorithm may draw more machines than it has losses for: these come round again."""
            side, column = np.divmod(np.resize(which, n), count)
            places = _uniform(ends, n, rng)
            places[np.arange(n), column] = ends[side, column]
            return places

        self._family.draw = at_ends
        with torch.no_grad():
            copies = {n: v.expand(machines, *v.shape).clone() for n, v in _learned(meta).items()}
            found = self._algorithm.losses(copies, machines, rng, progress).total.detach()
        return torch.from_numpy(which), torch.nan_to_num(found, nan=torch.inf)

    def _move(self, ends: Tensor, sums: Tensor) -> None:
        """Each end of which enough machines were judged, in place."""
        c = self._config
        mean, judged = sums[..., 0] / sums[..., 1].clamp_min(1.0), sums[..., 1] >= c.machines
        outwards = (judged & (mean <= c.good)).float() - (judged & (mean >= c.bad)).float()
        ends += c.step * outwards * torch.tensor([[-1.0], [1.0]])
        core, least, most = (
            torch.tensor(x, dtype=torch.float32) for x in (self._core, self._least, self._most)
        )
        ends[0].copy_(torch.minimum(torch.maximum(ends[0], least), core[0]))  # a core is never given up
        ends[1].copy_(torch.maximum(torch.minimum(ends[1], most), core[1]))
        sums[judged] = 0.0

    def _width(self, ends: Floats) -> float:
        """How wide the ranges are on average, as a share of the family's own."""
        moves = self._most > self._least
        return float((ends[1] - ends[0])[moves].mean())

    def losses(self, meta: Tensors, tasks: int, rng: np.random.Generator, progress: float) -> Losses:
        """On machines of the whole ranges, for validation."""
        self._family.draw = None
        return self._algorithm.losses(_learned(meta), tasks, rng, progress)

    def pieces(self, tasks: int, rng: np.random.Generator, progress: float) -> Iterator[LossesOf]:
        """Those of the algorithm, on machines of the ranges as they are now."""
        if not isinstance(self._algorithm, Piecewise):
            yield lambda meta: self._algorithm.losses(_learned(meta), tasks, rng, progress)
            return
        for losses in self._algorithm.pieces(tasks, rng, progress):
            yield lambda meta, losses=losses: losses(_learned(meta))  # type: ignore[misc]

    def policy(self, meta: Tensors) -> Policy:
        return self._algorithm.policy(_learned(meta))


def ranges(meta: Tensors) -> Floats:
    """Where each range begins and ends, by place, (2, P)."""
    return _numbers(meta[_ENDS])


def _uniform(ends: Floats, n: int, rng: np.random.Generator) -> Floats:
    """Places (n, P) anywhere between the ends (2, P)."""
    low, high = ends
    drawn: Floats = low + (high - low) * rng.random((n, len(low)))
    return drawn


def _numbers(ends: Tensor) -> Floats:
    found: Floats = ends.detach().numpy().astype(np.float64)
    return found


def _learned(meta: Tensors) -> dict[str, Tensor]:
    """All but what widening has found."""
    return {name: value for name, value in meta.items() if name not in (_ENDS, _SUMS)}
