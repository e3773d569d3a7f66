"""The README: short, frank at the top, and like all pages without a command that the command does not know."""

from __future__ import annotations

import argparse
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from acclimate.command.cli import Verb, find_verbs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
MOST_LINES, TOP = 150, 25
PLACEHOLDERS = {"VERB", "[options]", "…"}


def _commands(page: Path) -> Iterator[list[str]]:
    """The words of every `acclimate VERB …` in code blocks that is no synopsis."""
    for line in re.findall(
        r"^    (?:\.venv/bin/)?acclimate (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE
    ):
        for command in line.split(" && "):
            words = shlex.split(command.removeprefix("acclimate "), comments=True)
            if not PLACEHOLDERS & {*words} and not any(word.startswith("[") for word in words):
                yield words


COMMANDS = [(page.name, words) for page in PAGES for words in _commands(page)]


def test_it_is_short_and_says_at_the_top_what_has_not_been_done() -> None:
    lines = README.splitlines()
    assert len(lines) <= MOST_LINES
    assert "No real servo has been driven yet" in "\n".join(lines[:TOP])
    assert "| fits | does not fit yet |" in "\n".join(lines[:TOP])


def test_the_wheel_is_the_one_that_make_wheel_makes() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"pip install 'dist/acclimate-{version}-py3-none-any.whl[onnx,serial]'" in README
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_there_are_commands() -> None:
    assert {words[0] for name, words in COMMANDS if name == "README.md"} >= {
        "train",
        "export",
        "verify",
        "run",
    }


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=lambda of: " ".join(of) if isinstance(of, list) else of
)
def test_a_command_of_a_page_is_one_that_the_verb_takes(page: str, words: list[str]) -> None:
    verb = find_verbs()[words[0]]
    assert isinstance(verb, Verb)
    parser = argparse.ArgumentParser(exit_on_error=False)
    verb.configure(parser)
    _, unknown = parser.parse_known_args(words[1:])
    assert unknown == [], page
