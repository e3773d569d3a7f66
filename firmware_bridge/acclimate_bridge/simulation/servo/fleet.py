"""Servos to evaluate a bundle on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acclimate.bundle.file import Bundle
from acclimate.errors import UsageError

from acclimate_bridge.simulation.servo.files import load_servo
from acclimate_bridge.simulation.servo.motors import Friction
from acclimate_bridge.simulation.servo.servos import BUILT_IN, Servo
from acclimate_bridge.simulation.servo.world import ServoGroup, ServoWorld
from acclimate_bridge.simulation.worlds import world_of

_FARTHEST = 10.0  # times what training has seen


@dataclass(frozen=True)
class ServoFleet:
    """Servos of these types, deployed as the bundle's ranges say; or outside these by up to a factor."""

    servos: tuple[Servo, ...]
    friction: Friction = "m6"
    outside: float | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for a factor that leads nowhere."""
        if self.outside is not None and not 1.0 < self.outside <= _FARTHEST:
            raise UsageError(
                f"outside must be a factor above 1 and at most {_FARTHEST:g} on the ranges of training, "
                f"found {self.outside:g}"
            )

    @classmethod
    def of(
        cls, names: Sequence[str] | None, friction: Friction | None = None, outside: float | None = None
    ) -> ServoFleet:
        """By name or file; all built-in ones where none is named. Raises UsageError for one that there is not."""
        servos = BUILT_IN.values() if names is None else map(load_servo, names)
        return cls(tuple(servos), friction or "m6", outside)

    def groups(self, bundle: Bundle) -> tuple[ServoGroup, ...]:
        """Raises UsageError for a bundle that was not trained for servos."""
        world = world_of(bundle)
        if not isinstance(world, ServoWorld):
            raise UsageError(
                f"{bundle.path} was trained for machines of family {bundle.manifest.family.name!r}, not for servos; "
                "leave out --servo, --friction and --outside"
            )
        return world.groups(self.servos, self.friction, self.outside)
