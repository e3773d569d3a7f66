"""Checks that a verb makes one after the other: a line each, and what to do where one fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from acclimate.fields import Json
from acclimate.json_text import json_text


class Check(NamedTuple):
    """One thing that was looked at. remedy: what to do about it, where it is not as it should be; else empty."""

    name: str
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        return not self.remedy


def show_checks(checks: Iterable[Check], *, as_json: bool) -> int:
    """Print each as it comes, or all as one JSON object; the exit code is 1 where one fails."""
    made = []
    for check in checks:
        made.append(check)
        if not as_json:
            print(_line(check), flush=True)
    if as_json:
        print(json_text({"checks": [_tree(check) for check in made]}))
    return 0 if all(check.ok for check in made) else 1


def _line(check: Check) -> str:
    line = f"{'ok' if check.ok else 'BAD':<4} {check.name:<24} {check.found}"
    return line if check.ok else f"{line}\n     {'':<24} -> {check.remedy}"


def _tree(check: Check) -> dict[str, Json]:
    return {"name": check.name, "ok": check.ok, "found": check.found, "remedy": check.remedy}
