"""A simulated servo with a judge beside it: it is told the target, and measures a reward."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from acclimate.servo_features import FEATURES, servo_features

from acclimate_bridge.simulation.servo.plant import Plant


class JudgedServo:
    """A servo as `SimulatedServo`, with one more actuator, the target (rad), and one more sensor, the reward.

    The reward is wᵀφ of the period that has just ended (`acclimate.servo_features`), of what was measured and
    commanded. So a policy that infers w from rewards has something to infer it from.
    """

    def __init__(self, servo: Plant, weights: Mapping[str, float]) -> None:
        """weights: by name of a feature; what is not named counts 0."""
        self._servo = servo
        self._weights = tuple(weights.get(feature.name, 0.0) for feature in FEATURES)
        self._duty = self._before = self._target = 0.0
        self._positions: deque[float] = deque(maxlen=4)  # newest first

    @property
    def time(self) -> float:
        """How far the plant has been advanced, in s."""
        return self._servo.time

    def set_targets(self, targets: tuple[float, ...], now: float) -> None:
        """Duty and target that arrive at `now`."""
        self._duty, self._target = targets
        self._servo.set_targets((self._duty,), now)

    def advance(self, now: float) -> None:
        """Integrate up to `now`."""
        self._servo.advance(now)

    def measure(self) -> tuple[float, ...]:
        """Position (rad), velocity (rad/s) and the reward of the period since the last measurement."""
        position, velocity = self._servo.measure()
        self._positions.extendleft([position] * (1 if self._positions else 4))
        now, one, two, three = self._positions
        phi = servo_features((now, one, two, three), self._target, self._duty, self._before)
        self._before = self._duty
        return position, velocity, sum(w * f for w, f in zip(self._weights, phi, strict=True))
