"""Every family that is built in keeps the contract, as it comes without options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acclimate_trainer.contract.family import Ranged
from acclimate_trainer.tasks.registry import BUILT_IN, open_family
from acclimate_trainer.testing import check_family


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_it_keeps_the_contract(name: str) -> None:
    check_family(open_family(name, None, {}).family)


RANGED = [name for name in sorted(BUILT_IN) if isinstance(open_family(name, None, {}).family, Ranged)]


@pytest.mark.parametrize("name", RANGED)
def test_machines_at_uniform_places_are_those_that_are_sampled(name: str) -> None:
    family = open_family(name, None, {}).family
    assert isinstance(family, Ranged)
    rng, again = np.random.default_rng(5), np.random.default_rng(5)
    drawn = family.sample(20, rng)
    placed = family.placed(again.random((len(family.properties), 20)).T, again)
    assert isinstance(drawn, tuple)
    assert isinstance(placed, tuple)
    for a, b in zip(drawn, placed, strict=True):
        assert torch.equal(a, b)
