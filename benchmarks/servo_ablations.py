"""What would embarrass adaptation on servos: the memory cleared every second, the step not taken, no price on shaking.

All on preset wide, over the trainings of `benchmarks._servos`; those without a price are trained here, with the first
three of their seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acclimate.arrays import FloatArray
from acclimate.control.trial import EpisodeKey, Trial, TrialPlan
from acclimate.fields import Json
from acclimate_bridge.evaluation.evaluation import Plan, Work, on_all, open_plan
from acclimate_bridge.evaluation.figures import Figures
from acclimate_bridge.evaluation.rig import Contest, Place
from acclimate_bridge.simulation.servo.fleet import ServoFleet
from acclimate_demo.jobs import run_jobs

from benchmarks._servos import (
    CORES,
    DEVICES,
    FOLDER,
    MACHINES_SEED,
    SEEDS,
    SERVOS,
    Table,
    Trained,
    evaluated,
    export_job,
    policies,
    train_job,
)
from benchmarks.harness import Figure
from benchmarks.servo_maml import after_steps

EPISODES = 4
UNPRICED = 3  # seeds


@dataclass(frozen=True)
class Unpriced(Trained):
    """As it would be trained if shaking cost nothing."""

    @property
    def run(self) -> Path:
        return FOLDER / f"seed{self.seed}" / f"{self.config}_price_0"


def run(seed: int) -> Mapping[str, Figure]:
    """ABLATION.CONTROLLER.MEASURE, as in `servo_maml`; `whole` is what nothing is taken from."""
    seeds = range(seed, seed + SEEDS)
    policies(seeds)
    whole = Table([after_steps("wide", s) for s in seeds])
    kept = ("rl2", "maml_0", "maml_1", "maml_2")  # maml_0: the step is not taken
    out: dict[str, Figure] = {f"whole.{n}": f for n, f in whole.figures() if n.split(".")[0] in kept}
    cleared = Table([_cleared(Trained("wide", "rl2", s)) for s in seeds])
    out |= {f"memory_cleared.{name}": figure for name, figure in cleared.figures()}
    unpriced = list(_unpriced(seeds[:UNPRICED]))
    out |= {f"price_0.{n}": f for n, f in Table(unpriced).figures() if n.split(".")[0] in kept}
    return out


def _cleared(policy: Trained) -> dict[str, Json]:
    """A report of RL², whose memory is as new at the beginning of each second."""
    plan = Plan(policy.bundle, ServoFleet.of(SERVOS), against=(), machines=DEVICES, seed=MACHINES_SEED)
    found = on_all(Work(plan, _forgetful), open_plan(plan), CORES, None)
    machines: Json = [{"machine": "", "figures": {"rl2": [dict(figures)]}} for figures in found]
    return {"machines": machines}


def _forgetful(contest: Contest, place: Place) -> Figures:
    policy = contest.policies[contest.main]
    policy.restore()
    with contest.rig(policy, place, policy.manifest) as rig:
        drawn = contest.references(place, link=rig.link)

        def references(obs: FloatArray, key: EpisodeKey) -> FloatArray:
            policy.reset("trial")
            return drawn(obs, key)

        plan = TrialPlan(0, EPISODES)
        return Trial(rig.loop, references, plan, contest.exploration(place)).measure().values


def _unpriced(seeds: Sequence[int]) -> Iterator[dict[str, Json]]:
    wanted = [Unpriced("wide", name, seed) for name in ("maml", "rl2") for seed in seeds]
    missing = [each for each in wanted if not each.bundle.is_file()]
    run_jobs("training", [train_job(each, "--set", "family.options.price=0") for each in missing], CORES)
    run_jobs("exporting", [export_job(each) for each in missing], CORES)
    for seed in seeds:
        main, other = Unpriced("wide", "maml", seed), Unpriced("wide", "rl2", seed)
        yield evaluated(main, (other,), "price_0", "--devices", str(DEVICES))
