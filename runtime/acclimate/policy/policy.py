"""A bundle brought to life on an engine: act every tick, adapt beside it, swap between two ticks."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle
from acclimate.bundle.manifest import GraphSpec
from acclimate.engines import AUTO, Engine, Graph, open_engine
from acclimate.errors import EngineError, GoldenError, PolicyError
from acclimate.names import did_you_mean
from acclimate.policy import golden_check
from acclimate.policy.adapt_result import AdaptResult
from acclimate.policy.choice import choose, named
from acclimate.policy.slots import StateMemory
from acclimate.policy.trust import untrusted
from acclimate.task.episode import Window

Scope: TypeAlias = Literal["trial", "episode"]


class Policy:
    """One policy with its state.

    `act` belongs to one thread, the control loop. `adapt` may run in another one at the same time. Everything
    else is for the loop's thread, between two ticks, and what changes the state raises PolicyError while an
    adaptation is running, except for `reset("episode")`.

    What was set or reset is never overtaken by an older adaptation: setting a tensor that `adapt` writes leaves nothing
    to commit and nothing to roll back to.
    """

    def __init__(self, bundle: Bundle, engine: str | Engine = AUTO) -> None:
        """`engine`: one by name, or "auto", the fastest that is fit; `choice` says which was taken, and why.

        Raises EngineError where no engine, or not the one named, runs the graphs; GoldenError where it computes
        otherwise.
        """
        self.bundle = bundle
        self.manifest = bundle.manifest
        if engine == AUTO:
            self._choose()
        else:
            engine = open_engine(engine) if isinstance(engine, str) else engine
            self.choice = named(engine.name)
            self._bring_up(engine)

    def __repr__(self) -> str:
        return f"<Policy {self.manifest.summary}, on {self.engine.name}>"

    def _choose(self) -> None:
        """Come up on the engine chosen, and choose anew where one remembered no longer does."""
        self.choice = choose(self.bundle)
        try:
            self._bring_up(open_engine(self.choice.engine))
        except (EngineError, GoldenError):
            if not self.choice.remembered:
                raise
            self.choice = choose(self.bundle, anew=True)
            self._bring_up(open_engine(self.choice.engine))

    def _bring_up(self, engine: Engine) -> None:
        self.engine = engine
        self._memory = StateMemory(self.manifest, self.bundle.state)
        self._acts = self._bind_acts()
        self._adapts = self._bind_adapts()
        self._find_buffers()
        self._busy = threading.Lock()
        self._staged = False
        self._spare: Literal["void", "adapted", "previous"] = "void"
        self.deviations = golden_check.check(self, self.bundle)
        self.choice = replace(self.choice, remark=self.choice.remark or engine.remark)

    def _load(self, stem: str) -> tuple[bytes, str]:
        member = f"{stem}.{self.engine.suffix}"
        if member not in self.bundle.members:
            raise EngineError(
                f"{self.bundle.path} has no {member!r}, which engine {self.engine.name!r} needs"
            )
        if reason := untrusted(self.engine.suffix, self.bundle):
            raise EngineError(reason)
        return self.bundle.members[member], f"{self.bundle.path}: {member}"

    def _bind_acts(self) -> tuple[Graph, Graph]:
        """One binding per slot, over one session and one set of outputs."""
        spec = self.manifest.act_spec(self.engine.suffix)
        model, where = self._load("act")
        program = self.engine.load(model, spec, where)
        first = program.bind(_state_inputs(spec, self._memory.act_inputs(0)))
        common = {name: array for name, array in first.inputs.items() if not name.startswith("state.")}
        second = program.bind(common | _state_inputs(spec, self._memory.act_inputs(1)), first.outputs)
        return first, second

    def _bind_adapts(self) -> tuple[Graph, Graph] | None:
        """Two bindings that read one slot and write the other."""
        spec = self.manifest.graphs.adapt
        if spec is None:
            return None
        model, where = self._load("adapt")
        program = self.engine.load(model, spec, where)
        reads, writes = self._memory.adapt_inputs, self._memory.slot
        first = program.bind(_state_inputs(spec, reads(0)), _next_outputs(writes(1)))
        window = {name: array for name, array in first.inputs.items() if name.startswith("window.")}
        infos = {name: array for name, array in first.outputs.items() if name.startswith("info.")}
        second = program.bind(window | _state_inputs(spec, reads(1)), infos | _next_outputs(writes(0)))
        return first, second

    def _find_buffers(self) -> None:
        graph = self._acts[0]
        # A graph without such an input gets a buffer that nobody reads, so that `act` needs no branch.
        self._obs = graph.inputs.get("obs", np.zeros(self.manifest.n_obs, np.float32))
        self._noise = graph.inputs.get("noise", np.zeros(self.manifest.noise.shape, np.float32))
        self._action = graph.outputs["action"]
        running = self._memory.running()
        self._driving = [name for name in self._memory.slot(0) if f"state.{name}" in graph.inputs]
        self._carry = [(array, graph.outputs[f"next.{name}"]) for name, array in running.items()]

    def reset(self, scope: Scope) -> None:
        """Put the state of this scope back to its initial value; "trial" means a new device or a new task.

        A reset of the trial also forgets adaptations. Tensors whose rule is `never` stay.
        """
        if scope == "episode":
            self._memory.reset(scope)
            return
        with self._exclusive("reset"):
            self._memory.reset(scope)
            self._spare = "void"

    def forgets(self, scope: Scope) -> list[str]:
        """Names of the tensors that `reset` of this scope puts back."""
        return [tensor.name for tensor in self._memory.within(scope)]

    def restore(self) -> None:
        """Put every tensor, also those whose rule is `never`, back to its value in the bundle."""
        with self._exclusive("restore"):
            self._memory.restore_all()
            self._spare = "void"

    def act(self, obs: FloatArray, noise: FloatArray | None = None) -> FloatArray:
        """One control tick: obs (n_obs,), noise as the manifest says or None for zeros -> action (n_act,).

        The action is a view that the next call overwrites, not yet clamped to the channels' limits.
        """
        if obs.shape != self._obs.shape:
            raise PolicyError(f"obs has shape {list(obs.shape)}, expected {list(self._obs.shape)}")
        self._obs[...] = obs
        self._noise[...] = 0.0 if noise is None else noise
        self._acts[self._memory.live].run()
        for state, following in self._carry:
            state[...] = following
        return self._action

    @property
    def info(self) -> dict[str, float]:
        """The scalars of the last `act`."""
        return _infos(self._acts[0])

    @property
    def can_adapt(self) -> bool:
        return self._adapts is not None

    def adapt(self, window: Window) -> AdaptResult:
        """One adaptation step from the live slot into the spare one; `act` sees it after `commit`."""
        self.stage(window)
        return self.adapt_staged()

    def stage(self, window: Window) -> None:
        """First half of `adapt`, for the loop's thread: copy the window and the running state aside.

        Raises PolicyError for a policy without `adapt`, a window that does not fit, and while one is running.
        """
        if self._adapts is None:
            raise PolicyError(f"policy {self.manifest.name!r} has no adapt graph; it cannot be adapted")
        inputs = self._adapts[0].inputs
        for name, array in window._asdict().items():
            self._check_window(name, array)
        self._acquire("stage a window")
        try:
            for name, array in window._asdict().items():
                if f"window.{name}" in inputs:
                    inputs[f"window.{name}"][...] = array
            self._memory.take_snapshot()
            self._staged = True
        except BaseException:
            self._busy.release()
            raise

    def unstage(self) -> None:
        """Let go of a staged window that nobody is going to adapt to."""
        if self._staged:
            self._staged = False
            self._busy.release()

    def adapt_staged(self) -> AdaptResult:
        """Second half of `adapt`, for any thread. Raises PolicyError where no window is staged."""
        if self._adapts is None or not self._staged:
            raise PolicyError("cannot adapt: no window is staged; call stage(window) first")
        try:
            self._spare = "void"
            live = self._memory.live
            graph = self._adapts[live]
            graph.run()
            before, after = self._memory.slot(live), self._memory.slot(1 - live)
            finite = all(bool(np.isfinite(array).all()) for array in after.values())
            self._spare = "adapted"
            return AdaptResult(_infos(graph), finite, _distance(before, after, self._driving))
        finally:
            self.unstage()

    @property
    def can_commit(self) -> bool:
        """Whether there is an adaptation that `commit` would make live."""
        return self._spare == "adapted"

    @property
    def can_roll_back(self) -> bool:
        """Whether there is a commit that `rollback` would undo."""
        return self._spare == "previous"

    def commit(self) -> None:
        """Make the adapted slot live. Raises PolicyError where there is no new adaptation."""
        why = "nothing has been adapted since the state was last committed, reset or set"
        self._swap("adapted", "previous", f"commit: {why}")

    def rollback(self) -> None:
        """Undo the last commit. Raises PolicyError where the slot of before it is gone."""
        self._swap("previous", "void", "rollback: there is no commit to undo")

    def _swap(self, needs: str, leaves: Literal["previous", "void"], refusal: str) -> None:
        with self._exclusive("swap slots"):
            if self._spare != needs:
                raise PolicyError(f"cannot {refusal}")
            self._memory.live = 1 - self._memory.live
            self._spare = leaves

    def state(self, name: str) -> FloatArray:
        """A copy of the value that the next `act` reads."""
        self._known(name)
        return self._memory.current(name).copy()

    def set_state(self, name: str, value: FloatArray) -> None:
        """Set what the next `act` reads. Raises PolicyError for another shape or values not finite."""
        self.set_states({name: value})

    def set_states(self, values: Mapping[str, FloatArray]) -> None:
        """Set several tensors at once, or none. Raises PolicyError as `set_state`."""
        for name, value in values.items():
            self._check_settable(name, value)
        with self._exclusive("set state"):
            for name, value in values.items():
                self._memory.current(name)[...] = value
            if any(self.manifest.state_tensor(name).written_by == "adapt" for name in values):
                self._spare = "void"

    def _check_settable(self, name: str, value: FloatArray) -> None:
        self._known(name)
        quantised, suffix = self.manifest.quantised_as(self.engine.suffix), self.engine.suffix
        if quantised and name in quantised.constants:
            raise PolicyError(
                f"state {name!r} cannot be set on engine {self.engine.name!r}: act.{suffix} is quantised, "
                "and has it as a constant; use another engine"
            )
        shape = self._memory.current(name).shape
        if value.shape != shape or not np.isfinite(value).all():
            raise PolicyError(
                f"state {name!r} needs finite values of shape {list(shape)}, got shape {list(value.shape)}"
            )

    def _known(self, name: str) -> None:
        if name not in self._memory.names():
            known = did_you_mean(name, self._memory.names())
            raise PolicyError(f"policy {self.manifest.name!r} has no state {name!r}{known}")

    def _check_window(self, name: str, array: FloatArray) -> None:
        spec = self.manifest.window
        assert spec is not None  # a manifest has a window where it has an adapt graph
        head, m = (spec.episodes,), self.manifest
        shapes = {
            "obs": (*head, spec.steps + 1, m.n_obs),
            "action": (*head, spec.steps, m.n_act),
            "mask": (*head, spec.steps),
        }
        if array.shape != shapes[name]:
            raise PolicyError(f"window.{name} has shape {list(array.shape)}, expected {list(shapes[name])}")

    def _acquire(self, what: str) -> None:
        if not self._busy.acquire(blocking=False):
            raise PolicyError(f"cannot {what} while an adaptation is running; wait for its result first")

    @contextmanager
    def _exclusive(self, what: str) -> Iterator[None]:
        self._acquire(what)
        try:
            yield
        finally:
            self._busy.release()


def _state_inputs(spec: GraphSpec, arrays: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    wanted = {t.name for t in spec.inputs}
    return {f"state.{name}": array for name, array in arrays.items() if f"state.{name}" in wanted}


def _next_outputs(arrays: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {f"next.{name}": array for name, array in arrays.items()}


def _infos(graph: Graph) -> dict[str, float]:
    return {n.removeprefix("info."): float(a[0]) for n, a in graph.outputs.items() if n.startswith("info.")}


def _distance(a: Mapping[str, FloatArray], b: Mapping[str, FloatArray], names: Sequence[str]) -> float:
    """Euclidean, over the tensors named."""
    return math.sqrt(sum(float(np.square(np.subtract(a[n], b[n], dtype=np.float64)).sum()) for n in names))
