"""Which modules bugs are planted in, and the tests that concern each: those of the module and of what stands on it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_RUNTIME, _BRIDGE = "runtime/acclimate", "firmware_bridge/acclimate_bridge"
_TRAINER, _EXPORT = "trainer/acclimate_trainer", "export/acclimate_export"
_ROOMS = {_RUNTIME: "runtime", _BRIDGE: "bridge", _TRAINER: "trainer", _EXPORT: "export"}  # of tests/
_IN_REAL_TIME = (
    "test_fail_safe.py::test_after_a_long_pause_nothing_moves_again",
    "test_fail_safe.py::test_an_honest_pause_between_episodes_is_none_of_the_watchdogs_business",
    "test_link_time.py::test_a_clock_that_is_off_costs_no_reading",
    "test_link_time.py::test_after_a_pause_of_any_length_readings_are_fresh_again",
)
_LONG_TRAININGS = (
    "test_maml.py::test_training_makes_a_step_worth_something",
    "test_model.py::test_a_few_iterations_make_a_step_worth_something",
    "test_objectives.py::test_it_learns_to_earn_what_is_asked_for",
    "test_ppo.py::test_a_point_is_driven_far_better_than_by_standing_still",
    "test_ppo.py::test_it_learns_to_track",
    "test_ppo.py::test_two_continuous_actions_are_learned_on_an_opaque_machine_close_to_the_optimum",
    "test_ppo.py::test_where_to_go_is_learned_too",
    "test_several_actuators.py::test_what_it_has_learned_is_to_adapt_in_its_memory",
    "test_training.py::test_choosing_changes_nothing_of_what_is_trained",
)
LEFT_OUT = (
    "tests/runtime/test_loop.py::test_real_time",
    *(f"tests/bridge/{name}" for name in _IN_REAL_TIME),
    *(f"tests/trainer/{name}" for name in _LONG_TRAININGS),
)
"""Tests that take minutes or real time, or train for seconds: what they alone would find counts as not found."""


class Subject(NamedTuple):
    """A module by its name, its file, and its tests: the quicker ones first."""

    module: str
    path: Path
    tests: tuple[str, ...]

    @property
    def source(self) -> str:
        return self.path.read_text(encoding="utf-8")


def _of(package: str, modules: str, tests: str) -> list[Subject]:
    """Modules by their path in a package, and tests by their path below tests/."""
    names = dict.fromkeys(name if "/" in name else f"{_ROOMS[package]}/{name}" for name in tests.split())
    files = tuple(f"tests/{name}.py" for name in names)
    return [
        Subject(".".join([Path(package).name, *name.split("/")]), ROOT / package / f"{name}.py", files)
        for name in modules.split()
    ]


_LOOP = "test_loop test_limits test_commanding test_channel_map test_readings test_drive test_trial test_recording"
_POLICY = "test_policy test_guard test_checkpoint test_trial test_policy_model"
_BUNDLE = (
    "test_arrays test_manifest test_quantised test_objectives test_bundle test_hostile_bundles test_policy"
)
_LINK = "test_host_link test_link_time test_fail_safe"
_SHIPPED = "house/test_shipped_settings"  # what finds a default that has changed
_SUCCESSOR = "test_successor test_successor_policies"

GROUPS: dict[str, list[Subject]] = {
    "runtime": [
        *_of(_RUNTIME, "control/loop", f"{_LOOP} test_continual"),
        *_of(_RUNTIME, "control/pacer control/rows control/rearming", _LOOP),
        *_of(_RUNTIME, "control/commanding", f"test_commanding {_LOOP}"),
        *_of(_RUNTIME, "control/channel_map", f"test_channel_map {_LOOP}"),
        *_of(_RUNTIME, "control/readings", f"test_readings {_LOOP}"),
        *_of(_RUNTIME, "control/patience", f"test_patience {_LOOP}"),
        *_of(_RUNTIME, "control/trial control/drive", "test_drive test_trial test_recording"),
        *_of(_RUNTIME, "policy/policy", f"{_POLICY} test_choice test_trust"),
        *_of(_RUNTIME, "policy/adaptation policy/guard", f"{_POLICY} test_continual"),
        *_of(_RUNTIME, "policy/slots policy/checkpoint policy/golden_check atomic", _POLICY),
        *_of(_RUNTIME, "policy/trust", "test_trust"),
        *_of(_RUNTIME, "bundle/archive bundle/file bundle/golden bundle/manifest bundle/npz", _BUNDLE),
    ],
    "bridge": [
        *_of(
            _BRIDGE,
            "link/wire link/messages",
            f"test_wire test_messages test_protocol_page test_device_core {_LINK}",
        ),
        *_of(_BRIDGE, "link/time_sync", f"test_time_sync {_LINK}"),
        *_of(
            _BRIDGE,
            "link/line link/budget link/observing",
            f"test_link_time test_transport test_protocol_page {_LINK}",
        ),
        *_of(_BRIDGE, "link/host_link", f"{_LINK} test_time_sync test_transport test_fail_safe_model"),
        *_of(
            _BRIDGE,
            "simulation/device_core",
            f"test_device_core test_ramp test_protocol_page {_LINK} test_ticks test_fail_safe_model",
        ),
    ],
    "trainer": [
        *_of(_TRAINER, "play/rollouts", "test_rollouts test_trials test_windows test_costs"),
        *_of(_TRAINER, "play/trials", "test_trials test_rl2 test_categorical"),
        *_of(_TRAINER, "play/replay", "test_successor test_entropy"),
        *_of(_TRAINER, "play/windows", "test_windows"),
        *_of(_TRAINER, "play/watched", "test_imitation test_mimic test_categorical"),
        *_of(_TRAINER, "play/world", "test_world test_bandit_family"),
        *_of(_TRAINER, "outer_loop/training", "test_training house/test_shipped_settings"),
        *_of(
            _TRAINER, "networks/feedforward networks/view", "test_networks test_policies test_policy_gradient"
        ),
        *_of(_TRAINER, "networks/recurrent", "test_recurrent test_rl2"),
        *_of(_TRAINER, "networks/choices", "test_categorical"),
        *_of(_TRAINER, "networks/psi", f"test_by_hand {_SUCCESSOR}"),
        *_of(_TRAINER, "networks/candidates networks/action_values", "test_entropy"),
        *_of(
            _TRAINER,
            "algorithms/maml/maml",
            f"{_SHIPPED} test_maml test_policy_conformance test_policies",
        ),
        *_of(_TRAINER, "algorithms/maml/policy_gradient", "test_policy_gradient test_maml"),
        *_of(_TRAINER, "algorithms/maml/ridge", "test_maml test_policy_gradient"),
        *_of(
            _TRAINER,
            "algorithms/reactive",
            f"{_SHIPPED} test_trials test_rollouts test_policies",
        ),
        *_of(
            _TRAINER,
            "algorithms/rl2/rl2",
            f"{_SHIPPED} test_by_hand test_rl2 test_trials test_policies",
        ),
        *_of(
            _TRAINER,
            "algorithms/rl2/ppo algorithms/rl2/critic algorithms/rl2/actors",
            "test_by_hand test_ppo",
        ),
        *_of(_TRAINER, "algorithms/rl2/categorical", "test_categorical test_ppo"),
        *_of(
            _TRAINER,
            "algorithms/entropy/soft algorithms/entropy/entropy algorithms/entropy/policy",
            "test_entropy",
        ),
        *_of(
            _TRAINER,
            "algorithms/features/features algorithms/features/head algorithms/features/hindsight"
            " algorithms/features/policy",
            "test_fits_by_hand test_features",
        ),
        *_of(
            _TRAINER,
            "algorithms/identify/fit algorithms/identify/identify algorithms/identify/policy"
            " algorithms/identify/stretches",
            "test_fits_by_hand test_identify",
        ),
        *_of(
            _TRAINER,
            "algorithms/model/context algorithms/model/episodes algorithms/model/form algorithms/model/gradient"
            " algorithms/model/model algorithms/model/network algorithms/model/planner algorithms/model/policies"
            " algorithms/model/priors algorithms/model/rows algorithms/model/square_root",
            "test_by_hand test_fits_by_hand test_model",
        ),
        *_of(
            _TRAINER,
            "algorithms/distillation/imitation algorithms/distillation/recordings",
            "test_imitation",
        ),
        *_of(
            _TRAINER,
            "algorithms/distillation/imitating algorithms/distillation/student",
            f"{_SHIPPED} test_student test_imitation test_mimic",
        ),
        *_of(
            _TRAINER,
            "algorithms/distillation/mimic algorithms/distillation/pupils algorithms/distillation/teachers",
            "test_mimic",
        ),
        *_of(
            _TRAINER,
            "algorithms/successor/objectives algorithms/successor/objective_policies",
            f"{_SHIPPED} test_by_hand test_objectives test_several_actuators",
        ),
        *_of(_TRAINER, "algorithms/successor/task_vector", "test_task_vector"),
        *_of(
            _TRAINER,
            "algorithms/successor/featured algorithms/successor/features algorithms/successor/library"
            " algorithms/successor/policies",
            f"{_SHIPPED} {_SUCCESSOR} test_successor_features test_successor_tables",
        ),
        *_of(_TRAINER, "algorithms/widening", "test_widening"),
        *_of(_TRAINER, "algorithms/needs", "test_needs"),
    ],
    "export": [
        *_of(
            _EXPORT,
            "check/cases check/differences check/drift check/loss check/parity check/quantisation",
            "test_checks",
        ),
        *_of(_EXPORT, "bundle/practice", "test_practice"),
        *_of(_EXPORT, "bundle/bundling bundle/envelope bundle/plain_inputs bundle/trained", "test_making"),
        *_of(_EXPORT, "graphs/exact", "test_exact"),
        *_of(_EXPORT, "graphs/axes", "test_axes test_tracing"),
        *_of(_EXPORT, "graphs/simplify", "test_simplify test_tracing"),
        *_of(_EXPORT, "graphs/freezing graphs/tracing", "test_tracing"),
        *_of(_EXPORT, "graphs/onnx", "test_making"),
    ],
}
