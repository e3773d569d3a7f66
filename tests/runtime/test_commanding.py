"""Neutral, limits and holding, on a machine of two actuators: one that is held where it stands, one with a value."""

from dataclasses import replace

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Graphs, Limits, Manifest, NoiseSpec, TensorSpec
from acclimate.control.device import Channel, DeviceCaps, Sample
from acclimate.control.loop import ControlLoop
from acclimate.errors import DeviceFault, PolicyError
from acclimate.task.spec import CHATTER, ActionChannel, ObservationChannel, TaskSpec

from . import bundles
from .devices import ManualClock

CRANE = TaskSpec(
    name="crane",
    control_dt=0.01,
    observation=(
        ObservationChannel("hoist", "m", 0.0, 10.0),
        ObservationChannel("heat", "K", 200.0, 400.0),
    ),
    action=(
        ActionChannel("hoist", "m", 0.5, 8.0, neutral="hold"),
        ActionChannel("fan", "1", 0.1, 1.0, neutral=0.3),
    ),
    parameters=(),
    metrics=(CHATTER,),
)
CAPS = DeviceCaps(
    sensors=(Channel("heat", "K", 200.0, 400.0), Channel("hoist", "m", 0.0, 10.0)),
    actuators=(
        Channel("fan", "1", 0.0, 1.0),
        Channel("lamp", "1", 0.2, 1.0),
        Channel("hoist", "m", 0.0, 10.0),
    ),
    rate_hz=100.0,
    boot_id=1,
    firmware="crane 1",
)
FREE = np.zeros((4, 0), np.float32)  # three ticks with nothing to follow


def manifest(slew_rate: dict[str, float] | None = None) -> Manifest:
    """A policy for the crane that is never run."""
    obs, noise, action = TensorSpec("obs", (2,)), TensorSpec("noise", (2,)), TensorSpec("action", (2,))
    act = replace(bundles.manifest().graphs.act, inputs=(obs, noise), outputs=(action,))
    return replace(
        bundles.without_adapt(bundles.manifest()),
        task=CRANE,
        state=(),
        graphs=Graphs(act),
        noise=NoiseSpec((2,)),
        limits=Limits(slew_rate or {}, 1.0),
    )


class Crane:
    """Its hoist is where the test puts it."""

    caps = CAPS

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hoist: float | None = 3.0
        self.faults: frozenset[str] = frozenset()
        self.commands: list[list[float]] = []
        self._seq = 0

    def start(self, period: float) -> None:
        del period
        self.faults = frozenset()

    def rearm(self, sample: Sample) -> None:
        del sample
        self.faults = frozenset()

    def latest(self) -> Sample | None:
        self._seq += 1
        if self.hoist is None:
            return None
        return Sample(self._measured(self.hoist), self.clock.now(), self._seq, faults=self.faults)

    def _measured(self, hoist: float) -> FloatArray:
        return np.array([300.0, hoist], np.float32)

    def command(self, targets: FloatArray) -> None:
        self.commands.append([round(float(x), 6) for x in targets])

    def idle(self, targets: FloatArray) -> None:
        self.command(targets)

    def stop(self) -> None:
        """It is never still."""

    def close(self) -> None:
        """It is no link."""


class Lit(Crane):
    """Its lamp, which the task does not know, is measured under its own name, too."""

    caps = replace(CAPS, sensors=(*CAPS.sensors, Channel("lamp", "1", 0.2, 1.0)))

    def __init__(self) -> None:
        super().__init__()
        self.lamp = 0.75

    def _measured(self, hoist: float) -> FloatArray:
        return np.array([300.0, hoist, self.lamp], np.float32)


class Constant:
    """Commands the same every tick."""

    def __init__(self, *action: float) -> None:
        self._action = np.array(action, np.float32)

    def reset(self, scope: str) -> None:
        """It remembers nothing."""

    def act(self, obs: FloatArray, noise: FloatArray) -> FloatArray:
        del obs, noise
        return self._action


def _loop(crane: Crane, action: tuple[float, float] = (5.0, 0.5), **slew: float) -> ControlLoop:
    return ControlLoop(Constant(*action), crane, crane.clock, manifest(slew))


def test_neutral_is_each_channels_own() -> None:
    crane = Crane()
    with _loop(crane):
        # The fan's value; of the lamp, which the task does not know, what is nearest to zero; the hoist where it is.
        assert crane.commands == [[0.3, 0.2, 3.0]]


