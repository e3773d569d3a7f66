"""The ceiling of one machine: what is trained for it alone drives it better, and is judged always alike."""

from __future__ import annotations

import numpy as np
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.baselines.specialist import error, specialist
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.outer_loop.training import TrainingConfig
from acclimate_trainer.tasks.point import PointFrameFamily

POINTS = Complete.of(PointFrameFamily())
CONFIG = Rl2Config(hidden=6, episodes=1, episode_steps=30, side_by_side=4)


def test_what_is_trained_for_one_machine_drives_it_better_than_what_it_was_made_from() -> None:
    machine = POINTS.sample(1, np.random.default_rng(3))
    meta = Rl2(POINTS, CONFIG).initial(np.random.default_rng(0))
    training = TrainingConfig(iterations=40, meta_batch_size=4, compiled=False)
    policy = specialist(POINTS, machine, meta, CONFIG, training)
    before, after = (error(p, POINTS, machine) for p in (Rl2(POINTS, CONFIG).policy(meta), policy))
    assert after < 0.5 * before
    assert error(policy, POINTS, machine) == after
