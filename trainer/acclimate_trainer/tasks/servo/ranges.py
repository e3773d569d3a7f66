"""What servos are drawn from in training, and the presets of that."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from acclimate.errors import UsageError

from acclimate_trainer.contract.family import Property
from acclimate_trainer.settings.tables import Value

CONTROL_DT = 0.01  # s
MAX_LAG = 4  # commands in flight that a delay of up to 30 ms can reach back to, the newest included
_SIZED = ("kt", "resistance", "armature", "coulomb", "viscous", "voltage")  # what a servo's size sets
PROPERTIES = (
    "size",
    *("kt", "resistance", "armature", "coulomb", "viscous", "voltage"),
    *("drive_gain", "gravity_fraction", "inertia_ratio", "polarity", "delay", "noise"),
)
"""What servos differ in, in the order in which it is drawn; that of what size sets is the place in its spread."""


@dataclass(frozen=True)
class ServoRanges:
    """Training ranges, each (low, high), drawn log-uniformly where both ends are positive and uniformly otherwise.

    A servo's size interpolates its motor between the two ends of `kt` … `voltage` together, since strong motors
    have low resistance and large armatures; each parameter then spreads by a factor `spread` either way.
    """

    kt: tuple[float, float] = (0.6, 2.2)
    """Torque constant at the joint, Nm/A, of the smallest and the largest servo."""
    resistance: tuple[float, float] = (30.0, 2.6)
    """Winding resistance, Ω, of the smallest and the largest servo."""
    armature: tuple[float, float] = (0.001, 0.028)
    """Rotor inertia seen at the joint, kg·m², of the smallest and the largest servo."""
    coulomb: tuple[float, float] = (0.014, 0.11)
    """Coulomb friction, Nm, of the smallest and the largest servo."""
    viscous: tuple[float, float] = (0.003, 0.04)
    """Viscous friction, Nm·s/rad, of the smallest and the largest servo."""
    voltage: tuple[float, float] = (6.5, 15.5)
    """Nominal supply, V, of the smallest and the largest servo."""
    spread: float = 1.3
    """Each of the above times spread^U(−1, 1)."""
    drive_gain: tuple[float, float] = (0.25, 4.0)
    """Factor on the supply: what driver, supply and gearing differ by."""
    gravity_fraction: tuple[float, float] = (0.0, 0.25)
    """Gravity torque of the load at the horizontal, as a share of the stall torque at this drive gain."""
    inertia_ratio: tuple[float, float] = (0.1, 2.0)
    """Inertia of the load over the armature."""
    delay: tuple[float, float] = (0.0, 0.03)
    """Delay of the link, s."""
    noise: tuple[float, float] = (0.0002, 0.003)
    """Noise of the encoder, rad, standard deviation."""
    polarity: tuple[float, float] = (1.0, 1.0)
    """(1, 1): wired as expected; (−1, 1): either way round with equal chance."""

    def __post_init__(self) -> None:
        """Raises UsageError for ranges that no servo can have."""
        low: dict[str, float] = {"gravity_fraction": 0.0, "inertia_ratio": 0.0, "delay": 0.0, "noise": 0.0}
        high = {"gravity_fraction": 0.9, "delay": CONTROL_DT * (MAX_LAG - 1)}
        if self.spread < 1.0:
            raise UsageError(f"range spread is a factor of at least 1, found {self.spread:g}")
        if self.polarity not in ((1.0, 1.0), (-1.0, 1.0)):
            raise UsageError(f"range polarity is [1, 1] or [-1, 1], found {list(self.polarity)}")
        for name, ends in asdict(self).items():
            if name in ("spread", "polarity"):
                continue
            least, most = low.get(name, 0.0), high.get(name, math.inf)
            if not all(math.isfinite(x) and least <= x <= most and (x > 0.0 or name in low) for x in ends):
                bound = f"from {least:g} to {most:g}" if name in low else "above 0"
                raise UsageError(f"range {name} must lie {bound}, found {list(ends)}")
            if ends[0] > ends[1] and (name in low or name == "drive_gain"):
                raise UsageError(f"range {name} must be [low, high] with low <= high, found {list(ends)}")

    def as_dict(self) -> dict[str, Value]:
        """The fields as JSON values, as a config has them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def intervals(self) -> dict[str, tuple[float, float]]:
        """What each parameter is drawn from, (low, high), the spread included: for a bundle's manifest."""
        table = asdict(self)
        spread = table.pop("spread")
        factors = {name: spread if name in _SIZED else 1.0 for name in table}
        return {name: (min(ends) / factors[name], max(ends) * factors[name]) for name, ends in table.items()}


PRESETS = {"wide": ServoRanges(), "miswired": ServoRanges(polarity=(-1.0, 1.0))}
"""wide: polarity known, drive gain not. miswired: polarity unknown as well."""


def properties(ranges: ServoRanges) -> tuple[Property, ...]:
    """What servos of these ranges differ in, and how far beyond its range each can be."""
    physical = {"gravity_fraction": (0.0, 0.9), "delay": (0.0, CONTROL_DT * (MAX_LAG - 1))}
    known = ranges.polarity[0] > 0.0
    found = {"polarity": Property("polarity", 1.0, 1.0 if known else 0.0, 1.0)}
    for name, (least, most) in physical.items():
        low, high = getattr(ranges, name)
        found[name] = _linear(name, low, high, least, most)
    return tuple(found.get(name, Property(name)) for name in PROPERTIES)


def _linear(name: str, low: float, high: float, least: float, most: float) -> Property:
    """A property that is drawn on a linear scale from 0 on, or else on a logarithmic one."""
    if low == high:
        return Property(name, 0.5, 0.5, 0.5)
    if low > 0.0:
        return Property(name, highest=math.log(most / low) / math.log(high / low))
    return Property(name, lowest=(least - low) / (high - low), highest=(most - low) / (high - low))
