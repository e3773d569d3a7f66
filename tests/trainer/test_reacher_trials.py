"""Episodes on the reacher: what a window holds, and where its rewards come from."""

from __future__ import annotations

import numpy as np
import torch
from acclimate_trainer.algorithms.successor.library import Successor, SuccessorConfig
from acclimate_trainer.contract.policy import stacked
from acclimate_trainer.play.reacher_trials import play
from acclimate_trainer.tasks import reacher
from torch.testing import assert_close


def test_a_window_holds_what_was_seen_and_done_and_what_it_brought() -> None:
    algorithm = Successor(range(4), 10, SuccessorConfig(hidden=8, replay=10))
    policy = algorithm.policy(algorithm.initial(np.random.default_rng(0)))
    rng = np.random.default_rng(1)
    w = torch.tensor(rng.normal(size=(2, 12)), dtype=torch.float32)
    begin = reacher.reset((2, 3), rng)
    noise = torch.tensor(rng.normal(size=(2, 3, 6, 9)), dtype=torch.float32)
    played = play(policy, stacked(policy, 2, 3), w, begin, noise)
    obs, action, mask = played.window
    assert (obs.shape, action.shape, mask.shape) == ((2, 3, 7, 5), (2, 3, 6, 2), (2, 3, 6))
    assert_close(obs[:, :, 0, :2], begin.angle, rtol=0, atol=1e-5)
    assert torch.equal(obs[:, :, 1:, reacher.REWARD], played.reward)
    phi = reacher.features(reacher.directions(obs[:, :, 1:, :2]))
    assert_close(played.reward, torch.einsum("tesd,td->tes", phi, w), rtol=0, atol=1e-4)
    arms = reacher.Arms(obs[:, :, 2, :2], obs[:, :, 2, 2:4])
    assert_close(reacher.driven(arms, action[:, :, 2]).velocity, obs[:, :, 3, 2:4], rtol=0, atol=1e-4)
    assert mask.all()
