from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from acclimate.errors import UsageError
from acclimate.task.features import Lookup, features, reach
from acclimate.task.spec import Feature, Penalty, Term, TermKind
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.floats(-10.0, 10.0)


def _of(history: Mapping[str, Sequence[float]]) -> Lookup[float]:
    """Entries by name, newest first."""
    return lambda name, ago: history[name][ago]


def _feature(
    of: TermKind, channels: tuple[str, ...], penalty: Penalty, weight: float, soft: float = 1.0
) -> Feature:
    return Feature("f", "", term=Term(of, channels, penalty, weight, soft))


@given(NUMBERS, NUMBERS, st.floats(0.01, 10.0))
def test_an_error_is_penalised_as_its_term_says(measured: float, target: float, soft: float) -> None:
    def phi(penalty: Penalty) -> float:
        observed = _of({"m": [measured], "t": [target]})
        return features([_feature("error", ("m", "t"), penalty, -2.0, soft)], observed, _of({}))[0]

    x = measured - target
    assert phi("magnitude") == pytest.approx(-2.0 * (np.hypot(x, soft) - soft), abs=1e-9)
    assert phi("square") == pytest.approx(-2.0 * x**2)
    assert phi("nearness") == pytest.approx(-2.0 / (1.0 + (x / soft) ** 2))


@given(st.lists(NUMBERS, min_size=3, max_size=3))
def test_constant_acceleration_has_no_jerk(motion: list[float]) -> None:
    x, v, a = motion
    history = [x + v * t + a * t * t for t in (3.0, 2.0, 1.0, 0.0)]
    jerk = _feature("jerk", ("m",), "square", 1.0)
    assert features([jerk], _of({"m": history}), _of({}))[0] == pytest.approx(0.0, abs=1e-20)
    moved = [history[0] + 0.5, *history[1:]]
    assert features([jerk], _of({"m": moved}), _of({}))[0] == pytest.approx(0.25, abs=1e-9)


def test_actions_and_their_changes_are_summed_over_the_channels() -> None:
    commanded = _of({"a": [0.5, 0.25], "b": [-1.0, 1.0]})
    of = [_feature("action", ("a", "b"), "square", 2.0), _feature("change", ("a", "b"), "square", 1.0)]
    assert features(of, _of({}), commanded) == (2.0 * (0.25 + 1.0), 0.0625 + 4.0)


def test_arrays_are_taken_entry_by_entry() -> None:
    rng = np.random.default_rng(0)
    of = [
        _feature("error", ("m", "t"), "nearness", 1.0, 0.3),
        _feature("jerk", ("m",), "magnitude", -100.0, 0.002),
        _feature("change", ("a",), "magnitude", -5.0, 0.01),
    ]
    names = {name: rng.standard_normal((4, 7)) for name in ("m", "t", "a")}

    def lookup(name: str, ago: int) -> np.ndarray:
        return names[name][ago]

    together = np.stack(features(of, lookup, lookup))
    for i in range(7):
        one = _of({name: list(values[:, i]) for name, values in names.items()})
        np.testing.assert_allclose(together[:, i], features(of, one, one))


def test_it_says_how_far_back_it_looks() -> None:
    error, action = _feature("error", ("m", "t"), "square", 1.0), _feature("action", ("a",), "square", 1.0)
    change, jerk = _feature("change", ("a",), "square", 1.0), _feature("jerk", ("m",), "square", 1.0)
    assert (reach([error, action]), reach([action, change]), reach([jerk, error]), reach([])) == (0, 1, 3, 0)


def test_a_feature_that_only_its_family_computes_is_refused() -> None:
    own = replace(_feature("action", ("a",), "square", 1.0), name="elegance", term=None)
    with pytest.raises(UsageError, match="feature 'elegance' has no term"):
        features([own], _of({}), _of({}))
