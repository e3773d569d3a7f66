"""What shaking costs: the change of the action, of full scale, whatever the units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from acclimate.errors import UsageError
from acclimate_trainer.contract.costs import change_cost
from acclimate_trainer.contract.policy import Window
from acclimate_trainer.play.rollouts import total_cost
from acclimate_trainer.tasks.servo.family import ServoFamily
from torch.testing import assert_close

from .windows import random_window

SPEC = ServoFamily().spec


def test_it_is_the_squared_change_of_what_the_device_takes() -> None:
    window = random_window(3, 2, 20)
    taken = np.clip(window.action.numpy()[..., 0], -1.0, 1.0)
    expected = np.zeros((3, 2, 20), np.float32)
    expected[:, :, 1:] = (taken[:, :, 1:] - taken[:, :, :-1]) ** 2
    assert_close(change_cost(SPEC, window, 0.5).values, torch.from_numpy(expected))
    assert change_cost(SPEC, window, 0.5).weight == 0.5


def test_it_is_of_full_scale_whatever_the_unit() -> None:
    channel = replace(SPEC.action[0], minimum=-12.0, maximum=12.0, unit="V")
    volts, window = replace(SPEC, action=(channel,)), random_window(2, 2, 9)
    scaled = window._replace(action=12.0 * window.action)
    assert_close(change_cost(volts, scaled, 1.0).values, change_cost(SPEC, window, 1.0).values)


def test_a_servo_that_shakes_pays_and_one_that_holds_still_does_not() -> None:
    family, free = ServoFamily(price=0.1), ServoFamily(price=0.0)
    still = random_window(1, 1, 50)._replace(action=torch.full((1, 1, 50, 1), 0.3))
    shaking = still._replace(action=0.3 * torch.tensor([1.0, -1.0] * 25).view(1, 1, 50, 1))

    def paid(window: Window) -> float:
        with_price, without = (
            total_cost(each.costs(window, torch.zeros(window.mask.shape))) for each in (family, free)
        )
        return float(with_price - without)

    assert paid(still) == pytest.approx(0.1 * 1e-4, abs=1e-5)  # what keeps the root differentiable
    assert paid(shaking) == pytest.approx(0.1 * 0.6, rel=0.02)


@pytest.mark.parametrize("price", [-0.1, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused(price: float) -> None:
    with pytest.raises(UsageError, match="price must be at least 0 and finite"):
        ServoFamily(price=price)
