"""`evaluate`: real bundles on simulated devices, equal numbers on any number of processes, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from acclimate.errors import EngineError, UsageError
from acclimate_bridge.evaluation.courses import Course, evaluate_over_time
from acclimate_bridge.evaluation.evaluation import Plan, Results, evaluate_all, open_plan
from acclimate_bridge.evaluation.report import table, tree
from acclimate_bridge.simulation.servo.deployments import true_parameters
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import BUILT_IN

from .conftest import Acclimate

SERVOS = (BUILT_IN["MX-64"], BUILT_IN["XL-320"])
# Of each controller in each of the judged spans, where the supply sags after 3 of 6 s.
SUPPLY = {
    "pid": [
        0.02379660645744031,
        0.0163905004305733,
        0.023347266618982454,
        0.048104116331930395,
        0.040775599142378854,
        0.04198297282734523,
    ],
    "maml": [
        0.12250384150129003,
        0.06950871584482309,
        0.10461344238566299,
        0.2718257377263649,
        0.16016962400178386,
        0.15432605147905926,
    ],
    "rl2": [
        0.0995199291287591,
        0.06990304833051524,
        0.10474604565010029,
        0.2391777209813064,
        0.16388939769603258,
        0.156267124609318,
    ],
}


def plan(bundles: Path, **changes: object) -> Plan:
    base = Plan(bundles / "tiny.acclimate", ServoFleet(SERVOS), machines=2, episodes=2, seed=3)
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results(bundles: Path) -> Results:
    return evaluate_all(plan(bundles))


def test_every_controller_meets_every_machine(results: Results) -> None:
    assert [(d.group, d.number) for d in results.machines] == [
        ("MX-64", 0),
        ("MX-64", 1),
        ("XL-320", 0),
        ("XL-320", 1),
    ]
    for device in results.machines:
        assert set(device.figures) == {"pid", "maml", "guarded", "robust", "oracle"}
        assert [len(device.figures[name]) for name in ("pid", "maml", "robust", "oracle")] == [1, 3, 1, 1]
        for figures in (stage for stages in device.figures.values() for stage in stages):
            assert list(figures) == ["error", "chatter"]
            assert 0.0 < figures["error"] < 2.0
            assert 0.0 < figures["chatter"] < 2.0
        assert device.refusals == ("", "")


def test_controllers_are_compared_on_equal_terms(results: Results) -> None:
    """The frozen twin is the unadapted policy: same device, references, noise, and so the same error."""
    for device in results.machines:
        assert device.figures["robust"][0] == device.figures["maml"][0]
        assert device.figures["maml"][1] != device.figures["maml"][0]


@pytest.mark.parametrize("engine", ["auto", "tensorrt"])
def test_an_evaluation_names_its_engine(bundles: Path, engine: str) -> None:
    message = f"engine {engine!r} is not one that evaluates; valid names: native, litert, onnxruntime"
    with pytest.raises(UsageError, match=message):
        evaluate_all(plan(bundles, engine=engine))


def test_all_run_on_the_engine_that_was_named(bundles: Path) -> None:
    found = open_plan(plan(bundles)).contest.policies.values()
    assert {policy.engine.name for policy in found} == {"onnxruntime"}
    with pytest.raises(EngineError, match=r"has no 'act\.c', which engine 'native' needs"):
        open_plan(plan(bundles, engine="native"))


def test_devices_differ_and_lie_in_the_ranges(results: Results) -> None:
    supplies = {servo.name: servo.supply for servo in SERVOS}
    gains = [m.parameters["voltage"] / supplies[m.group] for m in results.machines]
    assert len(set(gains)) == 4
    assert all(0.25 <= gain <= 4.0 for gain in gains)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(bundles: Path, results: Results) -> None:
    assert evaluate_all(plan(bundles)) == results
    assert evaluate_all(plan(bundles, seed=4)) != results


def test_numbers_do_not_depend_on_the_number_of_processes(bundles: Path, results: Results) -> None:
    seen: list[tuple[int, int]] = []
    assert (
        evaluate_all(plan(bundles), jobs=2, progress=lambda done, total: seen.append((done, total)))
        == results
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_device_does_not_depend_on_which_others_are_evaluated(bundles: Path, results: Results) -> None:
    alone = evaluate_all(plan(bundles, fleet=ServoFleet(SERVOS[1:]), machines=1))
    assert alone.machines[0] == results.machines[2]


def test_a_recurrent_bundle_is_measured_as_it_adapts(bundles: Path) -> None:
    """Its memory goes on through all episodes, which the policy that forgets at each would not give."""
    opened = open_plan(plan(bundles, bundle=bundles / "rl2.acclimate"))
    figures = opened.contest.run(opened.place((0, 0))).figures
    assert opened.contest.policies["rl2"].state("ticks") == 2 * 100  # two episodes
    assert len(figures["rl2"]) == 1
    assert figures["rl2"] != figures["robust"]


def test_a_recurrent_bundle_closes_the_gap_without_a_step(bundles: Path) -> None:
    found = evaluate_all(plan(bundles, bundle=bundles / "rl2.acclimate", machines=1))
    report = tree(found)
    assert report["gap_closed"] == {"servo wide": {"0": None}}  # these robust and oracle policies are one
    assert report["tail"] == {"servo wide": {}}
    compared = report["comparisons"]
    assert isinstance(compared, list)
    assert {(c["a"], c["b"], c["shots"]) for c in compared if isinstance(c, dict)} == {
        ("rl2", "robust", 0),
        ("rl2", "pid", 0),
        ("rl2", "oracle", 0),
    }
    assert "adapting as it drives against robust" in "\n".join(table(found))


def test_a_bundle_with_steps_takes_them_also_as_an_opponent(bundles: Path) -> None:
    turned = plan(
        bundles, bundle=bundles / "rl2.acclimate", against=(bundles / "tiny.acclimate",), machines=1
    )
    taken = {n: len(evaluate_all(replace(turned, shots=n)).machines[0].figures["maml"]) for n in (0, 1, None)}
    assert taken == {0: 1, 1: 2, None: 3}
    with pytest.raises(UsageError, match="shots must be from 0 to 2 with bundle 'tiny'"):
        evaluate_all(replace(turned, shots=3))
    assert "pid" in evaluate_all(replace(turned, shots=0)).machines[0].figures


def test_what_a_servo_file_states_is_kept(bundles: Path) -> None:
    stated = replace(BUILT_IN["MX-64"], name="mine", delay=0.005, polarity=-1.0, load_gravity=0.1)
    found = evaluate_all(plan(bundles, fleet=ServoFleet((stated,)), machines=1, shots=0))
    drawn = found.machines[0].parameters
    assert (drawn["delay"], drawn["polarity"], drawn["gravity"]) == (0.005, -1.0, 0.1)
    assert drawn["voltage"] != stated.supply


def test_an_oracle_is_told_the_truth(bundles: Path) -> None:
    opened = open_plan(plan(bundles))
    truth = opened.contest.run(opened.place((0, 0))).parameters
    told = opened.contest.policies["oracle"].state("task")
    assert told == pytest.approx([truth["voltage"], truth["delay"]])


def test_a_miswired_motor_is_found_out_by_the_pid_with_sign_test(tiny: ModuleType, tmp_path: Path) -> None:
    base = tiny.without_adapt(tiny.manifest())
    family = tiny.servos("miswired", polarity=[-1.0, -1.0])
    errors = {}
    for sign_test in (False, True):
        gains = base.baselines["pid"] | {"sign_test": float(sign_test)}
        manifest = replace(base, family=family, baselines={"pid": gains})
        path = tiny.write_tiny(tmp_path / f"{sign_test}.acclimate", manifest)
        found = evaluate_all(Plan(path, ServoFleet(SERVOS[:1]), machines=2, episodes=1))
        errors[sign_test] = [m.figures["pid"][0]["error"] for m in found.machines]
        assert found.machines[0].parameters == true_parameters(SERVOS[0], Deployment(polarity=-1.0))
    assert max(errors[True]) < 0.2 < min(errors[False])


def test_servos_are_evaluated_as_they_always_were(tiny: ModuleType, tmp_path: Path) -> None:
    """Recorded before machines of other families could be evaluated (b290685), and once more since a host idles in
    neutral between episodes and drives on fresh readings only (31f1b0c): same seeds, same errors."""
    ranges = {
        "drive_gain": [0.25, 4.0],
        "polarity": [-1.0, 1.0],
        "delay": [0.0, 0.02],
        "gravity_fraction": [0.0, 0.1],
        "inertia_ratio": [0.1, 2.0],
    }
    gains = {"kp": 10.0, "ki": 1.0, "kd": 0.1, "kff": 0.05, "sign_test": 1.0}
    base = replace(tiny.manifest(), family=tiny.servos("wide", **ranges), baselines={"pid": gains})
    path = tiny.write_tiny(tmp_path / "tiny.acclimate", base)
    rl2 = tiny.write_tiny(tmp_path / "rl2.acclimate", tiny.recurrent(base))
    here = Plan(path, ServoFleet(SERVOS[:1]), (rl2,), machines=1, episodes=2, seed=3)
    figures = evaluate_all(here).machines[0].figures
    assert {name: [f["error"] for f in stages] for name, stages in figures.items()} == {
        "pid": pytest.approx([0.01912908442924381], rel=1e-4),
        "maml": pytest.approx([0.04746610285578438, 0.044352919612234955, 0.04087266398693707], rel=1e-4),
        "guarded": pytest.approx([0.04746610285578438, 0.044352919612234955, 0.04087266398693707], rel=1e-4),
        "rl2": pytest.approx([0.04750941825635804], rel=1e-4),
    }
    course = evaluate_over_time(here, Course(6.0, "supply", 3.0)).machines[0].judged
    assert {name: [f["error"] for f in spans] for name, spans in course.items()} == {
        name: pytest.approx(errors, rel=1e-4) for name, errors in SUPPLY.items()
    }


def test_the_command_prints_a_table_and_writes_json(
    acclimate: Acclimate, bundles: Path, tmp_path: Path
) -> None:
    output = tmp_path / "report.json"
    done = acclimate(
        "evaluate", bundles / "tiny.acclimate", "--servo", "MX-64", "--devices", "2", "--episodes", "1",
        "--shots", "1", "--jobs", "1", "--output", output,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "error, rad, servo wide; mean over machines" in done.stdout
    assert "worse than unadapted after 1 step" in done.stdout
    report = json.loads(output.read_text())
    assert set(report) == {
        "metric", "unit", "higher_is_better", "rows", "gap_closed", "comparisons", "tail", "seed", "machines",
        "engine",
    }  # fmt: skip
    assert set(report["rows"][0]) == {
        "family", "machine", "controller", "shots", "mean", "low", "high", "n", "beside",
    }  # fmt: skip
    assert set(report["rows"][0]["beside"]) == {"chatter"}


def test_json_on_stdout_is_one_object_and_nothing_else(
    acclimate: Acclimate, bundles: Path, results: Results
) -> None:
    done = acclimate(
        "evaluate", bundles / "tiny.acclimate", "--servo", "MX-64", "XL-320", "--devices", "2",
        "--episodes", "2", "--seed", "3", "--jobs", "1", "--json",
    )  # fmt: skip
    assert done.stderr == ""
    assert json.loads(done.stdout) == json.loads(json.dumps(tree(results)))


def test_a_bundle_can_be_evaluated_alone(bundles: Path) -> None:
    found = evaluate_all(plan(bundles, against=(), machines=1, fleet=ServoFleet(SERVOS[:1])))
    assert set(found.machines[0].figures) == {"pid", "maml", "guarded"}
    robust = evaluate_all(
        plan(
            bundles, bundle=bundles / "robust.acclimate", against=(), machines=1, fleet=ServoFleet(SERVOS[:1])
        )
    )
    assert set(robust.machines[0].figures) == {"pid", "robust"}
    assert robust.shots == 0
    assert tree(robust)["comparisons"] == []


def test_opponents_are_found_beside_a_bundle_by_what_it_is_called(bundles: Path, tmp_path: Path) -> None:
    def put(**names: str) -> None:
        for name, source in names.items():
            (tmp_path / f"{name}.acclimate").write_bytes((bundles / f"{source}.acclimate").read_bytes())

    def opponents(name: str) -> list[str]:
        opened = open_plan(Plan(tmp_path / f"{name}.acclimate", ServoFleet(SERVOS[:1])))
        return [policy.bundle.path.stem for policy in opened.contest.policies.values()][1:]

    put(servo_wide_maml="tiny", adaptive="tiny", robust="robust", servo_wide_oracle="oracle")
    assert opponents("servo_wide_maml") == ["robust", "servo_wide_oracle"]
    put(servo_wide_robust="robust", servo_wide_rl2_oracle="oracle", oracle="oracle")
    assert opponents("servo_wide_maml") == ["servo_wide_robust", "servo_wide_rl2_oracle"]
    assert opponents("adaptive") == ["robust", "oracle"]
    assert opponents("servo_wide_oracle") == ["servo_wide_robust"]


def test_one_type_of_machine_is_evaluated_on_more_of_it(bundles: Path) -> None:
    counts = [
        open_plan(Plan(bundles / "tiny.acclimate", ServoFleet(SERVOS[:n]), machines=m)).machines
        for n, m in ((1, None), (2, None), (2, 3))
    ]
    assert counts == [24, 8, 3]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fleet": ServoFleet((SERVOS[0], SERVOS[0]))}, "two machines are called 'MX-64'"),
        ({"fleet": ServoFleet(())}, "at least one machine"),
        ({"machines": 0}, "machines must be at least 1"),
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"shots": 3}, "shots must be from 0 to 2"),
        ({"shots": -1}, "shots must be from 0 to 2"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_impossible_plans_are_refused(bundles: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        evaluate_all(plan(bundles, **changes))


def test_bundles_that_do_not_compare_are_refused(bundles: Path, tiny: ModuleType, tmp_path: Path) -> None:
    twin = bundles / "tiny.acclimate"
    with pytest.raises(UsageError, match="are both called 'maml'"):
        evaluate_all(plan(bundles, against=(twin,)))
    manifest = tiny.without_adapt(tiny.manifest())
    other = replace(manifest, family=tiny.servos("miswired"))
    path = tiny.write_tiny(tmp_path / "other.acclimate", other)
    with pytest.raises(UsageError, match="its task family is servo miswired, expected servo wide"):
        evaluate_all(plan(bundles, against=(path,)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--servo", "SG-90"), "built-in servos: MX-64, MX-106, XL-320, XL330, STS3215"),
        (("--servo", "MX-64", "--jobs", "0"), "--jobs must be at least 1"),
        (("--servo", "MX-64", "--output", "/no/such/folder/x"), "the folder /no/such/folder does not exist"),
        (
            ("--servo", "MX-64", "--against", "/no/bundle.acclimate"),
            "cannot read bundle /no/bundle.acclimate",
        ),
    ],
)
def test_bad_arguments_end_in_one_sentence(
    here: Acclimate, bundles: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = here("evaluate", bundles / "tiny.acclimate", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
