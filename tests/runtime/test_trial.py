import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle, load
from acclimate.bundle.manifest import AdaptationSpec, Graphs, Manifest, Objectives, TensorSpec
from acclimate.control.clock import RealClock
from acclimate.control.loop import ControlLoop
from acclimate.control.trial import EpisodeKey, Trial, TrialPlan, TrialReport
from acclimate.errors import DeviceFault, MismatchError, PolicyError, UsageError
from acclimate.policy.adapt_result import AdaptResult
from acclimate.policy.adaptation import AdaptWorker, InlineAdapter
from acclimate.policy.guard import Guard, Verdict
from acclimate.policy.policy import Policy
from acclimate.task.episode import Episode, Window
from acclimate.task.spec import Metric, ObservationChannel
from hypothesis import given, settings
from hypothesis import strategies as st

from . import bundles
from .devices import Joint, ManualClock, hold_reference


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(bundles.write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.acclimate"))


class Still:
    """Drives nothing."""

    def reset(self, scope: str) -> None:
        """It remembers nothing."""

    def act(self, obs: FloatArray, noise: FloatArray) -> FloatArray:
        del obs, noise
        return np.zeros(1, np.float32)


class Recorder:
    """References that note which episodes were asked for, and from where."""

    def __init__(self) -> None:
        self.keys: list[EpisodeKey] = []

    def __call__(self, obs: FloatArray, key: EpisodeKey) -> FloatArray:
        self.keys.append(key)
        return hold_reference(obs, bundles.STEPS)


def _run(
    bundle: Bundle, plan: TrialPlan, guard: Guard | None = None
) -> tuple[TrialReport, Policy, Recorder, Joint]:
    joint, policy, references = Joint(ManualClock()), Policy(bundle), Recorder()
    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        trial = Trial(loop, references, plan, np.random.default_rng(3))
        report = trial.run(policy, InlineAdapter(policy), guard or Guard.of(bundle.manifest))
    return report, policy, references, joint


def test_a_trial_measures_explores_waits_and_measures_again(bundle: Bundle) -> None:
    report, policy, references, joint = _run(bundle, TrialPlan(shots=2, episodes=2))
    expected: list[EpisodeKey] = [EpisodeKey(0, "measure", i) for i in range(2)]
    for shot in range(2):
        expected += [EpisodeKey(shot, "explore", i) for i in range(bundles.EPISODES)]
        expected += [EpisodeKey(shot, "wait", 0)]
        expected += [EpisodeKey(shot + 1, "measure", i) for i in range(2)]
    assert references.keys == expected
    assert len(report.before.episodes) == 2
    assert [shot.accepted.ok for shot in report.shots] == [True, True]
    assert policy.state("shots")[0] == 2
    assert report.stats.ticks == len(expected) * (bundles.STEPS + 1) + 1
    assert joint.stopped


def test_adaptation_is_the_one_that_numpy_computes_from_what_the_loop_recorded(bundle: Bundle) -> None:
    windows: list[Window] = []

    class Keeping(InlineAdapter):
        def submit(self, window: Window) -> None:
            windows.append(window)
            super().submit(window)

    joint, policy = Joint(ManualClock()), Policy(bundle)
    plan = TrialPlan(shots=1, episodes=1)
    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        trial = Trial(loop, Recorder(), plan, np.random.default_rng(3))
        report = trial.run(policy, Keeping(policy), Guard.of(bundle.manifest))
    expected, infos = bundles.adapt_numpy(dict(bundles.INITIAL), windows[0])
    np.testing.assert_allclose(policy.state("weight"), expected["weight"], rtol=1e-6)
    assert (policy.state("weight") != bundles.INITIAL["weight"]).any()
    assert report.shots[0].result.info["loss"] == pytest.approx(infos["loss"], rel=1e-5)
    assert report.shots[0].valid == 1.0


def test_a_trial_is_repeatable_bit_by_bit(bundle: Bundle) -> None:
    first, second = (_run(bundle, TrialPlan())[0] for _ in range(2))
    assert first == second
    assert (len(first.shots), len(first.before.episodes)) == (2, 4)
    assert TrialPlan() == TrialPlan(shots=2, episodes=4, rest_ticks=0, rollback=False, fresh=True)


def test_every_trial_begins_fresh(bundle: Bundle) -> None:
    joint, policy = Joint(ManualClock()), Policy(bundle)
    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        trial = Trial(loop, Recorder(), TrialPlan(1, 1), np.random.default_rng(0))
        for _ in range(2):
            trial.run(policy, InlineAdapter(policy), Guard.of(bundle.manifest))
            assert policy.state("shots")[0] == 1


def test_a_refused_adaptation_does_not_go_live(bundle: Bundle) -> None:
    report, policy, _, _ = _run(bundle, TrialPlan(shots=1), Guard(trust_radius=1e-9))
    assert not report.shots[0].accepted.ok
    assert "beyond the trust radius" in report.shots[0].accepted.reason
    np.testing.assert_array_equal(policy.state("weight"), bundles.INITIAL["weight"])


@pytest.mark.parametrize("rollback", [True, False])
def test_an_adaptation_that_does_harm_is_undone_where_asked(bundle: Bundle, rollback: bool) -> None:
    never_content = Guard(trust_radius=5.0, worse_by=-1.0)
    report, policy, _, _ = _run(bundle, TrialPlan(shots=1, rollback=rollback), never_content)
    assert not report.shots[0].kept.ok
    assert policy.state("shots")[0] == (0 if rollback else 1)


class Scripted(Guard):
    """A guard that is told, step by step, what was measured before and after, and notes what it compares."""

    def __init__(self, accepts: list[bool], keeps: list[bool]) -> None:
        super().__init__(trust_radius=5.0)
        self.accepts, self.keeps = list(accepts), list(keeps)
        self.compared: list[tuple[float, float]] = []

    def accept(self, result: AdaptResult, window: Window) -> Verdict:
        return super().accept(result, window) if self.accepts.pop(0) else Verdict(False, "no")

    def keep(self, metric: Metric, before: float, after: float) -> Verdict:
        del metric
        self.compared.append((before, after))
        return Verdict(self.keeps.pop(0))


@given(
    steps=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=4), rollback=st.booleans()
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_every_step_is_judged_against_the_state_that_it_starts_from(
    bundle: Bundle, steps: list[tuple[bool, bool]], rollback: bool
) -> None:
    """Also after a step that was not taken, or was taken back; and only what stays is there at the end."""
    accepted = [accepts for accepts, _ in steps]
    guard = Scripted(accepted, [keeps for accepts, keeps in steps if accepts])
    report, policy, _, _ = _run(bundle, TrialPlan(len(steps), 1, rollback=rollback), guard)
    standing, expected, stayed = report.before, [], 0
    for shot, (accepts, keeps) in zip(report.shots, steps, strict=True):
        if accepts:
            expected.append((standing.headline, shot.after.headline))
        else:
            assert shot.kept == Verdict(True)  # there is nothing to take back
        assert shot.undone is (accepts and not keeps and rollback)
        stayed += accepts and not shot.undone
        standing = standing if shot.undone else shot.after
    assert guard.compared == expected
    assert policy.state("shots")[0] == stayed


class Listening(Policy):
    """A policy that notes the noise that it is given."""

    def __init__(self, bundle: Bundle) -> None:
        self.heard: list[float] = []
        super().__init__(bundle)

    def act(self, obs: FloatArray, noise: FloatArray | None = None) -> FloatArray:
        self.heard.append(0.0 if noise is None else float(noise[0]))
        return super().act(obs, noise)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_only_exploring_episodes_have_noise_and_it_is_scaled(bundle: Bundle, scale: float) -> None:
    adaptation = AdaptationSpec(2, explore_scale=scale)
    policy = Listening(replace(bundle, manifest=replace(bundle.manifest, adaptation=adaptation)))
    joint, references = Joint(ManualClock()), Recorder()
    with ControlLoop(policy, joint, joint.clock, policy.manifest) as loop:
        policy.heard.clear()  # what the golden check has played
        trial = Trial(loop, references, TrialPlan(2, 1), np.random.default_rng(5))
        trial.run(policy, InlineAdapter(policy), Guard.of(policy.manifest))
    rng, each = np.random.default_rng(5), np.array(policy.heard).reshape(-1, bundles.STEPS)
    for key, noise in zip(references.keys, each, strict=True):
        drawn = (
            rng.standard_normal((bundles.STEPS, 1), np.float32) if key.purpose == "explore" else 0.0 * noise
        )
        np.testing.assert_allclose(noise, scale * np.ravel(drawn), rtol=1e-6)


def test_waiting_episodes_are_counted_and_no_step_is_taken_twice(bundle: Bundle) -> None:
    """An adaptation that takes longer than an episode meets another reference in each."""
    joint, policy, references = Joint(ManualClock()), Policy(bundle), Recorder()

    class Slow(InlineAdapter):
        polls = 0

        def poll(self) -> AdaptResult | None:
            self.polls += 1
            return super().poll() if self.polls > 2.5 * bundles.STEPS else None

    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        trial = Trial(loop, references, TrialPlan(1, 1), np.random.default_rng(0))
        trial.run(policy, Slow(policy), Guard.of(bundle.manifest))
    assert [key for key in references.keys if key.purpose == "wait"] == [
        EpisodeKey(0, "wait", number) for number in range(3)
    ]
    assert policy.state("shots")[0] == 1


def test_a_state_that_is_set_while_a_step_is_computed_stays(bundle: Bundle) -> None:
    joint, policy = Joint(ManualClock()), Policy(bundle)
    ones = np.ones((1, 4), np.float32)

    class Overtaken(InlineAdapter):
        def submit(self, window: Window) -> None:
            super().submit(window)
            policy.set_state("weight", ones)

    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        trial = Trial(loop, Recorder(), TrialPlan(1, 1), np.random.default_rng(0))
        report = trial.run(policy, Overtaken(policy), Guard.of(bundle.manifest))
    assert report.shots[0].accepted == Verdict(False, "the state was set or reset while it was computed")
    np.testing.assert_array_equal(policy.state("weight"), ones)


def test_measuring_alone_needs_no_adaptation(tmp_path: Path) -> None:
    frozen = bundles.without_adapt(bundles.manifest())
    policy = Policy(load(bundles.write_tiny(tmp_path / "robust.acclimate", frozen)))
    joint = Joint(ManualClock())
    with ControlLoop(policy, joint, joint.clock, frozen) as loop:
        trial = Trial(loop, Recorder(), TrialPlan(0, 3), np.random.default_rng(0))
        assert len(trial.measure().episodes) == 3
        report = trial.run(policy, InlineAdapter(policy), Guard.of(frozen))
        assert report.shots == ()
        shots = Trial(loop, Recorder(), TrialPlan(1, 3), np.random.default_rng(0))
        with pytest.raises(UsageError, match="has no adapt graph; run it with 0 shots"):
            shots.run(policy, InlineAdapter(policy), Guard.of(frozen))


def test_rest_between_episodes(bundle: Bundle) -> None:
    joint, policy = Joint(ManualClock()), Policy(bundle)
    plan = TrialPlan(shots=0, episodes=1, rest_ticks=10)
    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        Trial(loop, Recorder(), plan, np.random.default_rng(0)).measure()
    np.testing.assert_array_equal([command[1] for command in joint.commands[1:11]], 0.0)


@pytest.mark.alone
def test_in_real_time_the_loop_ticks_on_while_a_thread_adapts(bundle: Bundle) -> None:
    """A slow adaptation: whole episodes pass meanwhile, and no tick waits for it."""
    joint, policy, references = Joint(RealClock()), Policy(bundle), Recorder()

    class Slow(AdaptWorker):
        def poll(self):  # type: ignore[no-untyped-def]
            return super().poll() if time.monotonic() > end else None

    with ControlLoop(policy, joint, RealClock(), bundle.manifest) as loop, Slow(policy) as worker:
        end = time.monotonic() + 1.4
        trial = Trial(loop, references, TrialPlan(1, 1), np.random.default_rng(0))
        report = trial.run(policy, worker, Guard.of(bundle.manifest))
    assert report.shots[0].accepted.ok
    assert policy.state("shots")[0] == 1
    assert sum(key.purpose == "wait" for key in references.keys) >= 2


def test_a_worker_gives_its_result_once_and_takes_the_next_window(bundle: Bundle) -> None:
    policy = Policy(bundle)
    with AdaptWorker(policy) as worker:
        assert worker.poll() is None
        for seed in range(3):
            worker.submit(bundles.window(seed))
            while (result := worker.poll()) is None:
                policy.act(np.zeros(4, np.float32))
            assert result.finite
            assert worker.poll() is None
            policy.commit()
    assert policy.state("shots")[0] == 3


def test_a_worker_refuses_a_second_window_while_it_runs(bundle: Bundle) -> None:
    policy = Policy(bundle)
    with AdaptWorker(policy) as worker:
        policy.stage(bundles.window())  # as if a step were running
        with pytest.raises(PolicyError, match="while an adaptation is running"):
            worker.submit(bundles.window())
        policy.adapt_staged()


def test_a_closed_worker_takes_no_window_and_leaves_nothing_locked(bundle: Bundle) -> None:
    policy = Policy(bundle)
    with AdaptWorker(policy) as worker:
        pass
    with pytest.raises(PolicyError, match="this worker is closed"):
        worker.submit(bundles.window())
    worker.close()
    policy.adapt(bundles.window())


def test_a_worker_whose_thread_is_gone_leaves_nothing_locked(bundle: Bundle) -> None:
    policy = Policy(bundle)
    with AdaptWorker(policy) as worker:
        worker._pool.shutdown()
        with pytest.raises(RuntimeError, match="after shutdown"):
            worker.submit(bundles.window())
        policy.adapt(bundles.window())


def test_a_worker_that_is_closed_has_waited_and_ended_its_thread(bundle: Bundle) -> None:
    policy = Policy(bundle)
    with AdaptWorker(policy) as worker:
        worker.submit(bundles.window())
        names = [thread.name for thread in threading.enumerate()]
        assert any(name.startswith("acclimate-adapt") for name in names)
    assert policy.can_commit
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("acclimate-adapt") for name in names)


