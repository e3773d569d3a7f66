"""Progress of a long command: plain lines where nobody watches, a bar that fits where somebody does."""

from __future__ import annotations

import io
import os
import pty
import sys
import termios
from collections.abc import Iterator

import pytest
from acclimate_trainer.compiled.stopwatch import OPTIMIZER, ROLL_OUTS
from acclimate_trainer.runs.reporting import ProgressBar, pace

FIGURES = {"error_0": 0.5, "error_1": 0.25, "grad_norm": 9.0}


class Terminal:
    """A pseudo-terminal of a given width."""

    def __init__(self, columns: int) -> None:
        self.host, device = pty.openpty()
        termios.tcsetwinsize(device, (24, columns))
        self.stream = os.fdopen(device, "w")

    def shown(self) -> str:
        """All that was written so far."""
        self.stream.write("#")
        self.stream.flush()
        data = b""
        while not data.endswith(b"#"):
            data += os.read(self.host, 4096)
        return data.decode().removesuffix("#")


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    terminal = Terminal(request.param)
    yield terminal
    terminal.stream.close()
    os.close(terminal.host)


def test_plain_lines_are_few_and_end_with_the_last_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    bar = ProgressBar("small", 400)
    for done in range(1, 401):
        bar.update(done, FIGURES)
    lines = out.getvalue().splitlines()
    assert len(lines) == 10
    assert "\r" not in out.getvalue()
    assert lines[0].startswith("small 40/400  ")
    assert lines[-1].startswith("small 400/400  ")
    assert lines[-1].endswith("error_0 0.5000  error_1 0.2500")


def test_a_short_run_shows_every_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    bar = ProgressBar("small", 3)
    for done in (1, 2, 3):
        bar.update(done, FIGURES)
    assert [line.split()[1] for line in out.getvalue().splitlines()] == ["1/3", "2/3", "3/3"]


@pytest.mark.parametrize("terminal", [40, 80, 200], indirect=True)
def test_a_bar_is_one_line_that_is_redrawn_and_never_wraps(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    monkeypatch.setattr("acclimate_trainer.runs.reporting._REDRAW", 0.0)
    bar = ProgressBar("servo_wide_maml", 12)  # as much as the terminal's buffer holds
    for done in range(1, 13):
        bar.update(done, FIGURES)
    shown = terminal.shown()
    assert shown.count("\n") == 1
    assert shown.endswith("\n")
    lines = [line.removesuffix("\x1b[K") for line in shown.rstrip().split("\r") if line]
    assert len(lines) == 12
    assert max(map(len, lines)) < termios.tcgetwinsize(terminal.host)[1]
    assert "░" in lines[0]
    assert "░" not in lines[-1]
    assert all(f" {k}/12 " in line for k, line in enumerate(lines, 1))


@pytest.mark.parametrize("terminal", [0], indirect=True)
def test_a_terminal_that_does_not_know_its_width(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    ProgressBar("small", 1).update(1, FIGURES)
    assert "small" in terminal.shown()


@pytest.mark.parametrize("terminal", [80], indirect=True)
def test_what_stops_it_is_said_on_a_line_of_its_own(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    monkeypatch.setattr("acclimate_trainer.runs.reporting._REDRAW", 0.0)
    bar = ProgressBar("small", 9)
    bar.update(1, FIGURES)
    bar.leave("saved")
    assert terminal.shown().endswith("\r\nsaved\r\n")


def test_the_time_left_counts_from_where_a_resumed_run_began(monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = io.StringIO(), [0.0]
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setattr("acclimate_trainer.runs.reporting.time.monotonic", lambda: now[0])
    bar = ProgressBar("small", 100, 80)
    now[0] = 10.0
    bar.update(90, {})
    assert "small 90/100  1/s  10 s, 10 s left" in out.getvalue()


def test_the_shares_of_the_time_are_all_of_it_and_what_has_no_name_is_torchs() -> None:
    found = pace(50, 4.0, {ROLL_OUTS: 1.0, OPTIMIZER: 0.5, "something else": 0.25})
    assert str(found) == "12.5 iterations/s; of the time torch 62 %, compiled roll-outs 25 %, optimizer 12 %"
    assert sum(found.shares.values()) == 1.0
