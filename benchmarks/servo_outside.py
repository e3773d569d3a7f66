"""Servos outside the ranges of training: gain, inertia, friction or delay beyond them by up to 1.5 and by up to 2."""

from __future__ import annotations

from collections.abc import Mapping

from acclimate_bridge.simulation.servo.deployments import PROPERTIES

from benchmarks._servos import PRESETS, SEEDS, Table, Trained, compared, evaluated, policies
from benchmarks.harness import Figure
from benchmarks.servo_maml import ADAPTIVE, OTHERS

FACTORS = {"by_1_5": 1.5, "by_2": 2.0}
DEVICES = 8  # of each servo and property


def run(seed: int) -> Mapping[str, Figure]:
    """PRESET.by_FACTOR.CONTROLLER.MEASURE of all properties, and PRESET.by_FACTOR.PROPERTY.CONTROLLER.error of each."""
    seeds = range(seed, seed + SEEDS)
    policies(seeds)
    out: dict[str, Figure] = {}
    for preset in PRESETS:
        for name, factor in FACTORS.items():
            options = ("--devices", str(DEVICES), "--outside", f"{factor:g}")
            label = f"outside_{factor:g}"
            mains = [Trained(preset, "maml", s) for s in seeds]
            reports = [evaluated(main, main.beside(*OTHERS), label, *options) for main in mains]
            where = f"{preset}.{name}"
            out |= {f"{where}.{n}": f for n, f in compared(Table(reports), ADAPTIVE).items()}
            for what in PROPERTIES:
                table = Table(reports, f"{what} x{factor:g}")
                out |= {f"{where}.{what}.{n}": f for n, f in table.figures() if n.endswith(".error")}
    return out