def test_every_metric_of_the_task_is_measured_and_the_headline_comes_first(bundle: Bundle) -> None:
    episodes: list[Episode] = []
    joint, policy = Joint(ManualClock()), Policy(bundle)
    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        trial = Trial(
            loop,
            Recorder(),
            TrialPlan(0, 3),
            np.random.default_rng(0),
            lambda _, episode: episodes.append(episode),
        )
        found = trial.measure()
    errors = [e.obs[1:, 0].astype(float) - e.obs[1:, 2] for e in episodes]
    assert list(found.values) == ["error", "chatter"]
    assert found.headline == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert [e["error"] for e in found.episodes] == pytest.approx([np.sqrt(np.mean(x**2)) for x in errors])
    changes = [np.abs(np.diff(e.applied, axis=0)).mean() for e in episodes]
    assert [e["chatter"] for e in found.episodes] == pytest.approx(changes)


def _paid(m: Manifest) -> Manifest:
    """The frozen policy of a task that is judged by a reward, which the joint does not measure."""
    m = bundles.with_objectives(m)
    pay = ObservationChannel("pay", "1", -100.0, 100.0, "reward")
    graphs = Graphs(replace(m.graphs.act, inputs=(TensorSpec("obs", (5,)), *m.graphs.act.inputs[1:])))
    metrics = (Metric("pay", "reward"), *m.task.metrics)
    task = replace(m.task, observation=(*m.observation, pay), metrics=metrics)
    return replace(m, task=task, graphs=graphs, objectives=Objectives("w", "pay"))


