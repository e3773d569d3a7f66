"""The classical controller that policies are compared with: a PID with feed-forward per actuator, and a sign test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.errors import MismatchError
from acclimate.policy.policy import Scope
from acclimate.task.spec import TaskSpec

INTEGRAL_LIMIT = 0.5  # of full scale
OUTPUT_LIMIT = 1.0  # of full scale

_PULSE = 0.06  # s of drive, and as long of waiting for its effect, which the link may delay
_AMPLITUDES = (0.15, 0.4, 1.0)  # of full scale, one after the other until the joint moves
_MOVED = 0.03  # of the reference's amplitude; ten standard deviations of the worst encoder's noise
_STILL = 0.01  # of the reference's amplitude
_STILL_TIME, _LONGEST_WAIT = 0.08, 2.0  # s
_FAR, _LOST_TIME = (
    0.4,
    0.5,
)  # of the reference's amplitude, and s: so far away for so long, and no nearer since


class PidGains(NamedTuple):
    """Of one actuator: full scale per unit of error, of its integral over time, of its rate, of the target's rate.

    sign_test: find out which way the motor turns before anything else, and again where it goes ever farther away.
    """

    kp: float
    ki: float
    kd: float
    kff: float
    sign_test: bool = False


class SignTest:
    """Finds out which way a motor turns: waits until the joint rests, then pulses it until it moves.

    A joint at rest is held by friction or by an end stop, so that what sets it moving is the pulse, and not
    its load.
    """

    def __init__(self, dt: float = 0.01, amplitude: float = 1.0) -> None:
        """dt: control period, s; amplitude: how far references go, in the unit of what is measured."""
        self.sign: float | None = None  # what was found
        self.moved = False  # whether it moved at all; where it did not, the sign is a guess
        self._pulse, self._still = max(round(_PULSE / dt), 1), max(round(_STILL_TIME / dt), 2)
        self._patience = round(_LONGEST_WAIT / dt)
        self._moved, self._quiet = _MOVED * amplitude, _STILL * amplitude
        self._positions: list[float] = []
        self._begin: int | None = None  # tick of the first pulse
        self._rest = 0.0  # where the joint stood before the present pulse

    @property
    def longest(self) -> int:
        """Ticks that the test takes at most."""
        return self._patience + 4 * self._pulse * len(_AMPLITUDES) + 1

    def act(self, position: float) -> float:
        """The next output of the test, for the position just measured; it ends by setting `sign`."""
        self._positions.append(position)
        tick = len(self._positions) - 1
        if self._begin is None:
            if not self._rests() and tick < self._patience:
                return 0.0
            self._begin = tick
        pulse, phase = divmod(tick - self._begin, 2 * self._pulse)
        direction = 1.0 if pulse % 2 == 0 else -1.0
        if phase == 0:
            self._rest = position
        elif abs(position - self._rest) > self._moved:
            self.sign, self.moved = direction * math.copysign(1.0, position - self._rest), True
            return 0.0
        if pulse == 2 * len(_AMPLITUDES):
            self.sign = 1.0  # it does not move at all: nothing to be learned
            return 0.0
        return direction * _AMPLITUDES[pulse // 2] if phase < self._pulse else 0.0

    def _rests(self) -> bool:
        recent = self._positions[-self._still :]
        return len(recent) == self._still and max(recent) - min(recent) < self._quiet


class SignWatch:
    """Notices that a controller drives the wrong way: its error stays large and does not shrink."""

    def __init__(self, dt: float, amplitude: float) -> None:
        """As of `SignTest`."""
        self._far, self._patience = _FAR * amplitude, max(round(_LOST_TIME / dt), 2)
        self._begin, self._ticks = 0.0, 0  # the error when it became large, and for how long it has been

    def lost(self, error: float) -> bool:
        """Whether the error just measured says so."""
        away = abs(error)
        if away < self._far or (self._ticks and error * self._begin < 0.0):
            self._ticks = 0
            return False
        if self._ticks == 0:
            self._begin = error
        self._ticks += 1
        if self._ticks < self._patience:
            return False
        self._ticks = 0
        return away >= abs(self._begin)


class _Column(NamedTuple):
    """Where in an observation a quantity and its rate are; a rate that is not observed is the difference."""

    at: int
    rate: int | None


class _Joint:
    """One actuator: what it moves, where that should be, and the law in between."""

    def __init__(
        self, gains: PidGains, measured: _Column, wanted: _Column, amplitude: float, dt: float
    ) -> None:
        self._gains, self._dt, self._amplitude = gains, dt, amplitude
        self._measured, self._wanted = measured, wanted
        self.reset("trial")

    @property
    def sign(self) -> float | None:
        """Which way the motor turns; None while that is not known."""
        return self.test.sign if self.test else 1.0

    def reset(self, scope: Scope) -> None:
        self._integral, self._before = 0.0, (math.nan, math.nan)
        self._watch = SignWatch(self._dt, self._amplitude)
        if scope == "trial":
            self.test = SignTest(self._dt, self._amplitude) if self._gains.sign_test else None

    def law(self, obs: FloatArray) -> float:
        """Output within ±1."""
        gains = self._gains
        here, there = float(obs[self._measured.at]), float(obs[self._wanted.at])
        before, self._before = self._before, (here, there)
        velocity = self._rate(obs, self._measured, here, before[0])
        target_velocity = self._rate(obs, self._wanted, there, before[1])
        error = there - here
        if gains.sign_test and self._watch.lost(error):
            self.test = SignTest(self._dt, self._amplitude)
            self._integral = 0.0
            return 0.0
        self._integral = _clamp(self._integral + gains.ki * error * self._dt, INTEGRAL_LIMIT)
        output = gains.kp * error + self._integral
        output += gains.kd * (target_velocity - velocity) + gains.kff * target_velocity
        return _clamp(output, OUTPUT_LIMIT)

    def position(self, obs: FloatArray) -> float:
        return float(obs[self._measured.at])

    def _rate(self, obs: FloatArray, column: _Column, now: float, before: float) -> float:
        if column.rate is not None:
            return float(obs[column.rate])
        return 0.0 if math.isnan(before) else (now - before) / self._dt


class Pid:
    """One output per pair of the headline metric, measured and wanted. For each, every tick, in this order:

        e        = wanted − measured
        integral = clamp(integral + ki·e·dt, ±0.5)
        u        = kp·e + integral + kd·(rate of wanted − rate of measured) + kff·rate of wanted
        output   = center + half·sign·clamp(u, ±1)         center ± half: the limits of the action

    The integral starts at 0 in every episode. `sign` is 1, or, with `sign_test`, what the test of the trial's
    first ticks finds, one actuator after the other; all others rest meanwhile, and so do the integrals. An actuator
    whose error stays large for half a second without shrinking is tested again: its wires may have been swapped.
    """

    def __init__(self, settings: Mapping[str, float], spec: TaskSpec) -> None:
        """settings: gains by name, as `kp`, or for one actuator alone as `ACTUATOR.kp`.

        Raises MismatchError where the task is no such problem, or the settings are not these.
        """
        pairs = spec.headline.pairs
        if not pairs or len(pairs) != spec.n_act:
            raise MismatchError(
                f"a PID controller needs an action for each pair of channels to be brought together; {spec.name} has "
                f"{spec.n_act} actions and {len(pairs)} pairs"
            )
        gains = gains_of(settings, spec.action_scalars)
        self.settings = dict(settings)
        self._joints = [_joint(spec, *pair, gain) for pair, gain in zip(pairs, gains, strict=True)]
        low, high = (np.array(ends, np.float64) for ends in spec.limits())
        self._center, self._half = 0.5 * (low + high), 0.5 * (high - low)
        self._output = np.zeros(spec.n_act, np.float32)

    @property
    def signs(self) -> tuple[float | None, ...]:
        """Which way each motor turns; None while that is not known."""
        return tuple(joint.sign for joint in self._joints)

    @property
    def directions(self) -> tuple[int, ...]:
        """Of each motor: what its test has found, and 0 where nothing moved or there was no test."""
        tests = [joint.test for joint in self._joints]
        return tuple(int(t.sign) if t is not None and t.moved and t.sign else 0 for t in tests)

    @property
    def ready(self) -> bool:
        """Whether all sign tests are done."""
        return None not in self.signs

    def reset(self, scope: Scope) -> None:
        """Forget the integrals; for a trial also what the sign tests have found."""
        for joint in self._joints:
            joint.reset(scope)

    def act(self, obs: FloatArray, noise: FloatArray) -> FloatArray:
        """obs (n_obs,) -> action (n_act,), a view that the next call overwrites. `noise` is not used."""
        del noise
        self._output[...] = self._center + self._half * (self._law(obs) if self.ready else self._test(obs))
        return self._output

    def _law(self, obs: FloatArray) -> Sequence[float]:
        return [(joint.sign or 1.0) * joint.law(obs) for joint in self._joints]

    def _test(self, obs: FloatArray) -> Sequence[float]:
        outputs = [0.0] * len(self._joints)
        i = self.signs.index(None)
        test = self._joints[i].test
        assert test is not None  # its sign is not known
        outputs[i] = test.act(self._joints[i].position(obs))
        # An actuator whose test has just ended drives from the next tick on, when all are done.
        return outputs


def gains_of(settings: Mapping[str, float], actions: Sequence[str]) -> list[PidGains]:
    """Gains of each actuator: its own, or else those of all. Raises MismatchError for what these are not."""
    names = PidGains._fields
    valid = {*names, *(f"{action}.{name}" for action in actions for name in names)}
    wrong = [name for name in settings if name not in valid]
    each = [{n: settings[k] for n in names for k in (n, f"{a}.{n}") if k in settings} for a in actions]
    wrong += [name for own in each for name in names[:4] if name not in own]
    if wrong:
        raise MismatchError(
            f"the bundle's settings of 'pid' are {', '.join(settings) or 'none'}; expected {', '.join(names)}, "
            f"for all actuators or as {actions[0]}.kp for one"
        )
    return [
        PidGains(own["kp"], own["ki"], own["kd"], own["kff"], bool(own.get("sign_test", 0.0))) for own in each
    ]


def _joint(spec: TaskSpec, measured: str, wanted: str, gains: PidGains) -> _Joint:
    track = next((t for t in spec.reference.tracks if t.target == wanted), None) if spec.reference else None
    rate = spec.index(track.rate) if track is not None and track.rate is not None else None
    amplitude = track.amplitude if track is not None else 1.0
    here = _Column(spec.index(measured), _velocity(spec, measured))
    return _Joint(gains, here, _Column(spec.index(wanted), rate), amplitude, spec.control_dt)


def _velocity(spec: TaskSpec, measured: str) -> int | None:
    """Where its rate is observed: as NAME_velocity or NAME_rate, or velocity for position, in its unit per s."""
    units = {name: c.unit for c in spec.sensors for name in c.scalars}
    base, dot, number = measured.partition(".")
    names = (f"{base}_velocity", f"{base}_rate", base.replace("position", "velocity"))
    for name in (f"{each}{dot}{number}" for each in names):
        if units.get(name) == f"{units.get(measured)}/s":
            return spec.index(name)
    return None


def _clamp(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
