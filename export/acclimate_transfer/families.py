"""Source and target as they are typed, and whether what was trained on the one can drive the other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

from acclimate.errors import MismatchError, UsageError
from acclimate.names import did_you_mean
from acclimate_trainer.contract.alike import differences
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
    lacking = list(differences(source.spec, target.spec))
    if lacking:
        raise MismatchError(
            f"what is trained on {source.spec.name!r} cannot drive {target.spec.name!r}: "
            + "; ".join(lacking)
            + "; source and target need the same channels in the same order, and the same rate"
        )
