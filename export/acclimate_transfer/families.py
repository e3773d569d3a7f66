"""Source and target as they are typed, and whether what was trained on the one can drive the other."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from acclimate.errors import MismatchError, UsageError
from acclimate.names import did_you_mean
from acclimate.task.spec import ActionChannel, ObservationChannel, TaskSpec
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.runs.built_in import built_in
from acclimate_trainer.runs.configuration import load_config
from acclimate_trainer.settings.tables import Value
from acclimate_trainer.tasks.registry import Opened, families, open_family


class Place(NamedTuple):
    """A family, as SOURCE or TARGET names it."""

    name: str | None
    use: str | None
    options: dict[str, Value]

    def opened(self) -> Opened:
        """Raises as `open_family`."""
        return open_family(self.name, self.use, self.options, where=self.name or str(self.use))

    def family(self) -> Complete[object]:
        return Complete.of(self.opened().family)

    @property
    def table(self) -> dict[str, Value]:
        """The section [family] of a config."""
        named: dict[str, Value] = {"name": self.name} if self.name is not None else {"use": str(self.use)}
        return named | {"options": self.options}

    @property
    def label(self) -> str:
        """Such as "servo wide": the family, and what of its options is said in words."""
        opened = self.opened()
        return " ".join([opened.name, *(v for v in opened.options.values() if isinstance(v, str))])


def parse_place(text: str) -> Place:
    """A config, or FAMILY or FILE.py:CLASS with options, as in servo:preset=wide. Raises UsageError."""
    path = built_in().get(text, Path(text))
    if path.suffix == ".toml" and path.is_file():
        section = load_config(path).family
        return Place(section.name, section.use, dict(section.options))
    head, options = _split(text)
    if ".py:" in head:
        file, _, cls = head.rpartition(":")
        return Place(None, f"{Path(file).absolute()}:{cls}", options)
    if head not in families():
        raise UsageError(
            f"{text!r} is no family and no config{did_you_mean(head, families(), of='families')}; configs are TOML "
            "files, or built-in ones such as servo_wide_rl2"
        )
    return Place(head, None, options)


def _split(text: str) -> tuple[str, dict[str, Value]]:
    """What stands before the options, and these. Raises UsageError for options that are none."""
    head, colon, tail = text.rpartition(":")
    if not colon or "=" not in tail:
        return text, {}
    options: dict[str, Value] = {}
    for part in re.split(r",(?![^\[]*\])", tail):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise UsageError(f"{part!r} in {text!r} is not KEY=VALUE, as in servo:preset=wide,price=0.02")
        options[key] = _value(value)
    return head, options


def _value(text: str) -> Value:
    """As in TOML; what is none is text, so that quotes may be left out."""
    try:
        value: Value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value


def require_alike(source: Complete[object], target: Complete[object]) -> None:
    """Raises MismatchError with the list of what differs, where a policy for the one cannot drive the other."""
    differences = list(_differences(source.spec, target.spec))
    if differences:
        raise MismatchError(
            f"what is trained on {source.spec.name!r} cannot drive {target.spec.name!r}: "
            + "; ".join(differences)
            + "; source and target need the same channels in the same order, and the same rate"
        )


def _differences(source: TaskSpec, target: TaskSpec) -> Iterator[str]:
    if source.control_dt != target.control_dt:
        yield f"the control period is {source.control_dt:g} s in the source and {target.control_dt:g} s in the target"
    observed, acted = (
        (_by_name(s.observation) for s in (source, target)),
        (_by_name(s.action) for s in (source, target)),
    )
    yield from _channels("observation", *observed)
    yield from _channels("action", *acted)
    if source.choices != target.choices:
        yield f"the choices are {len(source.choices)} in the source and {len(target.choices)} in the target"


def _by_name(channels: tuple[ObservationChannel, ...] | tuple[ActionChannel, ...]) -> dict[str, str]:
    """What a channel must have in common with its like, in words."""
    return {c.name: _described(c) for c in channels}


def _described(channel: ObservationChannel | ActionChannel) -> str:
    shape = "×".join(map(str, channel.shape))
    words = f"{channel.unit}, shape {shape}" if shape else channel.unit
    if isinstance(channel, ObservationChannel):
        return f"{words}, of the {channel.source}"
    return f"{words}, {channel.minimum:g} to {channel.maximum:g}, neutral {channel.neutral}"


def _channels(kind: str, source: dict[str, str], target: dict[str, str]) -> Iterator[str]:
    only = [(name, "source") for name in source if name not in target]
    only += [(name, "target") for name in target if name not in source]
    for name, where in only:
        yield f"{kind} {name!r} is in the {where} only"
    shared = [name for name in source if name in target]
    for name in shared:
        if source[name] != target[name]:
            yield f"{kind} {name!r} is ({source[name]}) in the source and ({target[name]}) in the target"
    if not only and list(source) != list(target):
        orders = [", ".join(names) for names in (source, target)]
        yield f"{kind} channels are in the order {orders[0]} in the source and {orders[1]} in the target"
