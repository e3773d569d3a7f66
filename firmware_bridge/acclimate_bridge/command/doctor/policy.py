"""The bundle on this machine and this device: does it fit, does it compute, does it look at what it is given?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from acclimate.bundle.file import Bundle
from acclimate.bundle.manifest import Manifest
from acclimate.command.checks import Check
from acclimate.control.channel_map import differences, scalars
from acclimate.control.device import Channel, DeviceCaps
from acclimate.errors import AcclimateError
from acclimate.policy.policy import Policy

from acclimate_bridge.command.doctor.link import noise

_CORNERS, _POINTS = 64, 8
_NOISY = 0.01  # of a channel's range, standard deviation at rest


def check_fit(manifest: Manifest, caps: DeviceCaps) -> Iterator[Check]:
    """Whether the device is the one that the bundle was made for."""
    found = differences(manifest, caps)
    fits = f"{len(caps.sensors)} sensors and {len(caps.actuators)} actuators are those of {manifest.name}"
    remedy = "use another bundle, or correct the firmware's channels" if found else ""
    yield Check("channels", "; ".join(found) or fits, remedy)


def check_rest(manifest: Manifest, caps: DeviceCaps, readings: np.ndarray) -> Iterator[Check]:
    """What its sensors measure while nothing moves, against the ranges of the bundle."""
    wanted = {c.name: c for o in manifest.task.sensors for c in scalars(o)}
    for i, sensor in enumerate(caps.sensors):
        channel = wanted.get(sensor.name)
        if channel is not None and len(readings):
            yield _rest(channel, readings[:, i : i + 1])


def _rest(channel: Channel, values: np.ndarray) -> Check:
    name, unit, low, high = channel
    mean, spread = float(np.mean(values)), float(noise(values)[0])
    found = f"{mean:.4g} {unit} at rest, noise {spread:.2g}"
    if not np.isfinite(values).all():
        return Check(name, "it gives no value now and then", "check that sensor's wiring")
    if not low <= mean <= high:
        return Check(name, found, f"it must be within {low:g} to {high:g}: check its unit, zero and scale")
    noisy = spread > _NOISY * (high - low)
    return Check(
        name, found, "that is more than training knows: filter it, or check its ground" if noisy else ""
    )


def check_bundle(bundle: Bundle, engine: str) -> Iterator[Check]:
    """The hashes have been checked by whoever loaded it."""
    yield Check("bundle", f"{bundle.manifest.name}: hashes are right")
    try:
        policy = Policy(bundle, engine)
    except AcclimateError as error:
        yield Check("golden sequence", "it is not reproduced", str(error))
        return
    yield Check("golden sequence", f"reproduced on {policy.choice.engine}")
    yield _extremes(policy)
    yield _effects(policy)


def _extremes(policy: Policy) -> Check:
    low, high = _ranges(policy.manifest)
    rng = np.random.default_rng(0)
    corners = np.where(rng.random((_CORNERS, len(low))) < 0.5, low, high).astype(np.float32)
    noise = np.zeros(policy.manifest.noise.shape, np.float32)
    policy.reset("trial")
    finite = all(np.isfinite(policy.act(obs, noise)).all() for obs in corners)
    policy.reset("trial")
    remedy = "" if finite else "do not drive with it: export it again, or train with observations as large"
    return Check("extreme inputs", "actions stay finite" if finite else "an action is not finite", remedy)


def _effects(policy: Policy) -> Check:
    """Entries of the observation that change no action, wherever one looks; a reward is only for learning."""
    low, high = _ranges(policy.manifest)
    rng = np.random.default_rng(1)
    points = rng.uniform(low + 0.25 * (high - low), high - 0.25 * (high - low), (_POINTS, len(low)))
    idle = [
        name
        for channel in policy.manifest.observation
        if channel.source != "reward"
        for name in channel.scalars
        if not any(_matters(policy, point, policy.manifest.task.index(name)) for point in points)
    ]
    found = "all of them matter" if not idle else f"{', '.join(idle)} has no effect"
    return Check("inputs", found, "was the policy trained to its end, and with these?" if idle else "")


def _matters(policy: Policy, point: np.ndarray, entry: int) -> bool:
    low, high = _ranges(policy.manifest)
    other = point.copy()
    other[entry] += 0.1 * (high[entry] - low[entry])
    return bool((_action(policy, point) != _action(policy, other)).any())


def _action(policy: Policy, obs: np.ndarray) -> np.ndarray:
    policy.reset("trial")
    return policy.act(obs.astype(np.float32), np.zeros(policy.manifest.noise.shape, np.float32)).copy()


def _ranges(manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    low = np.array([c.minimum for c in manifest.observation for _ in c.scalars])
    high = np.array([c.maximum for c in manifest.observation for _ in c.scalars])
    return low, high
