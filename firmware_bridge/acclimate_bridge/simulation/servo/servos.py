"""Servos with parameters identified on hardware, and how to describe one of your own.

Parameters of the built-in servos: Duclusaud and Passault, "Extended Friction Models for the Physics
Simulation of Servo Actuators" (ICRA 2025). All numbers are joint-side and SI: kt in Nm/A (= V·s/rad),
resistance in Ω, inertia in kg·m², friction in Nm and Nm·s/rad, angles in rad.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Literal

import numpy as np

GRAVITY = 9.81  # m/s²

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


@dataclass(frozen=True)
class Servo:
    """One servo type, and of its surroundings what its description states. None means: not stated."""

    name: str
    supply: float  # V
    max_duty: float  # the driver limits |duty| to this
    m1: SimpleMotor
    m6: RichMotor
    encoder_counts: int  # counts per revolution
    encoder_noise: float = 0.0  # rad, standard deviation before quantisation
    backlash: float = 0.0  # rad, the full play between motor and output shaft
    supply_resistance: float = 0.0  # Ω: the supply sags by this times the current drawn
    load_inertia: float | None = None  # kg·m², on top of the armature
    load_gravity: float | None = None  # Nm, torque of the load held level
    drive_gain: float | None = None
    polarity: float | None = None  # +1, or −1 for a motor wired backwards
    delay: float | None = None  # s, from a command's arrival to its effect

    def motor(self, friction: Friction) -> RichMotor:
        """The motor with rich friction ("m6") or with the simple one ("m1")."""
        return self.m6 if friction == "m6" else RichMotor.from_simple(self.m1)

    @property
    def stall_torque(self) -> float:
        """Torque at standstill, full duty and the rated supply, in Nm, by the simple model."""
        return self.m1.kt * self.supply * self.max_duty / self.m1.resistance


def point_load(mass: float, arm: float) -> tuple[float, float]:
    """Inertia in kg·m² and gravity torque held level in Nm of a mass in kg on an arm in m."""
    return mass * arm * arm, mass * GRAVITY * arm


def simple_from_rich(m6: RichMotor, supply: float, max_duty: float) -> SimpleMotor:
    """The m1 model nearest to an m6 one, for servos of which only m6 is known.

    Load-dependent friction takes a share of the motor torque, which m1 can only express as a larger
    resistance. So resistance and Coulomb friction come from a least-squares fit of the net torque of an
    unloaded servo, over duties from 0.1 up and speeds up to 90 % of no-load; m1 keeps kt and armature, and
    half of the viscous friction, because the Stribeck curve cancels about that much of its slope. On the
    three built-in servos this lands within 12 % of the identified m1 resistance and within a factor of 2 of
    the friction figures.
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


_COUNTS_12_BIT = 4096
_COUNTS_XL_320 = 1229  # 1024 counts over 300°

BUILT_IN: dict[str, Servo] = {
    servo.name: servo
    for servo in (
        Servo(
            "MX-64",
            supply=15.0,
            max_duty=0.9625,
            m1=SimpleMotor(1.6225, 3.9494, 0.011951, 0.09039, 0.01169),
            m6=RichMotor(
                kt=1.6017,
                resistance=2.3164,
                armature=0.012266,
                base=6e-7,
                stribeck=0.12270,
                load_motor=0.31147,
                load_external=2e-8,
                load_motor_stribeck=0.18774,
                load_external_stribeck=0.01407,
                quadratic_motor=0.006909,
                quadratic_external=0.01,
                stribeck_velocity=2.5753,
                alpha=0.8409,
                viscous=0.02534,
            ),
            encoder_counts=_COUNTS_12_BIT,
            encoder_noise=0.0003,
            backlash=0.33 * pi / 180,
            supply_resistance=0.15,
        ),
        Servo(
            "MX-106",
            supply=15.0,
            max_duty=0.9625,
            m1=SimpleMotor(2.1914, 2.9650, 0.026609, 0.10352, 0.03520),
            m6=RichMotor(
                kt=2.2098,
                resistance=2.0337,
                armature=0.026016,
                base=1e-5,
                stribeck=0.12195,
                load_motor=0.19801,
                load_external=0.02222,
                load_motor_stribeck=0.19860,
                load_external_stribeck=0.08710,
                quadratic_motor=0.01,
                quadratic_external=7e-5,
                stribeck_velocity=1.7463,
                alpha=1.1428,
                viscous=0.05072,
            ),
            encoder_counts=_COUNTS_12_BIT,
            encoder_noise=0.0003,
            backlash=0.33 * pi / 180,
            supply_resistance=0.15,
        ),
        Servo(
            "XL-320",
            supply=7.5,
            max_duty=1.0,
            m1=SimpleMotor(0.98695, 35.609, 0.0011190, 0.02751, 0.003318),
            m6=RichMotor(
                kt=1.0088,
                resistance=31.586,
                armature=0.0011630,
                base=4e-7,
                stribeck=0.01631,
                load_motor=3e-6,
                load_external=0.15833,
                load_motor_stribeck=6e-9,
                load_external_stribeck=0.24548,
                quadratic_motor=0.003616,
                quadratic_external=0.004711,
                stribeck_velocity=2.3011,
                alpha=1.7067,
                viscous=0.007225,
            ),
            encoder_counts=_COUNTS_XL_320,
            encoder_noise=0.001,
            backlash=0.5 * pi / 180,
            supply_resistance=1.5,
        ),
    )
}
