"""Programs that are ended by signals, in processes of their own: whatever they do last is done."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
from acclimate.control.signals import stopping_on_signals
from acclimate.errors import UsageError

PROGRAM = """
import signal, sys, time, acclimate
signal.signal(signal.SIGHUP, signal.{hangup})
signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a shell without job control has what is in its background
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignore both
with acclimate.stopping_on_signals():
    try:
        print("driving", flush=True)
        time.sleep(30)
    finally:
        print("stopping", flush=True)
        time.sleep(0.3)
        print("stopped", flush=True)
"""


def _ended_by(*signals: signal.Signals, hangup: str = "SIG_DFL") -> tuple[int, list[str]]:
    """Its exit code, and what it said after it had begun to drive."""
    command = [sys.executable, "-c", PROGRAM.format(hangup=hangup)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "driving\n"
        said = []
        for number in signals:
            process.send_signal(number)
            said.append(process.stdout.readline().strip())
        said += process.stdout.read().split()
        return process.wait(10), [word for word in said if word]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_the_block_as_an_error_does(number: signal.Signals) -> None:
    assert _ended_by(number) == (128 + number, ["stopping", "stopped"])


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_interrupts_the_way_out(first: signal.Signals, second: signal.Signals) -> None:
    code, said = _ended_by(first, second)
    assert said == ["stopping", "stopped"]
    assert code in (143, -signal.SIGINT, 1)


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    command = [sys.executable, "-c", PROGRAM.format(hangup="SIG_IGN")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with stopping_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_another_thread_is_told_that_it_gets_no_signals() -> None:
    refused: list[UsageError] = []

    def enter() -> None:
        try:
            with stopping_on_signals():
                pass
        except UsageError as error:
            refused.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert "is for the main thread" in str(refused[0])
