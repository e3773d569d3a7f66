"""The task specification: what it says of itself, and which ones cannot be."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from acclimate.errors import UsageError
from acclimate.task.spec import (
    ActionChannel,
    Feature,
    Metric,
    ObservationChannel,
    Parameter,
    TaskSpec,
    Term,
    Track,
)
from hypothesis import given

from .specs import ERROR, LIFT, specs


@given(specs())
def test_every_entry_has_a_name_and_a_place(spec: TaskSpec) -> None:
    names = [name for channel in spec.observation for name in channel.scalars]
    assert [spec.index(name) for name in names] == list(range(spec.n_obs))
    assert sorted(spec.sensor_scalars + spec.reference_scalars, key=spec.index) == names
    assert (len(spec.sensor_scalars), len(spec.reference_scalars)) == (spec.n_sensors, spec.n_references)
    assert len(spec.action_scalars) == spec.n_act == len(spec.limits()[0])


def test_one_that_is_made_from_another_shares_nothing_with_it() -> None:
    joints = ObservationChannel("joint", "rad", -1.0, 1.0, shape=(2,))
    other = replace(LIFT, observation=(joints, *LIFT.observation))
    assert (LIFT.index("height"), other.index("height"), other.index("joint.1")) == (0, 2, 1)
    with pytest.raises(
        UsageError, match=r"lift does not observe 'joint\.1'; it observes: height, speed, height_wanted"
    ):
        LIFT.index("joint.1")


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "no time": (lambda: replace(LIFT, control_dt=0.0), "control_dt must be above 0 s, found 0.0"),
    "no ticks": (lambda: replace(LIFT, horizon=0), "horizon must be at least 1, found 0"),
    "no sensor": (lambda: replace(LIFT, observation=()), "at least one observation and one action channel"),
    "odd name": (
        lambda: replace(LIFT, name="my lift"),
        "the name 'my lift' must be of letters, digits, '_', '.' and '-'",
    ),
    "twice": (
        lambda: replace(LIFT, observation=(*LIFT.observation, LIFT.observation[0])),
        "observation 'height' is there twice",
    ),
    "no range": (
        lambda: replace(LIFT, action=(ActionChannel("valve", "%", 1.0, 1.0),)),
        "channel 'valve': minimum 1 must be below maximum 1, both finite",
    ),
    "exploring at no rate": (
        lambda: replace(LIFT, action=(ActionChannel("valve", "%", -1.0, 1.0, exploring_rate=0.0),)),
        "action 'valve': exploring_rate must be above 0 and finite, or null, found 0",
    ),
    "neutral outside": (
        lambda: replace(LIFT, action=(ActionChannel("valve", "%", 1.0, 2.0),)),
        "action 'valve': neutral 0.0 lies outside 1 to 2",
    ),
    "nothing to hold": (
        lambda: replace(LIFT, action=(ActionChannel("valve", "%", -1.0, 1.0, neutral="hold"),)),
        "neutral 'hold' needs a sensor of that name and size; there are: height, speed",
    ),
    "two rewards": (
        lambda: replace(
            LIFT,
            observation=(
                *LIFT.observation,
                *(ObservationChannel(name, "1", 0.0, 1.0, "reward") for name in ("pay", "tip")),
            ),
        ),
        "at most one observation channel may be the reward",
    ),
    "choice outside": (
        lambda: replace(LIFT, choices=((0.0,), (51.0,))),
        r"choice \[51.0\] is no action within the channels' limits",
    ),
    "log of zero": (
        lambda: replace(LIFT, parameters=(Parameter("load", "kg", 0.0, 1.0, "log"),)),
        "parameter 'load': on a log scale it must lie above 0, found 0",
    ),
    "no sign": (
        lambda: replace(LIFT, parameters=(Parameter("way", "1", -2.0, 1.0, "sign"),)),
        "parameter 'way': a sign is −1 or 1, found -2 to 1",
    ),
    "no metric": (lambda: replace(LIFT, metrics=()), "at least one metric, the headline"),
    "error of nothing": (
        lambda: replace(LIFT, metrics=(Metric("error", "rms"),)),
        "a metric of kind rms needs pairs of channels, measured and wanted",
    ),
    "success without a bound": (
        lambda: replace(LIFT, metrics=(replace(ERROR, kind="success"),)),
        "success needs a bound above 0, found None",
    ),
    "bound of an error": (
        lambda: replace(LIFT, metrics=(replace(ERROR, bound=1.0),)),
        "metric 'error': a metric of kind rms takes no bound",
    ),
    "reward of actions": (
        lambda: replace(LIFT, metrics=(Metric("pay", "reward", actions=("valve",)),)),
        "metric 'pay': a metric of kind reward takes no actions",
    ),
    "unknown action": (
        lambda: replace(LIFT, metrics=(Metric("chatter", "chatter", actions=("pump",)),)),
        "metric 'chatter' names 'pump', which is no action; actions: valve",
    ),
    "reference of nobody": (
        lambda: replace(LIFT, reference=None),
        "its reference gives none, and its channels of source 'reference' are height_wanted",
    ),
    "reference from nowhere": (
        lambda: replace(
            LIFT,
            reference=replace(LIFT.reference, tracks=(Track("depth", "height_wanted"),)),  # type: ignore[type-var]
        ),
        "track 'height_wanted' begins at 'depth', which no sensor measures",
    ),
    "feature of nothing": (
        lambda: replace(LIFT, features=(Feature("calm", "", term=Term("change", (), "square", 1.0)),)),
        "feature 'calm' names no channels; valid names: valve",
    ),
    "half an error": (
        lambda: replace(
            LIFT, features=(Feature("near", "", term=Term("error", ("height",), "square", 1.0)),)
        ),
        "feature 'near': an error takes pairs of channels, measured and target",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused_in_one_sentence(case: str) -> None:
    make, said = BAD[case]
    with pytest.raises(UsageError, match=said) as raised:
        make()
    assert str(raised.value).startswith("task '")
    assert "\n" not in str(raised.value)
