"""A policy begins nowhere else than where it was trained to."""

from dataclasses import replace

import numpy as np
import pytest
from acclimate.bundle.manifest_json import from_json, to_json
from acclimate.control.envelope import outside, require_inside
from acclimate.errors import ManifestError, MismatchError
from hypothesis import given
from hypothesis import strategies as st

from . import bundles

START = {"position": (-1.0, 1.0), "velocity": (-0.5, 0.5)}


@given(position=st.floats(-3.0, 3.0, width=32), velocity=st.floats(-9.0, 9.0, width=32))
def test_what_stands_outside_is_named_with_its_numbers(position: float, velocity: float) -> None:
    manifest = replace(bundles.manifest(), start=START)
    found = outside(manifest, np.array([position, velocity, 0.0, 0.0], np.float32))
    inside = {"position": abs(position) <= 1.0, "velocity": abs(velocity) <= 0.5}
    assert [
        name in phrase for name, phrase in zip((n for n, ok in inside.items() if not ok), found, strict=True)
    ] == [True] * len(found)


def test_the_refusal_names_channel_and_numbers() -> None:
    manifest = replace(bundles.manifest(), start=START)
    expected = r"'position' reads 1\.7 rad, and may read -1 to 1\. Move it there, or use --approach"
    with pytest.raises(MismatchError, match=expected):
        require_inside(manifest, np.array([1.7, 0.0, 0.0, 0.0], np.float32))
    require_inside(
        bundles.manifest(), np.array([1.7, 9.0, 0.0, 0.0], np.float32)
    )  # older bundles say nothing


def test_a_manifest_keeps_it_and_refuses_nonsense() -> None:
    manifest = replace(bundles.manifest(), start=START)
    assert from_json(to_json(manifest)).start == START
    with pytest.raises(
        ManifestError, match=r"start names 'speed', which is no sensor; valid: position, velocity"
    ):
        replace(manifest, start={"speed": (0.0, 1.0)})
    with pytest.raises(ManifestError, match=r"start\.position goes from 1 to -1"):
        replace(manifest, start={"position": (1.0, -1.0)})
