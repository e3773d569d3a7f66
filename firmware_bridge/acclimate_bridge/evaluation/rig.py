"""One simulated machine after the other, and all controllers on each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from acclimate.bundle.manifest import Manifest
from acclimate.control.loop import Controller, ControlLoop
from acclimate.control.trial import EpisodeKey, Trial, TrialPlan, TrialReport
from acclimate.errors import MismatchError
from acclimate.policy.adaptation import InlineAdapter
from acclimate.policy.continual import Continual
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy
from acclimate.task.spec import TaskSpec

from acclimate_bridge.evaluation.episodes import SeededEpisodes
from acclimate_bridge.evaluation.figures import Figures
from acclimate_bridge.evaluation.pid import Pid
from acclimate_bridge.evaluation.tuning import cost, tuned
from acclimate_bridge.link.host_link import HostLink
from acclimate_bridge.simulation.device_core import DeviceCore
from acclimate_bridge.simulation.lockstep import LockstepTransport, VirtualClock
from acclimate_bridge.simulation.seeding import EXPLORATION, NOISE, REFERENCES, TUNING, generator
from acclimate_bridge.simulation.specimen import Living, Specimen
from acclimate_bridge.simulation.worlds import Group, key_of

PID = "pid"
PID_TUNED = "pid_tuned"
GUARDED = "guarded"  # the main bundle, where a step that made things worse is taken back, as `run` does
_BOOT_ID = 1
_TRIES = 2  # episodes that each gains of a search are tried in


@dataclass(frozen=True)
class MachineResult:
    """One machine: for each controller what was measured after 0, 1, … adaptation steps."""

    group: str
    number: int
    parameters: Mapping[str, float]  # what is true of it
    figures: Mapping[str, tuple[Figures, ...]]
    refusals: tuple[str, ...]  # of the main bundle, per adaptation step, why the guard refused it; else empty


@dataclass(frozen=True)
class Place:
    """A machine, the same for every controller."""

    machine: Specimen
    group: str
    number: int
    key: tuple[int, int]  # of all random numbers around it


class Rig(NamedTuple):
    """A machine under a controller, on simulated time."""

    loop: ControlLoop
    trial: Trial
    plant: Living
    link: HostLink


class Contest:
    """The controllers of an evaluation, ready to run."""

    def __init__(
        self,
        main: str,
        policies: Mapping[str, Policy],
        pid: Pid | None = None,
        *,
        shots: Mapping[str, int],
        steps: int,
        episodes: int,
        seed: int,
        tune: bool = False,
    ) -> None:
        """`policies` and the adaptation steps of each by name; `main` is the one that the others are compared with.

        steps: ticks of an episode; episodes: per measurement; tune: a PID on each machine, too.
        """
        self.main, self.manifest = main, policies[main].manifest
        self.policies, self.pid, self.shots, self.seed = policies, pid, shots, seed
        self._steps, self._episodes, self._tune = steps, episodes, tune

    @property
    def task(self) -> TaskSpec:
        return self.manifest.task

    def place(self, group: Group, number: int) -> Place:
        """The machine of this number, as all controllers meet it."""
        return Place(group.machine(self.seed, number), group.name, number, key_of(group, number))

    def run(self, place: Place) -> MachineResult:
        """All controllers on one machine, which is new for each of them."""
        figures: dict[str, tuple[Figures, ...]] = {}
        refusals: tuple[str, ...] = ()
        if self.pid is not None:
            figures[PID] = self._classical(self.pid, place)
            if self._tune:
                figures[PID_TUNED] = self._classical(self.tuned(self.pid, place), place)
        for name, policy in self.policies.items():
            report = self._trial(name, policy, place)
            figures[name] = tuple(m.values for m in (report.before, *(shot.after for shot in report.shots)))
            if name == self.main and report.shots:
                refusals = tuple(shot.accepted.reason for shot in report.shots)
                figures[GUARDED] = _standing(self._trial(name, policy, place, rollback=True))
        truth = dict(self._living(place).parameters)
        return MachineResult(place.group, place.number, truth, figures, refusals)

    def _classical(self, pid: Pid, place: Place) -> tuple[Figures, ...]:
        """The sign test, like exploration, is not part of what is measured."""
        with self.rig(pid, place) as rig:
            self.find_sign(pid, rig, place)
            return (rig.trial.measure().values,)

    def tuned(self, pid: Pid, place: Place) -> Pid:
        """A PID with gains that were searched for on this machine, and signs that `pid` has found there."""
        with self.rig(pid, place) as rig:
            self.find_sign(pid, rig, place)
        signs = [sign or 1.0 for sign in pid.signs]
        price = self.manifest.family.options.get("price")
        paid = float(price) if isinstance(price, int | float) else 0.0
        rng = generator(self.seed, *place.key, TUNING)
        return tuned(pid.settings, signs, self.task, lambda each: self._tried(each, place, paid), rng)

    def _tried(self, pid: Pid, place: Place, price: float) -> float:
        """What a PID costs on references that nothing is judged by."""
        references = SeededEpisodes(self.task, self._steps, self.seed, *place.key, TUNING)
        with self.rig(pid, place) as rig:
            keys = [EpisodeKey(0, "measure", number) for number in range(_TRIES)]
            driven = [rig.loop.run_episode(references(rig.loop.measure(), key)) for key in keys]
        return cost(self.task, [(episode.obs, episode.applied) for episode in driven], price)

    def find_sign(self, pid: Pid, rig: Rig, place: Place) -> None:
        """Let a PID that is new to the machine test which way its motors turn."""
        pid.reset("trial")
        episodes, number = self.references(place), 0
        while not pid.ready:
            rig.loop.run_episode(episodes(rig.loop.measure(), EpisodeKey(0, "wait", number)))
            number += 1

    def _trial(self, name: str, policy: Policy, place: Place, *, rollback: bool = False) -> TrialReport:
        """What was measured after 0, 1, … steps of a policy as it was exported, and what the guard said."""
        policy.restore()
        with self.rig(policy, place, policy.manifest, self.shots[name], rollback=rollback) as rig:
            tell_truth(policy, rig.plant)
            if not self.shots[name]:
                return TrialReport(rig.trial.measure(), (), rig.loop.stats())
            return rig.trial.run(policy, InlineAdapter(policy), Guard.of(policy.manifest))

    @contextmanager
    def rig(
        self,
        controller: Controller,
        place: Place,
        manifest: Manifest | None = None,
        shots: int = 0,
        *,
        rollback: bool = False,
    ) -> Iterator[Rig]:
        """A fresh machine under this controller; `manifest` is the controller's own where it has one."""
        clock = VirtualClock()
        plant = self._living(place)
        device = DeviceCore(plant, place.machine.profile, _BOOT_ID)
        with (
            HostLink(LockstepTransport(device, clock), clock, samples_per_period=1) as link,
            ControlLoop(controller, link, clock, manifest or self.manifest) as loop,
        ):
            if isinstance(controller, Policy) and Continual.suits(controller.manifest):
                loop.learner = Continual(controller, InlineAdapter(controller), Guard.of(controller.manifest))
            episodes = self.references(place, link=link)
            plan = TrialPlan(shots, self._episodes, rollback=rollback)
            trial = Trial(loop, episodes, plan, self.exploration(place))
            yield Rig(loop, trial, plant, link)

    def references(
        self, place: Place, steps: int | None = None, link: HostLink | None = None
    ) -> SeededEpisodes:
        """What there is to follow on this machine, in episodes of `steps` ticks, or as long as a window's."""
        steps = self._steps if steps is None else steps
        begin = link.begin_episode if link else None
        return SeededEpisodes(self.task, steps, self.seed, *place.key, REFERENCES, begin=begin)

    def exploration(self, place: Place) -> np.random.Generator:
        """Where the noise of exploration comes from."""
        return generator(self.seed, *place.key, EXPLORATION)

    def _living(self, place: Place) -> Living:
        return place.machine.start(generator(self.seed, *place.key, NOISE))


def _standing(report: TrialReport) -> tuple[Figures, ...]:
    """What was measured of the state that drove on after each step: of the one before it, where it was taken back."""
    found: list[Figures] = [report.before.values]
    for shot in report.shots:
        found.append(found[-1] if shot.undone else shot.after.values)
    return tuple(found)


def tell_truth(policy: Policy, plant: Living) -> None:
    """Tell a policy the true parameters, where it is one that has to be told. Raises MismatchError for unknown ones."""
    names, truth = policy.manifest.privileged, plant.parameters
    if not names:
        return
    missing = [name for name in names if name not in truth]
    if missing:
        raise MismatchError(
            f"the bundle needs to be told {missing[0]!r}, which these machines lack; they have {', '.join(truth)}"
        )
    policy.set_state("task", np.array([truth[name] for name in names], np.float32))