def test_nothing_is_commanded_before_it_is_known_what_to_hold() -> None:
    crane = Crane()
    crane.hoist = None
    with pytest.raises(DeviceFault, match="gives no new reading"):
        _loop(crane).start(0.1)
    assert crane.commands == []


def test_what_is_to_be_held_must_be_measured() -> None:
    """Also where the task does not look at it: nothing is commanded meanwhile."""
    crane = Lit()
    crane.lamp = np.nan
    with pytest.raises(DeviceFault, match=r"does not measure where it is to be held within 0\.1 s"):
        _loop(crane).start(0.1)
    assert crane.commands == []
    crane.lamp = 0.5
    with _loop(crane):
        assert crane.commands == [[0.3, 0.5, 3.0]]


def test_held_means_where_it_was_when_neutral_was_called_for() -> None:
    crane = Crane()
    with _loop(crane) as loop:
        loop.run_episode(FREE)
        assert crane.commands[-4:] == [[0.5, 0.2, 5.0]] * 3 + [[0.3, 0.2, 3.0]]
        crane.hoist = 2.9  # its load pulls it down
        loop.rest(3)
        assert crane.commands[-3:] == [[0.3, 0.2, 3.0]] * 3
        loop.run_episode(FREE)
        assert crane.commands[-1] == [0.3, 0.2, 2.9]


def test_what_sinks_while_it_is_held_is_not_followed() -> None:
    crane = Crane()

    def sink() -> None:
        assert crane.hoist is not None
        crane.hoist -= 0.05

    with _loop(crane) as loop:
        loop.follow([FREE[0], None, None, None], sink)
    assert crane.commands[-4:] == [[0.3, 0.2, 2.95]] * 4


def test_a_device_that_is_started_again_is_held_where_it_is_then() -> None:
    """In between anybody may have moved it; also what the task does not speak of."""
    crane = Lit()
    loop = _loop(crane)
    for hoist, lamp in ((3.0, 0.75), (1.0, 0.5), (2.0, 0.25)):
        crane.hoist, crane.lamp = hoist, lamp
        with loop:
            assert crane.commands[-1] == [0.3, lamp, hoist]
            crane.lamp = 0.625
            loop.run_episode(FREE)
            assert crane.commands[-2:] == [[0.5, lamp, 5.0], [0.3, lamp, hoist]]


def test_what_was_off_is_held_where_it_is_found_also_where_the_task_does_not_speak_of_it() -> None:
    crane = Lit()
    with _loop(crane) as loop:
        crane.lamp, crane.faults = 0.5, frozenset({"watchdog"})
        loop.run_episode(FREE)
    assert crane.commands[-1] == [0.3, 0.5, 3.0]


LONG = np.zeros((301, 0), np.float32)  # three seconds


@pytest.mark.parametrize("hoist", [0.5, 8.0])
def test_what_stands_where_it_is_told_to_may_stand_still_as_long_as_it_likes(hoist: float) -> None:
    """Armed or not; also far from the middle of its range, and with a neutral that is."""
    crane = Crane()
    crane.hoist = hoist
    loop = _loop(crane, (hoist, 0.3))
    for _ in range(2):
        for _ in range(150):
            loop.measure()
            crane.clock.sleep_until(crane.clock.now() + 0.01)
        with loop:
            assert loop.run_episode(LONG).mask.all()
            loop.follow([None] * 300)


@pytest.mark.parametrize("action", [(3.0, 0.3 + 0.23), (3.0, 1.0), (5.0, 0.3), (1.0, 0.3)])
def test_what_is_told_to_be_elsewhere_must_move(action: tuple[float, float]) -> None:
    crane = Crane()
    with (
        _loop(crane, action) as loop,
        pytest.raises(DeviceFault, match="has not changed any reading for 1 s"),
    ):
        loop.run_episode(LONG)


@pytest.mark.parametrize("action", [(3.0, 0.3 + 0.22), (3.0, 0.1), (4.8, 0.3), (1.2, 0.3)])
def test_a_small_action_need_not_show(action: tuple[float, float]) -> None:
    crane = Crane()
    with _loop(crane, action) as loop:
        assert loop.run_episode(LONG).mask.all()


def test_what_the_task_does_not_speak_of_is_held_within_its_own_range() -> None:
    for lamp, held in ((1.04, 1.0), (0.17, 0.2)):
        crane = Lit()
        crane.lamp = lamp
        with _loop(crane):
            assert crane.commands == [[0.3, held, 3.0]]


