"""What a servo can be rewarded for: the features φ of the servo objectives, one number each per control tick.

One definition serves the trainer, the graphs on the device and a device that judges itself, so that all mean the same
by "quiet". A reward is wᵀφ (Barreto et al. 2017, equation 2); the weights w are the operator's.
"""

from __future__ import annotations

from typing import Protocol, Self, TypeVar

from acclimate.bundle.manifest import Objective


class _Arithmetic(Protocol):
    """Floats, numpy arrays and torch tensors."""

    def __add__(self, other: Self | float, /) -> Self: ...
    def __sub__(self, other: Self | float, /) -> Self: ...
    def __mul__(self, other: Self | float, /) -> Self: ...
    def __pow__(self, other: float, /) -> Self: ...


Value = TypeVar("Value", bound=_Arithmetic)

FEATURES = (
    Objective("accurate", "minus the tracking error, in units of 0.05 rad: follow the target closely"),
    Objective(
        "frugal", "minus five times the squared duty, the heat of a motor that is held: take little power"
    ),
    Objective(
        "smooth", "minus the change of acceleration, in units of 0.01 rad per tick³: move without jerks"
    ),
    Objective("quiet", "minus five times the change of the duty from tick to tick: drive without chatter"),
    Objective("fast", "1 at the target, a half at 0.03 rad from it: be there soon, and stay"),
)
"""The features in the order of w, and what more weight on them asks for."""


def servo_features(
    position: tuple[Value, Value, Value, Value], target: Value, duty: Value, previous_duty: Value
) -> tuple[Value, Value, Value, Value, Value]:
    """φ of one tick, in the order of `FEATURES`.

    position: after the tick, and one, two and three ticks before that, rad; target: after the tick, rad.
    duty: of this tick and of the one before, within ±1.
    """
    now, one, two, three = position
    error = now - target
    jerk = now - three + (two - one) * 3.0
    return (
        _magnitude(error, 0.01) * -20.0,
        duty * duty * -5.0,
        _magnitude(jerk, 0.002) * -100.0,
        _magnitude(duty - previous_duty, 0.01) * -5.0,
        (error * error * (1.0 / 0.03**2) + 1.0) ** -1.0,
    )


def _magnitude(x: Value, soft: float) -> Value:
    """|x|, smooth around 0."""
    return (x * x + soft * soft) ** 0.5 - soft
