"""The checks of a bundle measure what they say: each number again, by a loop of its own, on policies that ship."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle
from acclimate.bundle.manifest import Quantised, Tolerance
from acclimate.engines import open_engine
from acclimate.errors import UsageError
from acclimate.policy import trust
from acclimate.policy.policy import Policy
from acclimate.stats import Interval
from acclimate.task.metrics import Pool
from acclimate.task.spec import Metric
from acclimate_export.bundle.formats import Selection
from acclimate_export.bundle.practice import outputs
from acclimate_export.bundle.trained import Trained, as_array
from acclimate_export.check.cases import Case, cases
from acclimate_export.check.differences import QUANTISED_LIMIT, Largest, finite, limit_of
from acclimate_export.check.drift import LIMIT as DRIFT_LIMIT
from acclimate_export.check.drift import Drift, drift, remembers
from acclimate_export.check.loss import Loss, headlines, measure
from acclimate_export.check.parity import LIMIT, Parity, Row, check_same_state, compare, engines_for, not_here
from acclimate_export.check.quantisation import check_quantisable, parse_scheme
from acclimate_trainer.contract.policy import Window, stacked
from acclimate_trainer.play.rollouts import draw, drive, initial_of
from acclimate_trainer.play.trials import draw_trial, run_trial
from torch import Tensor
from torch.nn import functional

from tests.export import broken
from tests.export.shipped import Shipped, changed, forgetful, holding, shipped

ONNX = open_engine("onnxruntime")
INPUTS = 40
MODELS = {"servo_wide_maml": 2, "servo_wide_rl2": 1, "point_maml": 1}  # with the steps of a trial


@pytest.fixture(scope="module")
def maml() -> Shipped:
    return shipped("servo_wide_maml")


@pytest.fixture(scope="module")
def rl2() -> Shipped:
    return shipped("servo_wide_rl2")


def _of(found: list[Case], graph: str) -> list[Case]:
    return [case for case in found if case.graph == graph]


def _alone(trained: Trained, case: Case) -> dict[str, Tensor]:
    """What the policy makes of the inputs of one case, as on one device."""
    policy, given = trained.policy, case.given
    axes = {t.name: (None, None) if t.written_by == "act" else (None,) for t in policy.state}
    state = {
        t.name: given[f"state.{t.name}"][axes[t.name]] for t in policy.state if f"state.{t.name}" in given
    }
    with torch.no_grad():
        if case.graph == "act":
            act = policy.act(state, given["obs"][None, None], given["noise"][None, None])
            named = outputs({"action": act.action}, act.next, act.info)
            return {name: value[0, 0] for name, value in named.items()}
        adapt = policy.adapt(state, Window(*(given[f"window.{name}"][None] for name in Window._fields)))
        return {name: value[0] for name, value in outputs({}, adapt.next, adapt.info).items()}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_expected_of_a_graph_is_what_the_policy_gives_for_these_inputs_alone(name: str) -> None:
    trained = shipped(name).trained
    for case in cases(trained, 6, seed=4):
        torch.testing.assert_close(dict(case.expected), _alone(trained, case), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(("name", "inputs"), [("servo_wide_maml", 45), ("servo_wide_robust", 400)])
def test_there_are_as_many_inputs_as_asked_for_and_no_two_are_alike(name: str, inputs: int) -> None:
    trained = shipped(name).trained
    found = list(cases(trained, inputs, seed=0))
    steps = trained.policy.adaptation.max_steps if trained.policy.adaptation else 1
    tasks = math.ceil(inputs / 10 / steps)
    ticks = math.ceil(inputs / (tasks * steps))
    assert len(_of(found, "act")) == tasks * steps * ticks
    assert len(_of(found, "adapt")) == (tasks * steps if trained.policy.window else 0)
    assert len({as_array(case.given["obs"]).tobytes() for case in _of(found, "act")}) > 0.95 * inputs
    more = list(cases(trained, 20, 0, windows=0.5))
    assert len(_of(more, "act")) == 20
    assert len(_of(more, "adapt")) == (10 if trained.policy.window else 0)


def test_ticks_are_of_all_of_an_episode_and_of_the_second_shot_too(maml: Shipped) -> None:
    found = list(cases(maml.trained, 200, seed=0))
    shots = [float(case.given["state.shots"]) for case in _of(found, "adapt")]
    assert sorted(set(shots)) == [0.0, 1.0]
    assert shots.count(0.0) == shots.count(1.0)
    begins = sum(float(case.given["state.previous_action"].abs().max()) == 0.0 for case in _of(found, "act"))
    assert begins < 0.1 * len(_of(found, "act"))
    assert 0.8 < float(torch.stack([case.given["noise"] for case in _of(found, "act")]).std()) < 1.2


def test_transitions_are_hidden_up_to_three_tenths(maml: Shipped) -> None:
    hidden = [
        1.0 - float(case.given["window.mask"].mean()) for case in _of([*cases(maml.trained, 200, 0)], "adapt")
    ]
    assert 0.2 < max(hidden) < 0.35
    assert 0.0 <= min(hidden) < 0.1


class TestLargest:
    def test_is_relative_to_each_tensors_own_largest_value(self) -> None:
        worst, scale = (
            {"large": 1.0, "small": 0.5, "other": 0.1},
            {"large": 100.0, "small": 0.25, "other": 1.0},
        )
        assert Largest.of(worst, scale) == (1.0, 2.0, "small")

    def test_a_nan_is_the_worst(self) -> None:
        found = Largest.of({"a": 9.0, "b": math.nan}, {"a": 1.0, "b": 1.0})
        assert math.isnan(found.max_abs)
        assert math.isnan(found.max_rel)
        assert found.tensor == "b"

    def test_of_a_tensor_that_should_be_zero(self) -> None:
        assert Largest.of({"a": 0.0}, {"a": 0.0}) == (0.0, 0.0, "a")
        assert Largest.of({"a": 1e-9}, {"a": 0.0}) == (1e-9, math.inf, "a")

    def test_json_has_no_nan(self) -> None:
        assert [finite(x) for x in (0.0, 2.5, math.nan, math.inf)] == [0.0, 2.5, None, None]


def test_only_what_is_quantised_has_the_wide_limit(rl2: Shipped) -> None:
    how = Quantised("dynamic", (), Tolerance(0.5))
    quantised = replace(rl2.bundle, manifest=replace(rl2.bundle.manifest, quantised=how))
    assert limit_of(quantised, open_engine("litert"), LIMIT) == QUANTISED_LIMIT
    assert limit_of(quantised, ONNX, LIMIT) == limit_of(rl2.bundle, open_engine("litert"), LIMIT) == LIMIT


def _measured(trained: Trained, bundle: Bundle, graph: str, inputs: int, seed: int) -> Row:
    """A row of parity by a loop of its own: all results first, and then their differences."""
    spec = bundle.manifest.graphs.act if graph == "act" else bundle.manifest.graphs.adapt
    assert spec is not None
    bound = ONNX.load(bundle.members[f"{graph}.onnx"], spec, "here").bind()
    found: dict[str, list[FloatArray]] = {name: [] for name in bound.outputs}
    wanted: dict[str, list[FloatArray]] = {name: [] for name in bound.outputs}
    for case in _of([*cases(trained, inputs, seed)], graph):
        for name, array in bound.inputs.items():
            array[...] = case.given[name].numpy()
        bound.run()
        for name, array in bound.outputs.items():
            found[name].append(array.astype(np.float64))
            wanted[name].append(case.expected[name].numpy().astype(np.float64))
    off = {name: float(np.abs(np.stack(found[name]) - np.stack(wanted[name])).max()) for name in found}
    relative = {
        name: value / float(np.abs(np.stack(wanted[name])).max()) for name, value in off.items() if value
    }
    worst = max(relative, key=lambda name: relative[name])
    return Row("onnxruntime", graph, max(off.values()), relative[worst], worst, len(found[worst]))


@pytest.mark.parametrize("graph", ["act", "adapt"])
def test_the_difference_is_the_largest_of_any_output_on_any_input(
    maml: Shipped, tmp_path: Path, graph: str
) -> None:
    def bend(values: FloatArray) -> FloatArray:
        bent: FloatArray = values * (1.0 + 1e-3 * np.sin(np.arange(values.size).reshape(values.shape)))
        return bent

    wrong = broken.with_constant(maml.bundle, tmp_path, graph, bend)
    parity = compare(maml.trained, wrong, INPUTS, seed=2)
    assert [(row.engine, row.graph) for row in parity.rows] == [
        ("onnxruntime", "act"),
        ("onnxruntime", "adapt"),
    ]
    row = next(row for row in parity.rows if row.graph == graph)
    expected = _measured(maml.trained, wrong, graph, INPUTS, 2)
    assert (row.tensor, row.inputs) == (expected.tensor, expected.inputs)
    assert row[2:4] == pytest.approx(expected[2:4], rel=1e-9)
    assert not parity.ok
    assert all(other.ok for other in parity.rows if other.graph != graph)


def test_every_engine_is_compared_and_not_the_first_alone(rl2: Shipped, tmp_path: Path) -> None:
    model = broken.with_constant(rl2.bundle, tmp_path, "act", lambda values: values * np.float32(1.01))
    wrong = holding(rl2.bundle, tmp_path, "onnx", "tflite", act_onnx=model.members["act.onnx"])
    rows = {row.engine: row.ok for row in compare(rl2.trained, wrong, INPUTS, 0).rows}
    assert rows == {"litert": True, "onnxruntime": False}


def test_a_sound_bundle_agrees_and_what_it_remembers_is_driven_for_a_thousand_ticks(
    rl2: Shipped, maml: Shipped, tmp_path: Path
) -> None:
    parity = compare(rl2.trained, holding(rl2.bundle, tmp_path, "onnx"), INPUTS, 0)
    assert parity.ok
    assert [(each.engine, each.ticks) for each in parity.drifts] == [("onnxruntime", 1000)]
    assert (parity.state, parity.golden, parity.family, parity.unchecked) == ("", "", "", {})
    assert compare(maml.trained, holding(maml.bundle, tmp_path, "onnx"), INPUTS, 0).drifts == ()


def test_a_difference_in_the_initial_state_or_the_golden_sequence_is_said(
    maml: Shipped, tmp_path: Path
) -> None:
    wrong = broken.with_array(maml.bundle, tmp_path, "state.npz", "w1", 1e-6)
    parity = compare(maml.trained, wrong, INPUTS, 0)
    assert "state.npz: 'w1' is not as trained, by up to 1e-06" in parity.state
    assert not parity.ok
    wrong = broken.with_array(maml.bundle, tmp_path, "golden.npz", "act.action", 1e-2)
    parity = compare(maml.trained, wrong, INPUTS, 0)
    assert parity.state == ""
    assert "golden check of act: 'action'" in parity.golden
    assert not parity.ok


ROW = Row("native", "act", 1e-7, 1e-6, "action", 50)
DRIFT = Drift("native", 1e-7, 1e-6, "hidden", 1000)
SOUND = Parity((ROW,), (DRIFT,), "", "", {}, "")


class TestParity:
    def test_is_sound_where_everything_is(self) -> None:
        assert SOUND.ok
        assert replace(SOUND, unchecked={"litert": "not installed"}, family="changed").ok

    @pytest.mark.parametrize("off", [1.001 * LIMIT, math.nan, math.inf])
    def test_one_row_that_is_off_is_enough(self, off: float) -> None:
        assert not replace(SOUND, rows=(ROW, ROW._replace(max_rel=off), ROW)).ok
        assert ROW._replace(max_rel=LIMIT).ok

    def test_one_drift_or_sentence_is_enough(self) -> None:
        assert not replace(SOUND, drifts=(DRIFT, DRIFT._replace(max_rel=1.001 * DRIFT_LIMIT))).ok
        assert DRIFT._replace(max_rel=DRIFT_LIMIT).ok
        assert not DRIFT._replace(max_rel=math.nan).ok
        assert not replace(SOUND, state="w1 is off").ok
        assert not replace(SOUND, golden="act is off").ok

    def test_its_largest_difference_is_of_graphs_in_float32(self) -> None:
        eight_bits = ROW._replace(max_rel=0.1, limit=QUANTISED_LIMIT)
        assert replace(SOUND, rows=(ROW, eight_bits, ROW._replace(max_rel=3e-6))).max_rel == 3e-6
        assert math.isnan(replace(SOUND, rows=(ROW._replace(max_rel=math.nan), ROW)).max_rel)

    def test_within_a_wider_limit(self) -> None:
        rows = (ROW, ROW._replace(max_rel=0.01))
        assert replace(SOUND, rows=rows).within(0.02)
        assert replace(SOUND, rows=rows).within(0.01)
        assert not replace(SOUND, rows=rows).within(0.005)
        assert not replace(SOUND, drifts=(DRIFT._replace(max_rel=0.01),)).within(0.005)
        eight_bits = ROW._replace(max_rel=0.3, limit=QUANTISED_LIMIT)
        assert replace(SOUND, rows=(eight_bits,)).within(0.02)
        assert not replace(SOUND, rows=(eight_bits._replace(max_rel=0.6),)).within(1.0)

    def test_says_a_sentence_for_everything(self) -> None:
        parity = Parity((ROW,), (DRIFT,), "state", "golden", {"litert": "why"}, "family")
        assert parity.lines() == [
            str(ROW), str(DRIFT), "family", "state", "golden", "not checked on litert: why"
        ]  # fmt: skip
        assert str(parity) == "\n".join(parity.lines())
        assert repr(SOUND) == "<Parity: agrees with torch on native, at most 1.0e-06 relative>"
        assert "DIFFERS" in repr(parity)

    def test_as_json(self) -> None:
        tree = replace(SOUND, rows=(ROW._replace(max_abs=math.nan, max_rel=math.nan),)).tree()
        assert isinstance(rows := tree["rows"], list)
        assert isinstance(row := rows[0], dict)
        assert (row["max_abs"], row["max_rel"], row["inputs"]) == (None, None, 50)
        assert (tree["ok"], tree["limit"]) == (False, LIMIT)


def test_a_row_says_what_it_is_of() -> None:
    assert (
        str(ROW)
        == "act on native agrees with torch: at most 1.0e-06 relative, in 'action' (limit 1e-05, 50 ticks)"
    )
    assert str(ROW._replace(graph="adapt", max_rel=1.0)).startswith("adapt on native DIFFERS from torch: ")
    assert str(ROW._replace(graph="adapt")).endswith("50 windows)")
    assert "is quantised, and near torch" in str(ROW._replace(limit=QUANTISED_LIMIT))
    assert "remembers what torch does over 1000" in str(DRIFT)
    assert "DRIFTS away" in str(DRIFT._replace(max_rel=math.nan))


def test_what_cannot_run_here_is_said_and_the_rest_runs(
    rl2: Shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = holding(rl2.bundle, tmp_path, "c", "onnx", "tflite", text=b"of a stranger")
    assert "not trusted here" in not_here(strange)["native"]
    assert [engine.name for engine in engines_for(strange)] == ["litert", "onnxruntime"]
    monkeypatch.setenv(trust.VARIABLE, strange.sha256)
    assert not_here(strange) == {}
    assert [engine.name for engine in engines_for(strange)] == ["native", "litert", "onnxruntime"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not_here(strange)["native"].startswith("engine 'native' needs one of ")
    assert set(not_here(strange)) == {"native"}


def test_a_bundle_of_another_policy_is_refused(maml: Shipped, rl2: Shipped) -> None:
    check_same_state(maml.trained, maml.bundle, "runs/x")
    for other in (rl2.bundle, shipped("point_maml").bundle):
        with pytest.raises(UsageError, match=r"was not exported from runs/x \(maml\)"):
            check_same_state(maml.trained, other, "runs/x")
    config = maml.trained.config
    shorter = replace(config, maml=replace(config.maml, episode_steps=50))
    with pytest.raises(UsageError, match="their state tensors or windows differ"):
        check_same_state(Trained.of(shorter, maml.trained.meta, "here"), maml.bundle, "runs/x")


def _driven(trained: Trained, ticks: int, seed: int) -> Tensor:
    """What is observed on the machine that drift drives, (ticks, n_obs)."""
    trial = draw_trial(
        trained.family, 1, np.random.default_rng([seed, 1]), side_by_side=1,
        episodes=math.ceil(ticks / 100), steps=100, change=1.0, n_noise=trained.policy.n_noise,
    )  # fmt: skip
    assert float(trial.course.at[0]) < trial.ticks
    parts = run_trial(trained.policy, stacked(trained.policy, 1, 1), trained.family, trial)
    obs = torch.cat([part.obs[0, 0, :-1] for part in parts])[:ticks]
    return functional.pad(obs, (0, trained.policy.spec.n_obs - obs.shape[1]))


def _differences(trained: Trained, bundle: Bundle, obs: Tensor) -> dict[str, tuple[float, float]]:
    """By tensor, how far the bundle is from torch while each goes on by itself, and torch's largest value."""
    policy, engine = trained.policy, Policy(bundle, ONNX)
    engine.reset("trial")
    live, off, scale = stacked(policy, 1, 1), dict[str, float](), dict[str, float]()
    for tick, row in enumerate(obs):
        if tick % 100 == 0:
            engine.reset("episode")
            anew = [t.name for t in policy.state if t.written_by == "act" and t.reset == "episode"]
            live |= {name: policy.initial()[name][None, None] for name in anew}
        act = policy.act(live, row[None, None], torch.zeros(1, 1, policy.n_noise))
        live |= act.next
        found = {"action": engine.act(as_array(row)).copy()}
        found |= {name: engine.state(name) for name in act.next}
        for name, value in {"action": act.action, **act.next}.items():
            wanted = as_array(value[0, 0])
            off[name] = max(off.get(name, 0.0), float(np.abs(found[name] - wanted).max()))
            scale[name] = max(scale.get(name, 0.0), float(np.abs(wanted).max()))
    return {name: (off[name], scale[name]) for name in off}


