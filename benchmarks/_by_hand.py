"""RL²'s roll-out on servos with its gradient, written in C by hand (`_servo_rl2.c`), beside the compiled one."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import NamedTuple

import acclimate_trainer.compiled.ticks as ticks
import numpy as np
import torch
from acclimate.engines.c_library import build
from acclimate_trainer.algorithms.rl2.rl2 import Rl2, Rl2Config
from acclimate_trainer.compiled.driving import compiling
from acclimate_trainer.compiled.stopwatch import ROLL_OUTS, STOPWATCH
from acclimate_trainer.compiled.ticks.build import FLAGS
from acclimate_trainer.play.rollouts import Surroundings, draw, rollout
from acclimate_trainer.tasks.servo.dynamics import ServoSession, ServoState, ServoTasks, at_rest, coefficients
from acclimate_trainer.tasks.servo.family import ServoFamily
from torch import Tensor

TASKS, EPISODES, STEPS, DECAY = 32, 6, 75, 0.97  # as in servo_wide_rl2
_SERVO = ("decay", "drive", "gravity", "friction", "before", "after", "lag")
_ARRAYS = (
    "net",
    "servo",
    "start",
    "reference",
    "noise",
    "encoder",
    "obs",
    "action",
    "d_obs",
    "d_action",
    "gradient",
)


class Compared(NamedTuple):
    """Seconds of one roll-out with its gradient, and how far the two are from each other, of the largest."""

    compiled: float
    by_hand: float
    difference: float


class _Job(ctypes.Structure):
    """As the C has it."""

    _fields_ = [
        ("rows", ctypes.c_int64),
        ("ticks", ctypes.c_int64),
        ("decay", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
    ]


class Case:
    """Servos, episodes, and a random combination of all that is seen and done, whose gradient is asked for."""

    def __init__(self, seed: int) -> None:
        self._family, rng = ServoFamily(), np.random.default_rng(seed)
        self._algorithm = Rl2(self._family, Rl2Config())
        self._params = self._algorithm.initial(rng)
        self._tasks: ServoTasks = self._family.sample(TASKS, rng)
        self._start: ServoState = at_rest(self._tasks, EPISODES, rng)
        self._encoder = torch.tensor(
            1e-3 * rng.standard_normal((TASKS, EPISODES, STEPS)), dtype=torch.float32
        )
        self._around = draw(self._family, self._tasks, rng, explore=EPISODES, measure=0, steps=STEPS)
        self._weights = [torch.rand(TASKS, EPISODES, STEPS, n) for n in (4, 1)]
        self._library = build(_source(), "the kernel by hand", FLAGS)

    @property
    def ticks(self) -> int:
        """Of all episodes together."""
        return TASKS * EPISODES * STEPS

    def compare(self) -> Compared:
        compiled, found = self._compiled()
        by_hand, expected = self._by_hand()
        difference = float((found - expected).abs().max() / expected.abs().max())
        return Compared(compiled, by_hand, difference)

    def _compiled(self) -> tuple[float, Tensor]:
        """Seconds in C, and the gradient of every task (T, P)."""
        copies = {n: x.expand(TASKS, *x.shape).clone().requires_grad_() for n, x in self._params.items()}
        session = ServoSession(self._tasks, self._start, self._encoder)
        around: Surroundings[ServoTasks] = self._around._replace(session=session)
        before = STOPWATCH.seconds.get(ROLL_OUTS, 0.0)
        with compiling():
            seen = rollout(self._algorithm.policy(copies), copies, self._family.spec, around, DECAY)
        d_obs, d_action = self._weights
        loss = (seen.obs[:, :, :STEPS] * d_obs).sum() + (seen.action * d_action).sum()
        gradient = torch.autograd.grad(loss, list(copies.values()))
        return STOPWATCH.seconds[ROLL_OUTS] - before, torch.cat([g.flatten(1) for g in gradient], dim=1)

    def _by_hand(self) -> tuple[float, Tensor]:
        """The same."""
        rows, net = TASKS * EPISODES, torch.cat([x.flatten() for x in self._params.values()])
        columns = [getattr(coefficients(self._tasks), name).flatten(1) for name in _SERVO]
        arrays = {
            "net": net,
            "servo": torch.cat(columns, dim=1).repeat_interleave(EPISODES, 0),
            "start": self._start.q,
            "reference": self._around.reference[:, :, :STEPS],
            "noise": self._around.noise,
            "encoder": self._encoder,
            "obs": torch.empty(rows, STEPS, 4),
            "action": torch.empty(rows, STEPS),
            "d_obs": self._weights[0],
            "d_action": self._weights[1],
            "gradient": torch.empty(rows, len(net)),
        }
        whole = {name: x.contiguous() for name, x in arrays.items()}
        job = _Job(rows, STEPS, DECAY, *(whole[name].data_ptr() for name in _ARRAYS))
        begin = time.perf_counter()
        failed = self._library.by_hand(ctypes.byref(job))
        seconds = time.perf_counter() - begin
        assert not failed
        return seconds, whole["gradient"].view(TASKS, EPISODES, -1).sum(1)


def _source() -> bytes:
    functions = Path(ticks.__file__).parent / "c" / "lanes.c"
    return functions.read_bytes() + Path(__file__).with_name("_servo_rl2.c").read_bytes()
