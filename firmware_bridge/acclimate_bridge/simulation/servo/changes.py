"""What may happen to a servo while it is driven: its payload, its wiring, its supply."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

from acclimate_bridge.simulation.servo.plant import Deployment
from acclimate_bridge.simulation.servo.servos import Servo

SAGGED = 0.6  # what a sagging supply keeps of its voltage
LIFTED = 0.2  # gravity torque of a payload picked up, as a share of the stall torque
CARRIED = 1.0  # its inertia, as a multiple of the armature's
ChangeKind = Literal["payload", "polarity", "supply"]
KINDS: tuple[ChangeKind, ...] = get_args(ChangeKind)


def changed(servo: Servo, before: Deployment, kind: str) -> Deployment:
    """What a deployment becomes. Only the parameters jump: angle, speed and commands under way stay.

    payload: the load is dropped, gravity and inertia with it; a servo that carries nothing picks one up.
    polarity: the motor's wires are swapped.
    supply: its voltage sags to `SAGGED` of what it was.
    """
    if kind == "polarity":
        return replace(before, polarity=-before.polarity)
    if kind == "supply":
        return replace(before, drive_gain=SAGGED * before.drive_gain)
    if before.gravity or before.inertia:
        return replace(before, gravity=0.0, inertia=0.0)
    torque = LIFTED * servo.stall_torque * before.drive_gain
    return replace(before, gravity=torque, inertia=CARRIED * servo.m1.armature)
