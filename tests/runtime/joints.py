"""A simulated pair of joints, and recordings of a drive of theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from acclimate.control.recording import Record, Recording
from acclimate.control.trial import EpisodeKey
from acclimate.task.episode import Episode
from acclimate.task.spec import ActionChannel, Metric, ObservationChannel, TaskSpec

STEPS, EPISODES, DT = 200, 4, 0.01
TASK = TaskSpec(
    name="pair",
    control_dt=DT,
    observation=(
        ObservationChannel("position", "rad", -10.0, 10.0, shape=(2,)),
        ObservationChannel("velocity", "rad/s", -50.0, 50.0, shape=(2,)),
        ObservationChannel("reward", "1", -1.0, 1.0, "reward"),
    ),
    action=(ActionChannel("duty", "1", -1.0, 1.0, shape=(2,)),),
    parameters=(),
    metrics=(Metric("reward", "reward"),),
    horizon=STEPS,
)


def recorded(delay: int = 2, gains: tuple[float, float] = (60.0, -40.0)) -> Record:
    """Two joints that are accelerated by what they are told, `delay` ticks late, and braked."""
    rng = np.random.default_rng(0)
    obs = np.zeros((EPISODES, STEPS + 1, 5), np.float32)
    applied = np.zeros((EPISODES, STEPS, 2), np.float32)
    for e in range(EPISODES):
        x, v, told = np.zeros(2), np.zeros(2), np.zeros((delay + 1, 2))
        for k in range(STEPS):
            if k % 7 == 0:
                told[0] = rng.uniform(-1.0, 1.0, 2)
            applied[e, k] = told[0]
            v = v + DT * (np.array(gains) * told[delay] - 4.0 * v)
            x = x + DT * v
            told[1:] = told[:-1].copy()
            obs[e, k + 1, :4] = *x, *v
    return Record(obs, applied, np.ones((EPISODES, STEPS), np.float32), TASK, np.arange(EPISODES))


def write(path: Path, task: TaskSpec | None = TASK) -> None:
    record, recording = recorded(), Recording(path, task)
    for obs, applied, mask in zip(record.obs, record.applied, record.mask, strict=True):
        recording(EpisodeKey(0, "measure", 0), Episode(obs, applied, mask, applied))
    recording.close()
