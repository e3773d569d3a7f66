"""What is told and heard while a machine is driven: neither keeps the loop waiting."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path
from types import ModuleType

from acclimate.bundle.file import load
from acclimate.policy.policy import Policy
from acclimate_bridge.command.objectives import Listener
from acclimate_bridge.command.telling import Teller


def test_lines_come_out_in_their_order() -> None:
    out = io.StringIO()
    with Teller(out) as tell:
        for k in range(50):
            tell(f"line {k}")
    assert out.getvalue() == "".join(f"line {k}\n" for k in range(50))


def test_a_reader_that_never_reads_keeps_nobody_waiting() -> None:
    """A terminal that was stopped by Ctrl-S, or a full pipe."""
    reading, writing = os.pipe()
    tell = Teller(os.fdopen(writing, "w"))
    done = threading.Event()

    def talk() -> None:
        for _ in range(2000):
            tell("x" * 1000)
        tell.close(timeout=0.1)
        done.set()

    threading.Thread(target=talk, daemon=True).start()
    assert done.wait(20.0)
    os.close(reading)


def test_a_stream_that_is_closed_is_no_reason_to_stop() -> None:
    out = io.StringIO()
    tell = Teller(out)
    out.close()
    tell("nobody hears this")
    tell.close()


def test_of_a_flood_of_objectives_one_is_obeyed_at_a_time(tiny: ModuleType, tmp_path: Path) -> None:
    """`yes quiet=2 | acclimate run --listen` once starved the loop."""
    manifest = tiny.with_objectives(tiny.manifest())
    policy = Policy(load(tiny.write_tiny(tmp_path / "many", manifest)))
    reading, writing = os.pipe()
    written = [0]

    def flood() -> None:
        with os.fdopen(writing, "w") as out:
            try:
                for _ in range(100_000):
                    out.write("quiet=2\n")
                    written[0] += 1
            except BrokenPipeError:
                return

    threading.Thread(target=flood, daemon=True).start()
    answers: list[str] = []
    lines = os.fdopen(reading)
    listener = Listener(policy, lines, answers.append)
    for k in range(1, 51):
        end = time.monotonic() + 10.0
        while len(answers) < k and time.monotonic() < end:
            before = len(answers)
            listener.poll()
            assert len(answers) <= before + 1
            time.sleep(0.001)
    assert len(answers) == 50
    assert written[0] < 100_000  # whoever writes faster is made to wait
