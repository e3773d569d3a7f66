"""Adaptation without a pause: every window of driving is learned from, as it comes, while the next one is driven."""

from __future__ import annotations

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.policy.adaptation import Adapter
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy
from acclimate.task.episode import Window


class Continual:
    """Gathers the last window of a policy's driving, has it adapted to, and commits what the guard accepts.

    The loop calls it once per tick, and it never waits: a window that is full while the one before is still being
    adapted to is not learned from. No window reaches over the begin of an episode.

    accepted, refused, missed: windows that were committed, that the guard refused, for `reason` the last one, and that
    came too soon.
    """

    def __init__(self, policy: Policy, adapter: Adapter, guard: Guard) -> None:
        """For a policy whose adaptation is continual."""
        manifest, spec = policy.manifest, policy.manifest.window
        assert spec is not None  # what adapts has a window
        self._policy, self._adapter, self._guard, self._steps = policy, adapter, guard, spec.steps
        self._obs: FloatArray = np.zeros((spec.steps + 1, manifest.n_obs), np.float32)
        self._action: FloatArray = np.zeros((spec.steps, manifest.n_act), np.float32)
        self._measured, self._known = [False] * (spec.steps + 1), [False] * spec.steps
        self._learned_from: Window | None = None  # what is being adapted to
        self._acted, self._tick = True, 0
        self.accepted = self.refused = self.missed = 0
        self.reason = ""

    @classmethod
    def suits(cls, manifest: Manifest) -> bool:
        """Whether a bundle is to be adapted so."""
        return manifest.adaptation is not None and manifest.adaptation.continual

    def begin(self) -> None:
        """An episode begins."""
        self._acted, self._tick = True, 0

    def tick(self, obs: FloatArray, action: FloatArray | None, *, measured: bool, through: bool) -> None:
        """What was observed, whether that was new, what the policy then did, and whether that got through."""
        self._poll()
        k = self._tick
        self._obs[k], self._measured[k] = obs, measured
        if k == self._steps:
            self._learn()
            self._obs[0], self._measured[0] = obs, measured
            k = 0
        # What a policy remembers is on record only where it has acted the tick before, too.
        self._known[k] = through and self._acted
        self._action[k] = 0.0 if action is None else action
        self._acted, self._tick = action is not None, k + 1

    def forget(self) -> None:
        """Learn no more from what has been driven so far; waits for what is being adapted to."""
        self._adapter.drop()
        self._learned_from = None
        self.begin()

    def _learn(self) -> None:
        if self._learned_from is not None:
            self.missed += 1
            return
        measured = np.array(self._measured)
        mask = (measured[:-1] & measured[1:] & np.array(self._known)).astype(np.float32)
        window = Window(self._obs[None].copy(), self._action[None].copy(), mask[None])
        self._adapter.submit(window)
        self._learned_from = window

    def _poll(self) -> None:
        window = self._learned_from
        result = None if window is None else self._adapter.poll()
        if window is None or result is None:
            return
        self._learned_from = None
        verdict = self._guard.accept(result, window)
        if verdict.ok and self._policy.can_commit:  # else the state was set or reset meanwhile
            self._policy.commit()
            self.accepted += 1
        elif not verdict.ok:
            self.refused += 1
            self.reason = verdict.reason