@pytest.mark.parametrize(("share", "low", "high"), [(1.0, 0.1, 1.0), (0.5, 0.2, 0.65), (0.25, 0.25, 0.475)])
def test_a_share_of_the_way_is_one_from_neutral_to_either_end(share: float, low: float, high: float) -> None:
    """What is held has no such way: it may go where it always may."""
    for fan, hoist, expected in ((-9.0, 0.0, [low, 0.2, 0.5]), (9.0, 9.0, [high, 0.2, 8.0])):
        crane = Crane()
        with ControlLoop(Constant(hoist, fan), crane, crane.clock, manifest(), max_action=share) as loop:
            loop.run_episode(FREE)
        assert crane.commands[-2] == expected


@pytest.mark.parametrize("bad", ["hoist", "fan"])
def test_the_action_that_is_not_finite_is_named(bad: str) -> None:
    crane = Crane()
    action = (np.nan, 0.5) if bad == "hoist" else (5.0, np.inf)
    with _loop(crane, action) as loop, pytest.raises(PolicyError, match=f"action '{bad}' is not finite"):
        loop.run_episode(LONG)


def test_what_is_held_lies_within_the_limits() -> None:
    crane = Crane()
    crane.hoist = 9.0
    with _loop(crane):
        assert crane.commands[-1] == [0.3, 0.2, 8.0]


def test_the_first_action_is_slewed_from_where_it_stands() -> None:
    crane = Crane()
    with _loop(crane, hoist=10.0) as loop:
        episode = loop.run_episode(FREE)
    np.testing.assert_allclose(episode.applied[:, 0], [3.1, 3.2, 3.3], rtol=1e-6)
    np.testing.assert_array_equal(episode.mask, 0.0)
    np.testing.assert_array_equal(episode.action[:, 0], 5.0)


def test_what_sank_while_it_was_held_is_slewed_from_where_it_stands() -> None:
    """And what is not measured itself from what it was told last."""
    crane = Crane()
    with _loop(crane, hoist=10.0, fan=10.0) as loop:

        def sink() -> None:
            crane.hoist = 2.0

        loop.follow([None, None, FREE[0], FREE[0]], sink)
    assert crane.commands[1:-1] == [[0.3, 0.2, 3.0]] * 2 + [[0.4, 0.2, 2.1], [0.5, 0.2, 2.2]]


def test_a_device_that_was_off_is_held_where_it_is_found() -> None:
    crane = Crane()
    with _loop(crane) as loop:
        crane.hoist, crane.faults = 1.0, frozenset({"watchdog"})  # it went limp, and sank
        loop.run_episode(FREE[:3])
    assert loop.stats().rearmed == 1
    driven = [command for command in crane.commands if command[0] == 0.5]
    assert len(driven) == 1
    assert crane.commands[-1] == [0.3, 0.2, 1.0]


def test_actions_are_clamped_to_their_channels() -> None:
    crane = Crane()
    with _loop(crane, (99.0, -99.0)) as loop:
        loop.run_episode(FREE)
        assert crane.commands[-2] == [0.1, 0.2, 8.0]
        assert loop.applied.tolist() == pytest.approx([3.0, 0.3])


@pytest.mark.parametrize(("wanted", "ticks"), [(0.5, 0), (8.0, 0), (0.49, 3), (8.01, 3)])
def test_only_what_lies_beyond_a_limit_is_clamped(wanted: float, ticks: int) -> None:
    crane = Crane()
    with _loop(crane, (wanted, 0.5)) as loop:
        loop.run_episode(FREE)
        assert loop.stats().clamped == ticks


@pytest.mark.parametrize(("wanted", "ticks"), [(3.5, 0), (2.5, 0), (3.75, 1), (2.25, 1), (4.0, 1), (1.9, 2)])
def test_only_what_changes_faster_than_the_limit_is_held_back(wanted: float, ticks: int) -> None:
    """From 3 m, by half a metre a tick."""
    crane = Crane()
    with _loop(crane, (wanted, 0.3), hoist=50.0) as loop:
        episode = loop.run_episode(FREE)
        assert loop.stats().slewed == ticks
    assert (episode.mask == 0.0).sum() == ticks
    assert episode.applied[-1, 0] == pytest.approx(wanted)
