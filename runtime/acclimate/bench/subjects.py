"""What is measured: a bundle on one of the engines, or what a user would write instead.

Other packages bring further rivals through the entry-point group `acclimate.rivals`: each entry is a function from
a bundle to a `Subject`, or to None where it has nothing to say about that bundle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from acclimate.arrays import FloatArray
from acclimate.bundle import Bundle
from acclimate.engines import AUTO, ENGINES
from acclimate.engines.choice import Choice
from acclimate.errors import UsageError
from acclimate.manifest import GraphSpec
from acclimate.policy import Policy, Scope

if TYPE_CHECKING:
    import onnxruntime

GROUP = "acclimate.rivals"
DEFAULTS = "onnxruntime_defaults"
Act = Callable[
    [FloatArray, FloatArray], FloatArray
]  # obs (n_obs,), noise as the manifest says -> action (n_act,)


class Subject(NamedTuple):
    """`adapt` takes the golden window; None where there is nothing to adapt. `choice`: of an engine, and why."""

    act: Act
    adapt: Callable[[], object] | None
    choice: Choice | None = None


class Driving:
    """A subject as the control loop wants it."""

    def __init__(self, subject: Subject) -> None:
        self.act = subject.act

    def reset(self, scope: Scope) -> None:
        """Nothing: what is measured is the time."""


def names() -> list[str]:
    """All that could be measured here: the engines, then their rivals."""
    from importlib import metadata

    return [*ENGINES, DEFAULTS, *sorted(metadata.entry_points(group=GROUP).names)]


def build(name: str, bundle: Bundle) -> Subject:
    """The subject of this name. Raises EngineError, GoldenError; UsageError where there is none for this bundle."""
    if name in (AUTO, *ENGINES):
        return on_engine(bundle, name)
    if name == DEFAULTS:
        return with_defaults(bundle)
    from importlib import metadata  # not before: an engine's process does not need it

    for entry in metadata.entry_points(group=GROUP, name=name):
        rival: Callable[[Bundle], Subject | None] = entry.load()
        if (subject := rival(bundle)) is not None:
            return subject
    raise UsageError(f"{name} has nothing to run {bundle.path} with")


def on_engine(bundle: Bundle, engine: str) -> Subject:
    """The runtime's policy, as a user's program makes it."""
    policy, golden = Policy(bundle, engine), bundle.golden.adapt
    if golden is None:
        return Subject(policy.act, None, policy.choice)
    window = golden.window
    return Subject(policy.act, lambda: policy.adapt(window), policy.choice)


def with_defaults(bundle: Bundle) -> Subject:
    """onnxruntime as its documentation begins: a session with default options, and `run` with a dictionary."""
    import onnxruntime

    def session(graph: str) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(
            bundle.members[f"{graph}.onnx"], providers=["CPUExecutionProvider"]
        )

    return by_run(bundle, session)


def by_run(bundle: Bundle, session: Callable[[str], onnxruntime.InferenceSession]) -> Subject:
    """`session.run` with a dictionary per graph, its results carried into the next as a user's loop would."""
    spec, acting = bundle.manifest.graphs, session("act")
    names = [output.name for output in acting.get_outputs()]
    action = names.index("action")
    carried = [(f"state.{n.removeprefix('next.')}", i) for i, n in enumerate(names) if n.startswith("next.")]
    feed = _feed(bundle, spec.act)

    def act(obs: FloatArray, noise: FloatArray) -> FloatArray:
        if "obs" in feed:
            feed["obs"] = obs
        if "noise" in feed:
            feed["noise"] = noise
        results = acting.run(None, feed)
        for name, i in carried:
            feed[name] = results[i]
        found: FloatArray = results[action]
        return found

    if spec.adapt is None:
        return Subject(act, None)
    adapting, window = session("adapt"), _feed(bundle, spec.adapt)
    return Subject(act, lambda: adapting.run(None, window))


def _feed(bundle: Bundle, spec: GraphSpec) -> dict[str, FloatArray]:
    """An array for each of a graph's inputs: of the golden sequence, and of the initial state."""
    golden = bundle.golden
    known = {"obs": golden.obs[0], "noise": golden.noise[0]}
    known |= {f"state.{name}": value for name, value in bundle.state.items()}
    if golden.adapt is not None:
        known |= {f"window.{name}": value for name, value in golden.adapt.window._asdict().items()}
    return {tensor.name: known[tensor.name] for tensor in spec.inputs}
