"""One simulated device after the other, and all controllers on each of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from acclimate.adaptation import InlineAdapter
from acclimate.guard import Guard
from acclimate.loop import Controller, ControlLoop
from acclimate.manifest import Manifest
from acclimate.policy import Policy
from acclimate.trial import EpisodeKey, Trial, TrialPlan, tracking_error

from acclimate_bridge.deployments import draw_deployment, privileged
from acclimate_bridge.host_link import HostLink
from acclimate_bridge.pid import Pid
from acclimate_bridge.plant import Deployment, SimulatedServo
from acclimate_bridge.references import TrackingReferences, episode_steps, generator
from acclimate_bridge.servo_device import servo_device
from acclimate_bridge.servos import Friction, Servo
from acclimate_bridge.transport import LockstepTransport, VirtualClock

ADAPTIVE, PID = "adaptive", "pid"
_DEPLOYMENT, _PLANT, _REFERENCES, _EXPLORATION = range(4)  # keys of independent random numbers
_FIRST_ANGLE = 1.0  # rad; the joint stands anywhere within ± this at first
_BOOT_ID = 1


@dataclass(frozen=True)
class DeviceResult:
    """One device: for each controller its tracking error (rad, RMS) after 0, 1, … adaptation steps."""

    servo: str
    device: int
    deployment: Deployment
    errors: Mapping[str, tuple[float, ...]]
    refusals: tuple[str, ...]  # per adaptation step, why the guard refused it; empty where it did not


@dataclass(frozen=True)
class _Field:
    """A device in its surroundings, the same for every controller."""

    servo: Servo
    deployment: Deployment
    q0: float  # rad
    key: tuple[int, int]  # of all its random numbers


class Bench:
    """The controllers of an evaluation, ready to run."""

    def __init__(
        self,
        manifest: Manifest,
        policies: Mapping[str, Policy],
        pid: Pid | None,
        *,
        shots: int,
        episodes: int,
        seed: int,
        friction: Friction = "m6",
    ) -> None:
        """`policies` by name; the one called "adaptive" adapts. `manifest` is that of the main bundle."""
        self.manifest, self.shots = manifest, shots
        self.policies, self._pid = policies, pid
        self._episodes, self._seed, self._friction = episodes, seed, friction
        self._metric = tracking_error(manifest)

    def run(self, servo: Servo, device: int) -> DeviceResult:
        """All controllers on one device, which is new for each of them."""
        key = (zlib.crc32(servo.name.encode()), device)  # by name: the order of servos changes nothing
        rng = generator(self._seed, *key, _DEPLOYMENT)
        deployment = draw_deployment(servo, self.manifest.family.ranges, rng)
        field = _Field(servo, deployment, float(rng.uniform(-_FIRST_ANGLE, _FIRST_ANGLE)), key)
        errors: dict[str, tuple[float, ...]] = {}
        refusals: tuple[str, ...] = ()
        if self._pid is not None:
            errors[PID] = self._classical(self._pid, field)
        for name, policy in self.policies.items():
            self._prepare(policy, field)
            if name == ADAPTIVE and self.shots:
                errors[name], refusals = self._adapting(policy, field)
            else:
                errors[name] = self._fixed(policy, field)
        return DeviceResult(servo.name, device, deployment, errors, refusals)

    def _prepare(self, policy: Policy, field: _Field) -> None:
        """A policy as new, told the truth where it is one that has to be."""
        policy.restore()
        names = policy.manifest.privileged
        if names:
            policy.set_state("task", privileged(field.servo, field.deployment, names))

    def _classical(self, pid: Pid, field: _Field) -> tuple[float, ...]:
        """The sign test, like exploration, is not part of what is measured."""
        pid.reset("trial")
        with self._loop(pid, field) as (loop, trial):
            references, number = self._references(field), 0
            while pid.sign is None:
                loop.run_episode(references(loop.measure(), EpisodeKey(0, "wait", number)))
                number += 1
            return (trial.measure().rms,)

    def _fixed(self, policy: Policy, field: _Field) -> tuple[float, ...]:
        with self._loop(policy, field) as (_, trial):
            return (trial.measure().rms,)

    def _adapting(self, policy: Policy, field: _Field) -> tuple[tuple[float, ...], tuple[str, ...]]:
        with self._loop(policy, field) as (_, trial):
            report = trial.run(policy, InlineAdapter(policy), Guard.of(policy.manifest))
        measured = (report.before, *(shot.after for shot in report.shots))
        return tuple(m.rms for m in measured), tuple(shot.accepted.reason for shot in report.shots)

    @contextmanager
    def _loop(self, controller: Controller, field: _Field) -> Iterator[tuple[ControlLoop, Trial]]:
        """A fresh device under this controller, on simulated time."""
        clock = VirtualClock()
        noise = generator(self._seed, *field.key, _PLANT)
        plant = SimulatedServo(field.servo, field.deployment, noise, friction=self._friction, q0=field.q0)
        transport = LockstepTransport(servo_device(plant, _BOOT_ID), clock)
        plan = TrialPlan(self.shots, self._episodes)
        rng = generator(self._seed, *field.key, _EXPLORATION)
        with (
            HostLink(transport, clock, samples_per_period=1) as link,
            ControlLoop(controller, link, clock, self.manifest) as loop,
        ):
            yield loop, Trial(loop, self._references(field), self._metric, plan, rng)

    def _references(self, field: _Field) -> TrackingReferences:
        steps = episode_steps(self.manifest)
        return TrackingReferences(self.manifest, steps, self._seed, *field.key, _REFERENCES)
