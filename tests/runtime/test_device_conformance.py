"""The conformance check of devices: it passes those that keep the contract, and names what others break."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.control.device import Sample
from acclimate.testing import CHECKS, DeviceContractError, check_device

from .devices import CAPS, Joint, ManualClock


def test_a_device_that_keeps_the_contract_passes_and_is_left_stopped() -> None:
    joint = Joint(ManualClock())
    check_device(joint, joint.clock)
    assert joint.stopped


def test_nothing_is_told_to_move() -> None:
    joint = Joint(ManualClock())
    check_device(joint, joint.clock)
    assert {tuple(command.tolist()) for command in joint.commands} == {(0.5, 0.0)}
    assert joint.position == pytest.approx(0.2)


def changed(**values: Any) -> Joint:
    return Joint(ManualClock(), distort=lambda _, sample: sample._replace(**values))


class Keeper(Joint):
    def command(self, targets: FloatArray) -> None:
        self.kept = targets


class Sleeper(Joint):
    def latest(self) -> Sample | None:
        self.clock.sleep_until(self.clock.now() + 0.008)
        return super().latest()


class OnceOnly(Joint):
    def close(self) -> None:
        if self.stopped and self.lost:
            raise OSError("bad file descriptor")
        self.lost = True
        super().close()


class Latching(Joint):
    def latest(self) -> Sample | None:
        sample = super().latest()
        assert sample is not None
        return sample._replace(faults=frozenset({"estop"})) if self.starts > 2 else sample


def _broken() -> dict[str, tuple[Joint, str]]:
    one = np.zeros(1, np.float32)
    return {
        "short": (changed(values=one), r"latest\(\)\.values has shape \[1\], expected \[2\]"),
        "double": (changed(values=np.zeros(2)), r"of type float64, expected float32"),
        "list": (changed(values=[0.0, 0.0]), r"values is a list, expected an array"),
        "wild": (
            changed(values=np.array([0.0, -77.0], np.float32)),
            "gives -77 rad for 'position', outside of the -3.2 to 3.2",
        ),
        "same": (changed(seq=3), "gives nothing new for 1 s"),
        "backwards": (
            Joint(ManualClock(), distort=lambda n, s: s._replace(t=s.t - 0.02 * (n % 2))),
            "t runs backwards",
        ),
        "epoch": (changed(t=1.7e9), "by the clock that it was given"),
        "faults": (changed(faults={"estop"}), "after start\\(\\) it is in fault"),
        "fault_set": (changed(faults=set()), r"faults is set\(\), expected a frozenset"),
        "slow": (
            Joint(ManualClock(), distort=lambda _, s: s._replace(seq=s.seq // 4)),
            r"gave \d new readings in 20 periods",
        ),
        "none": (Joint(ManualClock(), distort=lambda *_: None), "gives nothing new for 1 s"),
        "rate": (Joint(ManualClock(), caps=replace(CAPS, rate_hz=0.0)), "caps: its rate is 0 Hz"),
        "names": (
            Joint(ManualClock(), caps=replace(CAPS, sensors=(CAPS.sensors[0],) * 2)),
            "two sensors are called 'velocity'",
        ),
        "keeper": (Keeper(ManualClock()), "keeps the array that it is given"),
        "sleeper": (Sleeper(ManualClock()), "latest\\(\\) takes 8 ms"),
        "once": (OnceOnly(ManualClock()), "close\\(\\) raised OSError: bad file descriptor"),
        "latching": (Latching(ManualClock()), "a stop is no emergency stop"),
    }


@pytest.mark.parametrize("name", _broken())
def test_what_is_broken_is_named(name: str) -> None:
    joint, said = _broken()[name]
    with pytest.raises(DeviceContractError, match=said) as refused:
        check_device(joint, joint.clock)
    assert str(refused.value).startswith(type(joint).__name__)
    assert joint.stopped


def test_every_check_says_in_its_docstring_what_it_is_for() -> None:
    assert all(check.__doc__ for check in CHECKS.values())
