"""What a planted bug is: one small change of a module, of a kind that people make.

    < for <=, == for !=, and for or, + for -, min for max, is for is not, in for not in
    a condition the other way round
    a number that is off by one, True for False
    a statement that is missing: a call, an assignment to a part of something, a raise

Nothing is planted where it would change no behaviour: annotations, texts, decorators, `__repr__`, imports, assertions
(`strict=True` of a zip is one, too), and what an error says. Nor in the assignments of a constructor, which any test at
all would find; nor for the / of a path, which would be a TypeError wherever the line runs.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_SILENT = frozenset({"__repr__", "__str__"})
_Undo: TypeAlias = Callable[[], None]


class Bug(NamedTuple):
    """A change of a module. where: its class and function; source: the module with it."""

    where: str
    line: int
    before: str
    after: str
    source: str

    @property
    def name(self) -> str:
        """The same as long as the code around it is; lines may move."""
        return f"{self.where}: {self.before} -> {self.after}"


class _Site(NamedTuple):
    """Where a bug can be planted; `plant` does so, and returns how to take it back.

    becomes: what then stands in the place of the node; None where it is the node itself that changes.
    """

    where: str
    node: ast.AST
    plant: Callable[[], _Undo]
    becomes: str | None = None


def count(source: str) -> int:
    """How many bugs can be planted in a module."""
    return sum(1 for _ in _sites(ast.parse(source), ""))


def names(source: str) -> list[str]:
    """Of all bugs that can be planted in a module, as `Bug.name`."""
    return [_planted(site).name for site in list(_sites(ast.parse(source), ""))]


def plant(source: str, number: int) -> Bug:
    """The module with bug `number` of `count`."""
    tree = ast.parse(source)
    return _planted(list(_sites(tree, ""))[number], tree)


def _planted(site: _Site, tree: ast.AST | None = None) -> Bug:
    """The bug, with the source of the tree that it is planted in, if that is given; the tree is then as before."""
    before = _shown(site.node)
    undo = site.plant()
    after = _shown(site.node) if site.becomes is None else site.becomes
    changed = ast.unparse(ast.fix_missing_locations(tree)) if tree else ""
    undo()
    line: int = getattr(site.node, "lineno", 0)
    return Bug(site.where, line, before, after, changed)


def _shown(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:87]}..."


def _sites(node: ast.AST, where: str) -> Iterator[_Site]:
    """All of a tree, in the order of the source."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        if node.name in _SILENT:
            return
        where = f"{where}.{node.name}" if where else node.name
    yield from _here(node, where)
    for name, value in ast.iter_fields(node):
        if _is_mute(node, name):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_silent(child):
                yield from _sites(child, where)


def _is_mute(node: ast.AST, field: str) -> bool:
    """Whether a part of a node says, types or asserts something, and does nothing."""
    match node:
        case ast.Raise():
            return field in ("exc", "cause")
        case (
            ast.AnnAssign(annotation=ast.Name(id="TypeAlias"))
            | ast.keyword(arg="strict", value=ast.Constant(value=True))
        ):
            return field == "value"
    return field in ("annotation", "returns", "decorator_list", "type_comment")


def _is_silent(node: ast.AST) -> bool:
    typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    protocol = isinstance(node, ast.ClassDef) and any(
        ast.unparse(b).startswith("Protocol") for b in node.bases
    )
    return (
        typing_only or protocol or isinstance(node, ast.JoinedStr | ast.Assert | ast.Import | ast.ImportFrom)
    )


def _here(node: ast.AST, where: str) -> Iterator[_Site]:
    match node:
        case ast.Compare():
            for i, op in enumerate(node.ops):
                yield _Site(where, node, _setter(node.ops, i, _SWAPS[type(op)]()))
        case ast.BoolOp() | ast.BinOp() if type(node.op) in _SWAPS and not _is_path(node):
            yield _Site(where, node, _attribute(node, "op", _SWAPS[type(node.op)]()))
        case ast.Name() if node.id in _NAMES:
            yield _Site(where, node, _attribute(node, "id", _NAMES[node.id]))
        case ast.Constant() if isinstance(node.value, bool):
            yield _Site(where, node, _attribute(node, "value", not node.value))
        case ast.Constant() if isinstance(node.value, int | float):
            yield _Site(where, node, _attribute(node, "value", node.value + 1))
        case ast.If() | ast.While() | ast.IfExp():
            other = _negated(node.test)
            yield _Site(where, node.test, _attribute(node, "test", other), _shown(other))
    yield from _missing(node, where)


def _is_path(node: ast.AST) -> bool:
    """Whether it is `folder / "name"`."""
    match node:
        case ast.BinOp(op=ast.Div(), right=ast.Constant(value=str()) | ast.JoinedStr()):
            return True
    return False


def _missing(node: ast.AST, where: str) -> Iterator[_Site]:
    """Statements that may be left out."""
    for field in ("body", "orelse", "finalbody"):
        statements = getattr(node, field, None)
        if not isinstance(statements, list):
            continue
        for i, statement in enumerate(statements):
            if _acts(statement, where):
                yield _Site(where, statement, _setter(statements, i, ast.Pass()), "(nothing)")


def _acts(statement: ast.AST, where: str) -> bool:
    match statement:
        case ast.Expr(value=ast.Call()) | ast.Raise():
            return True
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]) | ast.AugAssign():
            return not where.endswith("__init__")
    return False


def _negated(test: ast.expr) -> ast.expr:
    return test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else _not(test)


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _setter(
    items: list[ast.AST] | list[ast.cmpop] | list[ast.stmt], i: int, value: ast.AST
) -> Callable[[], _Undo]:
    def plant() -> _Undo:
        old, items[i] = items[i], value  # type: ignore[call-overload]
        return lambda: items.__setitem__(i, old)  # type: ignore[call-overload]

    return plant


def _attribute(node: ast.AST, name: str, value: object) -> Callable[[], _Undo]:
    def plant() -> _Undo:
        old = getattr(node, name)
        setattr(node, name, value)
        return lambda: setattr(node, name, old)

    return plant
