"""What is measured: a bundle on one of the engines, or what a user would write instead.

Other packages bring further rivals through the entry-point group `acclimate.rivals`: each entry is a function from
a bundle to a `Subject`, or to None where it has nothing to say about that bundle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle
from acclimate.bundle.manifest import GraphSpec
from acclimate.engines import AUTO, ENGINES, missing
from acclimate.errors import EngineError, UsageError
from acclimate.policy.choice import Choice
from acclimate.policy.policy import Policy, Scope

GROUP = "acclimate.rivals"
DEFAULTS, BY_RUN = "onnxruntime_defaults", "onnxruntime_run"
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

    return [*ENGINES, BY_RUN, DEFAULTS, *sorted(metadata.entry_points(group=GROUP).names)]


def build(name: str, bundle: Bundle) -> Subject:
    """The subject of this name. Raises EngineError, GoldenError; UsageError where there is none for this bundle."""
    if name in (AUTO, *ENGINES):
        return on_engine(bundle, name)
    if name in (BY_RUN, DEFAULTS):
        return by_run(bundle, careful=name == BY_RUN)
    from importlib import metadata  # not before: an engine's process does not need it

    for entry in metadata.entry_points(group=GROUP, name=name):
        rival: Callable[[Bundle], Subject | None] = entry.load()
        if (subject := rival(bundle)) is not None:
            return subject
    raise UsageError(f"there is no {name} of {bundle.path}")


def on_engine(bundle: Bundle, engine: str) -> Subject:
    """The runtime's policy, as a user's program makes it."""
    policy, golden = Policy(bundle, engine), bundle.golden.adapt
    if golden is None:
        return Subject(policy.act, None, policy.choice)
    window = golden.window
    return Subject(policy.act, lambda: policy.adapt(window), policy.choice)


def by_run(bundle: Bundle, *, careful: bool) -> Subject:
    """onnxruntime by `run` with a dictionary, its results carried into the next as a user's loop would.

    The sessions have default options, or, where `careful`, one thread that does not spin. Raises EngineError where
    onnxruntime is not installed.
    """
    if reason := missing("onnxruntime"):
        raise EngineError(reason)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if careful:
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def session(graph: str) -> onnxruntime.InferenceSession:
        model = bundle.members[f"{graph}.onnx"]
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

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