def test_a_device_that_measures_no_reward_cannot_be_judged_by_it() -> None:
    paid = _paid(bundles.manifest())
    joint = Joint(ManualClock())
    rng = np.random.default_rng(0)
    loop = ControlLoop(Still(), joint, joint.clock, paid)
    with pytest.raises(MismatchError, match="no sensor 'pay', and 'pay', by which servo is judged"):
        Trial(loop, Recorder(), TrialPlan(0, 1), rng)
    also = replace(paid, task=replace(paid.task, metrics=paid.task.metrics[::-1]))
    with ControlLoop(Still(), joint, joint.clock, also) as loop:
        assert list(Trial(loop, Recorder(), TrialPlan(0, 1), rng).measure().values) == ["chatter", "error"]


def test_what_is_learned_from_a_reward_is_learned_only_where_it_is_measured(bundle: Bundle) -> None:
    paid = _paid(bundles.manifest())
    judged = replace(paid, task=replace(paid.task, metrics=paid.task.metrics[::-1]))
    joint, policy = Joint(ManualClock()), Policy(bundle)

    class Seeing(Policy):
        """Which does not look at what the joint lacks."""

        def act(self, obs: FloatArray, noise: FloatArray | None = None) -> FloatArray:
            return super().act(obs[:4], noise)

    policy = Seeing(bundle)
    with ControlLoop(policy, joint, joint.clock, judged) as loop:
        commands = len(joint.commands)
        for plan in (TrialPlan(1, 1), TrialPlan(0, 1)):
            trial = Trial(loop, Recorder(), plan, np.random.default_rng(0))
            if plan.shots:
                with pytest.raises(
                    MismatchError, match="no sensor 'pay', from which bundle 'wishful' infers"
                ):
                    trial.run(policy, InlineAdapter(policy), Guard.of(bundle.manifest))
                assert len(joint.commands) == commands
            else:
                assert trial.run(policy, InlineAdapter(policy), Guard.of(bundle.manifest)).shots == ()


