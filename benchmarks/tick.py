"""What a tick of the control loop costs on a device that takes no time, against the loop before it failed safe.

Before is commit 4ad9d21, taken from the repository's history into a folder of its own. Both run the same policy, the C
member of a bundle that ships, on simulated time; rounds alternate, each in a process of its own, and the ratio is that
of the fastest ticks. The share of a core that driving takes is measured in real time, at 50 Hz.

    tick_ratio   µs per tick, after over before; at most .7
    cpu_ratio    share of one core at 50 Hz, after over before
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from acclimate.bundle.file import load
from acclimate.policy.trust import FOLDER, trust

from benchmarks._history import checked_out
from benchmarks.harness import Figure

BEFORE = "4ad9d21"
ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "examples" / "bundles" / "servo_wide_rl2.acclimate"
ROUNDS = 5

_PROGRAM = """
import json, sys, time, zipfile
from pathlib import Path
import numpy as np

try:
    from acclimate.bundle.file import load
    from acclimate.command.bench.stand_in import StandIn
    from acclimate.control.clock import RealClock
    from acclimate.control.loop import ControlLoop
    from acclimate.policy.policy import Policy
except ImportError:
    from acclimate.arrays import unpack_arrays
    from acclimate.bench.stand_in import StandIn
    from acclimate.bundle import Bundle
    from acclimate.clock import RealClock
    from acclimate.golden import Golden
    from acclimate.loop import ControlLoop
    from acclimate.manifest import *
    from acclimate.policy import Policy

    def load(path):
        # Of the format that this version did not know yet; it has all that its own one had.
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        tree = json.loads(members["manifest.json"])
        task = tree["task"]
        shapes = lambda tensors: tuple(TensorSpec(t["name"], tuple(t["shape"])) for t in tensors)
        channels = lambda kind, items, *more: tuple(
            kind(c["name"], c["unit"], c["minimum"], c["maximum"], *(c[m] for m in more)) for c in items
        )
        act = tree["graphs"]["act"]
        manifest = Manifest(
            name=tree["name"], algorithm=tree["algorithm"], control_dt=task["control_dt"],
            observation=channels(ObservationChannel, task["observation"], "source"),
            action=channels(ActionChannel, task["action"]),
            state=tuple(
                StateTensor(t["name"], tuple(t["shape"]), t["reset"], t["written_by"]) for t in tree["state"]
            ),
            graphs=Graphs(GraphSpec(shapes(act["inputs"]), shapes(act["outputs"]))),
            noise=NoiseSpec(tuple(tree["noise"]["shape"])), limits=Limits({}, tree["limits"]["trust_radius"]),
            family=Family("servo", "wide", {}),
        )
        golden = unpack_arrays(members["golden.npz"], "golden")
        after = {n.removeprefix("act.next."): a for n, a in golden.items() if n.startswith("act.next.")}
        recorded = Golden(golden["act.obs"], golden["act.noise"], golden["act.action"], after)
        state = unpack_arrays(members["state.npz"], "state")
        return Bundle(Path(path), manifest, members, state, recorded, "0" * 64)


class Still:
    t = 0.0

    def now(self):
        return self.t

    def sleep_until(self, t):
        self.t = max(t, self.t)


def n_references(manifest):
    return sum(c.source == "reference" for c in manifest.observation)


bundle = load(sys.argv[1])
policy, manifest = Policy(bundle, "native"), bundle.manifest
steps, times, clock = 4000, [], Still()
reference = np.zeros((steps + 1, n_references(manifest)), np.float32)
with ControlLoop(policy, StandIn(manifest, clock), clock, manifest) as loop:
    for _ in range(8):
        begin = time.perf_counter()
        loop.run_episode(reference)
        times.append((time.perf_counter() - begin) / steps)

from dataclasses import replace
slow = replace(manifest, task=replace(manifest.task, control_dt=0.02)) if hasattr(manifest, "task") else replace(
    manifest, control_dt=0.02
)
clock = RealClock()
with ControlLoop(policy, StandIn(slow, clock), clock, slow) as loop:
    loop.run_episode(reference[:26])
    begin, used = time.perf_counter(), time.process_time()
    loop.run_episode(reference[:151])
    share = (time.process_time() - used) / (time.perf_counter() - begin)
print(json.dumps({"tick": min(times), "cpu": share}))
"""


def run(seed: int) -> Mapping[str, Figure]:
    """Nothing here is random."""
    del seed
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER] = folder  # what is trusted for this is trusted for this alone
        trust(load(BUNDLE))
        before = checked_out(BEFORE, Path(folder), "runtime")
        rounds = [(_measured(before), _measured(ROOT)) for _ in range(ROUNDS)]
    was = {name: min(first[name] for first, _ in rounds) for name in ("tick", "cpu")}
    now = {name: min(second[name] for _, second in rounds) for name in ("tick", "cpu")}
    return {
        "tick_ratio": now["tick"] / was["tick"],
        "cpu_ratio": now["cpu"] / was["cpu"],
        "tick_us": 1e6 * now["tick"],
        "before.tick_us": 1e6 * was["tick"],
        "cpu_share": now["cpu"],
        "before.cpu_share": was["cpu"],
    }


def _measured(root: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(BUNDLE)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root / "runtime")},
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found
