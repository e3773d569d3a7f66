"""What a servo is, as values: channels, parameters, metrics, the reference, and what it can be rewarded for."""

from __future__ import annotations

from acclimate.task.spec import (
    CHATTER,
    ENERGY,
    SATURATED,
    ActionChannel,
    Feature,
    Metric,
    ObservationChannel,
    Parameter,
    TaskSpec,
    Term,
    Track,
    TrackingReference,
)

from acclimate_trainer.tasks.servo.ranges import CONTROL_DT, ServoRanges

END_STOP = 1.7  # rad
SAG = (0.4, 0.9)  # what a sagging supply keeps of its voltage
SPEED = 30.0  # rad/s; hardly a servo of the family is faster
_REFERENCE = TrackingReference((Track("position", "target", "target_velocity"),))
OBSERVATION = (
    ObservationChannel("position", "rad", -END_STOP, END_STOP),
    ObservationChannel("velocity", "rad/s", -SPEED, SPEED),
    ObservationChannel("target", "rad", -END_STOP, END_STOP, "reference"),
    ObservationChannel("target_velocity", "rad/s", -_REFERENCE.speed[1], _REFERENCE.speed[1], "reference"),
)
EXPLORING_RATE = 50.0  # 1/s: half of full scale from tick to tick, which spares the gears
ACTION = (ActionChannel("duty", "1", -1.0, 1.0, exploring_rate=EXPLORING_RATE),)
FEATURES = (
    Feature(
        "accurate",
        "minus the tracking error, in units of 0.05 rad: follow the target closely",
        term=Term("error", ("position", "target"), "magnitude", -20.0, 0.01),
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
        term=Term("error", ("position", "target"), "nearness", 1.0, 0.03),
    ),
)
"""The features in the order of w, and what more weight on them asks for."""


def servo_spec(ranges: ServoRanges) -> TaskSpec:
    """The specification of servos drawn from these ranges."""
    return TaskSpec(
        name="servo",
        control_dt=CONTROL_DT,
        observation=OBSERVATION,
        action=ACTION,
        parameters=_parameters(ranges),
        metrics=(Metric("error", "rms", "rad", (("position", "target"),)), CHATTER, ENERGY, SATURATED),
        reference=_REFERENCE,
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
