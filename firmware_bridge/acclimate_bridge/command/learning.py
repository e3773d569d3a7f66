"""Bundles that adapt while they drive: who does that in `run`, and what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from acclimate.fields import Json
from acclimate.policy.adaptation import AdaptWorker
from acclimate.policy.continual import Continual
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy


@contextlib.contextmanager
def learning(policy: Policy) -> Iterator[Continual | None]:
    """Who adapts this policy, beside the loop; None for a bundle that adapts otherwise, or not at all."""
    if not Continual.suits(policy.manifest):
        yield None
        return
    with AdaptWorker(policy) as worker:
        yield Continual(policy, worker, Guard.of(policy.manifest))


def tree(learner: Continual | None) -> dict[str, Json]:
    """As docs/cli.md describes it; nothing where nobody learns."""
    if learner is None:
        return {}
    counts: dict[str, Json] = {
        "accepted": learner.accepted,
        "refused": learner.refused,
        "missed": learner.missed,
        "reason": learner.reason,
    }
    return {"windows": counts}


def lines(learner: Continual | None) -> list[str]:
    """The same for people."""
    if learner is None:
        return []
    said = f"{'adapted':<20} to {learner.accepted} windows"
    if learner.refused:
        said += f"; {learner.refused} were refused, the last since {learner.reason}"
    return [said + (f"; {learner.missed} came too soon" if learner.missed else "")]
