"""What a family lacks is said in one sentence, with the algorithms that would do."""

from __future__ import annotations

import numpy as np
import pytest
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.needs import NEEDS, refusal
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.configuration import ALGORITHMS, parse_config
from acclimate_trainer.settings.tables import Value
from acclimate_trainer.tasks.registry import BUILT_IN, open_family

DO = {
    ("bandit", ()): {"ppo", "entropy"},
    ("tabular", ()): {"ppo", "entropy"},
    ("four_rooms", ()): {"ppo", "successor", "entropy"},
    ("reacher", ()): {"ppo", "successor", "mimic", "entropy"},
    ("reacher", (("discrete", False),)): set(NEEDS) - {"successor", "identify", "features"},
    ("servo", ()): set(NEEDS) - {"successor"},
}
GIVEN: dict[str, dict[str, Value]] = {
    "student": {"teacher": "runs/none"},
    "mimic": {"teacher": "runs/none"},
    "imitation": {"recordings": ["none.npz"]},
}
"""What a section cannot do without."""


def config_of(algorithm: str, family: dict[str, Value]) -> dict[str, Value]:
    section = GIVEN.get(algorithm, {})
    return {"name": "a", "seed": 0, "family": family, "training": {}, algorithm: section}


def test_there_is_a_line_for_every_algorithm() -> None:
    assert tuple(NEEDS) == ALGORITHMS


@pytest.mark.parametrize(("name", "options"), DO)
def test_which_algorithms_train_on_it(name: str, options: tuple[tuple[str, Value], ...]) -> None:
    family = open_family(name, None, dict(options)).family
    assert {algorithm for algorithm in NEEDS if refusal(algorithm, family) is None} == DO[name, options]


def test_the_sentence_names_all_that_is_lacking_and_what_would_do() -> None:
    assert refusal("rl2", open_family("bandit", None, {}).family) == (
        "[rl2] does not train on the family 'bandit': its actions are choices and no gradient passes through its "
        "sessions (differentiable = False); these do: [ppo], [entropy]"
    )
    assert refusal("successor", open_family("tabular", None, {}).family) == (
        "[successor] does not train on the family 'tabular': it has no features that a device could be rewarded for; "
        "these do: [ppo], [entropy]"
    )


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("algorithm", NEEDS)
def test_a_config_is_refused_by_that_sentence_or_else_can_be_begun(name: str, algorithm: str) -> None:
    """Nothing that would do fails later for lack of what the table does not know."""
    config = parse_config(config_of(algorithm, {"name": name}), "a.toml")
    refused = refusal(algorithm, config.opened.family)
    if refused is not None:
        with pytest.raises(UsageError) as caught:
            algorithm_of(config)
        assert str(caught.value) == refused
    else:
        assert algorithm_of(config).initial(np.random.default_rng(0))
