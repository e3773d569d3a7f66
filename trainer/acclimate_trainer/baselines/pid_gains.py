"""Gains of the tuned classical controller that policies are compared with."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class PidGains:
    """See `pid_search` for the law. sign_test: find out which way the motor turns before anything else."""

    kp: float
    ki: float
    kd: float
    kff: float
    sign_test: bool = False

    def settings(self) -> dict[str, float]:
        """As a bundle's manifest has them."""
        return {name: float(value) for name, value in asdict(self).items()}
