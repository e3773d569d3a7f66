"""The classical controller that policies are compared with: PID with feed-forward, and a sign test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.channel_map import scalars
from acclimate.errors import MismatchError
from acclimate.policy.policy import Scope

INTEGRAL_LIMIT = 0.5  # of duty
OUTPUT_LIMIT = 1.0  # of duty
_WANTED = ("position", "velocity", "target", "target_velocity")

_PULSE = 6  # ticks of duty
_PERIOD = 2 * _PULSE  # ticks of a pulse and of waiting for its effect, which the link may delay
_AMPLITUDES = (0.15, 0.4, 1.0)  # of duty, one after the other until the joint moves
_MOVED = 0.03  # rad, ten standard deviations of the worst encoder's noise
_STILL = 0.01  # rad
_STILL_TICKS = 8
_LONGEST_WAIT = 200  # ticks
SIGN_TEST_TICKS = _LONGEST_WAIT + 2 * _PERIOD * len(_AMPLITUDES) + 1  # at most


class PidGains(NamedTuple):
    """sign_test: find out which way the motor turns before anything else."""

    kp: float
    ki: float
    kd: float
    kff: float
    sign_test: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, float]) -> PidGains:
        """As a manifest has them. Raises MismatchError for what these are not."""
        known = {name: value for name, value in settings.items() if name in cls._fields}
        if known.keys() != settings.keys() or not {"kp", "ki", "kd", "kff"} <= known.keys():
            raise MismatchError(
                f"the bundle's settings of 'pid' are {', '.join(settings)}; expected {', '.join(cls._fields)}"
            )
        kp, ki, kd, kff = (known[name] for name in cls._fields[:4])
        return cls(kp, ki, kd, kff, bool(known.get("sign_test", 0.0)))


class SignTest:
    """Finds out which way a motor turns: waits until the joint rests, then pulses it until it moves.

    A joint at rest is held by friction or by an end stop, so that what sets it moving is the pulse, and not
    its load.
    """

    def __init__(self) -> None:
        self.sign: float | None = None  # what was found
        self._positions: list[float] = []
        self._begin: int | None = None  # tick of the first pulse
        self._rest = 0.0  # rad, where the joint stood before the present pulse

    def act(self, position: float) -> float:
        """The next duty of the test, for the position (rad) just measured; it ends by setting `sign`."""
        self._positions.append(position)
        tick = len(self._positions) - 1
        if self._begin is None:
            if not self._still() and tick < _LONGEST_WAIT:
                return 0.0
            self._begin = tick
        pulse, phase = divmod(tick - self._begin, _PERIOD)
        direction = 1.0 if pulse % 2 == 0 else -1.0
        if phase == 0:
            self._rest = position
        elif abs(position - self._rest) > _MOVED:
            self.sign = direction * math.copysign(1.0, position - self._rest)
            return 0.0
        if pulse == 2 * len(_AMPLITUDES):
            self.sign = 1.0  # it does not move at all: nothing to be learned
            return 0.0
        return direction * _AMPLITUDES[pulse // 2] if phase < _PULSE else 0.0

    def _still(self) -> bool:
        recent = self._positions[-_STILL_TICKS:]
        return len(recent) == _STILL_TICKS and max(recent) - min(recent) < _STILL


class Pid:
    """One duty from position, velocity, target and target velocity, in this order every tick:

        e        = target − position
        integral = clamp(integral + ki·e·dt, ±0.5)
        duty     = kp·e + integral + kd·(target_velocity − velocity) + kff·target_velocity
        output   = sign · clamp(duty, ±1)

    The integral starts at 0 in every episode. `sign` is 1, or, with `sign_test`, what the test of the trial's
    first ticks finds; the integral rests while it runs.
    """

    def __init__(self, gains: PidGains, manifest: Manifest) -> None:
        """Raises MismatchError where the bundle does not observe what the law needs."""
        names = [c.name for channel in manifest.observation for c in scalars(channel)]
        missing = [name for name in _WANTED if name not in names]
        if missing or manifest.n_act != 1:
            raise MismatchError(
                f"bundle {manifest.name!r} cannot be compared with a PID controller: it needs one action, "
                f"and the observations {', '.join(_WANTED)}"
            )
        self._gains, self._dt = gains, manifest.control_dt
        self._at = tuple(names.index(name) for name in _WANTED)
        self._output = np.zeros(1, np.float32)
        self.reset("trial")

    @property
    def sign(self) -> float | None:
        """Which way the motor turns; None while that is being tested."""
        return self._test.sign if self._test else 1.0

    def reset(self, scope: Scope) -> None:
        """Forget the integral; for a trial also what the sign test has found."""
        self._integral = 0.0
        if scope == "trial":
            self._test = SignTest() if self._gains.sign_test else None

    def act(self, obs: FloatArray, noise: FloatArray) -> FloatArray:
        """obs (n_obs,) -> duty (1,), a view that the next call overwrites. `noise` is not used."""
        del noise
        position, velocity, target, target_velocity = (float(obs[i]) for i in self._at)
        if self._test is not None and self._test.sign is None:
            duty = self._test.act(position)
        else:
            duty = (self.sign or 1.0) * self._law(position, velocity, target, target_velocity)
        self._output[0] = duty
        return self._output

    def _law(self, position: float, velocity: float, target: float, target_velocity: float) -> float:
        gains, error = self._gains, target - position
        self._integral = _clamp(self._integral + gains.ki * error * self._dt, INTEGRAL_LIMIT)
        duty = gains.kp * error + self._integral
        duty += gains.kd * (target_velocity - velocity) + gains.kff * target_velocity
        return _clamp(duty, OUTPUT_LIMIT)


def _clamp(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