@pytest.mark.parametrize("name", ["servo_wide_rl2", "servo_wide_objectives"])
def test_drift_is_what_two_that_go_on_by_themselves_come_to(name: str, tmp_path: Path) -> None:
    """Of one that forgets with every episode: there is a lot to measure, and the second episode is where it begins."""
    of = shipped(name)
    wrong = forgetful(of.bundle, tmp_path) if name == "servo_wide_rl2" else of.bundle
    with torch.no_grad():
        expected = _differences(of.trained, of.bundle, _driven(of.trained, 250, 3))
    found = drift(of.trained, of.bundle, ONNX, 250, 3)
    assert (found.ticks, found.engine, found.limit, found.ok) == (250, "onnxruntime", DRIFT_LIMIT, True)
    largest = Largest.of(*({n: pair[i] for n, pair in expected.items()} for i in (0, 1)))
    assert found.tensor == largest.tensor
    assert found[1:3] == pytest.approx(largest[:2], rel=1e-6)
    if wrong is not of.bundle:
        assert not drift(of.trained, wrong, ONNX, 250, 3).ok
        assert drift(of.trained, wrong, ONNX, 100, 3).ok


def test_what_remembers_is_known() -> None:
    names = {
        "servo_wide_rl2": True,
        "servo_wide_objectives": True,
        "servo_wide_maml": False,
        "servo_wide_robust": False,
    }
    assert {name: remembers(shipped(name).trained) for name in names} == names


