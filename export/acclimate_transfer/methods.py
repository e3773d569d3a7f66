"""The methods that are compared: a line for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from acclimate.errors import UsageError
from acclimate.names import did_you_mean
from acclimate_trainer.settings.tables import Value

Settings: TypeAlias = Mapping[str, Value]


class Method(NamedTuple):
    """A way to bring knowledge from source to target.

    section: of a config, that trains it. trained_on: which family; "nothing" leaves it as it was made.
    knows: where its knowledge is. rewarded: whether the device must know its reward to adapt.
    variants: settings of the section of which validation chooses, instead of those of a config; one leaves no choice.
    widths: settings that are how wide its networks are.
    """

    section: str
    trained_on: Literal["source", "target", "nothing"]
    knows: str
    rewarded: bool = False
    variants: Sequence[Settings] = ({},)
    widths: tuple[str, ...] = ("hidden",)


METHODS: Mapping[str, Method] = {
    "maml": Method("maml", "source", "the policy's start, and how to step from it", rewarded=True),
    "rl2": Method("rl2", "source", "hidden states"),
    "successor": Method(
        "objectives",
        "source",
        "features of what comes, for any objective",
        widths=("hidden", "mixing", "critic"),
    ),
    "identify": Method("identify", "source", "a model's parameters, and a policy that is told them"),
    "model": Method(
        "model", "source", "a model that adapts to its own prediction errors, and a policy told it"
    ),
    "entropy": Method(
        "entropy", "source", "what every action is worth, so that no way is given up", rewarded=True
    ),
    "mimic": Method("mimic", "source", "many teachers in one student"),
    "features": Method("features", "source", "a body; the device fits the head"),
    "robust": Method("robust", "source", "one policy for all machines"),
    "scratch": Method(
        "maml",
        "nothing",
        "nothing: the same network and step, as they were made",
        rewarded=True,
        variants=({"inner_lr": 0.1}, {"inner_lr": 0.5}, {"inner_lr": 2.0}),
    ),
    "oracle": Method("rl2_oracle", "target", "the true parameters, and the target itself in training"),
}
"""By name; a method of one's own is a line here."""


def chosen(names: Sequence[str] | None) -> dict[str, Method]:
    """The methods of these names; all where none is named. Raises UsageError for one that there is not."""
    for name in names or ():
        if name not in METHODS:
            raise UsageError(f"--methods: there is no method {name!r}{did_you_mean(name, METHODS)}")
    return {name: METHODS[name] for name in dict.fromkeys(names or METHODS)}
