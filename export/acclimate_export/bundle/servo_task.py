"""What a servo is, as the values that go into a bundle's manifest."""

from __future__ import annotations

from acclimate.servo_features import FEATURES
from acclimate.task.spec import (
    CHATTER,
    ENERGY,
    SATURATED,
    Metric,
    ObservationChannel,
    Parameter,
    TaskSpec,
    Track,
    TrackingReference,
)
from acclimate_trainer.tasks.servo import ACTION, CONTROL_DT, SAG, ServoRanges


def servo_spec(ranges: ServoRanges, observation: tuple[ObservationChannel, ...]) -> TaskSpec:
    """The specification of servos drawn from these ranges."""
    return TaskSpec(
        name="servo",
        control_dt=CONTROL_DT,
        observation=observation,
        action=ACTION,
        parameters=_parameters(ranges),
        metrics=(Metric("error", "rms", "rad", (("position", "target"),)), CHATTER, ENERGY, SATURATED),
        reference=TrackingReference((Track("position", "target", "target_velocity"),)),
        features=FEATURES,
        horizon=100,
        differentiable=True,
    )


def _parameters(ranges: ServoRanges) -> tuple[Parameter, ...]:
    """In the order in which an oracle is told them; the ends of each over all servos and all that happens to them."""
    of = ranges.intervals()
    kt, resistance, armature = of["kt"], of["resistance"], of["armature"]
    gain, supply = of["drive_gain"], of["voltage"]
    voltage = (SAG[0] * gain[0] * supply[0], gain[1] * supply[1])
    inertia = (armature[0], armature[1] * (1.0 + of["inertia_ratio"][1]))
    stall = kt[1] * voltage[1] / resistance[0]
    return (
        Parameter("kt", "N·m/A", *kt, "log"),
        Parameter("resistance", "Ω", *resistance, "log"),
        Parameter("voltage", "V", *voltage, "log"),
        Parameter("inertia", "kg·m²", *inertia, "log"),
        Parameter("coulomb", "N·m", *of["coulomb"], "log"),
        Parameter("viscous", "N·m·s/rad", *of["viscous"], "log"),
        Parameter("gravity", "N·m", 0.0, of["gravity_fraction"][1] * stall),
        Parameter("delay", "s", *of["delay"]),
        Parameter("polarity", "1", *of["polarity"], "sign"),
    )
