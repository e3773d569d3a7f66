"""What 8 bits cost a bundle: on single ticks, and at the wheel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle
from acclimate.bundle.manifest import QUANTISED
from acclimate.engines import open_engine
from acclimate.fields import Json
from acclimate.policy.policy import Policy
from acclimate.stats import Interval, mean_interval
from acclimate.task.metrics import Pool, described
from acclimate.task.spec import Metric
from acclimate_trainer.play.rollouts import Surroundings, composer, draw
from torch import Tensor

from acclimate_export.bundle.trained import Trained, as_array
from acclimate_export.check.cases import cases

MEMBER = f"act.{QUANTISED}"
FLOAT, EIGHT_BITS, DIFFERENCE = "float32", "quantised", "difference"
_EPISODES, _STEPS = 4, 100  # of driving, per machine
_TICKS = 1000  # that the loss on single ticks is measured on
_SEED = 20261127  # fixed: the same run always gives the same bundle
Composer: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class Loss(NamedTuple):
    """What quantising costs.

    action_rms, action_max: difference of the action, of full scale (the channel's range is −1 to 1), on `ticks` ticks
                            of simulated machines.
    golden:  the largest difference of a tensor along the golden sequence, relative to its largest value.
    metric:  the headline of the task, and `driving` its value on machines that training never saw, by "float32",
             "quantised" and, machine by machine, "difference".
    """

    action_rms: float
    action_max: float
    ticks: int
    golden: float
    metric: Metric
    driving: Mapping[str, Interval]

    def tree(self) -> dict[str, Json]:
        """As docs/cli.md describes it."""
        numbers: dict[str, Json] = {"action_rms": self.action_rms, "action_max": self.action_max}
        driving: dict[str, Json] = {name: dict(value.as_dict()) for name, value in self.driving.items()}
        metric: dict[str, Json] = {"name": self.metric.name, "unit": self.metric.unit}
        return {**numbers, "ticks": self.ticks, "golden": self.golden, "metric": metric, "driving": driving}

    def __str__(self) -> str:
        now, before, change = (self.driving[name] for name in (EIGHT_BITS, FLOAT, DIFFERENCE))
        return (
            f"action off by {self.action_rms:.2g} RMS, at most {self.action_max:.2g}, of full scale, on {self.ticks} "
            f"ticks; {described(self.metric)}: {before.mean:.4g} -> {now.mean:.4g} on {now.n} machines, "
            f"a difference of {change.low:+.2g} to {change.high:+.2g}"
        )


def measure(trained: Trained, bundle: Bundle, machines: int = 12, seed: int = _SEED) -> Loss:
    """The loss of a quantised bundle; at the wheel on `machines` new machines of the family."""
    differences = _action_differences(trained, bundle, seed)
    return Loss(
        action_rms=float(np.sqrt(np.square(differences).mean())),
        action_max=float(np.abs(differences).max()),
        ticks=len(differences),
        golden=float(np.max([d.max_rel for d in Policy(bundle, "litert").deviations])),  # NaN stays
        metric=bundle.manifest.task.headline,
        driving=_driving(trained, bundle, machines, seed),
    )


def _action_differences(trained: Trained, bundle: Bundle, seed: int) -> FloatArray:
    """Of single ticks that begin with torch's state, of full scale, (ticks, n_act)."""
    engine = open_engine("litert")
    graph = engine.load(bundle.members[MEMBER], bundle.manifest.act_spec(engine.suffix), MEMBER).bind()
    low, high = (np.array(ends, np.float32) for ends in bundle.manifest.task.limits())
    found = []
    for case in cases(trained, _TICKS, seed):
        for name, array in graph.inputs.items():
            array[...] = as_array(case.given[name])
        graph.run()
        found.append(2.0 / (high - low) * (graph.outputs["action"] - as_array(case.expected["action"])))
    return np.stack(found)


def _driving(trained: Trained, bundle: Bundle, machines: int, seed: int) -> dict[str, Interval]:
    """The headline metric of the same machines with the same references, in float32 and quantised."""
    found = {
        name: headlines(trained, bundle, engine, machines, seed)
        for name, engine in ((FLOAT, "onnxruntime"), (EIGHT_BITS, "litert"))
    }
    found[DIFFERENCE] = [after - before for before, after in zip(*found.values(), strict=True)]
    return {name: mean_interval(values) for name, values in found.items()}


@torch.no_grad()
def headlines(trained: Trained, bundle: Bundle, engine: str, machines: int, seed: int) -> list[float]:
    """The headline metric of each of `machines` new machines of the family, driven by the bundle on an engine."""
    spec, family, rng = bundle.manifest.task, trained.family, np.random.default_rng(seed)
    tasks, compose = family.sample(machines, rng), composer(family.spec)
    policies = [Policy(bundle, engine) for _ in range(machines)]
    pools = [Pool(spec) for _ in policies]
    if bundle.manifest.privileged:
        for policy, told in zip(policies, family.parameters(tasks), strict=True):
            policy.set_state("task", as_array(told))
    for _ in range(_EPISODES):
        around = draw(family, tasks, rng, explore=0, measure=1, steps=_STEPS)
        for pool, episode in zip(pools, _episodes(policies, around, compose), strict=True):
            pool.add(*episode)
    return [pool.values()[spec.headline.name] for pool in pools]


def _episodes(
    policies: Sequence[Policy], around: Surroundings[object], compose: Composer
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """Of each policy on a machine of its own: obs (S + 1, n_obs), action (S, n_act), reward (S,)."""
    session, reference = around.session, around.reference.unbind(2)
    obs, actions, rewards = [compose(session.obs, reference[0])], list[Tensor](), list[Tensor]()
    for policy in policies:
        policy.reset("episode")
    for now in reference[1:]:
        acts = [policy.act(as_array(row[0])).copy() for policy, row in zip(policies, obs[-1], strict=True)]
        actions.append(torch.from_numpy(np.stack(acts)).unsqueeze(1))
        rewards.append(session.step(actions[-1]).reward)
        obs.append(compose(session.obs, now))
    columns = (torch.stack(column, dim=2)[:, 0] for column in (obs, actions, rewards))
    yield from zip(*map(as_array, columns), strict=True)
