"""How well a bundle drives each machine of a set after so many shots, on the engine and over the wire's codec.

A shot is the same seconds of the target for all. A policy that adapts by windows explores in it and takes a step for
each window that fits, as `run` does, the guard in between, until it has no steps left; one with a memory drives, and
remembers. Every number of shots begins anew, so that no measurement is practice for the next one.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from acclimate.bundle.file import load
from acclimate.control.trial import EpisodeKey
from acclimate.engines.timing import hot
from acclimate.policy.continual import Continual
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy
from acclimate.task.episode import Episode, Window
from acclimate_bridge.evaluation.episodes import SeededEpisodes
from acclimate_bridge.evaluation.evaluation import usual_engine
from acclimate_bridge.evaluation.figures import Figures
from acclimate_bridge.evaluation.rig import Contest, Rig, tell_truth
from acclimate_bridge.evaluation.rig import Place as Standing

from acclimate_transfer.sets import Sets

EPISODES = 4  # of a measurement
_CALLS = 300  # of which the median is what acting costs

Shots: TypeAlias = Mapping[int, Figures]
"""By their number, what was measured after them on one machine."""


class Question(NamedTuple):
    """What is to be found out about a bundle; another process must be able to answer it."""

    bundle: Path
    sets: Sets
    machines: int
    shots: tuple[int, ...]
    seconds: float
    seed: int


class Board(NamedTuple):
    """What a policy costs where it runs: bytes of its bundle and its state, µs of acting, ms of adapting."""

    bundle_bytes: int
    state_bytes: int
    act_us: float
    adapt_ms: float | None
    window_s: float | None  # what a step is made from


def score(question: Question, of_set: str) -> list[Shots]:
    """One result for each machine of a set."""
    bundle = load(question.bundle)
    policy, name = Policy(bundle, usual_engine()), bundle.manifest.algorithm
    contest = Contest(
        name,
        {name: policy},
        shots={name: 0},
        steps=bundle.manifest.task.horizon,
        episodes=EPISODES,
        seed=question.seed,
    )
    standing = question.sets.standing(of_set, question.machines)
    return [_on(contest, policy, place, question) for place in standing]


def _on(contest: Contest, policy: Policy, place: Standing, question: Question) -> Shots:
    """After each number of shots, on a machine that is new each time; what remembers nothing is measured once."""
    if not remembers(policy):
        once = _measured(contest, policy, place, 0.0)
        return dict.fromkeys(question.shots, once)
    return {k: _measured(contest, policy, place, k * question.seconds) for k in question.shots}


def remembers(policy: Policy) -> bool:
    """Whether anything of a trial outlives an episode."""
    return policy.can_adapt or any(
        t.written_by == "act" and t.reset != "episode" for t in policy.manifest.state
    )


def _measured(contest: Contest, policy: Policy, place: Standing, seconds: float) -> Figures:
    """Of noise-free episodes after so many seconds on the machine."""
    policy.restore()
    with contest.rig(policy, place, policy.manifest) as rig:
        tell_truth(policy, rig.plant)
        _practise(contest, policy, place, rig, seconds)
        return rig.trial.measure().values


def _practise(contest: Contest, policy: Policy, place: Standing, rig: Rig, seconds: float) -> None:
    """Let a policy find out what it can in so many seconds."""
    manifest = policy.manifest
    adapts_meanwhile = Continual.suits(manifest)
    window, adaptation = (None, None) if adapts_meanwhile else (manifest.window, manifest.adaptation)
    steps = manifest.task.horizon if window is None else window.steps
    episodes = round(seconds / (steps * manifest.control_dt))
    driving = Driving(rig, contest.references(place, steps, rig.link), contest.exploration(place))
    if window is None or adaptation is None:
        driving.episodes(episodes)
        return
    guard = Guard.of(manifest)
    for number in range(min(adaptation.max_steps, episodes // window.episodes)):
        explored = Window.of(driving.episodes(window.episodes, number, explore=True))
        if guard.accept(policy.adapt(explored), explored).ok:
            policy.commit()


class Driving(NamedTuple):
    """What a machine is driven along before it is measured."""

    rig: Rig
    references: SeededEpisodes
    rng: np.random.Generator

    def episodes(self, count: int, shot: int = 0, *, explore: bool = False) -> list[Episode]:
        """One after the other; no two of a shot have the same reference."""
        loop, driven = self.rig.loop, list[Episode]()
        for number in range(count):
            reference = self.references(loop.measure(), EpisodeKey(shot, "explore", number))
            driven.append(loop.run_episode(reference, explore, self.rng))
        return driven


def board_of(bundle: Path) -> Board:
    """Measured hot on this machine's usual engine: what counts is what methods cost beside each other."""
    loaded = load(bundle)
    policy, manifest = Policy(loaded, usual_engine()), loaded.manifest
    obs = np.zeros(manifest.n_obs, np.float32)
    act = statistics.median(hot(partial(policy.act, obs), _CALLS))
    window, adapt = manifest.window, None
    if window is not None and policy.can_adapt:
        shape = (window.episodes, window.steps)
        seen = Window(
            np.zeros((shape[0], shape[1] + 1, manifest.n_obs), np.float32),
            np.zeros((*shape, manifest.n_act), np.float32),
            np.ones(shape, np.float32),
        )
        adapt = statistics.median(hot(partial(policy.adapt, seen), 3)) / 1000.0
    return Board(
        bundle_bytes=bundle.stat().st_size,
        state_bytes=4 * sum(int(np.prod(t.shape)) for t in manifest.state),
        act_us=act,
        adapt_ms=adapt,
        window_s=None if window is None else window.episodes * window.steps * manifest.control_dt,
    )


class Work(NamedTuple):
    """A question about one set."""

    question: Question
    of_set: str


def answers(work: Sequence[Work], jobs: int, progress: Callable[[int], None]) -> Iterator[list[Shots]]:
    """Of each piece of work in order, side by side; `progress(done)` counts them."""
    parallel = min(jobs, len(work))
    if parallel <= 1:
        yield from _counted((score(*each) for each in work), progress)
        return
    context = multiprocessing.get_context("spawn")  # not fork: an engine's threads do not survive one
    with ProcessPoolExecutor(parallel, context) as pool:
        try:
            yield from _counted(pool.map(_answer, work), progress)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _answer(work: Work) -> list[Shots]:
    return score(work.question, work.of_set)


def _counted(results: Iterator[list[Shots]], progress: Callable[[int], None]) -> Iterator[list[Shots]]:
    for done, result in enumerate(results, 1):
        yield result
        progress(done)
