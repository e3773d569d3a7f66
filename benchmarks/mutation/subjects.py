"""Which modules bugs are planted in, and the tests that concern each: those of the module and of what stands on it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_RUNTIME, _BRIDGE = "runtime/acclimate", "firmware_bridge/acclimate_bridge"
_LEFT_OUT = (
    "test_fail_safe.py::test_after_a_long_pause_nothing_moves_again",
    "test_fail_safe.py::test_an_honest_pause_between_episodes_is_none_of_the_watchdogs_business",
    "test_link_time.py::test_a_clock_that_is_off_costs_no_reading",
    "test_link_time.py::test_after_a_pause_of_any_length_readings_are_fresh_again",
)
LEFT_OUT = ("tests/runtime/test_loop.py::test_real_time", *(f"tests/bridge/{name}" for name in _LEFT_OUT))
"""Tests that take minutes, or real time: what they alone would find counts as not found."""


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
    room = "runtime" if package == _RUNTIME else "bridge"
    names = dict.fromkeys(name if "/" in name else f"{room}/{name}" for name in tests.split())
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
}
