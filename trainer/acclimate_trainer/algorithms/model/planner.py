"""Driving by the model alone: at every tick, plan a little ahead, do the first action of the plan, and plan anew.

Model predictive path integral control (Williams et al. 2017, "Information Theoretic MPC", algorithm 2): of N variations
of the last plan, each weighed by what the model says that it costs,

    plan' = Σ_i w_i·plan_i,      w_i ∝ exp(−(cost_i − min cost)/τ)      τ: a share of what costs differ by

a few times over, with smaller variations each time. These come from a table that is part of the graph, so that shapes
are static and the same observations give the same action. A plan holds an action for as many ticks as the model
predicts at once. What it costs the family says, of an imagined window; references go on as fast as they go now.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from acclimate.bundle.manifest import StateTensor
from torch import Tensor

from acclimate_trainer.algorithms.model import network
from acclimate_trainer.algorithms.model.form import Form, predicted
from acclimate_trainer.algorithms.model.policies import ModelPolicy
from acclimate_trainer.algorithms.model.rows import Layout
from acclimate_trainer.contract.policy import Act, Tensors, Window

_SEED = 20261201
_NARROWER = 0.5  # each time over
_EXPLORES = 0.1  # standard deviation of the action per unit of noise
_ALIKE = 0.05  # share of the cost, below which differences of it are small: rounding decides nothing
_FLOOR = 1e-8


@dataclass(frozen=True)
class Planning:
    """How far, how often and how widely it is planned."""

    blocks: int
    samples: int
    refinements: int
    spread: float  # standard deviation of variations, of full scale
    temperature: float  # τ


class PlanningPolicy(ModelPolicy):
    """`act` is the planner, `adapt` that of the model: see the module."""

    def __init__(self, meta: Tensors, layout: Layout, form: Form, rows: int, planning: Planning) -> None:
        super().__init__(meta, layout, form, rows)
        self._params = {}  # of the network that drives in training, and that nothing here asks
        self._planning = planning
        shape = (planning.samples, planning.blocks, self._view.n_act)
        table = np.random.default_rng(_SEED).standard_normal(shape)
        table[0] = 0.0  # the plan as it was is one to choose from
        self._variations = torch.tensor(planning.spread * table, dtype=torch.float32)
        spec = self.spec
        tracks = spec.reference.tracks if spec.reference else ()
        self._rates = {spec.index(t.target): spec.index(t.rate) for t in tracks if t.rate is not None}

    @property
    def _running(self) -> dict[str, Tensor]:
        """What `act` writes: actions within ±1, the last few, oldest first, and the plan; initially."""
        n_act = self._view.n_act
        past, blocks = max(self._layout.past, 1), self._planning.blocks
        return {"recent": torch.zeros(past, n_act), "plan": torch.zeros(blocks, n_act)}

    @property
    def state(self) -> tuple[StateTensor, ...]:
        thoughts = self.begin(1).items()
        return (
            *(StateTensor(name, tuple(value.shape[1:]), "trial", "adapt") for name, value in thoughts),
            *(StateTensor(name, tuple(x.shape), "episode", "act") for name, x in self._running.items()),
        )

    def initial(self) -> dict[str, Tensor]:
        return {**{name: value[0] for name, value in self.begin(1).items()}, **self._running}

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        plan, recent = state["plan"], state["recent"]
        for k in range(self._planning.refinements):
            # (T, E, N, blocks, n_act)
            tried = (plan.unsqueeze(2) + _NARROWER**k * self._variations).clamp(-1.0, 1.0)
            cost = self._costs(state, obs, recent, tried)
            above = cost - cost.amin(-1, keepdim=True)
            apart = above.mean(-1, keepdim=True) + _ALIKE * cost.mean(-1, keepdim=True)
            scale = self._planning.temperature * apart + _FLOOR
            share = torch.softmax(-above / scale, dim=-1)
            plan = (share[..., None, None] * tried).sum(2)
        action = plan[:, :, 0] + _EXPLORES * noise
        taken = action.clamp(-1.0, 1.0).unsqueeze(2)
        following = {"recent": torch.cat([recent[:, :, 1:], taken], dim=2), "plan": plan}
        return Act(self._view.physical(action), following, {})

    def _costs(self, state: Tensors, obs: Tensor, recent: Tensor, tried: Tensor) -> Tensor:
        """What the model says of plans (T, E, N, blocks, n_act), (T, E, N)."""
        tasks, episodes, samples = tried.shape[:3]
        rows = episodes * samples
        here = obs.unsqueeze(2).expand(-1, -1, samples, -1).reshape(tasks, rows, -1)
        before = recent.unsqueeze(2).expand(-1, -1, samples, -1, -1).reshape(tasks, rows, *recent.shape[2:])
        window = self._imagined(state, here, before, tried.reshape(tasks, rows, *tried.shape[3:]))
        family = self._view.family
        reward = family.reward(window) if family.rewarded else torch.zeros_like(window.mask)
        total = torch.zeros(tasks, rows)
        for cost in family.costs(window, reward):
            mean = cost.values.mean(-1)
            total = total + cost.weight * (torch.sqrt(mean + _FLOOR) if cost.root else mean)
        return total.view(tasks, episodes, samples)

    def _imagined(self, state: Tensors, here: Tensor, recent: Tensor, tried: Tensor) -> Window:
        """What the model says comes of actions tried (T, rows, blocks, n_act): a transition a block.

        The first transition is the last one of those that have been, so that a jump from it counts as a change.
        """
        layout, meta = self._layout, network.stacked(self._model, here.shape[0])
        sensors = layout.scaled(here.index_select(-1, layout.columns))
        seen, done = [here, here], [recent[:, :, -1]]
        for k, action in enumerate(tried.unbind(2), 1):
            coming = torch.cat([recent, action.unsqueeze(2).expand(-1, -1, layout.ahead, -1)], dim=2)
            past = coming if layout.past else coming[:, :, 1:]
            x = torch.cat([sensors, past.flatten(2)], dim=-1)
            sensors = layout.after(sensors, predicted(self._form, meta, self._thought(state), x, layout.n_y))
            recent = coming[:, :, -recent.shape[2] :]
            seen.append(self._observed(here, layout.measured(sensors), k * layout.ahead))
            done.append(action)
        action = self._view.physical(torch.stack(done, dim=2))
        return Window(torch.stack(seen, dim=2), action, torch.ones_like(action[..., 0]))

    def _observed(self, here: Tensor, sensors: Tensor, ticks: int) -> Tensor:
        """Observations (T, rows, n_obs) in `ticks` ticks, where sensors say this (T, rows, n_y)."""
        columns = list(here.unbind(-1))
        for target, rate in self._rates.items():
            columns[target] = columns[target] + ticks * self.spec.control_dt * columns[rate]
        for i, column in zip(self._layout.columns.tolist(), sensors.unbind(-1), strict=True):
            columns[i] = column
        return torch.stack(columns, dim=-1)
