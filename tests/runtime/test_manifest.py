import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from acclimate.bundle import manifest_json
from acclimate.bundle.manifest import (
    AdaptationSpec,
    Family,
    Graphs,
    Limits,
    Manifest,
    Objectives,
    StateTensor,
    TensorSpec,
)
from acclimate.errors import ManifestError
from acclimate.task.spec import ObservationChannel

from . import bundles

Tree = dict[str, Any]


def _tree() -> Tree:
    tree: Tree = json.loads(manifest_json.to_json(bundles.manifest()))
    return tree


def _read(tree: Tree) -> Manifest:
    return manifest_json.from_json(json.dumps(tree).encode())


def test_json_and_back_is_the_same_manifest() -> None:
    manifest = bundles.manifest()
    assert manifest_json.from_json(manifest_json.to_json(manifest)) == manifest
    frozen = bundles.without_adapt(manifest)
    assert manifest_json.from_json(manifest_json.to_json(frozen)) == frozen
    used = Family("lift", "lift.py:Lift", {"floors": 3, "doors": ["left"]}, "0" * 64)
    foreign = replace(manifest, family=used)
    assert manifest_json.from_json(manifest_json.to_json(foreign)) == foreign
    wishful = bundles.with_objectives(manifest)
    assert manifest_json.from_json(manifest_json.to_json(wishful)) == wishful


def test_sizes() -> None:
    manifest = bundles.manifest()
    assert (manifest.n_obs, manifest.n_act, manifest.n_reference) == (4, 1, 2)


def _set(*path: str | int, to: object) -> Callable[[Tree], None]:
    def change(tree: Any) -> None:
        for step in path[:-1]:
            tree = tree[step]
        tree[path[-1]] = to

    return change


def _delete(name: str) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        del tree[name]

    return change


