"""Imitation of recordings: what is read, what is refused, and that what was watched is what is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from acclimate.command import cli
from acclimate.control.recording import Recording
from acclimate.control.trial import EpisodeKey
from acclimate.errors import UsageError
from acclimate.task.episode import Episode
from acclimate.task.spec import TaskSpec
from acclimate_trainer.algorithms.distillation.imitation import Imitation, ImitationConfig
from acclimate_trainer.algorithms.distillation.recordings import read_all
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Policy
from acclimate_trainer.outer_loop.training import TrainingConfig, start, train
from acclimate_trainer.play.rollouts import draw, headline, rollout
from acclimate_trainer.tasks.point import PointFrameFamily
from torch.testing import assert_close

POINTS = Complete.of(PointFrameFamily(turn=0.3, strength=(1.0, 1.2)))
SPEC = POINTS.spec
STEPS, EPISODES = 40, 6
CONFIG = ImitationConfig(hidden=10, episodes=1, episode_steps=30, recordings=("x.npz",), stretch=25)


def law(obs: np.ndarray) -> np.ndarray:
    """A proportional controller of (x, y, target_x, target_y)."""
    return np.clip(6.0 * (obs[..., 2:] - obs[..., :2]), -1.0, 1.0)


def driven(seed: int = 0) -> list[Episode]:
    """Episodes of that controller."""
    rng = np.random.default_rng(seed)
    around = draw(POINTS, POINTS.sample(1, rng), rng, explore=0, measure=EPISODES, steps=STEPS)
    session, reference = around.session, around.reference[0].numpy()
    seen, done = [], []
    for t in range(STEPS + 1):
        seen.append(np.concatenate([session.obs[0].numpy(), reference[:, t]], axis=-1))
        done.append(law(seen[-1]).astype(np.float32))
        session.step(torch.from_numpy(done[-1]).unsqueeze(0))
    obs, action = np.stack(seen, 1), np.stack(done[:-1], 1)
    return [Episode(o, a, np.ones(STEPS, np.float32), a) for o, a in zip(obs, action, strict=True)]


def write(path: Path, episodes: list[Episode], task: TaskSpec | None = SPEC) -> Path:
    recording = Recording(path, task)
    for number, episode in enumerate(episodes):
        recording(EpisodeKey(0, "measure", number), episode)
    recording.close()
    return path


@pytest.fixture
def pid(tmp_path: Path) -> Path:
    return write(tmp_path / "pid.npz", driven())


def test_channels_are_found_by_name(tmp_path: Path, pid: Path) -> None:
    """A recording with its channels in another order, and others beside them, says the same."""
    order = [3, 0, 2, 1]
    more = replace(SPEC.observation[0], name="volts", unit="V")
    task = replace(SPEC, observation=(more, *(SPEC.observation[i] for i in order)), action=SPEC.action[::-1])
    shuffled = [
        Episode(
            np.concatenate([e.obs[:, :1], e.obs[:, order]], 1), e.action, e.mask, e.applied[:, ::-1].copy()
        )
        for e in driven()
    ]
    other = write(tmp_path / "other.npz", shuffled, task)
    for one, two in zip(read_all([str(pid)], SPEC, 0), read_all([str(other)], SPEC, 0), strict=True):
        assert torch.equal(one, two)


def test_episodes_of_several_files_and_lengths_are_one_after_the_other(tmp_path: Path, pid: Path) -> None:
    short = [Episode(e.obs[:11], e.action[:10], e.mask[:10], e.applied[:10]) for e in driven(1)]
    found = read_all([str(pid), str(write(tmp_path / "short.npz", short))], SPEC, 0)
    assert found.obs.shape == (2 * EPISODES, STEPS, 4)
    assert found.weight[:EPISODES].all()
    assert torch.equal(found.weight[EPISODES:].sum(1), torch.full((EPISODES,), 10.0))
    assert_close(found.action[EPISODES, :10], torch.from_numpy(short[0].applied))


def without_motion(episodes: list[Episode]) -> list[Episode]:
    return [e._replace(mask=np.zeros_like(e.mask)) for e in episodes]


def with_a_gap(episodes: list[Episode]) -> list[Episode]:
    episodes[2].mask[5:12] = 0.0
    return episodes


def with_nan(episodes: list[Episode]) -> list[Episode]:
    episodes[3].obs[7, 1] = np.nan
    return episodes


def with_infinite_action(episodes: list[Episode]) -> list[Episode]:
    episodes[1].applied[9, 0] = np.inf
    return episodes


OTHER_UNIT = replace(SPEC, observation=(replace(SPEC.observation[0], unit="mm"), *SPEC.observation[1:]))
OTHER_NAME = replace(SPEC, action=(replace(SPEC.action[0], name="left"), SPEC.action[1]))


@pytest.mark.parametrize(
    ("task", "change", "sentence"),
    [
        (SPEC, with_nan, "bad.npz: obs, row 3, tick 7: y is nan, expected a finite number (1 such values in all)"),
        (SPEC, with_infinite_action, "bad.npz: applied, row 1, tick 9: drive_x is inf, expected a finite number"),
        (SPEC, with_a_gap, "bad.npz: obs, row 2, ticks 5 to 11: no valid reading of x, y for 7 ticks, expected"),
        (SPEC, without_motion, "bad.npz holds no episode in which anything was driven"),
        (OTHER_UNIT, list, "bad.npz: observation channel 'x' is 1 in mm, expected 1 in m"),
        (OTHER_NAME, list, "bad.npz has no action channel 'drive_x' (1); it records left, drive_y"),
        (replace(SPEC, control_dt=0.05), list, "bad.npz was recorded at a period of 0.05 s, expected 0.02 s"),
        (None, list, "bad.npz does not say what was recorded; `acclimate run --record FILE` writes it down"),
    ],
)  # fmt: skip
def test_what_cannot_be_imitated_is_refused_by_file_row_and_channel(
    tmp_path: Path, task: TaskSpec | None, change: Callable[[list[Episode]], list[Episode]], sentence: str
) -> None:
    path = write(tmp_path / "bad.npz", change(driven()), task)
    with pytest.raises(UsageError) as caught:
        read_all([str(path)], SPEC, 5)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def error(policy: Policy) -> float:
    rng = np.random.default_rng(9)
    around = draw(POINTS, POINTS.sample(8, rng), rng, explore=0, measure=2, steps=STEPS)
    initial = policy.initial()
    state = {t.name: initial[t.name].expand(8, *t.shape) for t in policy.state if t.written_by != "act"}
    with torch.no_grad():
        episodes = rollout(policy, state, SPEC, around)
    return float(headline(POINTS.costs(episodes.window(), episodes.reward)[0]).mean())


def test_what_was_watched_is_what_is_done(pid: Path) -> None:
    """Also where there was no reading for a moment, of which nothing is learned."""
    algorithm: Imitation[Any] = Imitation(POINTS, replace(CONFIG, recordings=(str(pid),)))
    found = [start(algorithm, 0)]
    settings = TrainingConfig(iterations=150, meta_batch_size=8, outer_lr=0.01)
    train(algorithm, settings, 0, found[0], lambda after, _: found.append(after))
    before, after = (error(algorithm.policy(progress.meta)) for progress in (found[0], found[-1]))
    assert after < 0.5 * before


def test_nothing_is_learned_from_what_nobody_did(tmp_path: Path) -> None:
    """Junk where there was no reading changes neither the loss nor its gradient."""
    gradients = []
    for junk in (0.0, 0.7):
        episodes = driven()
        for episode in episodes:
            episode.mask[STEPS - 4 :] = 0.0
            episode.applied[STEPS - 4 :] = junk
        path = write(tmp_path / "gap.npz", episodes)
        algorithm: Imitation[Any] = Imitation(
            POINTS, replace(CONFIG, recordings=(str(path),), stretch=STEPS, blur=0.0)
        )
        meta = {n: v.requires_grad_() for n, v in algorithm.initial(np.random.default_rng(0)).items()}
        loss = algorithm.loss(meta, 4, np.random.default_rng(1))
        names = [name for name in meta if name != "sigma"]
        gradients.append([loss.detach(), *torch.autograd.grad(loss, [meta[name] for name in names])])
    for one, two in zip(*gradients, strict=True):
        assert_close(one, two, rtol=1e-5, atol=1e-7)


IMITATION = """
name = "pupil"
seed = 0
[family]
name = "point_frame"
[imitation]
recordings = ["pid.npz"]
hidden = 4
imitation = 0.5
episodes = 1
episode_steps = 10
side_by_side = 2
[training]
iterations = 2
meta_batch_size = 2
"""


def test_a_run_imitates_and_then_goes_on_by_itself(
    pid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(pid.parent)
    Path("pupil.toml").write_text(IMITATION)
    assert cli.main(["train", "pupil.toml"]) == 0
    lines = Path("runs/pupil/metrics.jsonl").read_text().splitlines()
    assert "imitation" in lines[0]
    assert "error" in lines[1]
    capsys.readouterr()
    Path("other.toml").write_text(IMITATION.replace("pid.npz", "none.npz").replace("pupil", "other"))
    assert cli.main(["train", "other.toml"]) == 2
    assert "cannot read none.npz: No such file or directory" in capsys.readouterr().err
    assert not Path("runs/other").exists()
