"""The policy that is told an estimate: `act` is RL²'s network, `adapt` the fit that the estimate comes from."""

from __future__ import annotations

import torch
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.algorithms.identify.fit import Belief, Fit
from acclimate_trainer.algorithms.rl2.rl2 import told_act
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.view import View


class IdentifyPolicy:
    """See the module. Estimates are in typical units: 0 is a typical machine, 1 a standard deviation of the family.

    `estimate` is the mean of what is thought of the machine, `precision` the inverse of its covariance, and `doubt`
    what the network is told of that: the standard deviation of each parameter. What is thought after a window is what
    the next one begins with.
    """

    algorithm = "identify"
    privileged: tuple[str, ...] = ()

    def __init__(
        self, params: Tensors, view: View, fit: Fit, window: WindowSpec, adaptation: AdaptationSpec
    ) -> None:
        """`params`: as `rl2.initial_parameters` names them; stacked over tasks or not."""
        self._params, self._view, self._fit = params, view, fit
        self.window, self.adaptation = window, adaptation
        self._hidden = params["recurrent"].shape[-2]

    @property
    def spec(self) -> TaskSpec:
        return self._view.family.spec

    @property
    def n_noise(self) -> int:
        return self._view.n_act

    @property
    def state(self) -> tuple[StateTensor, ...]:
        count = len(self.spec.parameters)
        return (
            *(StateTensor(name, tuple(p.shape), "never") for name, p in self._params.items()),
            StateTensor("estimate", (count,), "trial", "adapt"),
            StateTensor("doubt", (count,), "trial", "adapt"),
            StateTensor("precision", (count, count), "trial", "adapt"),
            StateTensor("hidden", (self._hidden,), "trial", "act"),
            StateTensor("previous_action", (self._view.n_act,), "episode", "act"),
            StateTensor("begins", (1,), "episode", "act"),
        )

    def initial(self) -> dict[str, Tensor]:
        """The initial belief is the family's prior."""
        prior = self._fit.prior
        return {
            **self._params,
            "estimate": prior.mean,
            "doubt": self._fit.unknown,
            "precision": prior.precision,
            "hidden": torch.zeros(self._hidden),
            "previous_action": torch.zeros(self._view.n_act),
            "begins": torch.ones(1),
        }

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        told = torch.cat([state["estimate"], state["doubt"]], dim=-1)
        return told_act(self._view, state, obs, noise, told)

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        """The fit; where there is nothing to learn from, nothing changes."""
        found = self._fit(Belief(state["estimate"], state["precision"]), window)
        thought = {"estimate": found.belief.mean.float(), "doubt": self._fit.doubt(found.belief).float()}
        seen = found.ticks.unsqueeze(-1) > 0.0
        after = {name: torch.where(seen, value, state[name]) for name, value in thought.items()}
        step = torch.cat([value - state[name] for name, value in after.items()], dim=-1)
        info = {"loss": found.error.float(), "step_norm": step.square().sum(-1).sqrt()}
        return Adapt({**after, "precision": found.belief.precision.float()}, info)
