"""The export knows no machine: what it says and does comes from the specification."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import acclimate_export
import pytest

ROOT = Path(acclimate_export.__file__).parent
WORDS = re.compile(r"\b(servos?|XL-320|duty|rad)\b", re.IGNORECASE)


def _docstrings(tree: ast.AST) -> Iterator[range]:
    """Their lines."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            assert node.end_lineno is not None
            yield range(node.lineno, node.end_lineno + 1)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_but_prose_names_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    prose = {line for lines in _docstrings(ast.parse(text)) for line in lines}
    found = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if WORDS.search(line) and number not in prose
    ]
    assert found == []
