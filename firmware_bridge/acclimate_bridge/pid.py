"""The classical controller that policies are compared with: PID with feed-forward, and a sign test."""

from __future__ import annotations

import math

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.errors import MismatchError
from acclimate.layout import scalars
from acclimate.manifest import Manifest, PidGains
from acclimate.policy import Scope

INTEGRAL_LIMIT = 0.5  # of duty
OUTPUT_LIMIT = 1.0  # of duty
_WANTED = ("position", "velocity", "target", "target_velocity")

_PHASE = 6  # ticks of one half of a pulse, twice as long as the longest delay of the link
_LOOK_BACK = 3  # ticks over which the sign test averages velocity
_PULSES = (0.1, 0.2, 0.4, 1.0)  # of duty, one after the other until one of them says something
_CLEAR_ANSWER = 0.6  # rad/s, four standard deviations of the worst encoder's noise
SIGN_TEST_TICKS = 2 * _PHASE * len(_PULSES) + 1


class SignTest:
    """Finds out which way a motor turns: pulses forward and back, ever stronger, until the answer is clear.

    What it looks at is the change of velocity over the forward half minus that over the backward half, so
    that a load that falls by itself, or an end stop on one side, does not decide.
    """

    def __init__(self, dt: float) -> None:
        self.sign: float | None = None
        self._dt = dt
        self._positions: list[float] = []
        self._evidence = 0.0

    def act(self, position: float) -> float:
        """The next duty of the test, for the position (rad) just measured; it ends by setting `sign`."""
        self._positions.append(position)
        tick = len(self._positions) - 1
        pulse, phase = divmod(tick, 2 * _PHASE)
        if phase == 0 and pulse > 0:
            self._judge(tick)
        if pulse == len(_PULSES) and self.sign is None:
            self.sign = math.copysign(1.0, self._evidence)
        if self.sign is not None:
            return 0.0
        return _PULSES[pulse] if phase < _PHASE else -_PULSES[pulse]

    def _judge(self, end: int) -> None:
        middle, begin = end - _PHASE, end - 2 * _PHASE
        v_begin, v_middle, v_end = (self._velocity(tick) for tick in (begin, middle, end))
        answer = (v_middle - v_begin) - (v_end - v_middle)
        self._evidence += answer
        if abs(answer) > _CLEAR_ANSWER:
            self.sign = math.copysign(1.0, answer)

    def _velocity(self, tick: int) -> float:
        """Mean velocity over the last ticks before `tick`, in rad/s; 0 where there are none."""
        then = max(tick - _LOOK_BACK, 0)
        return (self._positions[tick] - self._positions[then]) / (self._dt * max(tick - then, 1))


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
            self._test = SignTest(self._dt) if self._gains.sign_test else None

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
