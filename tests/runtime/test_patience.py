"""How long what may be missing: laws between the limits, for any control period and any watchdog."""

import pytest
from acclimate.control.patience import Patience
from acclimate.errors import MismatchError
from hypothesis import assume, given
from hypothesis import strategies as st


@given(period=st.floats(1e-3, 1.0), shortest=st.floats(0.0, 0.5), longest=st.floats(0.01, 65.0))
def test_blindness_and_the_last_command_end_within_the_watchdog(
    period: float, shortest: float, longest: float
) -> None:
    assume(shortest <= longest and longest >= 3.0 * period)
    patience = Patience.of(period, (shortest, longest))
    assert shortest <= patience.watchdog <= longest
    assert period < patience.command <= patience.watchdog  # a command holds until the next one comes
    assert (
        period <= patience.blind < patience.command
    )  # a single reading may be lost; the loop is the first to see it
    assert patience.lost >= 0.5
    assert patience.pause >= patience.blind


@given(period=st.floats(1e-3, 1.0), share=st.floats(0.0, 2.99))
def test_a_watchdog_of_less_than_three_periods_is_refused(period: float, share: float) -> None:
    with pytest.raises(MismatchError, match="too short for a command every"):
        Patience.of(period, (0.0, share * period))


@pytest.mark.parametrize(
    ("period", "watchdogs", "expected"),
    [
        (1 / 64, (1 / 64, 1.0), (0.1, 0.1, 0.05, 0.5, 0.5)),
        (1 / 64, (0.25, 1.0), (0.25, 0.25, 0.125, 0.5, 0.5)),
        (1 / 64, (0.0, 3 / 64), (3 / 64, 3 / 64, 3 / 128, 0.5, 0.5)),  # three periods are just enough
        (1 / 16, (0.0, 1.0), (0.25, 0.25, 0.125, 0.5, 0.5)),
        (1 / 4, (0.0, 2.0), (1.0, 1.0, 0.5, 1.25, 1.25)),
    ],
)
def test_limits_are_these(period: float, watchdogs: tuple[float, float], expected: tuple[float, ...]) -> None:
    assert tuple(Patience.of(period, watchdogs)) == expected
