"""One simulated device after the other, and all controllers on each of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from acclimate.bundle.manifest import Manifest
from acclimate.control.loop import Controller, ControlLoop
from acclimate.control.trial import EpisodeKey, Trial, TrialPlan
from acclimate.policy.adaptation import InlineAdapter
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy

from acclimate_bridge.evaluation.pid import Pid
from acclimate_bridge.evaluation.references import TrackingReferences, generator
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.simulation.deployments import draw_deployment, privileged, ranges_of
from acclimate_bridge.simulation.judge import JudgedServo
from acclimate_bridge.simulation.lockstep import LockstepTransport, VirtualClock
from acclimate_bridge.simulation.plant import Deployment, SimulatedServo
from acclimate_bridge.simulation.servo_device import servo_device
from acclimate_bridge.simulation.servos import Friction, Servo

PID = "pid"
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
    refusals: tuple[str, ...]  # of the main bundle, per adaptation step, why the guard refused it; else empty


@dataclass(frozen=True)
class Field:
    """A device in its surroundings, the same for every controller."""

    servo: Servo
    deployment: Deployment
    q0: float  # rad
    key: tuple[int, int]  # of all its random numbers


class Rig(NamedTuple):
    """A device under a controller, on simulated time."""

    loop: ControlLoop
    trial: Trial
    plant: SimulatedServo


class Bench:
    """The controllers of an evaluation, ready to run."""

    def __init__(
        self,
        main: str,
        policies: Mapping[str, Policy],
        pid: Pid | None,
        *,
        shots: Mapping[str, int],
        steps: int,
        episodes: int,
        seed: int,
        friction: Friction = "m6",
    ) -> None:
        """`policies` and the adaptation steps of each by name; `main` is the one that the others are compared with.

        steps: ticks of an episode; episodes: per measurement.
        """
        self.main, self.manifest = main, policies[main].manifest
        self.policies, self.pid, self.shots = policies, pid, shots
        self._steps, self._episodes, self._seed, self._friction = steps, episodes, seed, friction

    def run(self, servo: Servo, device: int) -> DeviceResult:
        """All controllers on one device, which is new for each of them."""
        field = self.field(servo, device)
        errors: dict[str, tuple[float, ...]] = {}
        refusals: tuple[str, ...] = ()
        if self.pid is not None:
            errors[PID] = self._classical(self.pid, field)
        for name, policy in self.policies.items():
            self.prepare(policy, field)
            errors[name], refused = self._trial(name, policy, field)
            refusals = refused if name == self.main else refusals
        return DeviceResult(servo.name, device, field.deployment, errors, refusals)

    def field(self, servo: Servo, device: int) -> Field:
        """The device of this number, as all controllers meet it."""
        key = (zlib.crc32(servo.name.encode()), device)  # by name: the order of servos changes nothing
        rng = generator(self._seed, *key, _DEPLOYMENT)
        deployment = draw_deployment(servo, ranges_of(self.manifest), rng)
        return Field(servo, deployment, float(rng.uniform(-_FIRST_ANGLE, _FIRST_ANGLE)), key)

    def prepare(self, policy: Policy, field: Field) -> None:
        """A policy as new, told the truth where it is one that has to be."""
        policy.restore()
        names = policy.manifest.privileged
        if names:
            policy.set_state("task", privileged(field.servo, field.deployment, names))

    def _classical(self, pid: Pid, field: Field) -> tuple[float, ...]:
        """The sign test, like exploration, is not part of what is measured."""
        with self.rig(pid, field) as rig:
            self.find_sign(pid, rig, field)
            return (rig.trial.measure().headline,)

    def find_sign(self, pid: Pid, rig: Rig, field: Field) -> None:
        """Let a PID that is new to the device test which way its motor turns."""
        pid.reset("trial")
        references, number = self.references(field), 0
        while pid.sign is None:
            rig.loop.run_episode(references(rig.loop.measure(), EpisodeKey(0, "wait", number)))
            number += 1

    def _trial(self, name: str, policy: Policy, field: Field) -> tuple[tuple[float, ...], tuple[str, ...]]:
        """Errors after 0, 1, … steps, and why steps were refused."""
        with self.rig(policy, field, policy.manifest, self.shots[name]) as rig:
            if not self.shots[name]:
                return (rig.trial.measure().headline,), ()
            report = rig.trial.run(policy, InlineAdapter(policy), Guard.of(policy.manifest))
        measured = (report.before, *(shot.after for shot in report.shots))
        return tuple(m.headline for m in measured), tuple(shot.accepted.reason for shot in report.shots)

    @contextmanager
    def rig(
        self,
        controller: Controller,
        field: Field,
        manifest: Manifest | None = None,
        shots: int = 0,
        reward: Mapping[str, float] | None = None,
    ) -> Iterator[Rig]:
        """A fresh device under this controller; `manifest` is the controller's own where it has one.

        reward: weights by which the device judges itself, if it does (`JudgedServo`).
        """
        clock = VirtualClock()
        noise = generator(self._seed, *field.key, _PLANT)
        plant = SimulatedServo(field.servo, field.deployment, noise, friction=self._friction, q0=field.q0)
        device = servo_device(plant if reward is None else JudgedServo(plant, reward), _BOOT_ID)
        transport = LockstepTransport(device, clock)
        trial = TrialPlan(shots, self._episodes)
        with (
            HostLink(transport, clock, samples_per_period=1) as link,
            ControlLoop(controller, link, clock, manifest or self.manifest) as loop,
        ):
            rng = self.exploration(field)
            yield Rig(loop, Trial(loop, self.references(field), trial, rng), plant)

    def references(self, field: Field, steps: int | None = None) -> TrackingReferences:
        """What there is to track on this device, in episodes of `steps` ticks, or as long as a window's."""
        steps = self._steps if steps is None else steps
        return TrackingReferences(self.manifest, steps, self._seed, *field.key, _REFERENCES)

    def exploration(self, field: Field) -> np.random.Generator:
        """Where the noise of exploration comes from."""
        return generator(self._seed, *field.key, _EXPLORATION)
