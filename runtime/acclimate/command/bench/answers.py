"""What a process of `acclimate bench` answers: how long calls take, and what share of a core driving takes."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np

from acclimate.bundle.file import Bundle
from acclimate.command.bench.stand_in import StandIn
from acclimate.command.bench.subjects import Driving, Subject
from acclimate.control.clock import RealClock
from acclimate.control.loop import ControlLoop
from acclimate.engines.timing import Call, hot, paced
from acclimate.fields import Json

_SETTLING = 0.3  # s before what counts: threads of the call before may go on spinning for a while


def answer(question: str, bundle: Bundle, subject: Subject) -> Json:
    """`question`: "times GRAPH CALLS PERIOD" (a period of 0: hot), "cpu RATE SECONDS", or "idle GRAPH SECONDS"."""
    kind, *rest = question.split()
    if kind == "cpu":
        rate, seconds = map(float, rest)
        return cpu_share(bundle, subject, rate, seconds)
    if kind == "idle":
        return idle_ms(calls_of(bundle, subject)[rest[0]], float(rest[1]))
    graph, calls, period = rest[0], int(rest[1]), float(rest[2])
    call = calls_of(bundle, subject)[graph]
    return [*(paced(call, calls, period) if period else hot(call, calls))]


def calls_of(bundle: Bundle, subject: Subject) -> dict[str, Call]:
    """What to time, by graph."""
    calls: dict[str, Call] = {"act": partial(subject.act, bundle.golden.obs[0], bundle.golden.noise[0])}
    return calls if subject.adapt is None else {**calls, "adapt": subject.adapt}


def idle_ms(call: Call, seconds: float) -> float:
    """CPU time in ms that this process uses in `seconds` after a call, asked for nothing: what its threads spin."""
    call()
    used = time.process_time()
    time.sleep(seconds)
    return 1e3 * (time.process_time() - used)


def cpu_share(bundle: Bundle, subject: Subject, rate: float, seconds: float) -> float:
    """Share of one core that driving takes at `rate` (Hz), all threads of this process together.

    It is the real control loop, with its pacing and its checks; only the device takes no time.
    """
    task, clock = replace(bundle.manifest.task, control_dt=1.0 / rate), RealClock()
    manifest = replace(bundle.manifest, task=task)
    ticks = max(round(seconds * rate), 1)
    reference = np.zeros((ticks + 1, task.n_references), np.float32)
    settling = np.zeros((max(round(_SETTLING * rate), 1) + 1, task.n_references), np.float32)
    with ControlLoop(Driving(subject), StandIn(manifest, clock), clock, manifest) as loop:
        loop.run_episode(settling)
        begin, used = time.perf_counter(), time.process_time()
        loop.run_episode(reference)
        return (time.process_time() - used) / (time.perf_counter() - begin)
