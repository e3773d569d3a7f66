"""Every family that is built in keeps the contract, as it comes without options."""

from __future__ import annotations

import pytest
from acclimate_trainer.tasks.registry import BUILT_IN, open_family
from acclimate_trainer.testing import check_family


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_it_keeps_the_contract(name: str) -> None:
    check_family(open_family(name, None, {}).family)
