from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from acclimate.bundle.file import Bundle, load
from acclimate.bundle.manifest import Graphs, Objectives, TensorSpec
from acclimate.control.drive import Drive
from acclimate.control.loop import ControlLoop
from acclimate.errors import DeviceFault, MismatchError
from acclimate.policy.guard import Guard
from acclimate.policy.policy import Policy
from acclimate.task.spec import ObservationChannel

from . import bundles
from .devices import Joint, ManualClock

WINDOW = bundles.EPISODES * (bundles.STEPS + 1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(bundles.write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.acclimate"))


def test_a_drive_is_judged_as_one_episode_wherever_it_is_cut(bundle: Bundle) -> None:
    reference = np.zeros((41, 2), np.float32)
    reference[:, 0] = 0.5
    joint, policy = Joint(ManualClock()), Policy(bundle)
    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        drive = Drive(loop, reference)
        drive.on(20)
        drive.on(41)
    error = drive.obs[:, 0].astype(float) - drive.obs[:, 2]
    assert (len(drive.obs), len(drive.applied)) == (41, 41)
    assert drive.metrics()["error"] == pytest.approx(np.sqrt(np.mean(error[1:] ** 2)))
    assert drive.metrics() == drive.metrics(0, 40)
    assert drive.metrics()["chatter"] == pytest.approx(np.abs(np.diff(drive.applied[:40], axis=0)).mean())
    assert drive.metrics(10, 20)["error"] == pytest.approx(np.sqrt(np.mean(error[11:21] ** 2)))
    assert drive.metrics(30, 40)["error"] == pytest.approx(np.sqrt(np.mean(error[31:41] ** 2)))


@pytest.mark.parametrize(("radius", "goes_live"), [(5.0, True), (1e-9, False)])
def test_what_the_guard_refuses_does_not_go_live(bundle: Bundle, radius: float, goes_live: bool) -> None:
    joint, policy = Joint(ManualClock()), Policy(bundle)
    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        rng = np.random.default_rng(1)
        drive = Drive(loop, np.zeros((WINDOW + 2, 2), np.float32), rng=rng)
        reason = drive.explore(policy, Guard(radius), WINDOW + 2)
    drawn = np.random.default_rng(1)
    for _ in range(bundles.EPISODES):
        drawn.standard_normal((bundles.STEPS, 1), np.float32)
    assert rng.bit_generator.state == drawn.bit_generator.state  # it has explored, an episode at a time
    assert ("beyond the trust radius" in reason) is not goes_live
    assert policy.state("shots")[0] == goes_live
    assert policy.can_roll_back is goes_live
    assert drive.tick == WINDOW


def test_a_window_that_does_not_fit_is_not_begun(bundle: Bundle) -> None:
    joint, policy = Joint(ManualClock()), Policy(bundle)
    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        drive = Drive(loop, np.zeros((WINDOW + 1, 2), np.float32), rng=np.random.default_rng(1))
        reason = drive.explore(policy, Guard.of(bundle.manifest), WINDOW + 1)
    assert reason == "there is no time for a window"
    assert (drive.tick, policy.state("shots")[0]) == (0, 0)


def test_where_the_reward_is_not_measured_nothing_is_explored_for_it(bundle: Bundle) -> None:
    m = bundles.with_objectives(bundle.manifest)
    pay = ObservationChannel("pay", "1", -1.0, 1.0, "reward")
    graphs = Graphs(replace(m.graphs.act, inputs=(TensorSpec("obs", (5,)), *m.graphs.act.inputs[1:])))
    task = replace(m.task, observation=(*m.observation, pay))
    paid = replace(m, task=task, graphs=graphs, objectives=Objectives("w", "pay"))
    joint, policy = Joint(ManualClock()), Policy(bundle)
    with ControlLoop(policy, joint, joint.clock, paid) as loop:
        drive = Drive(loop, np.zeros((2 * WINDOW, 2), np.float32), rng=np.random.default_rng(1))
        with pytest.raises(MismatchError, match="no sensor 'pay'"):
            drive.explore(policy, Guard.of(bundle.manifest), 2 * WINDOW)
    assert drive.tick == 0


def test_after_a_pause_in_the_middle_nothing_moves_again(bundle: Bundle) -> None:
    """Before the drive begins, a pause is nobody's business."""
    clock = ManualClock()
    joint, policy = Joint(clock), Policy(bundle)
    with ControlLoop(policy, joint, clock, bundle.manifest) as loop:
        drive = Drive(loop, np.zeros((61, 2), np.float32))
        clock.sleep_until(clock.now() + 5.0)
        drive.on(20)
        drive.on(40)
        sent = len(joint.commands)
        clock.sleep_until(clock.now() + 5.0)
        with pytest.raises(DeviceFault, match="held up"):
            drive.on(61)
        assert len(joint.commands) == sent


def test_events_happen_at_their_tick_also_where_episodes_meet(bundle: Bundle) -> None:
    joint, policy = Joint(ManualClock()), Policy(bundle)
    seen: list[tuple[int, int]] = []  # event, or −1 for what happens at every tick; commands sent until then

    def note(what: int) -> None:
        seen.append((what, len(joint.commands)))

    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        first = len(joint.commands) + 1
        events = {tick: partial(note, tick) for tick in (0, 9, 10, 20)}
        drive = Drive(loop, np.zeros((21, 2), np.float32), events, every=partial(note, -1))
        drive.on(10)
        drive.on(21)
    assert [sent - first for what, sent in seen if what == -1] == list(range(21))
    assert [(what, sent - first) for what, sent in seen if what != -1] == [(t, t) for t in (0, 9, 10, 20)]
