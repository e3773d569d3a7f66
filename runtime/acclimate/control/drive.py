"""Driving on and on along one reference, while things happen at their ticks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.control.loop import ControlLoop
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy
from acclimate.task.episode import Episode, Window
from acclimate.task.metrics import measure

Events = Mapping[int, Callable[[], None]]


class Drive:
    """One drive without a pause; tick k follows row k of the reference.

    It may be cut into several episodes, as a window needs them. At the last tick of each, neutral is commanded, and
    at the first of the next the state of the scope "episode" is reset: a policy without `adapt` gets by with one.
    """

    def __init__(
        self,
        loop: ControlLoop,
        reference: FloatArray,
        events: Events | None = None,
        rng: np.random.Generator | None = None,
        every: Callable[[], None] | None = None,
        record: Callable[[Episode], None] | None = None,
    ) -> None:
        """reference (ticks, n_ref); events are called after the command of their tick, `every` after each; rng is for
        exploration. `record` is given every episode as it ends, also one that is cut short."""
        self._loop, self._reference, self._rng = loop, reference, rng
        self._events, self._every, self._record = events or {}, every, record
        self._episodes: list[Episode] = []
        self._applied: list[FloatArray] = []
        self.tick = 0  # how many have been driven

    def on(self, until: int, explore: bool = False) -> Episode:
        """Drive on, as one episode, until `until` ticks are done: at least two more. Raises as `run_episode`."""
        if self.tick:
            self._loop.require_unbroken()
        reference = self._reference[self.tick : until]
        episode = self._loop.run_episode(reference, explore, self._rng, self._happen, self._record)
        self._happen()  # an episode's last tick has no slack of its own
        self._episodes.append(episode)
        self._applied += [episode.applied, self._loop.applied[None]]
        return episode

    def explore(self, policy: Policy, guard: Guard, until: int) -> str:
        """Explore for one window of the loop's `policy`, adapt, and commit what the guard accepts.

        Returns why nothing was adapted; empty where it was. The window must end two ticks before `until`, or else
        there is no time for it. Raises MismatchError where the device does not measure what is learned from.
        """
        self._loop.require_rewards()
        spec = policy.manifest.window
        assert spec is not None  # a policy that can adapt has a window
        if self.tick + spec.episodes * (spec.steps + 1) + 2 > until:
            return "there is no time for a window"
        window = Window.of([self.on(self.tick + spec.steps + 1, explore=True) for _ in range(spec.episodes)])
        verdict = guard.accept(policy.adapt(window), window)
        if verdict.ok:
            policy.commit()
        return verdict.reason

    @property
    def obs(self) -> FloatArray:
        """What was observed at each tick, (ticks, n_obs)."""
        return np.concatenate([episode.obs for episode in self._episodes])

    @property
    def applied(self) -> FloatArray:
        """What was commanded at each tick, (ticks, n_act): neutral at the last one of an episode."""
        return np.concatenate(self._applied)

    def metrics(self, begin: int = 0, end: int | None = None) -> dict[str, float]:
        """Every metric of the task over the ticks from `begin` until `end`, by name, as of one episode."""
        end = self.tick - 1 if end is None else end
        found = measure(self._loop.task, self.obs[begin : end + 1], self.applied[begin:end])
        return {name: mean.value for name, mean in found.items()}

    def _happen(self) -> None:
        event = self._events.get(self.tick)
        self.tick += 1
        if event is not None:
            event()
        if self._every is not None:
            self._every()
