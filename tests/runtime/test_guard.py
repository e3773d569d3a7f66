import numpy as np
import pytest
from acclimate.policy.adapt_result import AdaptResult
from acclimate.policy.guard import Guard
from acclimate.task.spec import Metric

from . import bundles

GOOD = {"loss": 0.5, "step_norm": 0.1}


def _accept(info: dict[str, float], *, finite: bool = True, change: float = 0.1, valid: float = 0.9) -> str:
    window = bundles.window()
    window.mask[...] = 0.0
    window.mask.flat[: round(valid * window.mask.size)] = 1.0
    verdict = Guard.of(bundles.manifest()).accept(AdaptResult(info, finite, change), window)
    assert verdict.ok is (verdict.reason == "")
    return verdict.reason


def test_a_sound_step_is_accepted() -> None:
    assert _accept(GOOD) == ""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scalars_must_be_finite(value: float) -> None:
    assert _accept(GOOD | {"loss": value}) == f"loss is {value}"


def test_values_must_be_finite() -> None:
    assert _accept(GOOD, finite=False) == "the adapted state holds values that are not finite"


def test_the_step_must_lie_within_the_trust_radius() -> None:
    assert _accept(GOOD | {"step_norm": 5.01}) == "step norm 5.01 is beyond the trust radius 5"
    assert _accept(GOOD | {"step_norm": 5.0}) == ""


@pytest.mark.parametrize(("change", "fits"), [(0.0, True), (0.25, True), (0.26, False)])
def test_a_graph_that_says_nothing_of_its_step_is_judged_by_what_it_changed(
    change: float, fits: bool
) -> None:
    verdict = Guard(0.25).accept(AdaptResult({"loss": 0.5}, True, change), bundles.window())
    assert verdict.ok is fits


def test_what_a_graph_says_of_its_step_is_not_enough() -> None:
    assert _accept({"loss": 0.5}, change=6.0) == "step norm 6 is beyond the trust radius 5"
    assert _accept(GOOD, change=1e9) == "step norm 1e+09 is beyond the trust radius 5"


def test_half_of_the_window_must_be_valid() -> None:
    assert _accept(GOOD, valid=0.4) == "40% of the window is valid, at least 50% is needed"
    assert _accept(GOOD, valid=0.5) == ""


def test_nothing_is_learned_from_what_cannot_have_happened() -> None:
    """Pushed hard, and nothing moved. Where nobody says what the machine is, nobody knows."""
    window = bundles.window()
    window.obs[...] = 0.0
    window.action[...] = np.where(window.action > 0.0, 1.0, -1.0)
    result = AdaptResult(GOOD, True, 0.1)
    verdict = Guard.of(bundles.manifest()).accept(result, window)
    assert not verdict.ok
    assert verdict.reason
    assert Guard(5.0).accept(result, window).ok


def test_exactly_as_much_worse_as_is_tolerated_is_tolerated() -> None:
    guard = Guard(5.0, worse_by=0.125)
    assert guard.keep(ERROR, 1.0, 1.125).ok
    assert not guard.keep(ERROR, 1.0, 1.125 + 2**-20).ok


ERROR, PAY = Metric("error", "rms", "rad", (("a", "b"),)), Metric("pay", "reward")


def test_keep_tolerates_noise_but_no_fall() -> None:
    guard = Guard(5.0, worse_by=0.1)
    assert guard.keep(ERROR, 0.1, 0.08).ok
    assert guard.keep(ERROR, 0.1, 0.105).ok
    verdict = guard.keep(ERROR, 0.1, 0.1581)
    assert not verdict.ok
    assert verdict.reason == "error went from 0.1 to 0.1581 rad"
    assert not guard.keep(ERROR, 0.1, float("nan")).ok


def test_without_a_word_a_tenth_is_tolerated_and_half_of_a_window_needed() -> None:
    guard = Guard(5.0)
    assert guard.keep(ERROR, 0.1, 0.109).ok
    assert not guard.keep(ERROR, 0.1, 0.111).ok
    assert not guard.keep(ERROR, 0.1, 0.2).ok


def test_keep_knows_that_more_of_a_reward_is_better() -> None:
    guard = Guard(5.0, worse_by=0.1)
    assert guard.keep(PAY, 2.0, 3.0).ok
    assert guard.keep(PAY, 2.0, 1.9).ok
    assert guard.keep(PAY, -2.0, -2.1).ok
    assert guard.keep(PAY, 0.0, 0.0).ok
    assert guard.keep(PAY, -2.0, -3.0).reason == "pay went from -2 to -3"
    assert not guard.keep(PAY, 2.0, 1.5).ok
