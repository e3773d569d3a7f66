"""The machine's parameters from a window of driving, by maximum a posteriori: prediction errors, and the prior.

The window is cut into stretches of a few ticks. From what was measured where a stretch begins, the family's own step
predicts what comes, under the actions that were taken. With the parameters z, in typical units, the best are

    argmin_z  e·Σ_s n_s/2·log σ_s²(z) + ½·(z − m)ᵀ·Λ·(z − m)        σ_s²: mean square of the errors of sensor s

found by Gauss-Newton with Levenberg's damping, from the likeliest of many starts (Nocedal and Wright 2006, "Numerical
Optimization", section 10.3; Ljung 1999, "System Identification", section 7.2). Signs stay as they are in a start. The
state in which a stretch begins is itself only measured, and so it is fitted too, and eliminated at once (the variable
projection of Golub and Pereyra 1973): else the noise of a differentiated encoder looks like friction. A stretch whose
errors are out of all proportion, as where a joint meets its end stop, counts for less (Cauchy's weights).

Everything that a step tries is simulated side by side: a chain of a few ticks for each step of the descent, made of
products, sums and comparisons of static shapes, which every engine has. All of it is in float64: slopes are small
differences, normal equations square what parameters that can hardly be told apart leave, and what one engine rounds in
another way than the next must not be seen in the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.algorithms.identify.stretches import Cutter, Stretches, each
from acclimate_trainer.algorithms.maml.ridge import inverse_spd
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.settings.limits import COUNT, POSITIVE, require

_MACHINES, _SEED, _START_SEED = 4096, 20261204, 20261205  # from which the prior is taken, and the starts
_RIDGE = 1e-3  # of the prior's covariance
_NEAR = 1e-5  # differences that slopes are taken from, in typical units and in half ranges
_LEAST = 3e-5  # half ranges: no sensor is more exact
_DAMPINGS = (1e-3, 0.1, 10.0)  # tried in every step, relative to the curvature
_FIRST_DAMPING = 0.03
_ODD = 6.0  # squared errors of a stretch, in σ², from which on it hardly counts
_BEYOND = 2.0  # typical units that a logarithm may leave its range by
_TAKEN = 1e9  # added to the cost of a start that is taken


class Belief(NamedTuple):
    """What is thought of T machines: a normal distribution of z."""

    mean: Tensor  # m (T, P)
    precision: Tensor  # Λ (T, P, P); 0 in the rows and columns of signs

    @property
    def exact(self) -> Belief:
        """In float64."""
        return Belief(self.mean.double(), self.precision.double())

    def each(self, times: int) -> Belief:
        """Of each machine, `times` times over."""
        return Belief(*(each(part, times) for part in self))


class Found(NamedTuple):
    """What is thought after a window."""

    belief: Belief
    error: Tensor  # root mean square of the predictions', of half a range (T,)
    ticks: Tensor  # how many there were to learn from (T,)


class _Scales(NamedTuple):
    """What errors are weighed by."""

    variance: Tensor  # σ² of each sensor (D, n)
    weight: Tensor  # of each stretch (D, N); 0 where nothing may be learned


class _Point(NamedTuple):
    """Where a descent stands: errors around z to first order, and the normal equations that follow."""

    z: Tensor  # (D, P)
    rest: Tensor  # measured less predicted (D, N, H, n)
    slopes: Tensor  # ∂predicted/∂z of what is fitted (D, F, N, H, n)
    begins: Tensor  # ∂predicted/∂begin (D, n, N, H, n)
    valid: Tensor  # (D, N)
    cost: Tensor  # what is to be minimised; as errors are weighed (D,)
    slope: Tensor  # JᵀWr (D, P)
    curvature: Tensor  # JᵀWJ (D, P, P)
    variance: Tensor  # as errors there suggest, like `weight`: see `_Scales`
    weight: Tensor

    @property
    def scales(self) -> _Scales:
        return _Scales(self.variance, self.weight)


@dataclass(frozen=True)
class FitConfig:
    """How parameters are fitted, as sections of a config have it."""

    stretch: int = 8
    """Ticks that are predicted from one measurement."""
    starts: int = 255
    """Machines of the family that a fit may begin at, besides what it took for true before."""
    descents: int = 6
    """How many of them, the likeliest, take a step before one is chosen."""
    fit_steps: int = 2
    """Gauss-Newton steps of that one."""
    evidence: float = 0.02
    """What a prediction error counts, relative to one that is independent of all others and of a perfect model."""

    def __post_init__(self) -> None:
        """Raises UsageError for what no fit can be."""
        counts = dict.fromkeys(("stretch", "starts", "descents", "fit_steps"), COUNT)
        require(self, {**counts, "evidence": POSITIVE})
        if self.descents > self.starts:
            raise UsageError(f"descents must be at most starts, {self.starts}, found {self.descents}")


class Fit:
    """See the module."""

    def __init__(self, family: Complete[object], config: FitConfig) -> None:
        self._family, self._config = family, config
        self._cutter = Cutter(family, config.stretch)
        parameters, n = family.spec.parameters, self._cutter.n_sensors
        self._free = torch.tensor([float(p.scale != "sign") for p in parameters], dtype=torch.float64)
        self._directions = torch.diag(self._free)[self._free > 0.0]  # (F, P)
        # Of the machines simulated around each point, by what they differ from it: nothing, a parameter, their begin.
        self._nearby = (
            _NEAR * F.pad(self._directions, (0, 0, 1, n)),
            _NEAR * F.pad(torch.eye(n, dtype=torch.float64), (0, 0, 1 + len(self._directions), 0)),
        )
        low, high = family.standard(torch.tensor([[p.low for p in parameters], [p.high for p in parameters]]))
        # Where logarithms are drawn, their ends are no walls: clipped, a step right for all together is right for none.
        beyond = torch.tensor([_BEYOND * (p.scale == "log") for p in parameters])
        self._low, self._high = (low - beyond).double(), (high + beyond).double()

    @cached_property
    def prior(self) -> Belief:
        """What is thought of a machine before it has moved, (P,) and (P, P): mean and covariance over the family."""
        drawn = self._family.sample(_MACHINES, np.random.default_rng(_SEED))
        z = self._family.standard(self._family.parameters(drawn)).double() * self._free
        covariance = z.T @ z / len(z) + torch.diag(_RIDGE + 1.0 - self._free)
        precision = self._free.unsqueeze(-1) * torch.linalg.inv(covariance) * self._free
        return Belief(torch.zeros(len(precision)), precision.float())

    @property
    def unknown(self) -> Tensor:
        """The standard deviation of each parameter over the family, (P,); of a sign that is always the same 0."""
        return torch.maximum(self._free, (self._low < self._high).double()).float()

    @property
    def needs(self) -> int:
        """Ticks of an episode from which on there is something to be learned from it."""
        return self._cutter.needs

    @cached_property
    def _starts(self) -> Tensor:
        """(C, P)."""
        drawn = self._family.sample(self._config.starts, np.random.default_rng(_START_SEED))
        return self._family.standard(self._family.parameters(drawn)).double()

    def __call__(self, belief: Belief, window: Window) -> Found:
        """What is thought of T machines after a window."""
        belief = belief.exact
        stretches = self._cutter.cut(window)
        point, dampings = self._begun(belief, stretches), torch.tensor(_DAMPINGS, dtype=torch.float64)
        count = len(_DAMPINGS)
        many, cut = belief.each(count), stretches.each(count)
        for _ in range(self._config.fit_steps):
            scales = point.scales
            point = self._weighed(point, scales, belief)
            z = self._step(_Point(*(each(x, count) for x in point)), many, dampings.repeat(len(point.z)))
            tried = self._weighed(self._around(z, cut), _Scales(*(each(x, count) for x in scales)), many)
            point = _lowest(len(point.z), point, tried)
        point = self._weighed(point, point.scales, belief)
        after = Belief(point.z, belief.precision + point.curvature)
        return Found(after, point.variance.mean(-1).sqrt(), stretches.ticks)

    def imagined(self, z: Tensor, belief: Belief, window: Window, noise: Tensor) -> Belief:
        """What a fit of true parameters z (T, P) would find, were the machines linear: drawn by `noise` (T, P)."""
        z, noise, belief = z.double(), noise.double(), belief.exact
        point = self._projected(self._around(z, self._cutter.cut(window)), belief)
        values, vectors = torch.linalg.eigh(point.curvature)
        # The symmetric root is continuous in the curvature: the signs and order of its vectors are rounding's.
        root = (vectors * values.clamp_min(0.0).sqrt().unsqueeze(1)) @ vectors.mT
        seen = point.curvature @ (z - belief.mean).unsqueeze(-1) + root @ noise.unsqueeze(-1)
        precision = belief.precision + point.curvature
        moved = (self._inverse(precision) @ seen).squeeze(-1)
        return Belief(torch.where(self._free > 0.0, belief.mean + moved, z), precision)

    def doubt(self, belief: Belief) -> Tensor:
        """Standard deviation of each parameter, (T, P); of a sign 0."""
        variances = (
            self._inverse(belief.exact.precision) * torch.eye(len(self._free), dtype=torch.float64)
        ).sum(-1)
        return variances.clamp_min(0.0).sqrt() * self._free

    def _inverse(self, precision: Tensor) -> Tensor:
        return inverse_spd(precision + torch.diag(1.0 - self._free))

    def _begun(self, belief: Belief, stretches: Stretches) -> _Point:
        """The likeliest of several starts and where a step leads from them."""
        tasks, count = len(belief.mean), self._config.descents
        many, cut = belief.each(count), stretches.each(count)
        start = self._projected(self._around(self._likely(belief, stretches), cut), many)
        z = self._step(start, many, torch.full_like(start.cost, _FIRST_DAMPING))
        after = self._weighed(self._around(z, cut), start.scales, many)
        return _lowest(
            tasks, *(p._replace(cost=self._merit(p.z, p.variance, many, cut)) for p in (start, after))
        )

    def _likely(self, belief: Belief, stretches: Stretches) -> Tensor:
        """The likeliest starts, (T·descents, P); what was thought before is one to choose from, with either sign: at
        first it has none, and a motor without a polarity is no machine."""
        tasks = len(belief.mean)
        before = [torch.where(self._free > 0.0, belief.mean, sign) for sign in (self._low, self._high)]
        z = torch.cat([torch.stack(before, dim=1), self._starts.expand(tasks, -1, -1)], dim=1)
        count = z.shape[1]
        many, cut, flat = belief.each(count), stretches.each(count), z.flatten(0, 1)
        rest = (cut.measured - self._cutter.predict(flat, cut)) * cut.valid[..., None, None]
        cost = self._merit(flat, _variance(rest, cut.valid), many, cut).view(tasks, count)
        chosen = []
        for _ in range(self._config.descents):
            taken = _one_hot(cost)
            chosen.append(taken.unsqueeze(1) @ z)
            cost = cost + taken * _TAKEN
        return torch.cat(chosen, dim=1).flatten(0, 1)

    def _around(self, z: Tensor, stretches: Stretches) -> _Point:
        """Errors around z (D, P), nothing weighed yet. A slope is the difference that a copy makes."""
        along_z, along_begin = self._nearby
        count, n = len(along_z), self._cutter.n_sensors
        cut = stretches.each(count)
        near = cut._replace(begin=cut.begin + along_begin.repeat(len(z), 1).unsqueeze(1))
        ahead = self._cutter.predict(each(z, count) + along_z.repeat(len(z), 1), near)
        ahead = ahead.view(len(z), count, *stretches.measured.shape[1:])
        valid = stretches.valid[:, None, :, None, None]
        slopes = (ahead[:, 1:] - ahead[:, :1]) * (valid / _NEAR)
        rest = (stretches.measured - ahead[:, 0]) * valid[:, 0]
        scales = _Scales(_variance(rest, stretches.valid), stretches.valid)
        cost, slope, curvature = (torch.zeros(len(z), *[z.shape[1]] * k, dtype=z.dtype) for k in range(3))
        return _Point(
            z, rest, slopes[:, :-n], slopes[:, -n:], stretches.valid, cost, slope, curvature, *scales
        )

    def _projected(self, point: _Point, belief: Belief) -> _Point:
        """Weighed by what is left of errors where each stretch begins as suits it best."""
        return self._weighed(self._weighed(point, point.scales, belief), point.scales, belief)

    def _weighed(self, point: _Point, scales: _Scales, belief: Belief) -> _Point:
        """The normal equations with these weights."""
        sigma = scales.variance.sqrt()[:, None, None, None]
        begins = point.begins * sigma.transpose(1, 4) / sigma
        columns = torch.cat([point.rest.unsqueeze(1), point.slopes], dim=1) / sigma
        left = _left(columns, begins)
        rows = (left * scales.weight.sqrt()[:, None, :, None, None]).flatten(2)
        normal = self._config.evidence * (rows @ rows.transpose(1, 2))  # (D, 1 + F, 1 + F)
        found = self._reconsidered(left[:, 0], scales, point.valid)
        return point._replace(
            cost=0.5 * (normal[:, 0, 0] + _against(point.z, belief)),
            slope=(normal[:, :1, 1:] @ self._directions).squeeze(1),
            curvature=self._directions.T @ normal[:, 1:, 1:] @ self._directions,
            **found._asdict(),
        )

    def _reconsidered(self, left: Tensor, before: _Scales, valid: Tensor) -> _Scales:
        """What errors should be weighed by, from what is left of them, in σ as it was, (D, N, H + 1, n)."""
        square, ticks = left.square(), self._config.stretch
        of_stretch = square.sum((2, 3)) / (ticks * left.shape[3])  # (D, N)
        weight = valid * (1.0 + 1.0 / _ODD) / (1.0 + of_stretch / _ODD)
        share = (weight[:, :, None, None] * square).sum((1, 2)) / (
            ticks * weight.sum(-1, keepdim=True)
        ).clamp_min(1.0)
        return _Scales(before.variance * share + _LEAST**2, weight)

    def _step(self, here: _Point, belief: Belief, damping: Tensor) -> Tensor:
        """Damped steps, (D, P), within the family's ranges: (JᵀWJ + Λ + μ·diag)·δ = JᵀWr − Λ·(z − m)."""
        matrix = here.curvature + belief.precision
        slope = here.slope.unsqueeze(-1) - belief.precision @ (here.z - belief.mean).unsqueeze(-1)
        raised = matrix * (1.0 + damping.view(-1, 1, 1) * torch.eye(matrix.shape[1], dtype=matrix.dtype))
        step = self._inverse(raised) @ slope
        return torch.minimum(torch.maximum(here.z + step.squeeze(-1), self._low), self._high)

    def _merit(self, z: Tensor, variance: Tensor, belief: Belief, stretches: Stretches) -> Tensor:
        """What is to be minimised, however errors are weighed, (D,)."""
        likelihood = self._config.evidence * stretches.ticks * torch.log(variance).sum(-1)
        return 0.5 * (likelihood + _against(z, belief))


