"""Compiled roll-outs beside torch's: a trace shows what was done once, and a session may do something else later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from acclimate_trainer.compiled.leaves import copied
from acclimate_trainer.compiled.ride import Ridden, Ride
from acclimate_trainer.compiled.rollout import Rollout
from acclimate_trainer.compiled.ticks.errors import NotCompiled

_FIRST = 3  # ticks, in which no difference has had time to grow
_SMALL = 1e-4  # of what is largest
_TYPICAL = (
    1e-2  # of what is largest, in the middle of all episodes at the end of them: some machines are chaotic
)
Driver: TypeAlias = Callable[[Ride], Ridden]


def compare(kind: Rollout, asked: Ride, found: Ridden, by_torch: Driver) -> None:
    """Raises NotCompiled where `found`, or its gradient, is not what torch finds. `asked` is as before the ride."""
    with torch.no_grad():
        expected = by_torch(_fresh(asked))
    for name in ("obs", "action", "reward"):
        a, b = getattr(found, name).detach(), getattr(expected, name)
        difference, size = (a - b).abs().nan_to_num(0.0), b.abs().nan_to_num(0.0).amax(dim=(0, 1, 2)) + 1e-12
        relative = difference / size
        early = float(relative[:, :, :_FIRST].max())
        typical = float(relative.flatten(0, 1).median(0).values.max())
        if early > _SMALL or typical > _TYPICAL or not torch.equal(a.isnan(), b.isnan()):
            raise NotCompiled(f"its {name} differs from torch's, by {max(early, typical):.1g} of the largest")
    if not torch.equal(found.ended, expected.ended):
        raise NotCompiled("its episodes end at other times than torch's")
    if torch.is_grad_enabled():
        _compare_gradients(kind, asked, by_torch)


def _compare_gradients(kind: Rollout, asked: Ride, by_torch: Driver) -> None:
    """Of a random combination of what the first ticks show, by all of the policy's state."""
    ticks = min(_FIRST, asked.ticks)
    few = asked._replace(reference=asked.reference[:, :, : ticks + 1], noise=asked.noise[:, :, :ticks])
    live = {name: x.detach().clone().requires_grad_(x.requires_grad) for name, x in asked.live.items()}
    inputs = [x for x in live.values() if x.requires_grad]
    if not inputs:
        return
    generator = torch.Generator().manual_seed(1)
    gradients: list[tuple[Tensor, ...]] = []
    weights: list[Tensor] = []
    for drive in (by_torch, lambda one: kind.ride(one)[0]):
        ridden = drive(_fresh(few._replace(live=live)))
        seen = [ridden.obs, ridden.action, ridden.reward]
        weights = weights or [torch.rand(x.shape, generator=generator) for x in seen]
        total = torch.stack([(w * x).sum() for w, x in zip(weights, seen, strict=True)]).sum()
        gradients.append(torch.autograd.grad(total, inputs, materialize_grads=True))
    for expected, found in zip(*gradients, strict=True):
        both = found.isfinite() & expected.isfinite()  # a task that went astray is left out anyway
        a, b = torch.where(both, found, 0.0), torch.where(both, expected, 0.0)
        error = float((a - b).abs().max()) / (float(b.abs().max()) + 1e-6)
        if error > 10.0 * _SMALL:
            raise NotCompiled(f"its gradient differs from torch's by {error:.1g} of the largest")


def _fresh(asked: Ride) -> Ride:
    return asked._replace(session=copied(asked.session, {}))
