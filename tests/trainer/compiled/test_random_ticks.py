"""Ticks that nobody wrote: whatever is composed of the operators gives torch's results and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from acclimate_trainer.contract.policy import Tensors
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from .ticks import assert_same, drawn, example

Unary: TypeAlias = Callable[[Tensor], Tensor]
Binary: TypeAlias = Callable[[Tensor, Tensor], Tensor]

# Smooth, or with kinks that random numbers do not meet; none makes a number much larger.
UNARY: dict[str, Unary] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "cos": torch.cos,
    "relu": torch.relu,
    "negated": torch.neg,
    "soft": lambda x: x * torch.rsqrt(1.0 + x * x),
    "clipped": lambda x: x.clamp(-0.6, 0.8),
    "rolled": lambda x: torch.cat([x[..., 2:], x[..., :2]], dim=-1),
    "turned": lambda x: x.flip(-1),
    "halves": lambda x: x.reshape(*x.shape[:-1], 2, -1).transpose(-1, -2).reshape(x.shape),
    "shares": lambda x: torch.softmax(x, dim=-1),
    "mean": lambda x: x.mean(-1, keepdim=True).expand(x.shape),
    "largest": lambda x: x.amax(-1, keepdim=True) - x,
    "cut": lambda x: x + (torch.tanh(x) - x).detach(),
    "sums": lambda x: 0.3 * x.cumsum(-1),
    "norm": lambda x: x / (0.5 + torch.linalg.vector_norm(x, dim=-1, keepdim=True)),
}
BINARY: dict[str, Binary] = {
    "sum": lambda a, b: a + b,
    "difference": lambda a, b: a - 0.5 * b,
    "product": lambda a, b: a * torch.tanh(b),
    "ratio": lambda a, b: a / (1.5 + torch.tanh(b)),
    "larger": torch.maximum,
    "either": lambda a, b: torch.where(a > b, a, torch.sin(b)),
    "outer": lambda a, b: (a.unsqueeze(-1) * b.unsqueeze(-2)).sum(-2) * 0.2,
    "mixed": lambda a, b: torch.cat([a[..., ::2], b[..., 1::2]], dim=-1),
}
STEPS = st.tuples(
    st.sampled_from([*UNARY, *BINARY, "by weights", "by machine"]), st.integers(0, 99), st.integers(0, 99)
)


# No shrinking: every try starts the compiler.
@settings(max_examples=20, deadline=None, derandomize=True, phases=[Phase.generate])
@given(steps=st.lists(STEPS, min_size=3, max_size=14), half=st.integers(1, 9), shared=st.booleans())
def test_a_random_tick_has_torchs_results_and_gradients(
    steps: list[tuple[str, int, int]], half: int, shared: bool
) -> None:
    """Vectors from 2 to 18 long: some are written out, others become loops."""
    size = 2 * half

    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        pool = [carried["x"], now["u"], carried["y"]]
        for name, i, j in steps:
            a, b = pool[i % len(pool)], pool[j % len(pool)]
            if name == "by weights":
                pool.append(torch.tanh(torch.baddbmm(weights["b"], a, weights["w"])))
            elif name == "by machine":
                pool.append(a * torch.exp(-machine["m"].abs()).unsqueeze(1))
            else:
                pool.append(UNARY[name](a) if name in UNARY else BINARY[name](a, b))
        following = {"x": torch.tanh(pool[-1]), "y": 0.5 * carried["x"] + 0.3 * torch.tanh(pool[-2])}
        return following, {"last": pool[-1], "some": pool[len(pool) // 2][..., :1]}

    like = example(
        {"x": (size,), "y": (size,)}, {"w": (size, size), "b": (1, size)}, {"m": (size,)}, {"u": (size,)}
    )
    inputs = drawn(like, 3, 6, 3, shared=shared, seed=len(steps))
    assert_same(tick, inputs, like, decay=0.9, tolerance=2e-5)