def _chaotic(by: float) -> Mapping[str, Tensor]:
    return {"recurrent": by * shipped("servo_wide_rl2").trained.meta["recurrent"]}


def test_where_torch_parts_from_itself_no_engine_is_asked_to_stay_longer(
    rl2: Shipped, tmp_path: Path
) -> None:
    chaotic = changed(rl2, tmp_path, lambda _: _chaotic(12.0))
    found = drift(chaotic.trained, chaotic.bundle, ONNX, 600, seed=0)
    assert found.ok
    assert 10 < found.ticks < 600
    with torch.no_grad():
        whole = _differences(chaotic.trained, chaotic.bundle, _driven(chaotic.trained, 600, 0))
    assert max(off / scale for off, scale in whole.values() if scale) > DRIFT_LIMIT
    other = Trained.of(chaotic.trained.config, dict(chaotic.trained.meta) | _chaotic(12.001), "here")
    assert not drift(other, chaotic.bundle, ONNX, 600, seed=0).ok


@pytest.mark.parametrize("name", ["servo_wide_oracle", "servo_wide_rl2"])
def test_at_the_wheel_a_bundle_earns_what_its_policy_does(name: str) -> None:
    """The same machines and references, in torch, all at once."""
    (bundle, trained), machines = shipped(name), 3
    family, policy, rng = trained.family, trained.policy, np.random.default_rng(5)
    tasks = family.sample(machines, rng)
    pools = [Pool(bundle.manifest.task) for _ in range(machines)]
    live = stacked(policy, machines, 1)
    if policy.privileged:
        live["task"] = family.parameters(tasks)
    for _ in range(4):
        around = draw(family, tasks, rng, explore=0, measure=1, steps=100, n_noise=policy.n_noise)
        with torch.no_grad():
            live |= initial_of(policy, (machines, 1), ("episode",))
            driven, live = drive(policy, live, family.spec, around)
        for pool, *columns in zip(pools, driven.obs, driven.action, driven.reward, strict=True):
            pool.add(*(as_array(column[0]) for column in columns))
    expected = [pool.values()[bundle.manifest.task.headline.name] for pool in pools]
    assert headlines(trained, bundle, "onnxruntime", machines, seed=5) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["servo_wide_oracle", "quadrotor_rl2"])
