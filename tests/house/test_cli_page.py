"""docs/cli.md names every verb, option and JSON field that the code has, and no option that it has not."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from acclimate.command.cli import Verb, find_verbs, main
from acclimate.fields import Json
from acclimate_bridge.simulation.servo.servos import BUILT_IN
from acclimate_bridge.simulation.spawn import simulated_port

from tests.export import runs

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
VERBS = {name: verb for name, verb in find_verbs().items() if isinstance(verb, Verb)}
# Objects whose keys are not the verb's own.
FREE = {
    "manifest", "info", "figures", "episodes", "members", "facts", "nodes", "verify", "beside", "parameters", "before",
    "after", "left_out", "unchecked",
}  # fmt: skip


def _actions(verb: Verb) -> list[argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False)
    verb.configure(parser)
    return [action for action in parser._actions if action.help != argparse.SUPPRESS]


def _names(action: argparse.Action) -> list[str]:
    return [*action.option_strings] or [str(action.metavar or action.dest)]


def _keys(value: Json) -> Iterator[str]:
    """Every key in the tree that is a field's name, rather than a number or the name of a controller."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield key
        if key not in FREE:
            yield from _keys(inner)
    for inner in value if isinstance(value, list) else ():
        yield from _keys(inner)


def _undocumented(verb: str, *arguments: str | Path) -> set[str]:
    """Fields of what `acclimate VERB ARGUMENTS --json` prints that its section does not name."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([verb, *map(str, arguments), "--json"]) == 0
    return {key for key in _keys(json.loads(out.getvalue())) if f"`{key}`" not in SECTIONS[verb]}


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_has_its_section_with_every_option(name: str) -> None:
    assert name in SECTIONS
    wanted = [name for action in _actions(VERBS[name]) for name in _names(action)]
    assert [option for option in wanted if f"| `{option}` |" not in SECTIONS[name]] == []


@pytest.mark.parametrize("name", sorted(VERBS.keys() & SECTIONS.keys()))
def test_a_section_names_no_option_that_is_not_there(name: str) -> None:
    rows = set(re.findall(r"^\| `(--[\w-]+)` \|", SECTIONS[name], re.MULTILINE))
    usage = set(re.findall(r"--[\w-]+", SECTIONS[name].split("\n\n")[1]))
    assert rows | usage <= {option for action in _actions(VERBS[name]) for option in action.option_strings}


@pytest.mark.parametrize("name", sorted(VERBS.keys() & SECTIONS.keys()))
def test_defaults_are_the_codes(name: str) -> None:
    for action in _actions(VERBS[name]):
        default = action.default
        if action.option_strings and default is not None and not isinstance(default, bool):
            row = re.search(rf"^\| `{action.option_strings[-1]}` \| (.*) \|$", SECTIONS[name], re.MULTILINE)
            assert row is not None
            stated = f"({default:g})" if isinstance(default, float) else f"({default})"
            assert stated in row[1], row[0]


def test_the_built_in_servos_are_named() -> None:
    assert [name for name in BUILT_IN if f"`{name}`" not in PAGE] == []


def test_fields_of_inspect(bundle: Path) -> None:
    assert _undocumented("inspect", bundle) == set()


def test_fields_of_bench(bundle: Path) -> None:
    assert _undocumented("bench", bundle, "--seconds", "0.1", "--only", "onnxruntime") == set()


def test_fields_of_ports() -> None:
    assert _undocumented("ports") == set()


def test_fields_of_evaluate(bundle: Path) -> None:
    assert _undocumented("evaluate", bundle, "--servo", "MX-64", "--devices", "1", "--episodes", "1") <= {
        "servo wide", "maml", "pid", "1", "2",
    }  # fmt: skip


def test_fields_of_evaluate_over_time(bundle: Path) -> None:
    over_time = ("--servo", "MX-64", "--devices", "1", "--change", "supply", "--seconds", "4")
    assert _undocumented("evaluate", bundle, *over_time) <= {"maml", "pid"}


@pytest.mark.slow
def test_fields_of_train_export_and_verify(tmp_path: Path) -> None:
    config, run = tmp_path / "tiny.toml", tmp_path / "run"
    config.write_text(runs.config("robust"), encoding="utf-8")
    assert _undocumented("train", config, "--out", run) == set()
    assert _undocumented("export", run) == set()
    assert _undocumented("verify", run / "robust.acclimate", "--inputs", "20") == set()


def test_fields_of_run(bundle: Path) -> None:
    with simulated_port() as device:
        found = _undocumented("run", bundle, "--port", device.port, "--episodes", "1", "--shots", "1")
        over_time = ("--seconds", "0.5", "--reset", "trial@0.2")
        found |= _undocumented("run", bundle, "--port", device.port, *over_time)
    assert found == set()
