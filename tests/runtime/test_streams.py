"""Results are not lost on their way out: full disks, closed streams, terminals without letters, NaN."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from acclimate.command.streams import ASCII
from acclimate.fields import Json
from acclimate.json_text import json_text
from hypothesis import given
from hypothesis import strategies as st

from . import bundles

ROOT = Path(__file__).parents[2]
ROOMS = ("runtime", "firmware_bridge", "trainer", "export")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.acclimate")


def _shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """$A is the command."""
    settings = {**os.environ, "A": f"{sys.executable} -m acclimate", **environment}
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, check=False, env=settings, errors="replace"
    )


@pytest.mark.parametrize(
    "arguments", ["--help", "inspect --help", "inspect {}", "inspect {} --json", "inspect {} --engine nosuch"]
)
@pytest.mark.parametrize(
    ("where", "reason"), [(">/dev/full", "No space left on device"), (">&-", "it is closed")]
)
def test_what_stdout_does_not_take_is_an_error(tiny: Path, arguments: str, where: str, reason: str) -> None:
    done = _shell(f"$A {arguments.format(tiny)} {where}")
    if "nosuch" in arguments:  # there was nothing to print
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        return
    assert done.stderr == f"acclimate: cannot write to stdout: {reason}\n"
    assert done.returncode == 1


def test_what_stderr_does_not_take_is_lost_and_nothing_else(tiny: Path) -> None:
    for where in ("2>/dev/full", "2>&-"):
        done = _shell(f"$A inspect {tiny} --json {where}")
        assert done.returncode == 0
        assert json.loads(done.stdout)["golden"]["ok"] is True
        done = _shell(f"$A inspect nothing {where}")
        assert (done.returncode, done.stdout) == (2, "")


def test_a_reader_that_goes_is_no_error(tiny: Path) -> None:
    done = _shell(f"{{ $A inspect {tiny} --json; echo $? >&2; }} | true")
    assert done.stderr in ("141\n", "0\n")  # as the reader was the faster or not


def test_nothing_that_is_opened_becomes_a_stream_that_was_closed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nfrom acclimate.command import streams\nstreams.make_ready()\n"
        "print(open(__file__).fileno(), file=sys.stderr)\n"
    )
    done = _shell(f"{sys.executable} {program} <&- >&-")
    assert int(done.stderr) > 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
def test_a_terminal_without_letters_gets_them_in_ascii(tiny: Path, encoding: str) -> None:
    done = _shell(f"$A inspect {tiny}", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert ("..." in done.stdout) is (encoding != "utf-8")
    assert "\\u" not in done.stdout


def _texts(tree: ast.AST) -> Iterator[str]:
    """What a program may print: all texts but docstrings."""
    documented = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documented:
            yield node.value


@pytest.mark.parametrize("room", ROOMS)
def test_every_letter_that_is_printed_has_a_form_in_ascii(room: str) -> None:
    used = {
        letter
        for path in (ROOT / room).rglob("*.py")
        for text in _texts(ast.parse(path.read_text(encoding="utf-8")))
        for letter in text
        if not letter.isascii()
    }
    assert used <= ASCII.keys()
    assert all(form.isascii() for form in ASCII.values())


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def _same(found: object, given: object) -> bool:
    if isinstance(given, float):
        return found is None if not math.isfinite(given) else found == given
    if isinstance(given, list):
        assert isinstance(found, list)
        return len(found) == len(given) and all(map(_same, found, given))
    if isinstance(given, dict):
        assert isinstance(found, dict)
        return found.keys() == given.keys() and all(_same(found[key], given[key]) for key in given)
    return found == given


@given(TREES)
def test_json_is_json_whatever_the_numbers_are(tree: Json) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    text = json_text(tree)
    assert text.isascii()
    assert _same(json.loads(text, parse_constant=refuse), tree)


@pytest.mark.parametrize("room", ROOMS)
def test_no_verb_prints_json_in_another_way(room: str) -> None:
    printing = re.compile(r"print\([^\n]*json\.dumps")
    internal = {"child.py", "engine_trial.py"}  # from a process to the one that has started it
    assert [
        path
        for path in (ROOT / room).rglob("*.py")
        if path.name not in internal and printing.search(path.read_text(encoding="utf-8"))
    ] == []
