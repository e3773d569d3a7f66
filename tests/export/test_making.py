"""What a bundle says of its policy is so: trust radius, golden sequence, start, inputs, members and manifest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from acclimate.bundle.file import ACT, GOLDEN, STATE
from acclimate.bundle.manifest import NoiseSpec
from acclimate.bundle.npz import unpack_arrays
from acclimate.errors import BundleError, UsageError
from acclimate_export.bundle import bundling
from acclimate_export.bundle.bundling import GOLDEN_TICKS, make_parts, record_golden, rounded_up, trust_radius
from acclimate_export.bundle.envelope import start_envelope
from acclimate_export.bundle.plain_inputs import plain_inputs
from acclimate_export.bundle.practice import practise
from acclimate_export.bundle.trained import META, Trained, as_array, from_bundle, from_run
from acclimate_trainer.contract.policy import Window, stacked
from acclimate_trainer.networks.view import PREVIOUS
from acclimate_trainer.outer_loop.training import FOR_TRAINING, Progress
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.run_directory import RunDirectory
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.export import runs
from tests.export.shipped import shipped, untrained


@pytest.fixture(scope="module")
def maml() -> Trained:
    return untrained("maml")


@pytest.fixture(params=runs.NAMES)
def trained(request: pytest.FixtureRequest) -> Trained:
    return untrained(request.param)


class TestTrustRadius:
    def test_is_three_times_the_largest_step_of_many_machines(self, maml: Trained) -> None:
        largest = 0.0
        with torch.no_grad():
            for stage in practise(maml, 256, np.random.default_rng(bundling._TRUST_SEED)):
                assert stage.adapted is not None
                squares = torch.zeros(256)
                for name, value in stage.adapted.next.items():
                    squares += ((value - stage.state[name]) ** 2).reshape(256, -1).sum(1)
                largest = max(largest, float(stage.adapted.info["step_norm"].max()))
        assert trust_radius(maml) == rounded_up(3.0 * largest)

    def test_is_the_distance_between_the_states_where_the_graph_does_not_tell(self, maml: Trained) -> None:
        (stage, _) = practise(maml, 4, np.random.default_rng(0))
        assert stage.adapted is not None
        silent = stage.adapted._replace(info={})
        expected = [
            math.sqrt(sum(float((v[i] - stage.state[n][i]).square().sum()) for n, v in silent.next.items()))
            for i in range(4)
        ]
        assert bundling._step_norms(stage.state, silent).tolist() == pytest.approx(expected, rel=1e-5)

    def test_of_what_takes_no_steps_and_of_what_changes_its_objective(self) -> None:
        assert trust_radius(untrained("robust")) == 1.0
        assert trust_radius(untrained("objectives")) == 1e6

    def test_no_step_at_all_leaves_it_above_zero(self, maml: Trained) -> None:
        still = {n: torch.zeros_like(v) if n.startswith("rate") else v for n, v in maml.meta.items()}
        radius = trust_radius(Trained.of(maml.config, still, "here"))
        assert radius > 0.0

    def test_steps_that_are_not_finite_are_refused(self, maml: Trained) -> None:
        wild = dict(maml.meta) | {"rate0.w0": maml.meta["rate0.w0"] * 1e30}
        with pytest.raises(UsageError, match=r"^\d+ of 512 adaptation steps of this policy are not finite"):
            trust_radius(Trained.of(maml.config, wild, "here"))


@given(st.floats(1e-9, 1e9))
def test_a_number_rounded_up_has_two_digits_and_is_the_next_of_these(value: float) -> None:
    found = rounded_up(value)
    assert float(f"{found:.1e}") == found
    assert value * (1.0 - 1e-12) <= found
    assert found - 10.0 ** (math.floor(math.log10(value)) - 1) < value * (1.0 + 1e-9)


def test_the_golden_sequence_is_replayed_tick_by_tick(trained: Trained) -> None:
    policy, golden = trained.policy, record_golden(trained)
    steps = min(GOLDEN_TICKS, policy.window.steps if policy.window else 100)
    assert golden.ticks == steps == len(golden.obs)
    live = stacked(policy, 1, 1)
    for t in range(steps):
        with torch.no_grad():
            act = policy.act(
                live,
                torch.from_numpy(golden.obs[t])[None, None],
                torch.from_numpy(golden.noise[t])[None, None],
            )
        live |= act.next
        np.testing.assert_allclose(golden.action[t], as_array(act.action[0, 0]), rtol=1e-5, atol=1e-6)
        for name, value in act.next.items():
            np.testing.assert_allclose(golden.next[name][t], as_array(value[0, 0]), rtol=1e-5, atol=1e-6)
    assert float(np.ptp(golden.obs[:, 0])) > 0.01
    assert 0.5 < float(golden.noise.std()) < 1.5


def test_the_golden_window_is_adapted_to_from_the_initial_state(maml: Trained) -> None:
    golden, policy = record_golden(maml).adapt, maml.policy
    assert golden is not None
    window = Window(*(torch.from_numpy(part)[None] for part in golden.window))
    assert window.obs.shape == (1, runs.EPISODES, runs.STEPS + 1, maml.family.spec.n_obs)
    with torch.no_grad():
        adapted = policy.adapt(stacked(policy, 1, 1), window)
    for name, value in adapted.next.items():
        np.testing.assert_allclose(golden.next[name], as_array(value[0]), rtol=1e-4, atol=1e-5)
    assert golden.info["step_norm"] == pytest.approx(as_array(adapted.info["step_norm"]), rel=1e-4)
    assert record_golden(untrained("robust")).adapt is None


def test_a_start_is_where_machines_begin_and_a_little_more(maml: Trained) -> None:
    family = maml.family
    rng = np.random.default_rng(271)
    session = family.open(family.sample(1024, rng), 1, 1, rng)
    start = start_envelope(maml)
    device = [c for c in family.spec.sensors if c.source == "device"]
    assert list(start) == [name for channel in device for name in channel.scalars]
    for channel in device:
        for name in channel.scalars:
            seen, (low, high) = as_array(session.obs[:, 0, family.spec.index(name)]), start[name]
            room = max(0.05 * float(np.ptp(seen)), 0.02 * (channel.maximum - channel.minimum))
            assert low == pytest.approx(max(float(seen.min()) - room, channel.minimum), abs=6e-4)
            assert high == pytest.approx(min(float(seen.max()) + room, channel.maximum), abs=6e-4)
            assert channel.minimum <= low < high <= channel.maximum
            assert (round(low, 3), round(high, 3)) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("name", ["servo_wide_robust", "quadrotor_rl2"])
def test_plain_inputs_are_what_the_network_sees(name: str) -> None:
    trained = shipped(name).trained
    spec = trained.family.spec
    found = plain_inputs(trained)
    assert isinstance(found, Mapping)
    matrix, offset = (torch.tensor(found[key]) for key in ("matrix", "offset"))
    obs, previous = torch.randn(20, spec.n_obs), torch.randn(20, spec.n_act)
    expected = torch.cat([trained.family.inputs(obs), PREVIOUS * previous], dim=1)
    torch.testing.assert_close(
        torch.cat([obs, previous], dim=1) @ matrix + offset, expected, rtol=1e-3, atol=1e-4
    )
    assert found["activation"] == "tanh"


def test_inputs_that_are_no_linear_map_are_not_told() -> None:
    assert plain_inputs(shipped("arm_rl2").trained) is None


def test_a_bundle_is_made_of_what_its_policy_says() -> None:
    trained = untrained("oracle")
    classical = {"pid": {"kp": 2.0}}
    parts = make_parts(trained, classical, {"error": 0.5})
    m, policy = parts.manifest, trained.policy
    assert set(parts.members) == {ACT, STATE, GOLDEN, META}
    assert set(parts.nodes) == {"act"}
    assert (parts.facts, parts.left_out) == ({}, {})
    assert (m.name, m.algorithm, m.task, m.state) == (
        trained.config.name,
        "oracle",
        policy.spec,
        policy.state,
    )
    assert (m.window, m.adaptation, m.objectives, m.graphs.adapt) == (None, None, None, None)
    assert (m.noise, m.privileged, m.baselines) == (
        NoiseSpec((policy.n_noise,)),
        policy.privileged,
        classical,
    )
    assert (m.limits.slew_rate, m.limits.trust_radius) == ({}, 1.0)
    assert m.start == start_envelope(trained)
    assert (m.family.name, m.family.use) == ("servo", None)
    assert m.provenance["figures"] == {"error": 0.5}
    assert m.provenance["seed"] == trained.config.seed
    assert m.provenance["config"] == trained.resolved()
    state = unpack_arrays(parts.members[STATE], "here")
    assert state.keys() == policy.initial().keys()
    assert all(np.array_equal(state[name], as_array(value)) for name, value in policy.initial().items())
    meta = unpack_arrays(parts.members[META], "here")
    assert {name: value.tolist() for name, value in meta.items()} == {
        n: v.tolist() for n, v in trained.meta.items()
    }
    model = onnx.load_from_string(parts.members[ACT])
    assert parts.nodes["act"] == len(model.graph.node)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [
        ("", 18)
    ]  # onnxruntime 1.14 on
    assert (model.producer_name, model.producer_version, model.graph.name) == ("acclimate", "", "act")
    assert not model.graph.value_info
    assert not model.functions
    assert not any(part.metadata_props or part.doc_string for part in (model, model.graph, *model.graph.node))


class TestTrained:
    def test_parameters_that_are_not_of_this_policy_are_refused(self, maml: Trained) -> None:
        meta, name = dict(maml.meta), next(iter(maml.meta))
        lacking = {n: value for n, value in meta.items() if n != name}
        for wrong, found in (
            (lacking, rf"{name}' is absent, expected a tensor"),
            (meta | {"more": torch.zeros(2)}, r"more' is a tensor of shape \[2\], expected absent"),
            (meta | {name: torch.zeros(3, 3, 3)}, rf"{name}' is a tensor of shape \[3, 3, 3\], expected"),
            (meta | {name: meta[name] * math.nan}, rf"{name}' holds values that are not finite"),
        ):
            with pytest.raises(UsageError, match=rf"^there: meta-parameter '{found}"):
                Trained.of(maml.config, wrong, "there")

    def test_it_has_parameters_of_its_own_and_none_that_only_training_has(self) -> None:
        config = untrained("ppo").config
        meta = {
            n: v.requires_grad_() for n, v in algorithm_of(config).initial(np.random.default_rng(0)).items()
        }
        assert any(name.startswith(FOR_TRAINING) for name in meta)
        trained = Trained.of(config, meta, "here")
        assert trained.meta.keys() == {name for name in meta if not name.startswith(FOR_TRAINING)}
        for name, value in trained.meta.items():
            assert not value.requires_grad
            assert value.data_ptr() != meta[name].data_ptr()

    def test_what_can_be_told_an_objective_says_so(self) -> None:
        told = {name: untrained(name) for name in runs.NAMES}
        assert {n for n, t in told.items() if t.objectives} == {"objectives"}
        assert {n for n, t in told.items() if t.infers_objective} == {"objectives"}
        objectives = told["objectives"].objectives
        assert objectives is not None
        assert (objectives.state, objectives.reward) == ("task_vector", "reward")

    def test_a_bundle_without_what_it_was_trained_by_is_refused(self) -> None:
        bundle, trained = shipped("servo_wide_robust")
        assert trained.meta.keys() == unpack_arrays(bundle.members[META], "here").keys()
        without = {name: content for name, content in bundle.members.items() if name != META}
        silent = replace(bundle.manifest, provenance={})
        other = replace(bundle.manifest, provenance={"config": {"name": "x"}})
        for wrong, sentence in (
            (replace(bundle, members=without), "holds no meta.npz with the config"),
            (replace(bundle, manifest=silent), "holds no meta.npz with the config"),
            (
                replace(bundle, manifest=other),
                "the bundle is of another version of Acclimate or of its family",
            ),
        ):
            with pytest.raises(BundleError, match=sentence):
                from_bundle(wrong)

    def test_a_run_that_is_not_finished_is_refused_unless_that_is_meant(self, tmp_path: Path) -> None:
        config = untrained("robust").config
        run = RunDirectory.create(tmp_path / "run", config)
        with pytest.raises(UsageError, match="nothing is trained there yet; `acclimate train` does it"):
            from_run(run)
        meta = algorithm_of(config).initial(np.random.default_rng(1))
        run.save(Progress(1, meta, {}))
        with pytest.raises(UsageError, match="is at iteration 1 of 2; let `acclimate train` finish it"):
            from_run(run)
        trained, iteration = from_run(run, unfinished=True)
        assert iteration == 1
        assert all(torch.equal(trained.meta[name], value) for name, value in meta.items())
        run.save(Progress(2, meta, {}))
        assert from_run(run)[1] == 2

    def test_an_array_is_a_copy(self) -> None:
        tensor: Tensor = torch.zeros(2, dtype=torch.float64)
        array = as_array(tensor)
        array[0] = 1.0
        assert float(tensor[0]) == 0.0
        assert array.dtype == np.float32
