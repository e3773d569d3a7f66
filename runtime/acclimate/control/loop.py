"""The control loop: one tick is sample, check, act, check, clamp, slew-limit, command.

Whatever raises inside an episode, the device is stopped before the error leaves the loop.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.channel_map import ChannelMap
from acclimate.control.commanding import Commander
from acclimate.control.device import Clock, Device, Sample
from acclimate.control.episode_inputs import check_reference, draw_noise, stretch
from acclimate.control.loop_stats import LoopStats, Tally
from acclimate.control.pacer import Pacer
from acclimate.control.patience import Patience
from acclimate.control.readings import Readings
from acclimate.control.rearming import WATCHDOG, Rearming
from acclimate.control.rows import Rows
from acclimate.errors import AcclimateError, DeviceFault, MismatchError, PolicyError
from acclimate.policy.continual import Continual
from acclimate.policy.policy import Scope
from acclimate.task.episode import Episode
from acclimate.task.spec import TaskSpec

_TOO_LATE = 0.5  # of a period: a tick this late measures another transition than the one trained on


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
        max_action: float = 1.0,
        obeyed: bool = True,
        every: Callable[[], None] | None = None,
    ) -> None:
        """Raises MismatchError where the device's channels or its watchdog do not suit the bundle.

        max_action: the share of the way from neutral to each limit of the action that may be used.
        obeyed: False where the device is told what to do and does not do it, as in a dry run.
        every: called after every command, where the slack of the period is.

        How long the loop does without what it needs, see `Patience`: at first it commands neutral, then it stops the
        device and raises DeviceFault. Only a tripped watchdog is cleared by the loop itself: it is alive.
        """
        self._channels = ChannelMap(manifest, device.caps)
        self._readings = Readings(self._channels, device.caps, obeyed=obeyed)
        self._controller, self._device, self._clock = controller, device, clock
        self._manifest = manifest
        self.patience = Patience.of(manifest.control_dt, device.caps.watchdog)
        self._tally = Tally()
        self._commander = Commander(device, self._channels, self._tally, max_action)
        self.every = every
        self._pacer = Pacer(clock, manifest.control_dt, self._tally)
        self.learner: Continual | None = None  # learns from every tick, while it is driven
        self._allocate(manifest)
        self._rearming = Rearming()
        self._seq: int | None = None  # of the newest reading that a tick has used
        self._looked: int | None = None  # and of the newest that was looked at, also outside of ticks
        # When the last usable fresh reading came and the last finite action; when this run of ticks began.
        self._seen_at = self._sane_at = self._begun_at = -math.inf

    def _allocate(self, manifest: Manifest) -> None:
        self._obs: FloatArray = np.zeros(manifest.n_obs, np.float32)
        self._quiet: FloatArray = np.zeros(manifest.noise.shape, np.float32)
        self._places: list[int] = self._channels.from_device.tolist()
        self._referred = stretch(self._channels.from_reference)
        self._fresh = self._armed = False
        self._raw: FloatArray | None = None  # what the controller did in this tick
        self._through = False  # and whether it got through

    def __enter__(self) -> ControlLoop:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout: float = 1.0) -> None:
        """Arm the device and wait for a reading from after that. Raises DeviceFault if none comes in `timeout` s."""
        try:
            before = self._device.latest()
            self._seq = self._looked = before.seq if before is not None else None
            self._device.start(self._manifest.control_dt)
            self._armed = True
            self._commander.rearm()
            self._await_reading(timeout)
        except BaseException:
            self.stop()
            raise

    def _await_reading(self, timeout: float) -> None:
        self._readings.forget()
        self._pacer.begin()
        end, problem = self._pacer.now + timeout, "gives no new reading"
        while self._pacer.now < end:
            self._pacer.wait()
            sample = self._device.latest()
            if sample is None or sample.stale or sample.seq == self._seq:
                continue
            problem = self._problem(sample) or ""
            if not problem:
                self._see(sample, self._pacer.now)
                if self._commander.neutral():
                    return
                problem = "does not measure where it is to be held"
        raise DeviceFault(
            f"the device was started, but {problem} within {timeout:g} s; check it and the link"
        )

    def stop(self) -> None:
        """Bring the actuators into their safe state, also where the link is already lost."""
        self._armed = False
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
        return np.array(self._commander.applied, np.float32)

    @property
    def obs(self) -> FloatArray:
        """The observation of the newest tick, (n_obs,)."""
        return self._obs.copy()

    def stats(self) -> LoopStats:
        return self._tally.summary()

    def measure(self) -> FloatArray:
        """A fresh observation (n_obs,), outside of any tick, also before the start; references are the last given.

        Waits where the newest reading is too old to drive by. Raises DeviceFault where no other comes.
        """
        self._readings.forget()  # whoever measures may have put the machine back
        end = self._clock.now() + self.patience.lost
        while True:
            sample, now = self._device.latest(), self._clock.now()
            problem = "gives no reading" if sample is None else self._problem(sample)
            if sample is not None and problem is None:
                if sample.seq != self._looked and not sample.stale:
                    self._take_reading()
                    self._looked, self._seen_at = sample.seq, now
                if now - self._seen_at <= self.patience.blind:
                    return self._obs.copy()
                problem = "has sent nothing new"
            if now >= end:
                raise DeviceFault(f"the device {problem} for {self.patience.lost:g} s; check it and the link")
            self._clock.sleep_until(now + self._manifest.control_dt / 2)

    def rest(self, ticks: int) -> None:
        """Keep the actuators in neutral for `ticks` periods."""
        self._pacer.begin()
        for _ in range(ticks):
            self._pacer.wait()
            self._commander.neutral()

    def require_unbroken(self) -> None:
        """Raises DeviceFault if this program was held up since the last tick: nothing moves again by itself."""
        lateness = self._clock.now() - self._pacer.now - self._manifest.control_dt
        if lateness > self.patience.pause:
            raise _held_up(lateness)

    def run_episode(
        self,
        reference: FloatArray,
        explore: bool = False,
        rng: np.random.Generator | None = None,
        between: Callable[[], None] | None = None,
        record: Callable[[Episode], None] | None = None,
    ) -> Episode:
        """One episode along `reference` (steps + 1, n_ref); ends in neutral, where it may stay as long as you like.

        explore: give the controller noise drawn from `rng` instead of zeros.
        between: called after every command, where the slack of the period is.
        record: given the episode, also where it is cut short, as far as it went.
        Raises DeviceFault, PolicyError; UsageError for a reference that does not fit.
        """
        check_reference(reference, self._manifest.task.n_references, self._channels.reaches)
        noise = draw_noise(self._manifest, len(reference) - 1, rng) if explore else None
        rows = Rows(len(reference) - 1, self._manifest)
        try:
            self._episode(reference, noise, between, rows)
        except BaseException:
            self.stop()
            raise
        finally:
            if record is not None and rows.ticks > 1:
                record(rows.episode())
        return rows.episode()

    def _episode(
        self,
        reference: FloatArray,
        noise: FloatArray | None,
        between: Callable[[], None] | None,
        rows: Rows,
    ) -> None:
        obs, action, applied = rows.obs, rows.action, rows.applied
        measured, driven, acted = rows.measured, rows.driven, rows.acted
        asked = reference[:, self._channels.of_reference].tolist()
        commander = self._commander
        commander.explores(noise is not None)
        self._begin()
        for k in range(len(reference) - 1):
            usable = self._observe(reference[k])
            commander.asked = asked[k + 1]
            obs[k], measured[k] = self._obs, usable and self._fresh
            driven[k] = usable and self._drive(self._quiet if noise is None else noise[k], action[k])
            acted[k + 1] = self._raw is not None
            applied[k] = commander.applied
            rows.ticks = k + 1
            self._happen(between)
        measured[-1] = self._observe(reference[-1]) and self._fresh
        obs[-1] = self._obs
        rows.ticks += 1
        commander.neutral()

    def follow(self, rows: Iterable[FloatArray | None], between: Callable[[], None] | None = None) -> None:
        """Drive noise-free along rows of reference (n_ref,), one a tick, as long as there are any; neutral for None.

        Keeps no record, and ends in neutral. Raises as `run_episode`.
        """
        action: FloatArray = np.zeros(self._manifest.n_act, np.float32)
        try:
            self._commander.explores(False)
            self._begin()
            for row in rows:
                if row is None:
                    self._stand_by()
                elif self._observe(row):
                    self._commander.asked = row[self._channels.of_reference].tolist()
                    self._drive(self._quiet, action)
                self._happen(between)
            self._commander.neutral()
        except BaseException:
            self.stop()
            raise

    def _begin(self) -> None:
        if self.learner is not None:
            self.learner.begin()
        if not self._armed:
            raise DeviceFault("the device is not armed: the loop was not started, or was stopped since")
        self._controller.reset("episode")
        self._readings.forget()
        self._pacer.begin()
        self._sane_at = self._begun_at = self._pacer.now
        if self._pacer.now - self._seen_at > self._manifest.control_dt:
            self._seq = self._looked  # what was seen then is not news any more

    def _happen(self, between: Callable[[], None] | None) -> None:
        if self.learner is not None:
            self.learner.tick(self._obs, self._raw, measured=self._fresh, through=self._through)
        if between is not None:
            between()
        if self.every is not None:
            self.every()

    def _stand_by(self) -> None:
        """A tick in neutral, in which the device is watched all the same."""
        if self._observe(None):
            self._commander.neutral()
            self._sane_at = self._pacer.now

    def _observe(self, reference: FloatArray | None) -> bool:
        """Wait for the tick and read the device; False where neutral had to be commanded instead."""
        patience = self.patience
        self._fresh, self._raw, self._through = False, None, False
        lateness = self._pacer.wait()
        if lateness > patience.pause:
            raise _held_up(lateness)
        sample = self._device.latest()
        if reference is not None:
            self._obs[self._referred] = reference
        problem = "gives no reading" if sample is None else self._problem(sample)
        if sample is not None and problem is None:
            fresh = sample.seq != self._seq and not sample.stale
            self._see(sample, self._pacer.now, fresh)
            self._fresh = fresh and lateness < _TOO_LATE * self._manifest.control_dt
            if fresh or self._pacer.now - self._seen_at <= patience.blind:
                return True
            self._tally.blind += 1
            problem = "has sent nothing new"
        self._unusable(problem or "", sample)
        return False

    def _problem(self, sample: Sample) -> str | None:
        """What makes a reading unusable, if anything; a usable one is left in `_readings.sensed`."""
        misshapen = self._readings.misshapen(sample)
        if misshapen is not None:
            return misshapen
        self._commander.note(sample)
        if sample.faults and self._armed:
            return f"is in fault ({', '.join(sorted(sample.faults))})"
        return self._readings.problem(sample, self._commander.applied if self._armed else [])

    def _see(self, sample: Sample, now: float, fresh: bool = True) -> None:
        """Take a usable reading."""
        self._take_reading()
        self._seq = self._looked = sample.seq
        self._rearming.obeys()
        if fresh:
            self._seen_at = now
        else:
            self._tally.stale += 1

    def _take_reading(self) -> None:
        obs = self._obs
        for i, value in zip(self._places, self._readings.sensed, strict=True):
            obs[i] = value

    def _unusable(self, problem: str, sample: Sample | None) -> None:
        self._commander.neutral()
        self._tally.bad += 1
        if sample is not None and sample.faults:
            self._in_fault(sample)
        elif sample is not None and self._seq != sample.seq:
            self._tally.nonfinite += 1
        gone = self._pacer.now - max(self._seen_at, self._begun_at)
        if gone > self.patience.lost:
            raise DeviceFault(f"the device {problem} for {gone:.2g} s; it was stopped. Check it and the link")

    def _in_fault(self, sample: Sample) -> None:
        """Arm it again where its watchdog alone has tripped; whatever else it is, a person has to look at it."""
        if sample.faults != WATCHDOG:
            raise DeviceFault(f"the device is in fault ({', '.join(sorted(sample.faults))}); it was stopped")
        if self._rearming.is_new(sample, self._pacer.now):
            self._tally.rearmed += 1
        self._device.rearm(sample)  # again and again until a reading shows that it has arrived
        self._commander.rearm()

    def _drive(self, noise: FloatArray, raw: FloatArray) -> bool:
        """Act and command; `raw` receives the controller's action. False where it did not get through."""
        action = self._controller.act(self._obs, noise)
        through = self._commander.act(action)
        if through is None:
            self._nonfinite_action(action)
            return False
        self._sane_at, self._raw, self._through = self._pacer.now, action, through
        raw[...] = action
        return through

    def _nonfinite_action(self, action: FloatArray) -> None:
        self._commander.neutral()
        self._tally.bad += 1
        self._tally.nonfinite += 1
        if self._pacer.now - self._sane_at > self.patience.blind:
            worst = self.task.action_scalars[int(np.argmin(np.isfinite(action)))]
            raise PolicyError(
                f"the controller's action {worst!r} is not finite any more; the device was stopped"
            )


def _held_up(lateness: float) -> DeviceFault:
    return DeviceFault(
        f"this program was held up for {lateness:.2g} s in the middle of a drive; the device was stopped. Look "
        "at the machine, then run again"
    )
