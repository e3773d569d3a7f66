"""What each algorithm needs of a family, and what to say where a family lacks it.

A section of a config names an algorithm; `refusal` gives the sentence that ends the attempt before any training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from acclimate_trainer.algorithms.features.hindsight import tracks
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.family import Resumable, TaskFamily, Tasks


class Need(NamedTuple):
    """A property of a family: whether it has it, and what to say of one that does not."""

    met: Callable[[Complete[object]], bool]
    lack: str


GRADIENT = Need(
    lambda family: family.spec.differentiable,
    "no gradient passes through its sessions (differentiable = False)",
)
CONTINUOUS = Need(lambda family: not family.spec.discrete, "its actions are choices")
DISCRETE = Need(lambda family: family.spec.discrete, "its actions are continuous, without choices")
PARAMETERS = Need(lambda family: bool(family.spec.parameters), "it has no parameters that could be told")
RESUMABLE = Need(
    lambda family: isinstance(family.family, Resumable),
    "its sessions cannot be taken up in mid-drive from what was measured (it has no `made` and `resume`)",
)
FEATURES = Need(lambda family: family.featured, "it has no features that a device could be rewarded for")

REWARDED = Need(lambda family: family.rewarded, "its devices cannot know their rewards")
TAUGHT = Need(
    lambda family: (
        family.featured and len(family.spec.parameters) == len(family.spec.features)
        if family.spec.discrete
        else family.spec.differentiable
    ),
    "nobody could teach there: no gradient passes through its sessions (differentiable = False), and its parameters "
    "are not weights of its features",
)
FOLLOWS = Need(
    lambda family: bool(tracks(family.spec)), "there is nothing that it follows (it has no reference)"
)

NEEDS: Mapping[str, tuple[Need, ...]] = {
    "maml": (CONTINUOUS, GRADIENT),
    "rl2": (CONTINUOUS, GRADIENT),
    "rl2_oracle": (CONTINUOUS, GRADIENT, PARAMETERS),
    "identify": (CONTINUOUS, GRADIENT, PARAMETERS, RESUMABLE),
    "model": (CONTINUOUS, GRADIENT),
    "objectives": (CONTINUOUS, GRADIENT, FEATURES),
    "student": (CONTINUOUS, PARAMETERS),
    "mimic": (TAUGHT,),
    "imitation": (CONTINUOUS,),
    "features": (CONTINUOUS, GRADIENT, FOLLOWS),
    "ppo": (),
    "robust": (CONTINUOUS, GRADIENT),
    "oracle": (CONTINUOUS, GRADIENT, PARAMETERS),
    "successor": (DISCRETE, FEATURES),
    "entropy": (REWARDED,),
}
"""By the name of the config's section."""


def refusal(algorithm: str, family: TaskFamily[Tasks] | Complete[Tasks]) -> str | None:
    """One sentence that says what the family lacks for that algorithm, and which would do; None where nothing."""
    complete = Complete.of(family)
    lacking = _lacking(algorithm, complete)
    if not lacking:
        return None
    others = ", ".join(f"[{name}]" for name in NEEDS if not _lacking(name, complete))
    return (
        f"[{algorithm}] does not train on the family {complete.spec.name!r}: {' and '.join(lacking)}; "
        f"these do: {others}"
    )


def _lacking(algorithm: str, family: Complete[Tasks]) -> list[str]:
    return [need.lack for need in NEEDS[algorithm] if not need.met(family)]  # type: ignore[arg-type]
