"""Motors with their friction: the simple model m1, and the rich one m6.

Duclusaud and Passault, "Extended Friction Models for the Physics Simulation of Servo Actuators" (ICRA 2025). All
numbers are joint-side and SI: kt in Nm/A (= V·s/rad), resistance in Ω, inertia in kg·m², friction in Nm and Nm·s/rad.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Friction = Literal["m1", "m6"]


@dataclass(frozen=True)
class SimpleMotor:
    """Model m1: a motor with Coulomb and viscous friction. What a trainer may assume."""

    kt: float  # Nm/A
    resistance: float  # Ω
    armature: float  # kg·m²
    coulomb: float  # Nm
    viscous: float  # Nm·s/rad


@dataclass(frozen=True)
class RichMotor:
    """Model m6: Stribeck friction, dependent on load and on its direction. What a simulated device uses.

    friction = base + |external·load_external − motor·load_motor|
             + s·(stribeck + |external·load_external_stribeck − motor·load_motor_stribeck| + quadratic)
             + viscous·|ω|,                                   s = exp(−|ω/stribeck_velocity|^alpha)

    where the quadratic term acts while the two torques oppose each other: quadratic_external·external² when
    the motor is the stronger, quadratic_motor·motor² when the load is.
    """

    kt: float  # Nm/A
    resistance: float  # Ω
    armature: float  # kg·m²
    base: float  # Nm
    stribeck: float = 0.0  # Nm
    load_motor: float = 0.0
    load_external: float = 0.0
    load_motor_stribeck: float = 0.0
    load_external_stribeck: float = 0.0
    quadratic_motor: float = 0.0  # 1/Nm
    quadratic_external: float = 0.0  # 1/Nm
    stribeck_velocity: float = 1.0  # rad/s
    alpha: float = 1.0
    viscous: float = 0.0  # Nm·s/rad

    @classmethod
    def from_simple(cls, m1: SimpleMotor) -> RichMotor:
        """The same motor with the simple friction, in the form that the plant integrates."""
        return cls(m1.kt, m1.resistance, m1.armature, base=m1.coulomb, viscous=m1.viscous)


def simple_from_rich(m6: RichMotor, supply: float, max_duty: float) -> SimpleMotor:
    """The m1 model nearest to an m6 one, for servos of which only m6 is known.

    Load-dependent friction takes a share of the motor torque, which m1 can only express as a larger
    resistance. So resistance and Coulomb friction come from a least-squares fit of the net torque of an
    unloaded servo, over duties from 0.1 up and speeds up to 90 % of no-load; m1 keeps kt and armature, and
    half of the viscous friction, because the Stribeck curve cancels about that much of its slope. On the
    built-in servos of which both were identified this lands within 12 % of the m1 resistance, and within a factor of 2
    of the friction figures.
    """
    duty, share = np.meshgrid(np.linspace(0.1, max_duty, 20), np.linspace(0.05, 0.9, 20), indexing="ij")
    speed = share * duty * supply / m6.kt
    drive = m6.kt * (supply * duty - m6.kt * speed)  # torque times resistance
    torque = drive / m6.resistance
    s = np.exp(-((speed / m6.stribeck_velocity) ** m6.alpha))
    friction = m6.base + m6.load_motor * torque + s * (m6.stribeck + m6.load_motor_stribeck * torque)
    net = torque - friction - m6.viscous * speed
    viscous = 0.5 * m6.viscous
    weight = 1.0 / (0.05 + np.abs(net)).ravel()
    design = np.stack([drive.ravel(), -np.ones(drive.size)], axis=1)
    wanted = (net + viscous * speed).ravel() * weight
    conductance, coulomb = np.linalg.lstsq(design * weight[:, None], wanted, rcond=None)[0]
    resistance = 1.0 / max(float(conductance), 1e-6)
    return SimpleMotor(m6.kt, resistance, m6.armature, max(float(coulomb), 0.0), viscous)
