from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acclimate.bundle.file import load
from acclimate.bundle.manifest import Objectives
from acclimate.errors import ManifestError, PolicyError, UsageError
from acclimate.policy.objectives import described, objective, parse_objective, set_objective
from acclimate.policy.policy import Policy
from acclimate.task.spec import Feature

from . import bundles

WISHFUL = bundles.with_objectives(bundles.manifest())
assert WISHFUL.objectives is not None
FEATURES = WISHFUL.features


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return Policy(load(bundles.write_tiny(tmp_path / "wishful.acclimate", WISHFUL)))


def test_names_with_weights() -> None:
    assert parse_objective("quiet=2,fast=1", FEATURES) == {"quiet": 2.0, "fast": 1.0}
    assert parse_objective(" fast = -0.5 ", FEATURES) == {"fast": -0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loud=1", "there is no objective 'loud'; valid names: quiet, fast"),
        ("quiet", "objective 'quiet' is not NAME=WEIGHT,…; valid names: quiet, fast"),
        ("", "objective '' is not NAME=WEIGHT,…; valid names: quiet, fast"),
        ("quiet=1,quiet=2", "objective 'quiet=1,quiet=2' names 'quiet' twice"),
        ("quiet=much", "objective 'quiet=much': the weight of 'quiet' is 'much', expected a number"),
        ("quiet=nan", "the weight of 'quiet' is nan, expected a number from 0 to 1000"),
        ("fast=inf", "the weight of 'fast' is inf, expected a number from -1 to 10"),
        ("quiet=-1", "the weight of 'quiet' is -1, expected a number from 0 to 1000"),
    ],
)
def test_a_text_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_objective(text, FEATURES)
    assert str(caught.value) == message


def test_what_is_not_named_stays_as_it_is(policy: Policy) -> None:
    assert objective(policy) == {"quiet": 1.0, "fast": 0.5}
    set_objective(policy, {"fast": 2.0})
    assert objective(policy) == {"quiet": 1.0, "fast": 2.0}
    assert policy.state("w").tolist() == [1.0, 2.0]
    assert described(policy) == "quiet=1, fast=2"


@pytest.mark.parametrize("weights", [[0.0, 3.0], (0.0, 3.0), np.array([0.0, 3.0])])
def test_all_weights_in_the_manifests_order(policy: Policy, weights: Sequence[float]) -> None:
    set_objective(policy, weights)
    assert objective(policy) == {"quiet": 0.0, "fast": 3.0}
    assert described(policy) == "fast=3"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"w has shape \[1\], expected \[2\], a weight for each of quiet, fast"),
        ([1.0, 2.0, 3.0], r"w has shape \[3\], expected \[2\]"),
        ([[1.0, 2.0]], r"w has shape \[1, 2\], expected \[2\]"),
        ([1.0, np.nan], "the weight of 'fast' is nan"),
        ({"loud": 1.0}, "no objective 'loud'; valid names: quiet, fast"),
        ({"fast": 11.0}, "the weight of 'fast' is 11, expected a number from -1 to 10"),
        ([0.0, 0.0], "the weights of all objectives would be 0"),
    ],
)
def test_weights_that_cannot_be_leave_the_policy_as_it_was(
    policy: Policy, weights: Mapping[str, float] | Sequence[float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        set_objective(policy, weights)
    assert objective(policy) == {"quiet": 1.0, "fast": 0.5}


def test_weights_outlive_a_trial_but_not_a_restore(policy: Policy) -> None:
    set_objective(policy, {"fast": 2.0})
    policy.reset("trial")
    assert objective(policy)["fast"] == 2.0
    policy.restore()
    assert objective(policy)["fast"] == 0.5


def test_a_bundle_without_objectives_says_so(tmp_path: Path) -> None:
    policy = Policy(load(bundles.write_tiny(tmp_path / "tiny.acclimate")))
    with pytest.raises(UsageError, match="bundle 'tiny' has no objectives to choose from"):
        set_objective(policy, {"fast": 1.0})


def test_not_while_an_adaptation_is_running(tmp_path: Path) -> None:
    manifest = bundles.manifest()
    task = replace(manifest.task, features=(Feature("many", "steps"),))
    counted = replace(manifest, task=task, objectives=Objectives("shots"))
    policy = Policy(load(bundles.write_tiny(tmp_path / "tiny.acclimate", counted)))
    policy.stage(bundles.window())
    with pytest.raises(PolicyError, match="while an adaptation is running"):
        set_objective(policy, {"many": 2.0})
    policy.adapt_staged()
    set_objective(policy, {"many": 2.0})
    assert objective(policy) == {"many": 2.0}


@pytest.mark.parametrize(
    ("objectives", "features", "message"),
    [
        (Objectives("v"), 2, r"has 2 features, so their weights, state 'v' of shape \[2\], must be there"),
        (Objectives("w"), 1, r"has 1 features, so their weights, state 'w' of shape \[1\]"),
        (Objectives("w"), 0, "has 0 features"),
        (
            Objectives("w", "target"),
            2,
            "objectives.reward is 'target', which is not the observation that is a reward: there is none",
        ),
    ],
)
def test_a_manifest_that_contradicts_itself(objectives: Objectives, features: int, message: str) -> None:
    task = replace(WISHFUL.task, features=FEATURES[:features])
    with pytest.raises(ManifestError, match=message):
        replace(WISHFUL, task=task, objectives=objectives)
