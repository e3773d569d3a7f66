"""docs/families.md says what the contract and the registry say."""

from __future__ import annotations

import re
from pathlib import Path

from acclimate_trainer.contract import family as contract
from acclimate_trainer.runs.configuration import ALGORITHMS
from acclimate_trainer.tasks.registry import BUILT_IN

PAGE = (Path(__file__).parents[2] / "docs" / "families.md").read_text()


def rows(heading: str) -> list[str]:
    """First cells of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line.split("|")[1] for line in section.splitlines() if line.startswith("|")][2:]


def named(cells: list[str]) -> set[str]:
    return {name for cell in cells for name in re.findall(r"`(\w+)", cell)}


def test_it_lists_every_capability() -> None:
    protocols = {
        contract.HasInputs, contract.Rewarded, contract.HasBaseline, contract.HasCosts, contract.Changing,
        contract.Criticised, contract.Believing, contract.HasFeatures, contract.HasHeldOut, contract.HasClassical,
        contract.Resumable, contract.Ranged,
    }  # fmt: skip
    members = {name for p in protocols for name in vars(p) if not name.startswith("_")}
    assert named(rows("What a family may add")) == members
    capabilities = {
        value
        for value in vars(contract).values()
        if getattr(value, "_is_runtime_protocol", False) and value is not contract.Differentiable
    }
    assert capabilities == protocols


def test_it_lists_every_family_and_every_algorithm() -> None:
    assert named(rows("Families that are built in")) == set(BUILT_IN)
    assert named(rows("Which algorithm trains on what")) == set(ALGORITHMS)
