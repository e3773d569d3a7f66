"""What a bad link does: are corrupted commands obeyed, for how long does a machine move unseen, how well does it track?

Ten million frames are corrupted in every way that a wire has, and read. A thousand seeded faults, of twelve kinds,
happen in mid-drive to a servo that is always on the move: cut, stalled or flooded lines, resets, a host that is held
up. And simulated servos with unknown loads are driven by a policy that adapts, before and after it has, over links on
which more and more frames are lost or damaged in both directions. All on simulated time, with the codec, the link, the
loop and the device of the real thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from acclimate.bundle.file import load
from acclimate.control.loop import ControlLoop
from acclimate.control.trial import Trial, TrialPlan
from acclimate.errors import DeviceFault
from acclimate.policy.adaptation import InlineAdapter
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy
from acclimate.stats import mean_interval
from acclimate_bridge.evaluation.episodes import SeededEpisodes
from acclimate_bridge.link.host_link import HostLink, LinkStats
from acclimate_bridge.simulation.choice import Choice
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.faults.plan import FaultPlan
from acclimate_bridge.simulation.faults.transport import FaultyTransport
from acclimate_bridge.simulation.lockstep import VirtualClock
from acclimate_bridge.simulation.seeding import EXPLORATION, NOISE, REFERENCES, generator
from acclimate_bridge.simulation.worlds import choose, world_for

from benchmarks._blindness import KINDS, blindness, drawn
from benchmarks._corruption import corrupt
from benchmarks.harness import Figure

FRAMES, DRIVES = 10_000_000, 1_000
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)  # of frames, half of them lost and half damaged
MACHINES, SHOTS, EPISODES, STEPS = 12, 2, 4, 100
BUNDLE = Path(__file__).parents[1] / "examples" / "bundles" / "servo_wide_maml.acclimate"


def run(seed: int) -> Mapping[str, Figure]:
    """`wrong_commands` of `corrupted_frames`; `blind_s`: the longest motion after the last fresh reading, at 100 Hz and
    a watchdog of .1 s, of all faults and `blind_s.KIND` of each kind.

    `error.before|after.SHARE`: RMS tracking error in rad, over machines; `ended.SHARE`: drives that a fault ended;
    `unaccounted.SHARE`: frames that were lost or damaged on the way, and that the other side has not counted.
    """
    found = corrupt(FRAMES, seed)
    figures: dict[str, Figure] = {
        "corrupted_frames": float(found.corrupted),
        "wrong_commands": float(found.wrong),
        **blind(DRIVES, seed),
    }
    policy = Policy(load(BUNDLE), "onnxruntime")
    for share in SHARES:
        figures |= tracking(policy, share, MACHINES, seed)
    return figures


def blind(drives: int, seed: int) -> dict[str, Figure]:
    """The longest of all, and of each kind of fault."""
    worst = dict.fromkeys(KINDS, 0.0)
    for number in range(drives):
        fault = drawn(number, seed)
        worst[fault.kind] = max(worst[fault.kind], blindness(fault, number))
    return {
        "blind_s": max(worst.values()),
        "drives": float(drives),
        **{f"blind_s.{kind}": value for kind, value in worst.items()},
    }


class Tracked(NamedTuple):
    """One trial on one machine: the error before and after adapting, and what the link made of it."""

    before: float
    after: float
    unaccounted: int


def tracking(policy: Policy, share: float, machines: int, seed: int) -> dict[str, Figure]:
    """Figures of trials in which so large a share of the frames suffers."""
    tracked = [_track(policy, share, number, seed) for number in range(machines)]
    done = [each for each in tracked if each is not None]
    name = f"{share:g}"
    figures: dict[str, Figure] = {f"ended.{name}": float(machines - len(done))}
    if done:
        figures |= {
            f"error.before.{name}": mean_interval(each.before for each in done),
            f"error.after.{name}": mean_interval(each.after for each in done),
            f"unaccounted.{name}": float(sum(each.unaccounted for each in done)),
        }
    return figures


def _track(policy: Policy, share: float, number: int, seed: int) -> Tracked | None:
    """A whole trial over a bad link; None where it ended in a fault."""
    manifest, clock = policy.manifest, VirtualClock()
    machine = choose(world_for(None, load(BUNDLE)), Choice.parse(f"#{number}"), seed)
    core = DeviceCore(machine.start(generator(seed, number, NOISE)), machine.profile, boot_id=1)
    transport = FaultyTransport(core, clock, FaultPlan(), np.random.default_rng([seed, number]))
    policy.restore()
    try:
        with HostLink(transport, clock) as link, ControlLoop(policy, link, clock, manifest) as loop:
            plan = FaultPlan(flip=share / 2, drop=share / 2)
            transport.change(plan, plan)
            before = link.stats
            episodes = SeededEpisodes(manifest.task, STEPS, seed, number, REFERENCES)
            rng = generator(seed, number, EXPLORATION)
            report = Trial(loop, episodes, TrialPlan(SHOTS, EPISODES, rollback=True), rng).run(
                policy, InlineAdapter(policy), Guard.of(manifest)
            )
            transport.change(FaultPlan(), FaultPlan())
            loop.rest(10)
            loop.measure()
            missed = unaccounted(transport, before, link.stats)
    except DeviceFault:
        return None
    return Tracked(report.before.headline, report.shots[-1].after.headline, missed)


def unaccounted(transport: FaultyTransport, before: LinkStats, after: LinkStats) -> int:
    """Of what was done to frames, by how much the counters of both sides are off."""
    there, back = transport.to_device.done, transport.to_host.done
    return (
        abs(after.damaged - before.damaged - back.damaged)
        + abs(after.lost - before.lost - back.gone)
        + abs(after.device_damaged - before.device_damaged - there.damaged)
    )
