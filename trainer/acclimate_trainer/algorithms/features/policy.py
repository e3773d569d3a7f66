"""The policy: a body that was learned on other machines and stays as it is; a head that `adapt` fits to this one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.algorithms.features.head import fit
from acclimate_trainer.algorithms.features.hindsight import in_hindsight
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window
from acclimate_trainer.networks.feedforward import bounded, sigma
from acclimate_trainer.networks.view import View

HEAD, PRECISION = "head", "precision"
PRIOR = ("log_precision", "log_evidence")  # what is known before of a head, which no device changes
_FULL = 0.95  # of full scale: what asks for more is taken for this, since an actuator that is full hides by how much
_FAR = 1e6  # beyond anything that a sensor says


class FeaturesPolicy:
    """See the module. As thought before the first window, the head is what is typical."""

    algorithm = "features"
    privileged: tuple[str, ...] = ()

    def __init__(
        self, meta: Tensors, view: View, ahead: int, window: WindowSpec, adaptation: AdaptationSpec
    ) -> None:
        """`meta`: as `features.Features.initial` names it; stacked over tasks or not. ahead: see `hindsight`."""
        self._meta, self._view, self._ahead = meta, view, ahead
        self.window, self.adaptation = window, adaptation
        self._body = {name: value for name, value in meta.items() if name not in (HEAD, *PRIOR)}

    @property
    def spec(self) -> TaskSpec:
        return self._view.family.spec

    @property
    def n_noise(self) -> int:
        return self._view.n_act

    @property
    def state(self) -> tuple[StateTensor, ...]:
        shape = tuple(self._meta[HEAD].shape[-2:])
        return (
            *(StateTensor(name, tuple(value.shape), "never") for name, value in self._body.items()),
            StateTensor(HEAD, shape, "trial", "adapt"),
            StateTensor(PRECISION, (shape[0], shape[0]), "trial", "adapt"),
            StateTensor("previous_action", (self._view.n_act,), "episode", "act"),
        )

    def initial(self) -> dict[str, Tensor]:
        return {
            **self._body,
            HEAD: self._meta[HEAD],
            PRECISION: self.prior_precision,
            "previous_action": torch.zeros(self._view.n_act),
        }

    @property
    def prior_precision(self) -> Tensor:
        """Of the head before the first window, (…, F, F)."""
        return torch.diag_embed(torch.exp(self._meta["log_precision"]).squeeze(-2))

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        phi = features(state, self._view.inputs(obs, state["previous_action"]))
        action = torch.addcmul(bounded(phi @ state[HEAD]), sigma(state), noise)
        return Act(self._view.physical(action), {"previous_action": F.hardtanh(action)}, {})

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        """The head that would have taken the window's actions, had what came of them been asked for."""
        seen = in_hindsight(self.spec, window._replace(obs=window.obs.clamp(-_FAR, _FAR)), self._ahead)
        taken, previous = self._view.taken(seen.action), self._view.taken(seen.previous)
        phi = features(state, self._view.inputs(seen.obs, previous).flatten(1, 2))
        wanted = unbounded(taken.clamp(-_FULL, _FULL)).flatten(1, 2)
        evidence = torch.exp(self._meta["log_evidence"])
        found = fit(state[HEAD], state[PRECISION], phi, wanted, seen.known.flatten(1, 2), evidence)
        step = (found.head - state[HEAD]).flatten(1).square().sum(-1).sqrt()
        info = {"loss": found.before, "left": found.left, "step_norm": step}
        return Adapt({HEAD: found.head, PRECISION: found.precision}, info)


def features(params: Tensors, x: Tensor) -> Tensor:
    """φ of inputs x (T, rows, n_in), and 1: (T, rows, F). The last layer of the body is what a head can know."""
    h = x * params["scale"]
    for i in range(sum(name[0] == "w" for name in params)):
        h = torch.tanh(torch.baddbmm(params[f"b{i}"], h, params[f"w{i}"]))
    return F.pad(h, (0, 1), value=1.0)


def unbounded(action: Tensor) -> Tensor:
    """The inverse of `bounded`."""
    return action * torch.rsqrt(1.0 - action * action)
