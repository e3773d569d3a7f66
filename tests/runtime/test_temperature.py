"""The temperature of a maximum-entropy policy, as an operator sets it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from acclimate.bundle.file import load
from acclimate.errors import UsageError
from acclimate.policy.policy import Policy
from acclimate.policy.temperature import set_temperature

from . import bundles


@pytest.fixture
def warm(tmp_path: Path) -> Policy:
    path = bundles.write_tiny(tmp_path / "warm.acclimate", bundles.with_temperature(bundles.manifest()))
    return Policy(load(path))


def test_the_next_act_reads_it(warm: Policy) -> None:
    for value in (0.25, 0.0, 100.0):
        set_temperature(warm, value)
        assert warm.state("temperature").tolist() == [value]


@pytest.mark.parametrize("value", [-0.1, 101.0, math.nan, math.inf])
def test_a_temperature_that_is_none_is_refused_and_the_old_one_stays(warm: Policy, value: float) -> None:
    with pytest.raises(UsageError, match="temperature must be from 0 to 100, found"):
        set_temperature(warm, value)
    assert warm.state("temperature").tolist() == [1.0]


def test_a_policy_that_draws_nothing_has_none(tmp_path: Path) -> None:
    policy = Policy(load(bundles.write_tiny(tmp_path / "tiny.acclimate")))
    with pytest.raises(
        UsageError, match=r"bundle 'tiny' acts without a temperature: .* \[entropy\] trains one"
    ):
        set_temperature(policy, 1.0)