def test_the_loss_is_what_the_engines_differ_by(name: str) -> None:
    """Here by rounding alone: of full scale, on single ticks; and on the same machines at the wheel."""
    bundle, trained = shipped(name)
    loss = measure(trained, bundle, machines=2, seed=9)
    engine = open_engine("litert")
    graph = engine.load(bundle.members["act.tflite"], bundle.manifest.graphs.act, "here").bind()
    halves = [(c.maximum - c.minimum) / 2.0 for c in bundle.manifest.task.action for _ in range(c.size)]
    off = list[float]()
    for case in cases(trained, 1000, 9):
        for n, array in graph.inputs.items():
            array[...] = case.given[n].numpy()
        graph.run()
        difference = graph.outputs["action"] - case.expected["action"].numpy()
        off += [abs(float(by)) / half for half, by in zip(halves, difference, strict=True)]
    assert loss.action_max == pytest.approx(max(off), rel=1e-5)
    assert loss.action_rms == pytest.approx(math.sqrt(sum(x * x for x in off) / len(off)), rel=1e-5)
    assert loss.ticks * len(halves) == len(off)
    assert loss.golden == max(deviation.max_rel for deviation in Policy(bundle, engine).deviations)
    assert loss.metric == bundle.manifest.task.headline
    before, after = (headlines(trained, bundle, e, 2, 9) for e in ("onnxruntime", "litert"))
    assert loss.driving["float32"].mean == pytest.approx(sum(before) / 2)
    assert loss.driving["quantised"].mean == pytest.approx(sum(after) / 2)
    change = [b - a for a, b in zip(before, after, strict=True)]
    assert loss.driving["difference"].mean == pytest.approx(sum(change) / 2, rel=1e-6)
    assert [interval.n for interval in loss.driving.values()] == [2, 2, 2]


