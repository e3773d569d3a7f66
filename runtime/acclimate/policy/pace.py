"""Whether a policy can keep its rate on this board: how long `act` takes, beside the control period."""

from __future__ import annotations

import time
from statistics import median

from acclimate.errors import UsageError
from acclimate.policy.policy import Policy

SHARE = 0.8  # of a control period that act may take; what is left is for the device
_CALLS = 15  # of act, whose median counts
_LONGEST = 2.0  # s that they may take together


def require_pace(policy: Policy) -> None:
    """Raises UsageError where `act` does not fit into a control period here. Leaves the policy as exported."""
    manifest, seconds = policy.manifest, act_seconds(policy)
    if keeps_pace(seconds, manifest.control_dt):
        return
    raise UsageError(
        f"act of bundle {manifest.name!r} takes {seconds * 1e3:.3g} ms here on engine {policy.engine.name!r}, and the "
        f"control period is {manifest.control_dt * 1e3:g} ms: it cannot keep its rate; take another engine, a faster "
        "board or a smaller policy (of a planner, fewer model.samples or model.blocks), or give --allow-late"
    )


def keeps_pace(seconds: float, control_dt: float) -> bool:
    """Whether an `act` of so many seconds fits into a control period (s)."""
    return seconds <= SHARE * control_dt


def act_seconds(policy: Policy) -> float:
    """How long one `act` takes, along the golden sequence. Leaves the policy as exported."""
    golden, found = policy.bundle.golden, list[float]()
    policy.restore()
    end = time.perf_counter() + _LONGEST
    for k in range(_CALLS):
        begin = time.perf_counter()
        policy.act(golden.obs[k % golden.ticks], golden.noise[k % golden.ticks])
        found.append(time.perf_counter() - begin)
        if time.perf_counter() > end:
            break
    policy.restore()
    return median(found)
