"""Every method gets the same: no more parameters, no more control ticks, and nearly as many of both as it may have."""

from __future__ import annotations

import pytest
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.maml.maml import Maml, MamlConfig
from acclimate_trainer.algorithms.reactive import Reactive, ReactiveConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.outer_loop.training import TrainingConfig, ticks_per_iteration
from acclimate_trainer.runs.configuration import ALGORITHMS, parse_config
from acclimate_trainer.tasks.point import PointFrameFamily
from acclimate_transfer.budget import Budget, affordable, parameters, unfit
from acclimate_transfer.families import parse_place
from acclimate_transfer.methods import METHODS, chosen

SMALL = TrainingConfig(iterations=10, meta_batch_size=3)
FRAME = parse_place("point_frame")
BUDGET = Budget(400, 3e6)
GOING = [name for name, method in METHODS.items() if unfit(method, FRAME) is None]


def test_ticks_are_those_of_all_episodes() -> None:
    family = PointFrameFamily()
    reactive = Reactive(family, ReactiveConfig(hidden=3, episodes=2, episode_steps=7), oracle=False)
    assert ticks_per_iteration(reactive, SMALL, 0) == 3 * 2 * 7
    rl2 = Rl2(family, Rl2Config(hidden=3, episodes=2, episode_steps=8, side_by_side=5))
    assert ticks_per_iteration(rl2, SMALL, 0) == 3 * 5 * 2 * 8
    windows = Rl2(
        family, Rl2Config(hidden=3, episodes=2, episode_steps=8, side_by_side=5, window=4, trials=3)
    )
    assert ticks_per_iteration(windows, SMALL, 0) == 3 * 5 * 2 * 8 * 3
    maml = Maml(family, MamlConfig(hidden=3, support_episodes=4, query_episodes=2, episode_steps=6))
    assert ticks_per_iteration(maml, SMALL, 0) == 3 * (2 * 4 + 3 * 2) * 6  # two steps, measured three times


@pytest.mark.parametrize("name", GOING)
def test_a_method_keeps_within_its_budget_and_uses_it(name: str) -> None:
    method = METHODS[name]
    found = affordable(name, method, method.variants[0], FRAME, BUDGET)
    assert found.parameters == parameters(found.config) <= BUDGET.parameters
    section = found.config.tree()[method.section]
    assert isinstance(section, dict)
    wider = {**section, **{width: int(str(section[width])) + 1 for width in method.widths}}
    tree = {**found.config.tree(), method.section: wider}
    assert parameters(parse_config(tree, name)) > BUDGET.parameters
    assert found.samples <= BUDGET.samples
    if method.trained_on != "nothing":
        each = found.samples / found.config.training.iterations
        assert found.samples + each > BUDGET.samples


def test_networks_of_several_widths_are_all_as_wide() -> None:
    found = affordable("successor", METHODS["successor"], {}, parse_place("servo"), Budget(1300, 1e6))
    assert found.parameters <= 1300
    assert found.config.objectives is not None
    settings = found.config.objectives
    assert settings.hidden == settings.mixing == settings.critic > 1


def test_settings_are_those_of_the_config_for_the_same_preset() -> None:
    found = affordable("rl2", METHODS["rl2"], {}, parse_place("servo:preset=wide"), Budget(1300, 1e6))
    assert found.tuned == "servo_wide_rl2"
    assert found.config.rl2 is not None
    assert found.config.rl2.window == 75
    assert found.config.rl2.hidden == 16  # 1,318 parameters at 17


def test_a_budget_below_one_iteration_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--samples: an iteration of \[rl2\] takes .* million ticks"):
        affordable("rl2", METHODS["rl2"], {}, FRAME, Budget(400, 10.0))


def test_every_method_is_of_an_algorithm_that_there_is() -> None:
    assert {method.section for method in METHODS.values()} <= set(ALGORITHMS)


def test_a_method_that_is_none_is_refused_with_all_names() -> None:
    with pytest.raises(
        UsageError, match=r"'mamml'; did you mean 'maml'\? valid names: " + ", ".join(METHODS)
    ):
        chosen(["rl2", "mamml"])
    assert list(chosen(["rl2", "maml", "rl2"])) == ["rl2", "maml"]
