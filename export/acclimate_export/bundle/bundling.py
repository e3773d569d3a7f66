"""From a trained policy to the members of its bundle, the manifest first."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TypeAlias

import numpy as np
import torch
from acclimate.bundle.file import ACT, ADAPT, GOLDEN, STATE
from acclimate.bundle.golden import Golden, GoldenAdapt
from acclimate.bundle.manifest import (
    Family,
    Graphs,
    Limits,
    Manifest,
    NoiseSpec,
)
from acclimate.bundle.npz import pack_arrays
from acclimate.errors import UsageError
from acclimate.fields import Json
from acclimate.task.episode import Window
from acclimate_trainer.contract.policy import Adapt, Policy, Tensors
from acclimate_trainer.tasks.registry import Opened
from torch import Tensor

from acclimate_export.bundle.envelope import start_envelope
from acclimate_export.bundle.family_file import bare
from acclimate_export.bundle.formats import ONNX_ONLY, Selection, convert
from acclimate_export.bundle.plain_inputs import plain_inputs
from acclimate_export.bundle.practice import Stage, practise, replay
from acclimate_export.bundle.trained import META, Trained, as_array
from acclimate_export.graphs.collector import collector_at_rest
from acclimate_export.graphs.onnx import OnnxGraph, to_onnx
from acclimate_export.graphs.tracing import trace_act, trace_adapt
from acclimate_export.graphs.translation import Converted, Translation

GOLDEN_TICKS = 50
_GOLDEN_SEED, _TRUST_SEED = 20261124, 20261125  # fixed: the same run always gives the same bundle
_TRUST_TASKS = 256
_TRUST_FACTOR, _TRUST_LEAST = 3.0, 1e-6
_ANY_TASK = 1e6
Classical: TypeAlias = Mapping[str, Mapping[str, float]]
_PACKAGES = ("acclimate", "numpy", "onnx", "onnxruntime", "onnxscript", "torch")


@dataclass(frozen=True)
class Parts:
    """What `acclimate.bundle.file.write_bundle` takes, and what is known of it.

    nodes:    of each graph in ONNX.
    facts:    of members beside ONNX, by member.
    left_out: forms that are not in it, and why.
    """

    manifest: Manifest
    members: Mapping[str, bytes]
    nodes: Mapping[str, int]
    facts: Mapping[str, Mapping[str, Json]]
    left_out: Mapping[str, str]


def make_parts(
    trained: Trained, classical: Classical, figures: Mapping[str, Json], forms: Selection = ONNX_ONLY
) -> Parts:
    """Everything of a bundle. `figures` go into its provenance.

    classical: settings of the controllers that were tuned beside it, by name.

    Raises as `trust_radius`, and UsageError for a graph that a form cannot hold that was asked for.
    """
    with collector_at_rest():
        sources = _sources(trained.policy)
        made = convert(forms, sources)
    graphs = {source.name: source.onnx for source in sources}
    manifest = _manifest(trained, graphs, classical, figures)
    nodes = {name: graph.nodes for name, graph in graphs.items()}
    facts = {member: result.facts for member, result in made.members.items() if result.facts}
    return Parts(manifest, _members(trained, graphs, made.members), nodes, facts, made.left_out)


def _sources(policy: Policy) -> list[Translation]:
    traces = {"act": trace_act(policy)}
    if policy.window is not None:
        traces["adapt"] = trace_adapt(policy)
    return [Translation(name, traced, to_onnx(traced, name)) for name, traced in traces.items()]


def _members(
    trained: Trained, graphs: Mapping[str, OnnxGraph], converted: Mapping[str, Converted]
) -> dict[str, bytes]:
    files = {"act": ACT, "adapt": ADAPT}
    models = {files[name]: graph.model for name, graph in graphs.items()}
    others = {member: result.model for member, result in converted.items()}
    return (
        models
        | others
        | {
            STATE: pack_arrays({name: as_array(value) for name, value in trained.policy.initial().items()}),
            GOLDEN: record_golden(trained).pack(),
            META: trained.pack_meta(),
        }
    )


def _manifest(
    trained: Trained, graphs: Mapping[str, OnnxGraph], classical: Classical, figures: Mapping[str, Json]
) -> Manifest:
    config, policy = trained.config, trained.policy
    adapt = graphs["adapt"].spec if "adapt" in graphs else None
    return Manifest(
        name=config.name,
        algorithm=policy.algorithm,
        task=policy.spec,
        state=policy.state,
        graphs=Graphs(graphs["act"].spec, adapt),
        noise=NoiseSpec((policy.n_noise,)),
        # No slew limit: these policies explore by changing their actions at random, and where a machine is slow switch
        # from one end to the other within a tick or two. Whatever protects a gear train would bind.
        limits=Limits({}, trust_radius(trained)),
        family=_family(config.opened),
        window=policy.window,
        adaptation=policy.adaptation,
        objectives=trained.objectives,
        privileged=policy.privileged,
        baselines=classical,
        start=start_envelope(trained),
        provenance={
            "config": trained.resolved(),
            "seed": config.seed,
            "figures": dict(figures),
            "inputs": plain_inputs(trained),
            "versions": {package: metadata.version(package) for package in _PACKAGES},
        },
    )


def _family(opened: Opened) -> Family:
    """Where the machines come from; of a file of the user's its name, not where it lies on this machine."""
    use = None if opened.use is None else bare(opened.use)
    options: Json = json.loads(json.dumps(dict(opened.options)))
    assert isinstance(options, dict)
    return Family(opened.name, use, options, opened.sha256)


