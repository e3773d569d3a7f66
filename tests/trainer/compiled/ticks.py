"""Ticks driven by torch, to compare compiled ones with; and inputs to drive them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from acclimate_trainer.compiled.ticks.tick import CompiledTick, Ticked
from acclimate_trainer.compiled.ticks.trace import Inputs, Tick
from torch import Tensor

Shapes = Mapping[str, Sequence[int]]


def example(carried: Shapes, weights: Shapes, machine: Shapes, now: Shapes) -> Inputs:
    """Zeros of one task and one episode."""
    return Inputs(
        {name: torch.zeros(1, 1, *shape) for name, shape in carried.items()},
        {name: torch.zeros(1, *shape) for name, shape in weights.items()},
        {name: torch.zeros(1, *shape) for name, shape in machine.items()},
        {name: torch.zeros(1, 1, *shape) for name, shape in now.items()},
    )


def drawn(
    like: Inputs,
    tasks: int,
    episodes: int,
    ticks: int,
    *,
    segments: int = 1,
    shared: bool = True,
    seed: int = 0,
) -> Inputs:
    """Standard normal numbers, all of which want a gradient. shared: all tasks have the same weights."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    weights = {
        n: normal(1 if shared else tasks, *x.shape[1:]).expand(tasks, *x.shape[1:])
        for n, x in like.weights.items()
    }
    return Inputs(
        {n: normal(tasks, episodes, *x.shape[2:]).requires_grad_() for n, x in like.carried.items()},
        {n: x.clone().requires_grad_() for n, x in weights.items()},
        {n: normal(tasks, segments, *x.shape[1:]).requires_grad_() for n, x in like.machine.items()},
        {n: normal(tasks, episodes, ticks, *x.shape[2:]).requires_grad_() for n, x in like.now.items()},
    )


def by_torch(
    tick: Tick, inputs: Inputs, segment: Tensor | None = None, decay: float = 1.0, fading: int | None = None
) -> Ticked:
    """What `CompiledTick` does, tick by tick, for any tick that broadcasts over tasks and episodes."""
    carried, records = dict(inputs.carried), list[Mapping[str, Tensor]]()
    tasks, _, ticks = next(iter(inputs.now.values())).shape[:3]
    segment = torch.zeros(tasks, ticks, dtype=torch.int64) if segment is None else segment.long()
    for t in range(ticks):
        machine = {n: x[torch.arange(tasks), segment[:, t]] for n, x in inputs.machine.items()}
        carried, record = tick(
            carried, inputs.weights, machine, {n: x[:, :, t] for n, x in inputs.now.items()}
        )
        carried = {
            n: faded(x, decay) if fading is None or k < fading else x
            for k, (n, x) in enumerate(carried.items())
        }
        records.append(record)
    return Ticked(carried, {n: torch.stack([r[n] for r in records], dim=2) for n in records[0]})


def faded(x: Tensor, decay: float) -> Tensor:
    """The same, whose gradient is multiplied by a factor."""
    return x.detach() + decay * (x - x.detach())


def gradients(ticked: Ticked, inputs: Inputs, seed: int = 1) -> dict[str, Tensor]:
    """Of a random combination of all results, by all inputs."""
    rng = torch.Generator().manual_seed(seed)
    results = [*ticked.carried.values(), *ticked.record.values()]
    total = torch.stack([(torch.rand(x.shape, generator=rng) * x).sum() for x in results]).sum()
    wanted = {f"{k}.{n}": x for k, group in enumerate(inputs) for n, x in group.items() if x.requires_grad}
    found = torch.autograd.grad(total, list(wanted.values()), materialize_grads=True)
    return dict(zip(wanted, found, strict=True))


def assert_same(
    tick: Tick,
    inputs: Inputs,
    like: Inputs,
    segment: Tensor | None = None,
    decay: float = 1.0,
    fading: int | None = None,
    tolerance: float = 1e-5,
) -> CompiledTick:
    """Results and gradients of both, to a share of what is largest in each tensor."""
    compiled = CompiledTick(tick, like, fading)
    found, expected = compiled(inputs, segment, decay), by_torch(tick, inputs, segment, decay, fading)
    for ours, torchs in ((found.carried, expected.carried), (found.record, expected.record)):
        assert list(ours) == list(torchs)
        for name in ours:
            assert_close(ours[name].detach(), torchs[name].detach(), name, tolerance)
    ours, torchs = gradients(found, inputs), gradients(expected, inputs)
    for name in torchs:
        assert_close(ours[name], torchs[name], f"gradient of {name}", tolerance)
    return compiled


def assert_close(found: Tensor, expected: Tensor, what: str, tolerance: float) -> None:
    assert found.shape == expected.shape, what
    assert torch.equal(found.isnan(), expected.isnan()), what
    size = float(expected.nan_to_num(0.0).abs().max()) + 1e-6 if expected.numel() else 1.0
    difference = float((found - expected).nan_to_num(0.0, 0.0, 0.0).abs().max()) if found.numel() else 0.0
    assert difference <= tolerance * size, f"{what}: {difference:g} of {size:g}"
