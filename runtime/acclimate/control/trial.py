"""The procedure that `run` and `evaluate` share: measure, then explore, adapt, decide, and measure again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.control.loop import ControlLoop
from acclimate.control.loop_stats import LoopStats
from acclimate.errors import MismatchError, UsageError
from acclimate.policy.adapt_result import AdaptResult
from acclimate.policy.adaptation import Adapter
from acclimate.policy.guard import Guard, Verdict
from acclimate.policy.policy import Policy
from acclimate.task.episode import Episode, Window
from acclimate.task.metrics import Pool
from acclimate.task.spec import TaskSpec

Purpose: TypeAlias = Literal["measure", "explore", "wait"]


class EpisodeKey(NamedTuple):
    """Names an episode of a trial. References seeded with it make all controllers meet the same ones.

    shot:    how many adaptation steps came before it.
    purpose: "measure" (noise-free, counted), "explore" (for the window), "wait" (noise-free, adapt runs).
    number:  counts the episodes of the same shot and purpose, from 0.
    """

    shot: int
    purpose: Purpose
    number: int


class References(Protocol):
    """Gives each episode its reference, in the caller's seeding."""

    def __call__(self, obs: FloatArray, key: EpisodeKey) -> FloatArray:
        """obs (n_obs,) as measured just before the episode -> reference (steps + 1, n_ref)."""


@dataclass(frozen=True)
class TrialPlan:
    """shots:    adaptation steps.
    episodes:    noise-free episodes per measurement.
    rest_ticks:  periods in neutral before every episode.
    rollback:    undo an adaptation that the guard finds to have made things worse.
    fresh:       begin with what the bundle came with; if not, with what the policy has learned so far.
    """

    shots: int = 2
    episodes: int = 4
    rest_ticks: int = 0
    rollback: bool = False
    fresh: bool = True


class Measurement(NamedTuple):
    """What noise-free episodes have shown: every metric of the task, by name, the headline first.

    values:   over all episodes together; episodes: of each of them.
    """

    values: Mapping[str, float]
    episodes: tuple[Mapping[str, float], ...]

    @property
    def headline(self) -> float:
        """Of the metric by which controllers are compared."""
        return next(iter(self.values.values()))


class Shot(NamedTuple):
    """One adaptation step: what it computed, whether it went live, and what was measured after it.

    valid:  share of the window that was not masked.
    undone: whether it was taken back, since what it gave was not to be kept.
    """

    result: AdaptResult
    accepted: Verdict
    kept: Verdict
    valid: float
    after: Measurement
    undone: bool


class TrialReport(NamedTuple):
    before: Measurement
    shots: tuple[Shot, ...]
    stats: LoopStats