def trust_radius(trained: Trained) -> float:
    """Three times the largest step that the policy takes on 256 machines of its family, to two digits, rounded up.

    For a policy that does not adapt, 1: there is no step to judge. Where a step changes what is driven for, as large
    as can be: rewards have any scale, and every w is one of the family. Raises UsageError where a step is not finite.
    """
    if trained.policy.window is None:
        return 1.0
    if trained.infers_objective:
        return _ANY_TASK
    stages = practise(trained, _TRUST_TASKS, np.random.default_rng(_TRUST_SEED))
    norms = torch.cat([_step_norms(stage.state, stage.adapted) for stage in stages if stage.adapted])
    broken = int((~torch.isfinite(norms)).sum())
    if broken:
        raise UsageError(
            f"{broken} of {len(norms)} adaptation steps of this policy are not finite: train it anew"
        )
    return rounded_up(max(_TRUST_FACTOR * float(norms.max()), _TRUST_LEAST))


def record_golden(trained: Trained) -> Golden:
    """At most 50 ticks of `act` on a machine of the family, exploring, and one `adapt` on a window of it."""
    stage, policy = practise(trained, 1, np.random.default_rng(_GOLDEN_SEED))[0], trained.policy
    # Recorded from the initial state, also where an oracle that knew the machine drove it.
    state = {name: value.unsqueeze(0) for name, value in policy.initial().items()}
    noise = stage.noise[:, :1, :GOLDEN_TICKS]
    obs = stage.window.obs[:, :1, : noise.shape[2]]
    after = {name: as_array(value[0, 0]) for name, value in replay(policy, state, obs, noise).after.items()}
    written = {t.name: after[f"next.{t.name}"] for t in policy.state if t.written_by == "act"}
    return Golden(as_array(obs[0, 0]), as_array(noise[0, 0]), after["action"], written, _golden_adapt(stage))


def _golden_adapt(stage: Stage) -> GoldenAdapt | None:
    if stage.adapted is None:
        return None
    following = {name: as_array(value[0]) for name, value in stage.adapted.next.items()}
    info = {name: as_array(value) for name, value in stage.adapted.info.items()}
    return GoldenAdapt(Window(*(as_array(part[0]) for part in stage.window)), following, info)


def _step_norms(state: Tensors, adapted: Adapt) -> Tensor:
    """As the guard sees them: what the graph says, or else the distance between the states."""
    if "step_norm" in adapted.info:
        return adapted.info["step_norm"]
    squares = [(value - state[name]).flatten(1).square().sum(-1) for name, value in adapted.next.items()]
    return torch.stack(squares).sum(0).sqrt()


def rounded_up(value: float) -> float:
    """To two digits, so that another machine's rounding gives the same number."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit) * unit:.2g}")