BAD = {
    "future format": (
        _set("format", to=3),
        r"format 3, and this Acclimate reads format 2; upgrade Acclimate$",
    ),
    "past format": (
        _set("format", to=1),
        r"format 1, and this Acclimate reads format 2; export the bundle again$",
    ),
    "missing field": (_delete("task"), r"lacks the field 'task'"),
    "unknown field": (_set("colour", to="red"), r"unknown field 'colour'; valid fields: adaptation, "),
    "wrong type": (
        _set("task", "control_dt", to="fast"),
        r"control_dt must be a finite number, found \"fast\"",
    ),
    "flag for a number": (
        _set("task", "control_dt", to=True),
        r"control_dt must be a finite number, found true",
    ),
    "not positive": (_set("task", "control_dt", to=0), r"control_dt must be greater than 0, found 0"),
    "bad choice": (
        _set("state", 0, "reset", to="daily"),
        r'state\[0\]\.reset must be one of "trial", "episode", "never"',
    ),
    "bad dtype": (_set("state", 0, "dtype", to="float64"), r"state\[0\]\.dtype must be one of \"float32\""),
    "empty shape": (_set("state", 0, "shape", to=[]), r"state\[0\]\.shape must be a list of at least one"),
    "both writers": (_set("state", 0, "written_by", to="act+adapt"), r"written_by must be one of"),
    "bad task": (
        _set("task", "action", 0, "minimum", to=1.0),
        r"manifest.json.task: task 'servo': channel 'duty': minimum 1 must be below maximum 1",
    ),
    "file without its hash": (
        _set("family", "use", to="robot.py:Arm"),
        r"family.use and family.sha256 belong",
    ),
    "baseline that is no number": (
        _set("baselines", "pid", "kp", to="much"),
        r'baselines.pid.kp must be a finite number, found "much"',
    ),
    "unknown tensor": (
        _set("graphs", "act", "inputs", 0, "name", to="observation"),
        r"graphs\.act\.inputs names 'observation'; valid names here: obs, noise, state\.weight",
    ),
    "wrong shape": (
        _set("graphs", "act", "inputs", 0, "shape", to=[5]),
        r"graphs\.act\.inputs: 'obs' has shape \[5\], expected \[4\]",
    ),
    "unknown tensor of adapt": (
        _set("graphs", "adapt", "inputs", 0, "name", to="state.wait"),
        r"graphs\.adapt\.inputs names 'state\.wait'; valid names here: state\.weight, .*, window\.mask",
    ),
    "wrong shape of a window": (
        _set("graphs", "adapt", "inputs", 3, "shape", to=[3, 20, 4]),
        r"graphs\.adapt\.inputs: 'window\.obs' has shape \[3, 20, 4\], expected \[3, 21, 4\]",
    ),
    "missing output": (_set("graphs", "act", "outputs", to=[]), r"graphs\.act\.outputs lacks 'action'"),
    "writer disagrees": (
        _set("state", 0, "written_by", to="act"),
        r"lacks 'next\.weight', which the manifest says it writes",
    ),
    "window alone": (_set("adaptation", to=None), r"adaptation null; all three or none"),
    "slew of nothing": (_set("limits", "slew_rate", to={"torque": 1.0}), r"no action channel; valid: duty"),
    "privileged of nothing": (
        _set("privileged", to=["weight"]),
        r"privileged names 'weight', which is no parameter of the task; valid: kt, resistance",
    ),
    "privileged without state": (_set("privileged", to=["kt"]), r"state 'task' of shape \[1\]"),
    "bad hash": (_set("files", to={"act.onnx": {"sha256": "0", "size": 1}}), r"64 lower-case hexadecimal"),
    "duplicate output": (
        lambda tree: tree["graphs"]["act"]["outputs"].append(tree["graphs"]["act"]["outputs"][0]),
        r"graphs\.act\.outputs names 'action' twice",
    ),
    "duplicate input": (
        lambda tree: tree["graphs"]["act"]["inputs"].append(tree["graphs"]["act"]["inputs"][0]),
        r"graphs\.act\.inputs names 'obs' twice",
    ),
    "start of nothing": (_set("start", to={"colour": [0, 1]}), "start names 'colour', which is no sensor"),
    "duplicate state": (_set("state", 1, "name", to="weight"), r"state names 'weight' twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_manifests_are_refused_in_one_sentence(case: str) -> None:
    change, message = BAD[case]
    tree = _tree()
    change(tree)
    with pytest.raises(ManifestError, match=message) as caught:
        _read(tree)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be an object"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"format": 1, "format": 1}', "key 'format' appears twice"),
        (b'{"format": NaN}', "NaN is not a JSON number"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_bad_json_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        manifest_json.from_json(text)


def test_adapt_may_not_write_what_an_episode_resets() -> None:
    manifest = bundles.manifest()
    weight = StateTensor("weight", (1, 4), "episode", "adapt")
    with pytest.raises(ManifestError, match="'trial' or 'never', not 'episode'"):
        replace(manifest, state=(weight, *manifest.state[1:]))


def test_python_callers_are_checked_too() -> None:
    with pytest.raises(ManifestError, match="no action channel"):
        replace(bundles.manifest(), limits=Limits({"torque": 1.0}, 5.0))


@pytest.mark.parametrize(("low", "high", "fits"), [(0.0, 1.0, True), (1.0, 1.0, True), (1.0, 0.5, False)])
def test_a_start_goes_from_low_to_high(low: float, high: float, fits: bool) -> None:
    if fits:
        assert replace(bundles.manifest(), start={"position": (low, high)}).start["position"] == (low, high)
        return
    with pytest.raises(ManifestError, match=r"start\.position goes from 1 to 0\.5"):
        replace(bundles.manifest(), start={"position": (low, high)})


def test_a_start_is_of_a_sensor() -> None:
    for name in ("target", "duty", "nothing"):
        with pytest.raises(
            ManifestError, match=f"start names '{name}', which is no sensor; valid: position, vel"
        ):
            replace(bundles.manifest(), start={name: (0.0, 1.0)})


def test_only_what_has_objectives_has_weights_for_features() -> None:
    wishful = bundles.with_objectives(bundles.manifest())
    assert [feature.name for feature in wishful.features] == ["quiet", "fast"]
    assert replace(wishful, objectives=None).features == ()


def test_a_reward_is_the_observation_that_is_one() -> None:
    wishful = bundles.with_objectives(bundles.manifest())
    with pytest.raises(
        ManifestError, match=r"objectives\.reward is 'position', which is not .*: there is none"
    ):
        replace(wishful, objectives=Objectives("w", "position"))


@pytest.mark.parametrize("named", ["pay", None, "position"])
def test_weights_are_inferred_from_the_reward_or_from_nothing(named: str | None) -> None:
    wishful = bundles.with_objectives(bundles.manifest())
    pay = ObservationChannel("pay", "1", -1.0, 1.0, "reward")
    task = replace(wishful.task, observation=(*wishful.observation, pay))
    graphs = Graphs(
        replace(wishful.graphs.act, inputs=(TensorSpec("obs", (5,)), *wishful.graphs.act.inputs[1:]))
    )
    paid = {"task": task, "graphs": graphs, "objectives": Objectives("w", named)}
    if named == "position":
        with pytest.raises(ManifestError, match=r"objectives\.reward is 'position', which is not .*: pay"):
            replace(wishful, **paid)
    else:
        assert replace(wishful, **paid).objectives == paid["objectives"]


def test_objectives_need_a_weight_for_every_feature() -> None:
    wishful = bundles.with_objectives(bundles.manifest())
    for wrong in (Objectives("nothing"), Objectives("weight")):
        with pytest.raises(ManifestError, match=r"has 2 features, so their weights, state .* of shape \[2\]"):
            replace(wishful, objectives=wrong)


TASK_STATE = StateTensor("task", (2,), "never")


@pytest.mark.parametrize(
    ("tensor", "fits"),
    [
        (TASK_STATE, True),
        (replace(TASK_STATE, reset="trial"), True),
        (replace(TASK_STATE, shape=(1,)), False),
        (replace(TASK_STATE, name="truth"), False),
        (replace(TASK_STATE, written_by="act"), False),
    ],
)
def test_what_a_policy_is_told_of_the_task_is_a_state_that_nobody_writes(
    tensor: StateTensor, fits: bool
) -> None:
    m = bundles.manifest()
    outputs = (*m.graphs.act.outputs, *([TensorSpec("next.task", (2,))] if tensor.written_by else []))
    graphs = replace(m.graphs, act=replace(m.graphs.act, outputs=outputs))
    told = {"state": (*m.state, tensor), "graphs": graphs, "privileged": ("kt", "inertia")}
    if fits:
        assert replace(m, **told).privileged == ("kt", "inertia")
        return
    with pytest.raises(ManifestError, match=r"state 'task' of shape \[2\], written by nobody, must be there"):
        replace(m, **told)


def test_a_policy_remembers_what_act_writes_and_a_trial_resets() -> None:
    m = bundles.manifest()
    assert m.remembers == ()
    assert bundles.recurrent(m).remembers == ("previous", "ticks")


@pytest.mark.parametrize("given", [1, 2, 3, 4, 5, 6])
def test_adapt_its_window_and_its_steps_are_given_together(given: int) -> None:
    """In all ways but two: all three, and none."""
    m = bundles.manifest()
    parts = {"graphs": m.graphs, "window": m.window, "adaptation": m.adaptation}
    absent = {"graphs": Graphs(m.graphs.act), "window": None, "adaptation": None}
    some = {name: (parts if given >> i & 1 else absent)[name] for i, name in enumerate(parts)}
    with pytest.raises(ManifestError, match=r"all three or none must be there|both or neither must be"):
        replace(m, **some)


def test_what_adapt_writes_needs_an_adapt() -> None:
    m = bundles.without_adapt(bundles.manifest())
    with pytest.raises(
        ManifestError, match=r"state 'weight' is written by adapt, but there is no graphs\.adapt"
    ):
        replace(m, state=bundles.manifest().state)


@pytest.mark.parametrize(
    "family",
    [Family("lift", sha256="0" * 64), Family("lift", "l.py:L"), Family("lift", "l.py:L", sha256="0")],
)
def test_a_file_of_ones_own_has_its_hash(family: Family) -> None:
    with pytest.raises(ManifestError, match=r"family\.(use and family\.sha256 belong|sha256 must be 64)"):
        replace(bundles.manifest(), family=family)


def test_noise_is_not_scaled_unless_told() -> None:
    assert AdaptationSpec(1).explore_scale == 1.0


def test_unknown_state_lists_the_valid_names() -> None:
    with pytest.raises(ManifestError, match="no state tensor 'w'; it has: weight, shots"):
        bundles.manifest().state_tensor("w")
