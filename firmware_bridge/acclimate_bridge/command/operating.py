"""How a machine is treated, whatever it follows: opened, looked at, tried gently, and watched."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from acclimate.bundle.file import Bundle
from acclimate.bundle.manifest import Manifest
from acclimate.control.clock import RealClock
from acclimate.control.device import Device, DeviceCaps, Releasable
from acclimate.control.devices import DeviceAddress, opened
from acclimate.control.envelope import require_inside
from acclimate.control.loop import ControlLoop
from acclimate.errors import UsageError
from acclimate.policy.continual import Continual
from acclimate.policy.policy import Policy
from acclimate.task.spec import TaskSpec, Track

from acclimate_bridge.command import sign_test
from acclimate_bridge.command.approach import approach, go_back
from acclimate_bridge.command.connecting import SCHEME
from acclimate_bridge.command.dry_run import DryRun
from acclimate_bridge.command.learning import learning
from acclimate_bridge.command.watch import Watch

_MARGIN = 0.05  # of the range of a sensor, that references keep away from its ends

Tell = Callable[[str], None]


class Operation(NamedTuple):
    """What `run` was told about it.

    max_action:  share of the way from neutral to each limit that may be used.
    amplitude:   how far random references go at most, in the unit of what is measured.
    abort_error: ends the drive, in the headline's unit.
    sign_test:   find out first which way the motors turn.
    """

    max_action: float = 1.0
    amplitude: float = math.inf
    abort_error: float = math.inf
    sign_test: bool = False
    release_estop: bool = False
    dry_run: bool = False
    approach: bool = False
    go_back: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace, manifest: Manifest) -> Operation:
        """As the options of `run` say. Raises UsageError for what cannot be."""
        operation = cls(
            max_action=_above_zero("--max-action", args.max_action, 1.0, most=1.0),
            amplitude=_above_zero("--amplitude", args.amplitude, math.inf),
            abort_error=_above_zero("--abort-error", args.abort_error, math.inf),
            sign_test=_wants_sign_test(args, manifest),
            release_estop=args.release_estop,
            dry_run=args.dry_run,
            approach=args.approach,
            go_back=args.go_back,
        )
        tracks = manifest.task.reference.tracks if manifest.task.reference else ()
        for option, given in (("--approach", args.approach), ("--return", args.go_back)):
            if given and not tracks:
                raise UsageError(
                    f"{option} needs something to follow, and {manifest.task.name} follows nothing"
                )
            if given and args.dry_run:
                raise UsageError(f"{option} moves the machine, and --dry-run does not")
        if operation.abort_error < math.inf and manifest.task.headline.kind != "rms":
            raise UsageError(
                f"--abort-error needs an error, and {manifest.task.name} is judged by {manifest.task.headline.name}"
            )
        return operation


def _above_zero(option: str, value: float | None, usual: float, most: float = math.inf) -> float:
    if value is None:
        return usual
    if not 0.0 < value <= most or not math.isfinite(value):
        raise UsageError(
            f"{option} must be above 0{f' and at most {most:g}' * (most < math.inf)}, found {value:g}"
        )
    return value


def _wants_sign_test(args: argparse.Namespace, manifest: Manifest) -> bool:
    """Before the first drive of a machine that is real; one that was learned from has been driven before."""
    simulated = (args.device or args.port).startswith(SCHEME)
    known = args.load is not None or args.keep is not None or simulated
    return not (known or args.no_sign_test or args.dry_run) and sign_test.applies(manifest)


class Ready(NamedTuple):
    """A machine behind its loop, which is not armed yet.

    task: as this device can do it; learner: who adapts the policy while it drives, where that is asked of the bundle.
    """

    loop: ControlLoop
    device: Device
    task: TaskSpec
    dry: DryRun | None
    learner: Continual | None


@contextlib.contextmanager
def ready(
    address: DeviceAddress, bundle: Bundle, policy: Policy, operation: Operation, watch: Watch, tell: Tell
) -> Iterator[Ready]:
    """The device at an address, looked at and tried. Raises DeviceFault, MismatchError, UsageError for an address."""
    clock, manifest = RealClock(), policy.manifest
    with contextlib.closing(opened(address, bundle, clock, tell)) as device, learning(policy) as learner:
        if operation.release_estop and not operation.dry_run:
            _release_estop(device, address)
        if operation.sign_test:
            found = sign_test.find_signs(manifest, device, clock, operation.max_action)
            for line in sign_test.lines(found):
                tell(line)
            sign_test.require_wiring(manifest, found)
        dry = DryRun(device) if operation.dry_run else None
        loop = ControlLoop(
            policy, dry or device, clock, manifest, max_action=operation.max_action, obeyed=dry is None
        )
        loop.learner = learner if dry is None else None  # what is not moved teaches nothing
        watch.of(loop)
        task = tamed(manifest.task, device.caps, operation.amplitude)
        yield Ready(loop, device, task, dry, learner)


def _release_estop(device: Device, address: DeviceAddress) -> None:
    if not isinstance(device, Releasable):
        raise UsageError(
            f"--release-estop: the device {address} has no emergency stop that could be released here"
        )
    device.release_estop()


@contextlib.contextmanager
def armed(machine: Ready, manifest: Manifest, operation: Operation, watch: Watch) -> Iterator[ControlLoop]:
    """The loop, armed where the policy may begin; taken there, and back at the end, where that was asked for."""
    loop = machine.loop
    before = loop.measure()
    if not operation.approach:
        require_inside(manifest, before)
    with loop:
        if operation.approach:
            approach(loop, manifest, operation.abort_error)
            watch.of(loop)
        yield loop
        if operation.go_back:
            go_back(loop, manifest.task, before, operation.abort_error)


def tamed(task: TaskSpec, caps: DeviceCaps, amplitude: float) -> TaskSpec:
    """The task with random references that go no further than `amplitude`, and than the device's sensors reach."""
    if task.reference is None:
        return task
    sensors = {channel.name: channel for channel in caps.sensors}
    tracks = []
    for track in task.reference.tracks:
        sensor = sensors[track.measured]
        margin = _MARGIN * (sensor.maximum - sensor.minimum)
        tracks.append(_within(track, sensor.minimum + margin, sensor.maximum - margin, amplitude))
    return replace(task, reference=replace(task.reference, tracks=tuple(tracks)))


def _within(track: Track, low: float, high: float, amplitude: float) -> Track:
    """With the largest amplitude that stays within, about a center as near to its own as that lets it be."""
    reach = min(track.amplitude, amplitude, 0.5 * (high - low))
    center = min(max(track.center, low + reach), high - reach)
    return replace(track, amplitude=reach, center=center)
