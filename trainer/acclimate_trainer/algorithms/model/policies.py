"""What a device does with the model: a network that is told what the model has found out, or a planner that asks it.

`adapt` is the same for both: what is thought of the machine, after the errors that the model has made on a window of
driving. No reward is involved, no exploration, and nobody has to wait for it.
"""

from __future__ import annotations

import torch
from acclimate.bundle.manifest import AdaptationSpec, StateTensor, WindowSpec
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.algorithms.model import network
from acclimate_trainer.algorithms.model.form import Form, certainty, predicted, squares
from acclimate_trainer.algorithms.model.rows import Layout
from acclimate_trainer.algorithms.rl2.rl2 import told_act
from acclimate_trainer.contract.policy import Act, Adapt, Tensors, Window

MODEL = "model."
"""How the names of the model's meta-parameters begin."""
_STEPS = 8  # windows that an export practises with


class ModelPolicy:
    """RL²'s network, told what the model thinks of the machine: see the module.

    The state `told` is what `adapt` makes of that; so `act` has nothing of the model in it, and costs as RL²'s.
    """

    algorithm = "model"
    privileged: tuple[str, ...] = ()

    def __init__(self, meta: Tensors, layout: Layout, form: Form, rows: int) -> None:
        """`meta`: as `Model.initial` names it; stacked over tasks or not. rows: of a window."""
        self._params = {name: value for name, value in meta.items() if not name.startswith(MODEL)}
        self._model = {n.removeprefix(MODEL): value for n, value in meta.items() if n.startswith(MODEL)}
        self._layout, self._form, self._view = layout, form, layout.view
        self._hidden = self._params["recurrent"].shape[-2]
        self._thoughts = tuple(form.begin(network.stacked(self._model, 1)))
        self.window = WindowSpec(1, layout.steps(rows))
        self.adaptation = AdaptationSpec(_STEPS, continual=True)

    @property
    def spec(self) -> TaskSpec:
        return self._view.family.spec

    @property
    def n_noise(self) -> int:
        return self._view.n_act

    @property
    def state(self) -> tuple[StateTensor, ...]:
        return (
            *(StateTensor(name, tuple(p.shape), "never") for name, p in self._params.items()),
            *(StateTensor(n, tuple(value.shape[1:]), "trial", "adapt") for n, value in self.begin(1).items()),
            StateTensor("hidden", (self._hidden,), "trial", "act"),
            StateTensor("previous_action", (self._view.n_act,), "episode", "act"),
            StateTensor("begins", (1,), "episode", "act"),
        )

    def initial(self) -> dict[str, Tensor]:
        return {
            **self._params,
            **{name: value[0] for name, value in self.begin(1).items()},
            "hidden": torch.zeros(self._hidden),
            "previous_action": torch.zeros(self._view.n_act),
            "begins": torch.ones(1),
        }

    def begin(self, tasks: int) -> dict[str, Tensor]:
        """What `adapt` writes, before the first window of `tasks` machines."""
        meta = network.stacked(self._model, tasks)
        thought = self._form.begin(meta)
        return {**thought, "told": self._form.told(meta, thought)}

    def act(self, state: Tensors, obs: Tensor, noise: Tensor) -> Act:
        return told_act(self._view, state, obs, noise, state["told"])

    def adapt(self, state: Tensors, window: Window) -> Adapt:
        """A step; where there is nothing to learn from, nothing changes.

        `loss` and `left` are the model's errors on the window before and after it, in units of the noise.
        """
        following = self.learned(state, window)
        moved = [n for n in following if n not in self._form.counters]
        step = torch.cat([(following[n] - state[n]).flatten(1) for n in moved], dim=-1)
        errors = {"loss": self._error(state, window), "left": self._error(following, window)}
        return Adapt(following, {**errors, "step_norm": step.square().sum(-1).sqrt()})

    def learned(self, state: Tensors, window: Window) -> dict[str, Tensor]:
        """What is thought after a window; where there is nothing to learn from, as before."""
        meta, rows = network.stacked(self._model, window.mask.shape[0]), self._layout.rows(window)
        after = self._form.adapt(meta, self._thought(state), rows)
        seen = rows.weight.amax(-1) > 0.0
        written = {**after, "told": self._form.told(meta, after)}
        return {name: _where(seen, value, state[name]) for name, value in written.items()}

    def errors(self, state: Tensors, window: Window) -> Tensor:
        """Mean square of each sensor's prediction errors in a window, (T, n_y), with what is thought."""
        meta, rows = network.stacked(self._model, window.mask.shape[0]), self._layout.rows(window)
        rest = rows.y - predicted(self._form, meta, self._thought(state), rows.x, self._layout.n_y)
        return squares(rest, rows.weight)

    def _error(self, state: Tensors, window: Window) -> Tensor:
        """Root mean square of the prediction errors, in units of the noise, (T,)."""
        meta = network.stacked(self._model, window.mask.shape[0])
        return (self.errors(state, window) * certainty(meta).squeeze(1).square()).mean(-1).sqrt()

    def _thought(self, state: Tensors) -> dict[str, Tensor]:
        return {name: state[name] for name in self._thoughts}


def _where(which: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Of tasks (T,)."""
    return torch.where(which.view(-1, *[1] * (a.dim() - 1)), a, b)
