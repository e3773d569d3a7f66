"""The control loop: one tick is sample, check, act, check, clamp, slew-limit, command.

Whatever raises inside an episode, the device is stopped before the error leaves the loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.channel_map import ChannelMap
from acclimate.control.commanding import Commander
from acclimate.control.device import Clock, Device, Sample
from acclimate.control.loop_stats import LoopStats, Tally
from acclimate.control.pacer import Pacer
from acclimate.control.readings import Readings
from acclimate.errors import AcclimateError, DeviceFault, MismatchError, PolicyError, UsageError
from acclimate.policy.policy import Scope
from acclimate.task.episode import Episode
from acclimate.task.spec import TaskSpec

_TOO_LATE = 0.5  # of a period: a tick this late measures another transition than the one trained on
_WATCHDOG = frozenset({"watchdog"})


class Controller(Protocol):
    """What the loop drives with: a `Policy`, or any law on the same observation."""

    def reset(self, scope: Scope) -> None: ...

    def act(self, obs: FloatArray, noise: FloatArray) -> FloatArray:
        """obs (n_obs,), noise as the manifest says -> action (n_act,), valid until the next call."""


class ControlLoop:
    """Drives a device with a controller at the bundle's rate.

    with ControlLoop(policy, device, clock, policy.manifest) as loop:
        episode = loop.run_episode(reference)
    """

    def __init__(
        self,
        controller: Controller,
        device: Device,
        clock: Clock,
        manifest: Manifest,
        *,
        max_bad_ticks: int = 5,
        max_stale_ticks: int = 25,
        max_rearms: int = 3,
    ) -> None:
        """Raises MismatchError where the device's channels are not the bundle's.

        More than `max_bad_ticks` unusable readings in a row, or `max_stale_ticks` outdated ones, are a
        DeviceFault. A tripped watchdog of the device is cleared up to `max_rearms` times: this loop is alive.
        """
        self._channels = ChannelMap(manifest, device.caps)
        self._readings = Readings(self._channels, device.caps)
        self._controller, self._device, self._clock = controller, device, clock
        self._manifest = manifest
        self._max_bad, self._max_stale, self._max_rearms = max_bad_ticks, max_stale_ticks, max_rearms
        self._tally = Tally()
        self._commander = Commander(device, self._channels, self._tally)
        self._pacer = Pacer(clock, manifest.control_dt, self._tally)
        self._explore_scale = manifest.adaptation.explore_scale if manifest.adaptation else 1.0
        self._allocate(manifest)
        self._seq: int | None = None
        self._bad_row = self._stale_row = 0

    def _allocate(self, manifest: Manifest) -> None:
        self._obs = np.zeros(manifest.n_obs, np.float32)
        self._finite_action = np.zeros(manifest.n_act, np.bool_)
        self._has_obs = self._acted = False

    def __enter__(self) -> ControlLoop:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout: float = 1.0) -> None:
        """Arm the device and wait for its first reading. Raises DeviceFault if none comes in `timeout` s."""
        try:
            self._device.start()
            self._commander.rearm()
            self._await_reading(timeout)
        except BaseException:
            self.stop()
            raise

    def _await_reading(self, timeout: float) -> None:
        self._pacer.begin()
        end = self._clock.now() + timeout
        while self._clock.now() < end:
            self._pacer.wait()
            told = self._commander.neutral()
            sample = self._device.latest()
            if sample is not None and self._problem(sample) is None:
                self._accept()
                if not told:
                    self._commander.neutral()  # now it is known what to hold
                return
        raise DeviceFault(f"the device gave no usable reading within {timeout:g} s after it was started")

    def stop(self) -> None:
        """Bring the actuators into their safe state, also where the link is already lost."""
        with contextlib.suppress(AcclimateError):
            self._device.stop()

    def require_rewards(self) -> None:
        """Raises MismatchError where the device does not measure what the bundle infers its objective from."""
        objectives = self._manifest.objectives
        if objectives is not None and not self.rewarded:
            raise MismatchError(
                f"this device has no sensor {objectives.reward!r}, from which bundle {self._manifest.name!r} infers "
                "what to drive for; set it by name instead"
            )

    @property
    def task(self) -> TaskSpec:
        """What the machine is, and what it is driven for."""
        return self._manifest.task

    @property
    def rewarded(self) -> bool:
        """Whether the device measures the reward that the bundle may learn from; True where there is none."""
        return self._channels.rewarded

    @property
    def applied(self) -> FloatArray:
        """The action that was commanded last, (n_act,)."""
        return self._commander.applied.copy()

    def stats(self) -> LoopStats:
        return self._tally.summary()

    def measure(self) -> FloatArray:
        """The newest observation (n_obs,), outside of any tick; reference entries are the last ones given."""
        self._readings.forget()  # whoever measures may have put the machine back
        sample = self._device.latest()
        if sample is not None and self._problem(sample) is None:
            self._accept()
        if not self._has_obs:
            raise DeviceFault("the device has given no usable reading yet; start the loop first")
        return self._obs.copy()

    def rest(self, ticks: int) -> None:
        """Keep the actuators in neutral for `ticks` periods."""
        self._pacer.begin()
        for _ in range(ticks):
            self._pacer.wait()
            self._commander.neutral()

    def run_episode(
        self,
        reference: FloatArray,
        explore: bool = False,
        rng: np.random.Generator | None = None,
        between: Callable[[], None] | None = None,
    ) -> Episode:
        """One episode along `reference` (steps + 1, n_ref); ends in neutral.

        explore: give the controller noise drawn from `rng` instead of zeros.
        between: called after every command, where the slack of the period is.
        Raises DeviceFault, PolicyError; UsageError for a reference that does not fit.
        """
        self._check_reference(reference)
        noise = self._draw_noise(len(reference) - 1, explore, rng)
        try:
            return self._episode(reference, noise, between)
        except BaseException:
            self.stop()
            raise

    def _episode(
        self, reference: FloatArray, noise: FloatArray, between: Callable[[], None] | None
    ) -> Episode:
        steps, m, asked = len(noise), self._manifest, reference[:, self._channels.of_reference]
        obs = np.zeros((steps + 1, m.n_obs), np.float32)
        action, applied = np.zeros((steps, m.n_act), np.float32), np.zeros((steps, m.n_act), np.float32)
        measured, driven = np.zeros(steps + 1, np.bool_), np.zeros(steps, np.bool_)
        acted = np.ones(
            steps + 1, np.bool_
        )  # a tick earlier: if not, what the policy remembers is not on record
        self._controller.reset("episode")
        self._readings.forget()
        self._pacer.begin()
        for k in range(steps):
            usable = self._observe(reference[k])
            self._commander.asked[...] = asked[k + 1]
            obs[k], measured[k] = self._obs, usable and self._fresh
            self._acted = False
            driven[k] = usable and self._drive(noise[k], action[k])
            acted[k + 1] = self._acted
            applied[k] = self._commander.applied
            if between is not None:
                between()
        measured[steps] = self._observe(reference[steps]) and self._fresh
        obs[steps] = self._obs
        self._commander.neutral()
        mask = (measured[:-1] & measured[1:] & driven & acted[:-1]).astype(np.float32)
        return Episode(obs, action, mask, applied)

    def _observe(self, reference: FloatArray) -> bool:
        """Wait for the tick and read the device; False where neutral had to be commanded instead."""
        lateness = self._pacer.wait()
        sample = self._device.latest()
        problem = "gives no reading" if sample is None else self._problem(sample)
        self._obs[self._channels.from_reference] = reference
        if problem is not None:
            self._fresh = False
            self._bad_tick(problem, sample)
            return False
        assert sample is not None
        self._accept()
        self._note_freshness(sample, lateness)
        return True

    def _problem(self, sample: Sample) -> str | None:
        """What makes a reading unusable, if anything; a usable one is left in `_readings.sensed`."""
        misshapen = self._readings.misshapen(sample)
        if misshapen is not None:
            return misshapen
        self._commander.note(sample)
        if sample.faults:
            return f"is in fault ({', '.join(sorted(sample.faults))})"
        return self._readings.problem(sample, self._commander.applied)

    def _accept(self) -> None:
        self._obs[self._channels.from_device] = self._readings.sensed
        self._has_obs = True

    def _note_freshness(self, sample: Sample, lateness: float) -> None:
        stale = sample.stale or sample.seq == self._seq
        self._seq = sample.seq
        self._fresh = not stale and lateness < _TOO_LATE * self._manifest.control_dt
        self._tally.stale += stale
        self._stale_row = self._stale_row + 1 if stale else 0
        if self._stale_row > self._max_stale:
            raise DeviceFault(f"the device has sent nothing new for {self._stale_row} ticks; check the link")

    def _bad_tick(self, problem: str, sample: Sample | None) -> None:
        self._commander.neutral()
        self._tally.bad += 1
        self._bad_row += 1
        if sample is not None and sample.faults == _WATCHDOG and self._tally.rearmed < self._max_rearms:
            self._tally.rearmed += 1
            self._device.start()
            self._commander.rearm()
        elif sample is not None and not sample.faults:
            self._tally.nonfinite += 1
        if self._bad_row > self._max_bad:
            raise DeviceFault(
                f"the device {problem} for {self._bad_row} ticks in a row; it was put into neutral"
            )

    def _drive(self, noise: FloatArray, raw: FloatArray) -> bool:
        """Act and command; `raw` receives the controller's action. False where it did not get through."""
        action = self._controller.act(self._obs, noise)
        if not np.isfinite(action, out=self._finite_action).all():
            self._nonfinite_action()
            return False
        self._bad_row, self._acted = 0, True
        raw[...] = action
        return self._commander.act(action)

    def _nonfinite_action(self) -> None:
        self._commander.neutral()
        self._tally.bad += 1
        self._tally.nonfinite += 1
        self._bad_row += 1
        if self._bad_row > self._max_bad:
            names = self.task.action_scalars
            worst = names[int(np.argmin(self._finite_action))]
            raise PolicyError(
                f"the controller's action {worst!r} is not finite for {self._bad_row} ticks in a row; "
                "the device was put into neutral"
            )

    def _check_reference(self, reference: FloatArray) -> None:
        wanted = len(self._channels.from_reference)
        if reference.ndim != 2 or len(reference) < 2 or reference.shape[1] != wanted:
            raise UsageError(
                f"reference has shape {list(reference.shape)}, expected [steps + 1, {wanted}] with steps >= 1"
            )
        if not np.isfinite(reference).all():
            raise UsageError("reference holds values that are not finite")

    def _draw_noise(self, steps: int, explore: bool, rng: np.random.Generator | None) -> FloatArray:
        shape = (steps, *self._manifest.noise.shape)
        if not explore:
            return np.zeros(shape, np.float32)
        if rng is None:
            raise UsageError("an exploring episode needs rng, the generator that its noise is drawn from")
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(self._explore_scale)
