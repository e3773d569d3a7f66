"""What a servo can be rewarded for, as `acclimate.task.features` computes it, for callers that have no spec yet."""

from __future__ import annotations

from acclimate.task.features import Value, features
from acclimate.task.spec import Feature, Term

_ERROR = ("position", "target")

FEATURES = (
    Feature(
        "accurate",
        "minus the tracking error, in units of 0.05 rad: follow the target closely",
        term=Term("error", _ERROR, "magnitude", -20.0, 0.01),
    ),
    Feature(
        "frugal",
        "minus five times the squared duty, the heat of a motor that is held: take little power",
        term=Term("action", ("duty",), "square", -5.0),
    ),
    Feature(
        "smooth",
        "minus the change of acceleration, in units of 0.01 rad per tick³: move without jerks",
        term=Term("jerk", ("position",), "magnitude", -100.0, 0.002),
    ),
    Feature(
        "quiet",
        "minus five times the change of the duty from tick to tick: drive without chatter",
        term=Term("change", ("duty",), "magnitude", -5.0, 0.01),
    ),
    Feature(
        "fast",
        "1 at the target, a half at 0.03 rad from it: be there soon, and stay",
        term=Term("error", _ERROR, "nearness", 1.0, 0.03),
    ),
)
"""The features in the order of w, and what more weight on them asks for."""


def servo_features(
    position: tuple[Value, Value, Value, Value], target: Value, duty: Value, previous_duty: Value
) -> tuple[Value, ...]:
    """φ of one tick, in the order of `FEATURES`.

    position: after the tick, and one, two and three ticks before that, rad; target: after the tick, rad.
    duty: of this tick and of the one before, within ±1.
    """

    def observed(name: str, ago: int) -> Value:
        return position[ago] if name == "position" else target

    def commanded(_: str, ago: int) -> Value:
        return (duty, previous_duty)[ago]

    return features(FEATURES, observed, commanded)
