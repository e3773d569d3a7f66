import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.bundle.golden import Golden
from acclimate.bundle.manifest import GraphSpec, Quantised, TensorSpec, Tolerance
from acclimate.engines import Graph, Program, open_engine
from acclimate.errors import EngineError, GoldenError, PolicyError
from acclimate.policy import golden_check
from acclimate.policy.golden_check import Deviation
from acclimate.policy.policy import Policy
from acclimate.task.episode import Window
from onnx import numpy_helper

from . import bundles

OBS = np.array([0.1, 0.2, 0.5, -0.3], np.float32)
NOISE = np.array([0.7], np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(bundles.write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.acclimate"))


@pytest.fixture
def policy(bundle: Bundle) -> Policy:
    return Policy(bundle)


def test_act_is_what_numpy_computes_and_carries_its_state(policy: Policy) -> None:
    state = dict(bundles.INITIAL)
    for _ in range(5):
        expected = bundles.act_numpy(state, OBS, NOISE)
        np.testing.assert_allclose(policy.act(OBS, NOISE), expected, rtol=1e-5)
    np.testing.assert_allclose(policy.state("previous"), state["previous"], rtol=1e-5)
    assert policy.state("ticks")[0] == 5
    assert policy.info == {"size": pytest.approx(abs(float(state["previous"][0])), rel=1e-5)}


def test_no_noise_is_zero_noise(policy: Policy) -> None:
    quiet = policy.act(OBS).copy()
    policy.reset("episode")
    np.testing.assert_array_equal(policy.act(OBS, np.zeros(1, np.float32)), quiet)


def test_each_tensor_keeps_its_reset_rule(policy: Policy) -> None:
    policy.act(OBS, NOISE)
    policy.adapt(bundles.window())
    policy.commit()
    adapted = policy.state("weight")
    policy.reset("episode")
    assert policy.state("previous")[0] == 0
    assert policy.state("ticks")[0] == 1
    np.testing.assert_array_equal(policy.state("weight"), adapted)
    policy.reset("trial")
    np.testing.assert_array_equal(policy.state("weight"), bundles.INITIAL["weight"])
    assert policy.state("ticks")[0] == 1  # never
    policy.act(OBS, NOISE)
    policy.reset("trial")
    assert policy.state("previous")[0] == 0  # a new trial begins a new episode
    policy.restore()
    assert policy.state("ticks")[0] == 0


def test_adapt_changes_nothing_until_commit(policy: Policy) -> None:
    before = policy.act(OBS).copy()
    policy.reset("episode")
    result = policy.adapt(bundles.window())
    np.testing.assert_array_equal(policy.act(OBS), before)
    policy.commit()
    policy.reset("episode")
    then = dict(bundles.INITIAL) | {"ticks": np.ones(1, np.float32)}  # there had been one tick
    tensors, infos = bundles.adapt_numpy(then, bundles.window())
    np.testing.assert_allclose(policy.state("weight"), tensors["weight"], rtol=1e-5)
    np.testing.assert_allclose(policy.act(OBS), tensors["weight"] @ OBS, rtol=1e-5)
    assert result.info == {name: pytest.approx(value, rel=1e-5) for name, value in infos.items()}
    assert result.finite
    assert result.change == pytest.approx(
        infos["step_norm"], rel=1e-5
    )  # of what drives: no act reads `shots`


def test_steps_build_on_each_other_through_both_slots(policy: Policy) -> None:
    state = dict(bundles.INITIAL)
    for seed in range(4):
        policy.adapt(bundles.window(seed))
        policy.commit()
        state |= bundles.adapt_numpy(state, bundles.window(seed))[0]
        np.testing.assert_allclose(policy.state("weight"), state["weight"], rtol=1e-4)
        assert policy.state("shots")[0] == seed + 1


def test_rollback_is_the_way_back_once(policy: Policy) -> None:
    before = policy.state("weight")
    policy.adapt(bundles.window())
    policy.commit()
    policy.rollback()
    np.testing.assert_array_equal(policy.state("weight"), before)
    with pytest.raises(PolicyError, match="cannot rollback: there is no commit to undo"):
        policy.rollback()
    with pytest.raises(PolicyError, match="cannot commit: nothing has been adapted"):
        policy.commit()


def test_an_adaptation_that_is_not_committed_can_be_dropped_for_the_next(policy: Policy) -> None:
    policy.adapt(bundles.window(1))
    policy.adapt(bundles.window(2))
    policy.commit()
    expected = bundles.adapt_numpy(dict(bundles.INITIAL), bundles.window(2))[0]["weight"]
    np.testing.assert_allclose(policy.state("weight"), expected, rtol=1e-5)


def test_reset_forgets_adaptations(policy: Policy) -> None:
    policy.adapt(bundles.window())
    policy.reset("trial")
    with pytest.raises(PolicyError, match="nothing has been adapted"):
        policy.commit()


def test_values_that_are_not_finite_are_reported(policy: Policy) -> None:
    window = bundles.window()
    window.mask[...] = 0.0  # the mean over no transitions
    assert not policy.adapt(window).finite


def test_what_the_loop_does_meanwhile_does_not_reach_a_staged_adaptation(policy: Policy) -> None:
    window = bundles.window()
    policy.act(OBS, NOISE)
    policy.stage(window)
    window.obs[...] = 0.0
    policy.reset("episode")
    policy.act(OBS, NOISE)
    for forbidden in (policy.commit, policy.rollback, policy.restore, lambda: policy.reset("trial")):
        with pytest.raises(PolicyError, match="while an adaptation is running"):
            forbidden()
    with pytest.raises(PolicyError, match="cannot stage a window while an adaptation is running"):
        policy.stage(bundles.window())
    assert policy.adapt_staged().info["ticks"] == 1
    policy.commit()
    expected = bundles.adapt_numpy(dict(bundles.INITIAL), bundles.window())[0]["weight"]
    np.testing.assert_allclose(policy.state("weight"), expected, rtol=1e-5)


def test_what_is_set_after_an_adaptation_is_not_overtaken_by_it(policy: Policy) -> None:
    policy.adapt(bundles.window())
    policy.set_state("weight", np.ones((1, 4), np.float32))
    with pytest.raises(
        PolicyError, match="nothing has been adapted since the state was last committed, reset or set"
    ):
        policy.commit()
    assert (policy.state("weight") == 1.0).all()


def test_what_is_set_after_a_commit_is_not_lost_by_a_rollback(policy: Policy) -> None:
    policy.adapt(bundles.window())
    policy.commit()
    policy.set_state("weight", np.ones((1, 4), np.float32))
    with pytest.raises(PolicyError, match="there is no commit to undo"):
        policy.rollback()
    assert (policy.state("weight") == 1.0).all()


def test_several_tensors_are_set_at_once_or_none_is(policy: Policy) -> None:
    with pytest.raises(PolicyError, match="'sigma' needs finite values"):
        policy.set_states({"weight": np.ones((1, 4), np.float32), "sigma": np.full(1, np.nan, np.float32)})
    np.testing.assert_array_equal(policy.state("weight"), bundles.INITIAL["weight"])


def test_a_window_that_cannot_be_copied_leaves_nothing_locked(policy: Policy) -> None:
    window = bundles.window()
    words = np.full(window.obs.shape, "words")
    with pytest.raises(ValueError, match="could not convert"):
        policy.stage(window._replace(obs=words))  # type: ignore[arg-type]
    policy.adapt(window)


def test_there_is_nothing_to_adapt_to_without_a_window(policy: Policy) -> None:
    with pytest.raises(PolicyError, match="no window is staged"):
        policy.adapt_staged()
    policy.stage(bundles.window())
    policy.unstage()
    with pytest.raises(PolicyError, match="no window is staged"):
        policy.adapt_staged()
    policy.adapt(bundles.window())


class Breaking:
    """onnxruntime, but that every run of `adapt` raises once `broken` is set."""

    name, suffix = "onnxruntime", "onnx"

    def __init__(self) -> None:
        self.broken, self.remark = False, ""

    def load(self, model: bytes, spec: GraphSpec, where: str) -> Program:
        real, engine = open_engine("onnxruntime").load(model, spec, where), self

        class Bound:
            def __init__(self, graph: Graph) -> None:
                self.inputs, self.outputs, self._run = graph.inputs, graph.outputs, graph.run

            def run(self) -> None:
                if engine.broken and "adapt" in where:
                    raise EngineError("out of memory")
                self._run()

        class Loaded:
            def bind(self, *arrays: Mapping[str, FloatArray]) -> Graph:
                return Bound(real.bind(*arrays))

        return Loaded()


@pytest.mark.parametrize("names", [["ticks"], ["weight"], ["ticks", "weight"], ["weight", "sigma"]])
def test_setting_anything_that_adapt_writes_leaves_nothing_to_take_or_to_go_back_to(
    policy: Policy, names: list[str]
) -> None:
    for committed in (False, True):
        policy.adapt(bundles.window())
        if committed:
            policy.commit()
        policy.set_states({name: bundles.INITIAL[name] for name in names})
        stays = "weight" not in names
        assert (policy.can_commit, policy.can_roll_back) == (stays and not committed, stays and committed)
        policy.reset("trial")


def test_a_state_that_there_is_not_is_named_with_those_that_there_are(policy: Policy) -> None:
    for ask in (policy.state, lambda name: policy.set_state(name, np.zeros(1, np.float32))):
        with pytest.raises(PolicyError, match=r"policy 'tiny' has no state 'weigth'.*weight"):
            ask("weigth")


class Baked(Breaking):
    """An engine whose graphs end in .tflite, though they are what the other ones are."""

    suffix = "tflite"


def test_what_a_quantised_graph_has_as_a_constant_cannot_be_set(tmp_path: Path) -> None:
    frozen = bundles.without_adapt(bundles.manifest())
    quantised = Quantised("dynamic", ("sigma",), Tolerance())
    model = onnx.load_from_string(bundles.act_model())
    model.graph.initializer.append(numpy_helper.from_array(bundles.INITIAL["sigma"], "state.sigma"))
    kept = [value for value in model.graph.input if value.name != "state.sigma"]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    manifest = replace(frozen, quantised=quantised)
    members = bundles.members(manifest) | {"act.tflite": model.SerializeToString()}
    write_bundle(tmp_path / "x", manifest, members)
    for engine, settable in ((Breaking(), True), (Baked(), False)):
        policy = Policy(load(tmp_path / "x"), engine)
        policy.set_state("weight", np.ones((1, 4), np.float32))
        if settable:
            policy.set_state("sigma", np.ones(1, np.float32))
        else:
            with pytest.raises(PolicyError, match=r"'sigma' cannot be set on .*: act\.tflite is quantised"):
                policy.set_state("sigma", np.ones(1, np.float32))


def test_nothing_staged_is_nothing_to_let_go_of(bundle: Bundle, tmp_path: Path) -> None:
    frozen = load(bundles.write_tiny(tmp_path / "robust", bundles.without_adapt(bundles.manifest())))
    for each in (bundle, frozen):
        policy = Policy(each)
        policy.unstage()
        policy.reset("trial")


def test_what_an_engine_says_of_its_start_is_told(bundle: Bundle) -> None:
    engine = Breaking()
    assert Policy(bundle, engine).choice.remark == ""
    engine.remark = "it compiles anew at every start"
    assert Policy(bundle, engine).choice.remark == engine.remark


@pytest.mark.parametrize("committed", [True, False])
def test_a_step_that_breaks_off_leaves_nothing_to_take(bundle: Bundle, committed: bool) -> None:
    """Its slot may be half written: neither what was adapted before it, nor the way back, is there any more."""
    engine = Breaking()
    policy = Policy(bundle, engine)
    policy.adapt(bundles.window())
    if committed:
        policy.commit()
    weight, engine.broken = policy.state("weight"), True
    with pytest.raises(EngineError, match="out of memory"):
        policy.adapt(bundles.window(1))
    assert not policy.can_commit
    assert not policy.can_roll_back
    np.testing.assert_array_equal(policy.state("weight"), weight)
    engine.broken = False
    policy.adapt(bundles.window(2))
    assert policy.can_commit


def test_what_is_just_allowed_is_allowed() -> None:
    at = Deviation("act", "action", 0.5, 0.5, allowed=0.5, expected=0.0, found=0.5)
    assert at.ok
    assert not at._replace(max_abs=np.nextafter(0.5, 1.0)).ok
    assert not at._replace(max_abs=np.nan).ok


def test_an_episode_that_begins_changes_nothing_under_a_running_adaptation(tmp_path: Path) -> None:
    """Also of a tensor that nobody writes, and that was set for the last episode."""
    manifest = bundles.with_passing_sigma(bundles.manifest())
    policy = Policy(load(bundles.write_tiny(tmp_path / "passing.acclimate", manifest)))
    policy.set_state("sigma", np.array([0.75], np.float32))
    policy.stage(bundles.window())
    policy.reset("episode")
    assert policy.adapt_staged().info["sigma"] == 0.75
    assert policy.state("sigma")[0] == bundles.INITIAL["sigma"][0]


def test_act_and_adapt_run_at_the_same_time(policy: Policy) -> None:
    expected = policy.act(OBS).copy()
    policy.reset("episode")
    thread = threading.Thread(target=lambda: [policy.adapt(bundles.window(i)) for i in range(100)])
    thread.start()
    while thread.is_alive():
        np.testing.assert_array_equal(policy.act(OBS), expected)
        policy.reset("episode")
    thread.join()
    policy.commit()


def test_set_state_is_what_act_reads(policy: Policy) -> None:
    policy.set_state("weight", np.ones((1, 4), np.float32))
    assert policy.act(OBS)[0] == pytest.approx(float(OBS.sum()))
    policy.set_state("previous", np.array([10.0], np.float32))
    assert policy.act(OBS)[0] == pytest.approx(float(OBS.sum()) + 1.0)


def test_set_state_refuses_misfits(policy: Policy) -> None:
    with pytest.raises(PolicyError, match=r"'weight' needs finite values of shape \[1, 4\], got shape \[4\]"):
        policy.set_state("weight", np.ones(4, np.float32))
    with pytest.raises(PolicyError, match="needs finite values"):
        policy.set_state("sigma", np.array([np.inf], np.float32))
    with pytest.raises(PolicyError, match="has no state 'w'; valid names: weight, shots"):
        policy.set_state("w", np.ones(4, np.float32))
    with pytest.raises(PolicyError, match="has no state 'w'"):
        policy.state("w")


def test_state_is_a_copy(policy: Policy) -> None:
    policy.state("weight")[...] = 0.0
    np.testing.assert_array_equal(policy.state("weight"), bundles.INITIAL["weight"])


@pytest.mark.parametrize("shape", [(1,), (5,), (1, 4)])
def test_observations_of_another_shape_are_refused(policy: Policy, shape: tuple[int, ...]) -> None:
    with pytest.raises(PolicyError, match=r"expected \[4\]"):
        policy.act(np.zeros(shape, np.float32))


def test_windows_of_another_shape_are_refused(policy: Policy) -> None:
    obs, action, mask = bundles.window()
    with pytest.raises(PolicyError, match=r"window\.mask has shape \[2, 20\], expected \[3, 20\]"):
        policy.adapt(Window(obs, action, mask[:2]))
    policy.adapt(bundles.window())  # a refusal leaves nothing locked


def test_a_policy_without_adapt(tmp_path: Path) -> None:
    frozen = bundles.without_adapt(bundles.manifest())
    policy = Policy(load(bundles.write_tiny(tmp_path / "robust.acclimate", frozen)))
    assert not policy.can_adapt
    with pytest.raises(PolicyError, match="has no adapt graph"):
        policy.adapt(bundles.window())


def _golden(bundle: Bundle, golden: Golden) -> Bundle:
    return replace(bundle, golden=golden)


RECORDED = {
    "act: 'action'": lambda g, x: replace(g, action=x(g.action)),
    "act: 'next.previous'": lambda g, x: replace(g, next={**g.next, "previous": x(g.next["previous"])}),
    "act: 'next.ticks'": lambda g, x: replace(g, next={**g.next, "ticks": x(g.next["ticks"])}),
    **{
        f"adapt: 'next.{name}'": lambda g, x, name=name: replace(
            g, adapt=replace(g.adapt, next={**g.adapt.next, name: x(g.adapt.next[name])})
        )
        for name in ("weight", "shots")
    },
    **{
        f"adapt: 'info.{name}'": lambda g, x, name=name: replace(
            g, adapt=replace(g.adapt, info={**g.adapt.info, name: x(g.adapt.info[name])})
        )
        for name in ("loss", "reward", "grad_norm", "step_norm", "ticks")
    },
}


@pytest.mark.parametrize("where", RECORDED)
@pytest.mark.parametrize("which", [0, -1])
def test_the_golden_check_refuses_any_number_that_differs(bundle: Bundle, where: str, which: int) -> None:
    """Wherever in the recorded sequence, and only beyond the tolerance."""
    tolerance = bundle.manifest.tolerance

    def by(factor: float, array: FloatArray) -> FloatArray:
        changed = array.copy()
        allowed = tolerance.golden_abs + tolerance.golden_rel * float(np.abs(array).max())
        changed.flat[which] += np.float32(factor * allowed)
        return changed

    Policy(_golden(bundle, RECORDED[where](bundle.golden, partial(by, 0.5))))
    with pytest.raises(
        GoldenError, match=f"golden check of {where} is .* on engine 'onnxruntime', expected"
    ) as caught:
        Policy(_golden(bundle, RECORDED[where](bundle.golden, partial(by, 2.0))))
    assert caught.value.exit_code == 2


def test_the_golden_check_refuses_what_is_not_finite(bundle: Bundle) -> None:
    broken = {**bundle.state, "weight": np.full((1, 4), np.nan, np.float32)}
    with pytest.raises(GoldenError, match="is nan on engine"):
        Policy(replace(bundle, state=broken))


@pytest.mark.parametrize(("times", "worst"), [(3.0, "action"), (2.0, "next.ticks")])
def test_the_golden_check_names_the_worst_by_what_is_allowed(
    bundle: Bundle, times: float, worst: str
) -> None:
    """And not the one that differs by most: the larger ticks may differ by more."""
    golden, t = bundle.golden, bundle.manifest.tolerance
    ticks = golden.next["ticks"]
    assert np.abs(ticks).max() > 1.2 * np.abs(golden.action).max()

    def off(array: FloatArray, times: float) -> FloatArray:
        return array + np.float32(times * (t.golden_abs + t.golden_rel * float(np.abs(array).max())))

    recorded = replace(
        golden, action=off(golden.action, times), next={**golden.next, "ticks": off(ticks, 2.5)}
    )
    with pytest.raises(GoldenError, match=f"golden check of act: '{worst}'"):
        Policy(_golden(bundle, recorded))


def test_the_golden_check_says_how_far_off_each_tensor_is(bundle: Bundle) -> None:
    """Absolutely, and of the largest that was expected; zeros have no scale, and that is no error."""
    golden = bundle.golden
    off = golden.action.copy()
    off[2] += np.float32(5e-6)
    found = {d.tensor: d for d in Policy(_golden(bundle, replace(golden, action=off))).deviations}["action"]
    largest = float(np.abs(off).max())
    assert found.max_abs == pytest.approx(5e-6, abs=2e-7)
    assert found.max_rel == pytest.approx(found.max_abs / largest)
    assert found.allowed == pytest.approx(1e-5 + 1e-5 * largest)
    assert (found.expected, found.found) == pytest.approx((off[2, 0], golden.action[2, 0]), rel=1e-6)


def test_the_golden_check_knows_the_scale_of_every_tensor(policy: Policy) -> None:
    golden, found = policy.bundle.golden, {(d.graph, d.tensor): d for d in policy.deviations}
    assert golden.adapt is not None
    recorded = {("act", "action"): golden.action}
    recorded |= {("act", f"next.{name}"): array for name, array in golden.next.items()}
    recorded |= {("adapt", f"next.{name}"): array for name, array in golden.adapt.next.items()}
    recorded |= {("adapt", f"info.{name}"): array for name, array in golden.adapt.info.items()}
    scales = {key: float(np.abs(array).max()) for key, array in recorded.items()}
    assert found.keys() == scales.keys()
    assert min(scales.values()) < 1.0 < max(scales.values())
    for key, scale in scales.items():
        assert found[key].max_rel == pytest.approx(found[key].max_abs / max(scale, 1e-30))
        assert found[key].allowed == pytest.approx(1e-5 + 1e-5 * scale)


def test_the_golden_check_begins_and_ends_with_the_policy_as_exported(bundle: Bundle, policy: Policy) -> None:
    policy.set_state("ticks", np.array([7.0], np.float32))
    policy.adapt(bundles.window())
    policy.commit()
    policy.act(np.ones(4, np.float32))
    assert golden_check.check(policy, bundle) == policy.deviations
    assert not policy.can_roll_back
    assert not policy.can_commit
    for name, value in bundles.INITIAL.items():
        np.testing.assert_array_equal(policy.state(name), value)


def test_the_golden_check_leaves_no_trace(policy: Policy) -> None:
    for name, value in bundles.INITIAL.items():
        np.testing.assert_array_equal(policy.state(name), value)
    assert {d.graph for d in policy.deviations} == {"act", "adapt"}
    assert all(d.ok for d in policy.deviations)


def test_a_manifest_that_names_a_tensor_the_graph_lacks(bundle: Bundle) -> None:
    graphs = bundle.manifest.graphs
    act = replace(graphs.act, outputs=(*graphs.act.outputs, TensorSpec("info.energy", (1,))))
    manifest = replace(bundle.manifest, graphs=replace(graphs, act=act))
    with pytest.raises(
        EngineError, match=r"act\.onnx: output 'info\.energy' is in the manifest, but the graph has"
    ):
        Policy(replace(bundle, manifest=manifest))


def test_an_engine_whose_member_is_missing(bundle: Bundle) -> None:
    members = {name: content for name, content in bundle.members.items() if name != "adapt.onnx"}
    with pytest.raises(EngineError, match=r"has no 'adapt\.onnx', which engine 'onnxruntime' needs"):
        Policy(replace(bundle, members=members), "onnxruntime")
