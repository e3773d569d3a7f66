"""What source and target may be called, and the list of what differs between those that do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest
from acclimate.errors import MismatchError, UsageError
from acclimate_transfer.families import parse_place, require_alike


def test_a_family_with_options_and_a_config_of_it_are_the_same() -> None:
    assert parse_place("servo:preset=miswired").opened() == parse_place("servo_miswired_rl2").opened()


def test_options_are_as_in_toml_or_text() -> None:
    place = parse_place("point_frame:strength=[0.3, 4.8],turn=1.5")
    assert place.options == {"strength": [0.3, 4.8], "turn": 1.5}
    assert parse_place("servo:preset=wide").options == {"preset": "wide"}


def test_a_family_of_a_file() -> None:
    file = Path(__file__).parents[2] / "examples" / "own_family.py"
    place = parse_place(f"{file}:DiverFamily")
    assert place.table == {"use": f"{file}:DiverFamily", "options": {}}
    assert place.opened().use == f"{file}:DiverFamily"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sevo", r"'sevo' is no family and no config; did you mean 'servo'\? families: arm, "),
        ("servo:preset=", "'preset=' in 'servo:preset=' is not KEY=VALUE"),
        ("servo:preset=wid", r"preset is 'wid'; did you mean 'wide'\?"),
        ("servo:pres=wide", r"unknown key 'pres'; valid keys: preset, "),
    ],
)
def test_what_is_none_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_place(text).opened()


def differences(source: str, target: str) -> str:
    with pytest.raises(MismatchError) as refused:
        require_alike(*(parse_place(text).family() for text in (source, target)))
    return str(refused.value)


def test_other_channels_and_rates_are_listed_all_together() -> None:
    found = differences("servo", "point_frame")
    assert "the control period is 0.01 s in the source and 0.02 s in the target" in found
    for name in ("position", "velocity", "target", "target_velocity"):
        assert f"observation {name!r} is in the source only" in found
    assert "action 'duty' is in the source only" in found
    assert "action 'drive_x' is in the target only" in found


def test_choices_are_no_motors() -> None:
    assert "choices" in differences("reacher", "bandit") or "action" in differences("reacher", "bandit")


def test_other_ranges_of_the_same_channels_go_together() -> None:
    for source, target in (
        ("point:goal=0.3", "point:goal=0.5"),
        ("servo:preset=wide", "servo:preset=miswired"),
    ):
        require_alike(parse_place(source).family(), parse_place(target).family())