def _variance(rest: Tensor, valid: Tensor) -> Tensor:
    """Mean square errors of each sensor, (D, n)."""
    ticks = (valid.sum(-1, keepdim=True) * rest.shape[2]).clamp_min(1.0)
    return rest.square().sum((1, 2)) / ticks + _LEAST**2


def _against(z: Tensor, belief: Belief) -> Tensor:
    """(z − m)ᵀ·Λ·(z − m), (D,)."""
    away = (z - belief.mean).unsqueeze(1)
    return (away @ belief.precision @ away.transpose(1, 2)).flatten()


def _left(columns: Tensor, begins: Tensor) -> Tensor:
    """What is left of columns (D, C, N, H, n), in σ, by the begin that suits each best: (D, C, N, H + 1, n).

    With A the slopes by the begin, in σ (D, n, N, H, n), that is g = (I + AᵀA)⁻¹·Aᵀb for a column b. What is left is
    b − A·g, and the begin's own error g, which is one more measurement.
    """
    ticks, n = columns.shape[3:]
    a, b = (
        x.permute(0, 2, 3, 4, 1).flatten(2, 3).flatten(0, 1) for x in (begins, columns)
    )  # (D·N, H·n, n or C)
    across = a.transpose(1, 2)
    g = inverse_spd(across @ a + torch.eye(n, dtype=a.dtype)) @ (across @ b)  # (D·N, n, C)
    left = torch.cat([g, b - a @ g], dim=1).view(len(columns), -1, ticks + 1, n, columns.shape[1])
    return left.permute(0, 4, 1, 2, 3)


def _lowest(tasks: int, *points: _Point) -> _Point:
    """Of all points on each of T machines the one of the lowest cost."""
    sides = [_Point(*(x.view(tasks, -1, *x.shape[1:]) for x in point)) for point in points]
    together = _Point(*(torch.cat(columns, dim=1) for columns in zip(*sides, strict=True)))
    taken = _one_hot(together.cost).unsqueeze(1)  # (T, 1, C)
    return _Point(
        *(
            (taken @ x.flatten(2)).view(tasks, *x.shape[2:])
            if x.dim() > 2
            else (taken @ x.unsqueeze(-1)).view(tasks)
            for x in together
        )
    )


def _one_hot(cost: Tensor) -> Tensor:
    """1 where it is lowest, (T, C)."""
    return (torch.arange(cost.shape[1]) == (-cost).argmax(-1, keepdim=True)).to(cost.dtype)
