import json
from collections.abc import Callable
from typing import Any

import pytest
from acclimate.errors import ManifestError
from acclimate.fields import parse_object
from acclimate.task.spec import TaskSpec
from acclimate.task.spec_json import read_spec, spec_tree
from hypothesis import given, settings

from tests.runtime.specs import LIFT, specs


def _read(tree: object) -> TaskSpec:
    fields = parse_object(json.dumps(tree).encode(), "task")
    spec = read_spec(fields)
    fields.finish()
    return spec


@settings(deadline=None)
@given(specs())
def test_reading_is_the_inverse_of_writing(spec: TaskSpec) -> None:
    tree = spec_tree(spec)
    again = _read(tree)
    assert again == spec
    assert spec_tree(again) == tree


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda t: t.pop("metrics"), "task lacks the field 'metrics'"),
        (lambda t: t.update(colour=1), "task has the unknown field 'colour'; valid fields: action, choices"),
        (lambda t: t.update(control_dt=0), "task.control_dt must be greater than 0, found 0"),
        (lambda t: t.update(metrics=[]), "task: task 'lift': it needs at least one metric, the headline"),
        (
            lambda t: t["observation"][0].update(source="sky"),
            'task.observation[0].source must be one of "device", "reference", "reward", found "sky"',
        ),
        (
            lambda t: t["action"][0].update(neutral="hold"),
            "action 'valve': neutral 'hold' needs a sensor of that name and size; there are: height, speed",
        ),
        (
            lambda t: t["action"][0].update(exploring_rate=-1.0),
            "task.action[0].exploring_rate must be greater than 0, found -1",
        ),
        (
            lambda t: t["action"][0].update(neutral="off"),
            "task.action[0].neutral must be a finite number, found \"off\"",
        ),
        (
            lambda t: t["metrics"][0].update(pairs=[["height"]]),
            'task.metrics[0].pairs must be a list of pairs of names, found [["height"]]',
        ),
        (
            lambda t: t["metrics"][0].update(pairs=[["height", "depth"]]),
            "metric 'error' names 'depth', which is not observed; observed: height, speed, height_wanted",
        ),
        (
            lambda t: t["reference"].update(kind="music"),
            'task.reference.kind must be one of "tracking", found "music"',
        ),
        (
            lambda t: t["reference"]["tracks"][0].update(amplitude=-1),
            "reference: track 'height_wanted': amplitude must be above 0 and center finite, found -1 and 0",
        ),
        (lambda t: t.update(choices=[1]), "task.choices must be a list of lists of numbers, found [1]"),
        (lambda t: t.update(choices=[[99]]), "choice [99.0] is no action within the channels' limits"),
        (
            lambda t: t["parameters"][0].update(name="its load"),
            "task.parameters[0].name must be a name of letters, digits, '_', '.' and '-'",
        ),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_named_in_one_sentence(edit: Edit, said: str) -> None:
    tree = json.loads(json.dumps(spec_tree(LIFT)))
    edit(tree)
    with pytest.raises(ManifestError) as raised:
        _read(tree)
    assert said in str(raised.value)
