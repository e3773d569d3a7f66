"""Episodes of a policy on simulated servos, all tasks and episodes in one tensor program, differentiable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from acclimate_trainer.contract.policy import Policy, Tensors, Window
from acclimate_trainer.tasks.servo import Coefficients, ServoFamily, ServoState, ServoTasks, observe

_PLANT = len(ServoState._fields)
_RMS_FLOOR = 1e-4  # rad; keeps the square root differentiable


class Surroundings(NamedTuple):
    """Everything random about E episodes of S steps on each of T tasks, drawn beforehand."""

    start: ServoState
    target: Tensor  # position and velocity (T, E, S + 1, 2)
    encoder: Tensor  # rad (T, E, S)
    noise: Tensor  # for `act`: standard normal in exploring episodes, zero in the others (T, E, S, 1)


class Episodes(NamedTuple):
    """E recorded episodes of S steps on each of T tasks."""

    obs: Tensor  # (T, E, S + 1, n_obs)
    action: Tensor  # as sampled, before the device's limits (T, E, S, n_act)

    def window(self, count: int) -> Window:
        """The first `count` episodes, all of them valid."""
        obs, action = self.obs[:, :count], self.action[:, :count]
        return Window(obs, action, torch.ones(action.shape[:3]))


def draw(
    family: ServoFamily,
    tasks: ServoTasks,
    rng: np.random.Generator,
    *,
    explore: int,
    measure: int,
    steps: int,
) -> Surroundings:
    """Surroundings of `explore` exploring episodes followed by `measure` noise-free ones."""
    episodes = explore + measure
    start = family.reset(tasks, episodes, rng)
    shape = (tasks.kt.shape[0], episodes, steps)
    encoder = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)) * tasks.noise.unsqueeze(-1)
    noise = torch.from_numpy(rng.standard_normal((*shape, 1), dtype=np.float32))
    noise[:, explore:] = 0.0
    return Surroundings(start, family.reference(start, steps, rng), encoder, noise)


def rollout(
    policy: Policy,
    state: Tensors,
    family: ServoFamily,
    tasks: ServoTasks,
    surroundings: Surroundings,
    adjoint_decay: float = 1.0,
) -> Episodes:
    """Run all episodes of `surroundings`; what `act` writes starts from its initial value.

    state: the tensors that `act` does not write, stacked over tasks.
    adjoint_decay: factor per tick, going backwards, on the gradient through the plant's state and the policy's
        own. Below one it forgets what chaotic episodes would amplify beyond use, at the price of a bias.
    """
    live = {**state, **initial_of(policy, surroundings.start.q.shape)}
    constant = [family.coefficients(tasks)] * surroundings.encoder.shape[2]
    return drive(policy, live, family, constant, surroundings, adjoint_decay)[0]


def drive(
    policy: Policy,
    live: Tensors,
    family: ServoFamily,
    coefficients: Sequence[Coefficients],
    surroundings: Surroundings,
    adjoint_decay: float = 1.0,
) -> tuple[Episodes, dict[str, Tensor]]:
    """As `rollout`, from the whole state `live`, on servos that change as `coefficients`, one per tick, say.

    adjoint_decay: with 0 no gradient passes through the plant, and the policy's own memory keeps all of it.
    Returns the episodes, and the state at their end.
    """
    here, live = surroundings.start, dict(live)
    target, encoder, noise = (x.unbind(2) for x in surroundings[1:])
    obs = observe(here, here, target[0])
    seen, done = [obs], []
    for t, now in enumerate(coefficients):
        act = policy.act(live, obs, noise[t])
        duty = act.action if adjoint_decay > 0.0 else act.action.detach()
        following = family.step(here, duty, now, encoder[t])
        carried = (*following, *act.next.values())
        if 0.0 < adjoint_decay < 1.0:
            carried = _Decay.apply(adjoint_decay, *carried)  # type: ignore[no-untyped-call]
        following = ServoState(*carried[:_PLANT])
        live |= dict(zip(act.next, carried[_PLANT:], strict=True))
        obs = observe(following, here, target[t + 1])
        here = following
        seen.append(obs)
        done.append(act.action)
    return Episodes(torch.stack(seen, dim=2), torch.stack(done, dim=2)), live


def initial_of(
    policy: Policy, axes: Sequence[int], rules: Sequence[str] = ("trial", "episode")
) -> dict[str, Tensor]:
    """Initial values, with `axes` in front, of what `act` writes and one of these reset rules applies to."""
    initial = policy.initial()
    names = [t.name for t in policy.state if t.written_by == "act" and t.reset in rules]
    return {name: initial[name].expand(*axes, *initial[name].shape) for name in names}


def tracking_rms(episodes: Episodes) -> Tensor:
    """RMS of the measured tracking error over the episodes of each task, rad (T,)."""
    error = episodes.obs[:, :, 1:, 0] - episodes.obs[:, :, 1:, 2]
    return torch.sqrt((error * error).mean(dim=(1, 2)) + _RMS_FLOOR**2)


class _Decay(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: FunctionCtx, factor: float, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.factor = factor  # type: ignore[attr-defined]
        return tuple(value.view_as(value) for value in values)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(gradients, ctx.factor)  # type: ignore[attr-defined]