@pytest.mark.parametrize("shots", [0, 1])
def test_between_two_episodes_nobody_may_have_held_it_up(bundle: Bundle, shots: int) -> None:
    """Before the first one, a pause is nobody's business."""
    joint, policy = Joint(ManualClock()), Policy(bundle)
    keys: list[EpisodeKey] = []

    def record(key: EpisodeKey, episode: Episode) -> None:
        del episode
        keys.append(key)
        if len(keys) == 2:
            joint.clock.sleep_until(joint.clock.now() + 1.0)

    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        joint.clock.sleep_until(joint.clock.now() + 5.0)
        trial = Trial(loop, Recorder(), TrialPlan(shots, 3 - 2 * shots), np.random.default_rng(0), record)
        with pytest.raises(DeviceFault, match="held up"):
            trial.run(policy, InlineAdapter(policy), Guard.of(bundle.manifest))
    assert len(keys) == 2


@pytest.mark.parametrize(("shots", "episodes", "fits"), [(0, 1, True), (1, 0, False), (-1, 1, False)])
def test_a_plan_that_measures_nothing_is_refused(
    bundle: Bundle, shots: int, episodes: int, fits: bool
) -> None:
    if fits:
        assert len(_run(bundle, TrialPlan(shots, episodes))[0].before.episodes) == episodes
        return
    with pytest.raises(UsageError, match=f"episodes >= 1 and shots >= 0, got {episodes} and {shots}"):
        _run(bundle, TrialPlan(shots, episodes))


@pytest.mark.parametrize("fresh", [True, False])
def test_a_trial_begins_with_what_was_learned_only_where_asked(bundle: Bundle, fresh: bool) -> None:
    joint, policy = Joint(ManualClock()), Policy(bundle)
    with ControlLoop(policy, joint, joint.clock, bundle.manifest) as loop:
        for _ in range(2):
            trial = Trial(loop, Recorder(), TrialPlan(1, 1, fresh=fresh), np.random.default_rng(0))
            trial.run(policy, InlineAdapter(policy), Guard.of(bundle.manifest))
    assert policy.state("shots")[0] == (1 if fresh else 2)
