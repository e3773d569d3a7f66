"""`evaluate`: real bundles on simulated devices, equal numbers on any number of processes, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from acclimate.errors import EngineError, UsageError
from acclimate_bridge.evaluation.evaluation import Plan, Results, evaluate, open_bench
from acclimate_bridge.evaluation.report import table, tree
from acclimate_bridge.simulation.plant import Deployment
from acclimate_bridge.simulation.servos import BUILT_IN

from .conftest import Acclimate

SERVOS = (BUILT_IN["MX-64"], BUILT_IN["XL-320"])


def plan(bundles: Path, **changes: object) -> Plan:
    base = Plan(bundles / "tiny.acclimate", SERVOS, devices=2, episodes=2, seed=3)
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results(bundles: Path) -> Results:
    return evaluate(plan(bundles))


def test_every_controller_meets_every_device(results: Results) -> None:
    assert [(d.servo, d.device) for d in results.devices] == [
        ("MX-64", 0),
        ("MX-64", 1),
        ("XL-320", 0),
        ("XL-320", 1),
    ]
    for device in results.devices:
        assert set(device.errors) == {"pid", "maml", "robust", "oracle"}
        assert [len(device.errors[name]) for name in ("pid", "maml", "robust", "oracle")] == [1, 3, 1, 1]
        assert all(0.0 < e < 2.0 for errors in device.errors.values() for e in errors)
        assert device.refusals == ("", "")


def test_controllers_are_compared_on_equal_terms(results: Results) -> None:
    """The frozen twin is the unadapted policy: same device, references, noise, and so the same error."""
    for device in results.devices:
        assert device.errors["robust"][0] == device.errors["maml"][0]
        assert device.errors["maml"][1] != device.errors["maml"][0]


@pytest.mark.parametrize("engine", ["auto", "tensorrt"])
def test_an_evaluation_names_its_engine(bundles: Path, engine: str) -> None:
    message = f"--engine {engine} is not one that evaluates; valid names: native, litert, onnxruntime"
    with pytest.raises(UsageError, match=message):
        evaluate(plan(bundles, engine=engine))


def test_all_run_on_the_engine_that_was_named(bundles: Path) -> None:
    found = open_bench(plan(bundles)).policies.values()
    assert {policy.engine.name for policy in found} == {"onnxruntime"}
    with pytest.raises(EngineError, match=r"has no 'act\.c', which engine 'native' needs"):
        open_bench(plan(bundles, engine="native"))


def test_devices_differ_and_lie_in_the_ranges(results: Results) -> None:
    gains = [d.deployment.drive_gain for d in results.devices]
    assert len(set(gains)) == 4
    assert all(0.25 <= gain <= 4.0 for gain in gains)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(bundles: Path, results: Results) -> None:
    assert evaluate(plan(bundles)) == results
    assert evaluate(plan(bundles, seed=4)) != results


def test_numbers_do_not_depend_on_the_number_of_processes(bundles: Path, results: Results) -> None:
    seen: list[tuple[int, int]] = []
    assert evaluate(plan(bundles), jobs=2, progress=lambda done, total: seen.append((done, total))) == results
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_device_does_not_depend_on_which_others_are_evaluated(bundles: Path, results: Results) -> None:
    alone = evaluate(plan(bundles, servos=SERVOS[1:], devices=1))
    assert alone.devices[0] == results.devices[2]


def test_a_recurrent_bundle_is_measured_as_it_adapts(bundles: Path) -> None:
    """Its memory goes on through all episodes, which the policy that forgets at each would not give."""
    bench = open_bench(plan(bundles, bundle=bundles / "rl2.acclimate"))
    errors = bench.run(SERVOS[0], 0).errors
    assert bench.policies["rl2"].state("ticks") == 2 * 100  # two episodes
    assert len(errors["rl2"]) == 1
    assert errors["rl2"] != errors["robust"]


def test_a_recurrent_bundle_closes_the_gap_without_a_step(bundles: Path) -> None:
    found = evaluate(plan(bundles, bundle=bundles / "rl2.acclimate", devices=1))
    report = tree(found)
    assert report["gap_closed"] == {"wide": {"0": None}}  # these robust and oracle policies are one
    assert report["tail"] == {"wide": {}}
    compared = report["comparisons"]
    assert isinstance(compared, list)
    assert {(c["a"], c["b"], c["shots"]) for c in compared if isinstance(c, dict)} == {
        ("rl2", "robust", 0),
        ("rl2", "pid", 0),
    }
    assert "adapting as it drives against robust" in "\n".join(table(found))


def test_a_bundle_with_steps_takes_them_also_as_an_opponent(bundles: Path) -> None:
    turned = plan(bundles, bundle=bundles / "rl2.acclimate", against=(bundles / "tiny.acclimate",), devices=1)
    taken = {n: len(evaluate(replace(turned, shots=n)).devices[0].errors["maml"]) for n in (0, 1, None)}
    assert taken == {0: 1, 1: 2, None: 3}
    with pytest.raises(UsageError, match="--shots must be from 0 to 2 with bundle 'tiny'"):
        evaluate(replace(turned, shots=3))
    assert "pid" in evaluate(replace(turned, shots=0)).devices[0].errors


def test_what_a_servo_file_states_is_kept(bundles: Path) -> None:
    stated = replace(BUILT_IN["MX-64"], name="mine", delay=0.005, polarity=-1.0, load_gravity=0.1)
    drawn = evaluate(plan(bundles, servos=(stated,), devices=1, shots=0)).devices[0].deployment
    assert (drawn.delay, drawn.polarity, drawn.gravity) == (0.005, -1.0, 0.1)
    assert drawn.drive_gain != 1.0


def test_an_oracle_is_told_the_truth(bundles: Path) -> None:
    bench = open_bench(plan(bundles))
    oracle = bench.policies["oracle"]
    deployment = bench.run(BUILT_IN["MX-64"], 0).deployment
    told = oracle.state("task")
    assert told == pytest.approx([BUILT_IN["MX-64"].supply * deployment.drive_gain, deployment.delay])


def test_a_miswired_motor_is_found_out_by_the_pid_with_sign_test(tiny: ModuleType, tmp_path: Path) -> None:
    base = tiny.without_adapt(tiny.manifest())
    family = tiny.servos("miswired", polarity=[-1.0, -1.0])
    errors = {}
    for sign_test in (False, True):
        gains = base.baselines["pid"] | {"sign_test": float(sign_test)}
        manifest = replace(base, family=family, baselines={"pid": gains})
        path = tiny.write_tiny(tmp_path / f"{sign_test}.acclimate", manifest)
        found = evaluate(Plan(path, SERVOS[:1], devices=2, episodes=1))
        errors[sign_test] = [d.errors["pid"][0] for d in found.devices]
        assert found.devices[0].deployment == Deployment(polarity=-1.0)
    assert max(errors[True]) < 0.2 < min(errors[False])


def test_the_command_prints_a_table_and_writes_json(
    acclimate: Acclimate, bundles: Path, tmp_path: Path
) -> None:
    output = tmp_path / "report.json"
    done = acclimate(
        "evaluate", bundles / "tiny.acclimate", "--servo", "MX-64", "--devices", "2", "--episodes", "1",
        "--shots", "1", "--jobs", "1", "--output", output,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tracking error, RMS in rad, preset wide" in done.stdout
    assert "worse than unadapted after 1 step" in done.stdout
    report = json.loads(output.read_text())
    assert set(report) == {
        "metric", "unit", "rows", "gap_closed", "comparisons", "tail", "seed", "devices", "engine",
    }  # fmt: skip
    assert set(report["rows"][0]) == {"preset", "servo", "controller", "shots", "mean", "low", "high", "n"}


def test_json_on_stdout_is_one_object_and_nothing_else(
    acclimate: Acclimate, bundles: Path, results: Results
) -> None:
    done = acclimate(
        "evaluate", bundles / "tiny.acclimate", "--servo", "MX-64", "XL-320", "--devices", "2",
        "--episodes", "2", "--seed", "3", "--jobs", "1", "--json",
    )  # fmt: skip
    assert done.stderr == ""
    assert json.loads(done.stdout) == json.loads(json.dumps(tree(results))) | {"engine": "onnxruntime"}


def test_a_bundle_can_be_evaluated_alone(bundles: Path) -> None:
    found = evaluate(plan(bundles, against=(), devices=1, servos=SERVOS[:1]))
    assert set(found.devices[0].errors) == {"pid", "maml"}
    robust = evaluate(
        plan(bundles, bundle=bundles / "robust.acclimate", against=(), devices=1, servos=SERVOS[:1])
    )
    assert set(robust.devices[0].errors) == {"pid", "robust"}
    assert robust.shots == 0
    assert tree(robust)["comparisons"] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"servos": (SERVOS[0], SERVOS[0])}, "two servos are called 'MX-64'"),
        ({"servos": ()}, "at least one servo"),
        ({"devices": 0}, "--devices must be at least 1"),
        ({"episodes": 0}, "--episodes must be at least 1"),
        ({"shots": 3}, "--shots must be from 0 to 2"),
        ({"shots": -1}, "--shots must be from 0 to 2"),
        ({"seed": -1}, "--seed must be at least 0"),
    ],
)
def test_impossible_plans_are_refused(bundles: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        evaluate(plan(bundles, **changes))


def test_bundles_that_do_not_compare_are_refused(bundles: Path, tiny: ModuleType, tmp_path: Path) -> None:
    twin = bundles / "tiny.acclimate"
    with pytest.raises(UsageError, match="are both called 'maml'"):
        evaluate(plan(bundles, against=(twin,)))
    manifest = tiny.without_adapt(tiny.manifest())
    other = replace(manifest, family=tiny.servos("miswired"))
    path = tiny.write_tiny(tmp_path / "other.acclimate", other)
    with pytest.raises(
        UsageError, match="its task family is servo, preset miswired, expected servo, preset wide"
    ):
        evaluate(plan(bundles, against=(path,)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--servo", "SG-90"), "expected one of MX-64, MX-106, XL-320"),
        (("--servo", "MX-64", "--jobs", "0"), "--jobs must be at least 1"),
        (("--servo", "MX-64", "--output", "/no/such/folder/x"), "the folder /no/such/folder does not exist"),
        (
            ("--servo", "MX-64", "--against", "/no/bundle.acclimate"),
            "cannot read bundle /no/bundle.acclimate",
        ),
    ],
)
def test_bad_arguments_end_in_one_sentence(
    acclimate: Acclimate, bundles: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = acclimate("evaluate", bundles / "tiny.acclimate", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
