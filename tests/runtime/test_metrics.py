from dataclasses import replace

import numpy as np
import pytest
from acclimate.errors import UsageError
from acclimate.task.metrics import Pool, measure, worse
from acclimate.task.spec import ActionChannel, Metric, ObservationChannel, TaskSpec
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.specs import LIFT

EVERY = replace(
    LIFT,
    observation=(*LIFT.observation, ObservationChannel("pay", "1", -9.0, 9.0, "reward")),
    metrics=(
        *LIFT.metrics,
        Metric("pay", "reward"),
        Metric("there", "success", "1", LIFT.metrics[0].pairs, bound=5.0),
    ),
)
SEEDS = st.integers(0, 2**32)


def _episode(seed: int, steps: int = 40, spec: TaskSpec = EVERY) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    obs = rng.uniform(-10.0, 10.0, (steps + 1, spec.n_obs)).astype(np.float32)
    action = rng.uniform(-60.0, 60.0, (steps, spec.n_act)).astype(np.float32)  # some beyond the limits
    return obs, action


def _values(*episodes: tuple[np.ndarray, np.ndarray], spec: TaskSpec = EVERY) -> dict[str, float]:
    pool = Pool(spec)
    for obs, action in episodes:
        pool.add(obs, action)
    return pool.values()


def test_each_metric_is_what_its_definition_says() -> None:
    obs, action = _episode(1)
    found = _values((obs, action))
    error = obs[1:, 0].astype(float) - obs[1:, 2]
    assert found["error"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert found["pay"] == pytest.approx(obs[1:, 3].mean())
    assert found["there"] == pytest.approx(np.mean(np.abs(error[-10:]) <= 5.0))
    share = np.clip(action, -50.0, 50.0) / 50.0
    assert found["chatter"] == pytest.approx(np.abs(np.diff(share, axis=0)).mean())
    assert found["energy"] == pytest.approx((share**2).mean())
    assert found["saturated"] == pytest.approx((np.abs(action) >= 50.0).mean())
    assert list(found) == [metric.name for metric in EVERY.metrics]


@given(SEEDS, st.integers(1, 39))
def test_a_long_episode_cut_in_two_is_judged_as_a_whole(seed: int, cut: int) -> None:
    obs, action = _episode(seed)
    whole = _values((obs, action))
    parts = _values((obs[: cut + 1], action[:cut]), (obs[cut:], action[cut:]))
    for name in ("error", "pay", "energy", "saturated"):
        assert parts[name] == pytest.approx(whole[name], rel=1e-9, abs=1e-12)


@given(SEEDS, SEEDS, SEEDS)
def test_pooling_knows_no_order_and_no_grouping(one: int, two: int, three: int) -> None:
    a, b, c = _episode(one, 10), _episode(two, 20), _episode(three, 33)
    assert _values(a, b, c) == pytest.approx(_values(c, a, b), rel=1e-9)
    same = _values(a, a, a)
    assert same == pytest.approx(_values(a), rel=1e-9)


@given(SEEDS, st.floats(0.01, 100.0))
def test_the_unit_of_a_machine_does_not_matter_but_to_its_own_error(seed: int, scale: float) -> None:
    obs, action = _episode(seed)
    error = LIFT.metrics[0]
    valve = replace(LIFT.action[0], minimum=-50.0 * scale, maximum=50.0 * scale)
    bounded = replace(EVERY.metrics[-1], bound=5.0 * scale)
    other = replace(EVERY, action=(valve,), metrics=(error, *LIFT.metrics[1:], bounded))
    found = _values((obs * np.float32(scale), action * np.float32(scale)), spec=other)
    plain = _values((obs, action))
    assert found["error"] == pytest.approx(scale * plain["error"], rel=1e-4)
    assert found["chatter"] == pytest.approx(plain["chatter"], rel=1e-4, abs=1e-6)
    assert found["energy"] == pytest.approx(plain["energy"], rel=1e-4, abs=1e-6)


def test_full_scale_is_the_channels_range_wherever_it_lies() -> None:
    throttle = replace(LIFT, action=(ActionChannel("valve", "1", 0.0, 1.0, neutral=0.0),))
    obs, _ = _episode(0, 4, LIFT)
    means = measure(throttle, obs, np.array([[0.0], [1.0], [0.5], [0.5]], np.float32))
    assert means["energy"].value == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert means["chatter"].value == pytest.approx((2 + 1 + 0) / 3)
    assert means["saturated"].value == pytest.approx(2 / 4)


def test_an_action_at_its_limit_in_float32_is_at_the_limit() -> None:
    odd = replace(LIFT, action=(ActionChannel("valve", "1", -0.7, 0.7),))
    action = np.full((3, 1), 0.7, np.float32)
    assert measure(odd, np.zeros((4, 3), np.float32), action)["saturated"].value == 1.0


def test_a_metric_is_of_the_actions_that_it_names() -> None:
    two = (ActionChannel("valve", "1", -1.0, 1.0), ActionChannel("brake", "1", -1.0, 1.0))
    spec = replace(
        LIFT, action=two, metrics=(Metric("e", "energy", actions=("brake",)), Metric("all", "energy"))
    )
    action = np.array([[1.0, 0.0], [1.0, 0.5]], np.float32)
    found = measure(spec, np.zeros((3, 3), np.float32), action)
    assert found["e"].value == pytest.approx(0.125)
    assert found["all"].value == pytest.approx((1 + 1 + 0 + 0.25) / 4)


def test_rewards_come_from_their_channel_or_from_the_caller_or_are_refused() -> None:
    spec = replace(LIFT, metrics=(Metric("pay", "reward"),))
    obs, action = _episode(0, 4, LIFT)
    assert measure(spec, obs, action, np.array([1, 2, 3, 4], np.float32))["pay"].value == 2.5
    with pytest.raises(
        UsageError, match="metric 'pay' of lift is a reward, and no observation channel has it"
    ):
        measure(spec, obs, action)


def test_nothing_is_not_zero() -> None:
    assert np.isnan(list(Pool(EVERY).values().values())).all()


def test_worse_follows_the_metric() -> None:
    error, pay = EVERY.metrics[0], Metric("pay", "reward")
    assert worse(error, 2.0, 3.0) == pytest.approx(0.5)
    assert worse(error, 2.0, 1.0) == pytest.approx(-0.5)
    assert worse(pay, 2.0, 1.0) == pytest.approx(0.5)
    assert worse(pay, -2.0, -1.0) == pytest.approx(-0.5)
    assert worse(pay, 0.0, 0.0) == 0.0
    assert worse(error, 0.0, 1.0) == np.inf
