"""Servos as a world: the trainer's task, held-out machines by number, machines by their true parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from acclimate.errors import UsageError
from acclimate.task.world import World
from acclimate_bridge.simulation.choice import Choice
from acclimate_bridge.simulation.servo.deployments import PROPERTIES, WIDE, stated_deployment
from acclimate_bridge.simulation.servo.files import ServoFileError
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_bridge.simulation.servo.machine import RATE, SCHEMA, ServoSpecimen
from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import BUILT_IN
from acclimate_bridge.simulation.servo.world import SPREAD, ServoWorld
from acclimate_bridge.simulation.worlds import Wired, open_world
from acclimate_trainer.tasks.servo.family import ServoFamily

WORLD = ServoWorld()


def truth(machine: ServoSpecimen) -> dict[str, float]:
    return dict(machine.start(np.random.default_rng(0)).parameters)


def test_the_task_is_the_trainers() -> None:
    """Written down here, so that a board knows servos without the trainer."""
    assert WORLD.spec == ServoFamily("miswired").spec


@pytest.mark.parametrize("preset", ["wide", "miswired"])
def test_the_trainers_options_give_its_ranges(preset: str) -> None:
    opened = open_world("servo", None, ServoFamily(preset).options())
    assert isinstance(opened, ServoWorld)
    expected = dict(WIDE) | {"polarity": (-1.0 if preset == "miswired" else 1.0, 1.0)}
    assert opened._ranges == expected
    assert opened._spread == ServoFamily(preset).training.spread == SPREAD


def test_it_is_a_world_whose_machines_are_more_than_ticks() -> None:
    world: World = WORLD
    assert isinstance(world, Wired)
    machine = WORLD.held_out(3, 7)
    rows = []
    for _ in range(2):
        rng = np.random.default_rng(1)
        rows.append([machine.reset(rng), *(machine.step(np.array([0.4], np.float32)) for _ in range(5))])
    assert np.array_equal(rows[0], rows[1])
    assert rows[0][-1].shape == (WORLD.spec.n_sensors,)
    before = dict(machine.parameters)
    assert machine.change(np.random.default_rng(0))
    assert machine.parameters != before


def test_what_a_servo_measures_is_in_the_tasks_order() -> None:
    assert [c.name for c in SCHEMA.sensors] == [c.name for c in WORLD.spec.sensors]
    assert [c.name for c in SCHEMA.actuators] == list(WORLD.spec.action_scalars)
    assert pytest.approx(WORLD.spec.control_dt) == 1.0 / RATE


def test_numbers_count_the_types_through_in_the_deployments_of_evaluate() -> None:
    names = list(BUILT_IN)
    found = [WORLD.choose(Choice(number=n), 3) for n in range(2 * len(names))]
    assert [machine.name for machine in found] == names * 2
    groups = WORLD.groups()
    assert found[1] == groups[1].machine(3, 0)
    assert found[len(names)] == groups[0].machine(3, 1)
    assert WORLD.choose(Choice(), 3) == found[0]
    assert WORLD.choose(Choice(number=0), 4) != found[0]
    assert WORLD.choose(Choice("XL-320", 5), 3) == groups[names.index("XL-320")].machine(3, 5)


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_outside_one_property_lies_beyond_its_range_and_no_other(factor: float) -> None:
    servo = BUILT_IN["MX-64"]
    groups = WORLD.groups([servo], outside=factor)
    assert [group.name for group in groups] == [f"MX-64 {what} x{factor:g}" for what in PROPERTIES]
    for group, what in zip(groups, PROPERTIES, strict=True):
        machines = [group.machine(3, number) for number in range(40)]
        assert machines[0] == group.machine(3, 0)
        for machine in machines:
            deployed = machine.deployment
            values = {
                "gain": (deployed.drive_gain, WIDE["drive_gain"]),
                "inertia": (deployed.inertia / servo.m1.armature, WIDE["inertia_ratio"]),
                "friction": (machine.servo.m6.base / servo.m6.base, (1.0 / SPREAD, SPREAD)),
                "delay": (deployed.delay, WIDE["delay"]),
            }
            outside = {name for name, (x, (low, high)) in values.items() if not low <= x <= high}
            assert outside == {what}
            value, (low, high) = values[what]
            assert low / factor <= value <= high * factor
    gains = [groups[0].machine(3, number).deployment.drive_gain for number in range(40)]
    assert min(gains) < WIDE["drive_gain"][0] < WIDE["drive_gain"][1] < max(gains)  # beyond either end


@pytest.mark.parametrize("factor", [1.0, 0.5, -1.0, 11.0, float("nan"), float("inf")])
def test_a_factor_that_leads_nowhere_is_refused(factor: float) -> None:
    with pytest.raises(UsageError, match="outside must be a factor above 1 and at most 10"):
        ServoFleet.of(["MX-64"], outside=factor)


def test_a_name_is_the_servo_as_its_description_states_it() -> None:
    assert WORLD.choose(Choice("mx106"), 0) == ServoSpecimen(BUILT_IN["MX-106"], Deployment())
    with pytest.raises(ServoFileError, match="did you mean 'MX-106'"):
        WORLD.choose(Choice("MX-16"), 0)


def test_true_parameters_are_true_afterwards_and_the_rest_stays() -> None:
    wanted = {"kt": 1.0, "resistance": 8.0, "coulomb": 0.05, "viscous": 0.02, "voltage": 9.0, "gravity": 0.2}
    wanted |= {"delay": 0.01, "polarity": -1.0, "inertia": 0.02}
    machine = WORLD.choose(Choice(values=wanted), 0)
    assert truth(machine) == pytest.approx(wanted)
    plain = BUILT_IN["MX-64"]
    assert machine.servo.m6.resistance == pytest.approx(plain.m6.resistance * 8.0 / plain.m1.resistance)
    assert machine.servo.m6.stribeck == pytest.approx(plain.m6.stribeck * 0.05 / plain.m1.coulomb)
    turned = WORLD.choose(Choice("XL-320", 2, {"polarity": -1.0}), 5)
    assert truth(turned) == truth(WORLD.choose(Choice("XL-320", 2), 5)) | {"polarity": -1.0}
    assert WORLD.with_parameters({"delay": 0.02}).parameters["delay"] == 0.02


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"torque": 1.0}, "a servo has no parameter 'torque'"),
        ({"delai": 0.01}, "did you mean 'delay'"),
        ({"kt": -1.0}, "kt of a servo must be above 0, found -1"),
        ({"polarity": 0.5}, "polarity of a servo must be 1 or -1, found 0.5"),
        ({"delay": 1.0}, "delay of a servo must be from 0 to 0.1 s, found 1"),
        ({"inertia": 1e-5}, "inertia of this servo must be at least 0.011951 kg·m², its armature"),
    ],
)
def test_impossible_parameters_are_refused(values: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        WORLD.choose(Choice(values=values), 0)


def test_what_a_file_states_survives_the_choice(tmp_path_factory: pytest.TempPathFactory) -> None:
    stated = replace(BUILT_IN["MX-64"], name="mine", delay=0.02)
    assert stated_deployment(stated) == Deployment(delay=0.02)
    path = tmp_path_factory.mktemp("servo") / "mine.toml"
    motor = "kt = 1.0\nresistance = 5.0\narmature = 0.01\ncoulomb = 0.05\nviscous = 0.01\n"
    path.write_text(f"supply = 12.0\ndelay = 0.02\n[m1]\n{motor}")
    machine = WORLD.choose(Choice.parse(f"{path},polarity=-1"), 0)
    assert (machine.deployment.delay, machine.deployment.polarity) == (0.02, -1.0)