def test_the_loss_in_a_sentence() -> None:
    metric = Metric("error", "rms", "rad")
    intervals = {
        "float32": (0.01, 0.0, 0.1),
        "quantised": (0.012, 0.0, 0.1),
        "difference": (0.002, -0.001, 0.005),
    }
    loss = Loss(0.01, 0.2, 1000, 0.3, metric, {n: Interval(*values, 12) for n, values in intervals.items()})
    said = str(loss)
    assert "action off by 0.01 RMS, at most 0.2, of full scale, on 1000 ticks" in said
    assert "0.01 -> 0.012 on 12 machines, a difference of -0.001 to +0.005" in said
    tree = loss.tree()
    assert (tree["action_rms"], tree["golden"], tree["metric"]) == (
        0.01,
        0.3,
        {"name": "error", "unit": "rad"},
    )


def test_weights_that_adapt_are_not_quantised(maml: Shipped, rl2: Shipped) -> None:
    check_quantisable(rl2.trained, "int8")
    with pytest.raises(UsageError, match="--quantize int8: the weights of a policy of 'maml' adapt"):
        check_quantisable(maml.trained, "int8")


BOTH = Selection(("onnx", "tflite"), asked=True, left_out={})


def test_a_scheme_is_one_of_those_there_are_and_of_a_form_that_is_made() -> None:
    assert parse_scheme(None, BOTH) is None
    assert parse_scheme("int8", BOTH) == "int8"
    for text, forms, sentence in (
        ("int4", BOTH, "there is no such scheme; did you mean 'int8'"),
        ("int8", BOTH._replace(names=("onnx",)), "there is none: add it to --format"),
        (
            "int8",
            Selection(("onnx",), asked=False, left_out={"tflite": "no tools"}),
            "there is none: no tools",
        ),
    ):
        with pytest.raises(UsageError, match=sentence):
            parse_scheme(text, forms)