class Trial:
    """One trial on one device. Everything random comes from `rng` and `references`."""

    def __init__(
        self,
        loop: ControlLoop,
        references: References,
        plan: TrialPlan,
        rng: np.random.Generator,
        record: Callable[[EpisodeKey, Episode], None] | None = None,
    ) -> None:
        """`record` is given every episode as it ends, also one that is cut short.

        Raises UsageError for a plan that cannot be, and MismatchError where the device lacks the headline's reward.
        """
        if plan.episodes < 1 or plan.shots < 0:
            raise UsageError(
                f"a trial needs episodes >= 1 and shots >= 0, got {plan.episodes} and {plan.shots}"
            )
        self._loop, self._references, self._judged = loop, references, _judged(loop)
        self._plan, self._rng, self._record = plan, rng, record
        self._live = False  # whether the step of this shot drives
        self._begun = False

    def measure(self, shot: int = 0) -> Measurement:
        """Noise-free episodes with whatever controller the loop has; all that a non-adaptive one needs."""
        pool, each = Pool(self._judged), []
        for i in range(self._plan.episodes):
            episode = self._run(EpisodeKey(shot, "measure", i))
            each.append(pool.add(episode.obs, episode.applied))
        return Measurement(pool.values(), tuple(each))

    def run(self, policy: Policy, adapter: Adapter, guard: Guard) -> TrialReport:
        """The whole trial with `policy`, which must be the loop's controller."""
        if self._plan.shots and not policy.can_adapt:
            raise UsageError(f"policy {policy.manifest.name!r} has no adapt graph; run it with 0 shots")
        if self._plan.shots:
            self._loop.require_rewards()
        if self._plan.fresh:
            policy.reset("trial")
        before = standing = self.measure()
        shots: list[Shot] = []
        for number in range(1, self._plan.shots + 1):
            shot = self._shot(number, standing, policy, adapter, guard)
            if not shot.undone:
                standing = shot.after
            shots.append(shot)
        return TrialReport(before, tuple(shots), self._loop.stats())

    def _shot(
        self, number: int, standing: Measurement, policy: Policy, adapter: Adapter, guard: Guard
    ) -> Shot:
        """One step, judged against `standing`: what was measured of the state that it starts from."""
        window = self._explore(number - 1, policy.manifest)
        adapter.submit(window)
        with self._judged_or_undone(policy):
            result, accepted = self._wait(number - 1, window, policy, adapter, guard)
            after, kept = self.measure(number), Verdict(True)
        if accepted.ok:
            kept = guard.keep(self._judged.headline, standing.headline, after.headline)
        undone = self._plan.rollback and not kept.ok and policy.can_roll_back
        if undone:
            policy.rollback()
        return Shot(result, accepted, kept, float(np.mean(window.mask)), after, undone)

    @contextmanager
    def _judged_or_undone(self, policy: Policy) -> Iterator[None]:
        """A step that goes live in the block, and that nobody comes to judge, is taken back."""
        self._live = False
        try:
            yield
        except BaseException:
            if self._live and self._plan.rollback and policy.can_roll_back:
                policy.rollback()
            raise

    def _explore(self, shot: int, manifest: Manifest) -> Window:
        assert manifest.window is not None  # a policy that can adapt has a window
        keys = [EpisodeKey(shot, "explore", i) for i in range(manifest.window.episodes)]
        return Window.of([self._run(key) for key in keys])

    def _wait(
        self, shot: int, window: Window, policy: Policy, adapter: Adapter, guard: Guard
    ) -> tuple[AdaptResult, Verdict]:
        """Drive on, noise-free, until the result is there; swap it in between two ticks of that episode."""
        decision: list[tuple[AdaptResult, Verdict]] = []

        def between() -> None:
            result = None if decision else adapter.poll()
            if result is not None:
                verdict = guard.accept(result, window)
                if verdict.ok and not policy.can_commit:
                    verdict = Verdict(False, "the state was set or reset while it was computed")
                decision.append((result, verdict))
                if verdict.ok:
                    policy.commit()
                    self._live = True

        number = 0
        while not decision:
            self._run(EpisodeKey(shot, "wait", number), between)
            number += 1
        return decision[0]

    def _run(self, key: EpisodeKey, between: Callable[[], None] | None = None) -> Episode:
        if self._begun:
            self._loop.require_unbroken()
        self._begun = True
        self._loop.rest(self._plan.rest_ticks)
        reference = self._references(self._loop.measure(), key)
        record = None if self._record is None else partial(self._record, key)
        return self._loop.run_episode(reference, key.purpose == "explore", self._rng, between, record)


def _judged(loop: ControlLoop) -> TaskSpec:
    """The task without the metrics that this device cannot be judged by. Raises MismatchError for the headline."""
    task = loop.task
    if loop.rewarded:
        return task
    if task.headline.kind == "reward":
        raise MismatchError(
            f"this device has no sensor {task.reward!r}, and {task.headline.name!r}, by which {task.name} is judged, "
            "is the mean of what it measures"
        )
    return replace(task, metrics=tuple(metric for metric in task.metrics if metric.kind != "reward"))
