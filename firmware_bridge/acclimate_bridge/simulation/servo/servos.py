"""Servos whose parameters were identified on hardware, and how to describe one of your own.

Parameters of the built-in servos: Duclusaud and Passault, "Extended Friction Models for the Physics Simulation of Servo
Actuators" (ICRA 2025), joint-side and SI, angles in rad. Encoder, backlash and the resistance of the supply are what
such servos have, not measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

from acclimate_bridge.simulation.servo.motors import Friction, RichMotor, SimpleMotor

GRAVITY = 9.81  # m/s²


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


_COUNTS_12_BIT = 4096
_COUNTS_XL_320 = 1229  # 1024 counts over 300°
_STS3215 = SimpleMotor(1.2116, 2.6762, 0.028403, 0.05239, 0.059085)

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
        Servo(
            "XL330",
            supply=5.0,
            max_duty=1.0,
            m1=SimpleMotor(0.38670, 4.0171, 0.0018142, 0.01283, 0.003662),
            m6=RichMotor(
                kt=0.36601,
                resistance=2.8114,
                armature=0.0018077,
                base=0.004771,
                stribeck=0.004676,
                load_motor=0.26679,
                load_external=8.5e-6,
                load_motor_stribeck=1.07e-5,
                load_external_stribeck=0.08078,
                quadratic_motor=0.009972,
                quadratic_external=0.004903,
                stribeck_velocity=2.8904,
                alpha=8.6833,
                viscous=0.005360,
            ),
            encoder_counts=_COUNTS_12_BIT,
            encoder_noise=0.0005,
            backlash=0.5 * pi / 180,
            supply_resistance=0.3,
        ),
        # Only m1 was identified. A Stribeck curve that nobody has measured would be no harder test, only a made-up one.
        Servo(
            "STS3215",
            supply=7.4,
            max_duty=1.0,
            m1=_STS3215,
            m6=RichMotor.from_simple(_STS3215),
            encoder_counts=_COUNTS_12_BIT,
            encoder_noise=0.0005,
            backlash=0.5 * pi / 180,
            supply_resistance=0.15,
        ),
    )
}
