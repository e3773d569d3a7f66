"""What serves any machine knows none: no servo, no duty, no radian, but in prose."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = (
    "runtime/acclimate",
    "trainer/acclimate_trainer/algorithms",
    "trainer/acclimate_trainer/play",
    "export/acclimate_export",
)
WORDS = {"servo", "servos", "duty", "rad", "rads"}
NAMES = ("xl-320",)
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # of snake_case, CamelCase and plain words
_PROSE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


def spoken_of(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of whatever in `source` is not prose and names a machine."""
    docstrings = _docstrings(source)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _PROSE or (token.type == tokenize.STRING and token.start in docstrings):
            continue
        words = {word.lower() for word in _PARTS.findall(token.string)}
        if words & WORDS or any(name in token.string.lower() for name in NAMES):
            yield token.start[0], token.string


def _docstrings(source: str) -> set[tuple[int, int]]:
    """Where each string that is a statement of its own begins: docstrings, and those that explain a constant."""
    return {
        (node.value.lineno, node.value.col_offset)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


@pytest.mark.parametrize("room", ROOMS)
def test_no_machine_is_known_but_in_prose(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in files
        for line, text in spoken_of(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('"""A servo."""\nX = 1  # duty, in rad\n"""rad"""\n', []),
        ('def f() -> str:\n    """Of servos."""\n    return "rad/s"\n', [3]),
        ("class ServoFamily:\n    servo_features = 1\n", [1, 2]),
        ('f(\n    unit="XL-320",\n    x=f"{y} duty",\n)\n', [2, 3]),
        ("grad, gradient, radius, conservative = 1, 2, 3, 4\n", []),
    ],
)
def test_what_is_prose_and_what_is_not(source: str, lines: list[int]) -> None:
    assert [line for line, _ in spoken_of(source)] == lines
