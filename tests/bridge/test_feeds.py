"""References from outside: rows of a file, of a pipe, of a socket."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from acclimate.control.clock import RealClock
from acclimate.control.device import Channel, DeviceCaps
from acclimate.errors import UsageError
from acclimate_bridge.command.feeds import HOLD, Columns, LiveFeed, Row, is_live, read_file, reader, tabulated
from hypothesis import given
from hypothesis import strategies as st

from .sled import HOMING, SLED

CAPS = DeviceCaps(
    (Channel("position", "rad", -3.2, 3.2), Channel("velocity", "rad/s", -40.0, 40.0)),
    (Channel("duty", "1", -1.0, 1.0),),
    100.0,
    1,
    "test",
)


@pytest.fixture
def columns(tiny: ModuleType) -> Columns:
    return Columns(tiny.manifest().task, CAPS)


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_told_are_targets_and_their_rates_are_worked_out(columns: Columns, tmp_path: Path) -> None:
    assert columns.names == ["target"]
    rows = read_file(
        _file(tmp_path, "# a ramp\ntarget, time\n0.0, 5.0\n1.0, 7.0\n\n1.0 8.0  # held\n"), columns
    )
    table = tabulated(rows, columns, 301, 0.01)
    np.testing.assert_allclose(table[[0, 50, 100, 200, 300], 0], [0.0, 0.25, 0.5, 1.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(table[[50, 100, 250], 1], [0.5, 0.5, 0.0], atol=1e-4)


@given(st.lists(st.floats(-1.5, 1.5), min_size=2, max_size=20))
def test_rows_are_met_exactly_at_their_times(tiny: ModuleType, targets: list[float]) -> None:
    columns = Columns(tiny.manifest().task, CAPS)
    rows = [Row(k * 0.05, (x,)) for k, x in enumerate(targets)]
    table = tabulated(rows, columns, 5 * len(rows), 0.01)
    np.testing.assert_allclose(table[::5, 0], targets, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 0\n1 nan\n", r"line 2: '1 nan' is no row, expected time, target, all finite"),
        ("0 0\n1 2 3\n", "line 2: '1 2 3' is no row"),
        ("0 0\nx y\n", "line 2: 'x y' is no row of numbers"),
        ("0 0\n0 1\n", "line 2: time 0 does not come after 0"),
        ("0 0\n1 9\n", "line 2: target = 9 is outside of"),
        ("time, aim\n", "line 1: the columns are time, aim, expected time, target"),
        ("0 0\n", "has 1 rows of numbers, expected at least 2"),
    ],
)
def test_what_cannot_be_followed_is_told_with_its_line(
    columns: Columns, tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        read_file(_file(tmp_path, text), columns)


def test_a_joint_of_less_range_is_asked_for_less(tiny: ModuleType, tmp_path: Path) -> None:
    short = replace(CAPS, sensors=(Channel("position", "rad", -0.8, 0.8), CAPS.sensors[1]))
    columns = Columns(tiny.manifest().task, short)
    with pytest.raises(UsageError, match=r"target = 0\.8 is outside of -0\.72 to 0\.72"):
        read_file(_file(tmp_path, "0 0\n1 0.8\n"), columns)
    assert columns.within([5.0]) == [pytest.approx(0.72)]


def test_a_task_that_follows_nothing_takes_no_reference() -> None:
    with pytest.raises(UsageError, match="homing_sled follows nothing"):
        Columns(HOMING, CAPS)
    assert Columns(SLED, CAPS).names == ["goal.0", "goal.1"]


class Pipe:
    """A feed at the end of a real pipe."""

    def __init__(self, columns: Columns) -> None:
        self.out, end = os.pipe()
        self.said: list[str] = []
        self.feed = LiveFeed(columns, lambda: os.read(self.out, 65536), RealClock(), self.said.append)
        self.rows = self.feed.rows()
        self._end = end

    def write(self, text: str) -> None:
        os.write(self._end, text.encode())

    def close(self) -> None:
        os.close(self._end)

    def until(self, good: Callable[[object], bool]) -> object:
        give_up = time.monotonic() + 10.0
        while time.monotonic() < give_up:
            row = next(self.rows, "ended")
            if good(row):
                return row
            time.sleep(0.001)
        pytest.fail("it never came")


def _is(target: float) -> Callable[[object], bool]:
    return lambda row: isinstance(row, np.ndarray) and abs(float(row[0]) - target) < 1e-6


def test_the_newest_row_wins_and_a_stale_one_is_held_and_then_given_up(columns: Columns) -> None:
    pipe = Pipe(columns)
    assert next(pipe.rows) is None  # nothing was said yet
    pipe.write("0.0 0.1\n0.1 0.2\n")
    pipe.until(_is(0.2))
    pipe.write("0.05 0.9\n")  # overtaken
    pipe.write("0.2 0.3\n")
    pipe.until(_is(0.3))
    assert pipe.feed.overtaken == 1
    came = time.monotonic()
    pipe.until(lambda row: row is None)
    assert time.monotonic() - came == pytest.approx(HOLD, abs=0.5)
    pipe.write("0.3 -0.1\n")
    pipe.until(_is(-0.1))
    pipe.close()
    pipe.until(lambda row: isinstance(row, str))


def test_a_sender_that_begins_anew_is_followed(columns: Columns) -> None:
    pipe = Pipe(columns)
    pipe.write("100.0 0.1\n")
    pipe.until(_is(0.1))
    pipe.write("0.0 0.4\n")
    pipe.until(_is(0.4))


def test_rows_that_are_wrong_are_said_and_passed_over(columns: Columns) -> None:
    pipe = Pipe(columns)
    pipe.write("quiet=1\n1 2 3 4\n0.0 99\n")
    pipe.until(_is(columns.bounds[0][1]))
    assert any("is no row" in line for line in pipe.said)
    assert any("taken as far as that goes" in line for line in pipe.said)


def test_a_flood_does_not_end_in_the_past(columns: Columns) -> None:
    pipe = Pipe(columns)
    flood = threading.Thread(
        target=lambda: pipe.write("".join(f"{k * 0.001:.3f} {k % 7 * 0.1:.1f}\n" for k in range(50_000)))
    )
    flood.start()
    pipe.until(lambda row: isinstance(row, np.ndarray))
    flood.join()
    pipe.write("1000.0 0.55\n")
    pipe.until(_is(0.55))
    assert len(pipe.said) < 10


def test_a_socket_is_read_and_one_that_nobody_serves_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"127.0.0.1:{server.getsockname()[1]}"
        assert is_live(where)
        read = reader(where)
        other, _ = server.accept()
        other.sendall(b"0 0.25\n")
        assert read() == b"0 0.25\n"
        other.close()
        assert read() == b""
    with pytest.raises(UsageError, match=f"--reference {where}"):
        reader(where)


def test_what_is_live_and_what_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_live("-")
    assert is_live("arm.local:5000")
    assert not is_live("rows.csv")
    Path("odd:5000").touch()
    assert not is_live("odd:5000")
