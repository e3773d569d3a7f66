"""Servos to evaluate a bundle on."""

from __future__ import annotations

from dataclasses import dataclass

from acclimate.bundle.file import Bundle
from acclimate.errors import UsageError

from acclimate_bridge.simulation.servo.motors import Friction
from acclimate_bridge.simulation.servo.servos import Servo
from acclimate_bridge.simulation.servo.world import ServoGroup, ServoWorld
from acclimate_bridge.simulation.worlds import world_of


@dataclass(frozen=True)
class ServoFleet:
    """Servos of these types, deployed as the bundle's ranges say."""

    servos: tuple[Servo, ...]
    friction: Friction = "m6"

    def groups(self, bundle: Bundle) -> tuple[ServoGroup, ...]:
        """Raises UsageError for a bundle that was not trained for servos."""
        world = world_of(bundle.manifest, bundle.path)
        if not isinstance(world, ServoWorld):
            raise UsageError(
                f"{bundle.path} was trained for machines of family {bundle.manifest.family.name!r}, not for servos; "
                "leave out --servo and --friction"
            )
        return world.groups(self.servos, self.friction)
