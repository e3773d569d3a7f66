"""What a session's step reads and writes: found by running it on one machine, not told by its author.

A session is any object with `obs` and `step`. Of the tensors in its attributes,

    carried     are other ones after a step: its `state`, and what else it remembers
    constants   stay: the machine's numbers (T, …), which `become` may change, or an episode's own (T, E, …)
    sequences   are read one a tick: what is random, drawn by `open`

The last are told from constants by two steps in a row, whose traces may not differ in anything else. A counter of ticks
may count; any other number that changes, and a generator that draws, cannot be compiled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Never

import numpy as np
import torch
from torch import Tensor, fx

from acclimate_trainer.compiled.leaves import Path, copied, leaves, name_of, same
from acclimate_trainer.compiled.ticks.errors import NotCompiled
from acclimate_trainer.compiled.ticks.trace import ancestors, traced
from acclimate_trainer.contract.family import Differentiable, Session

_SELECT = torch.ops.aten.select.int


class Leaf(NamedTuple):
    """A tensor of a session with one task and one episode. `axes`: of the real one, 2 for (T, E, …), 1 for (T, …)."""

    path: Path
    shape: torch.Size
    axes: int  # 0: the same for all

    def real_shape(self, lanes: Sequence[int]) -> tuple[int, ...]:
        return (*lanes[: self.axes], *self.shape[self.axes :])


class Drawn(NamedTuple):
    """What each tick reads one of: a list at `path`, or with `axis` the slices of a tensor."""

    path: Path
    offset: int  # of the first, less the counter
    axis: int | None
    shape: torch.Size  # of one, with one task and one episode
    axes: int


class Anatomy(NamedTuple):
    """See the module."""

    tiny: Session[Never]  # one task, one episode, not yet stepped
    fading: tuple[Leaf, ...]  # of what is carried, the session's `state`
    kept: tuple[Leaf, ...]  # the rest of it, and an episode's constants
    constants: tuple[Leaf, ...]
    drawn: tuple[Drawn, ...]
    counters: tuple[Path, ...]
    fixed: Mapping[Path, object]  # all other leaves, the same in every session

    @property
    def carried(self) -> tuple[Leaf, ...]:
        return self.fading + self.kept


def anatomy(tiny: Session[Never], real: Session[Never], n_act: int) -> Anatomy:
    """`tiny` is as `real`, with one task and one episode. Raises NotCompiled, saying what is in the way."""
    found = leaves(tiny)
    _refuse_generators(tiny, found)
    floats = {path: x for path, x in found.items() if isinstance(x, Tensor) and x.dtype == torch.float32}
    stepped = _stepped(tiny, n_act)
    changed, counters = _changes(tiny, found, leaves(stepped))
    if strange := [path for path in changed if path not in floats]:
        raise NotCompiled(f"{_of(tiny)} changes {name_of(strange[0])}, which is no float32 tensor")
    fading = _fading(stepped, changed)
    first, second = (_Steps(session, list(floats), changed, n_act) for session in (tiny, stepped))
    drawn = _drawn_ones(first, second, tiny)
    needed = first.needed()
    count = next((int(str(found[path])) for path in counters), 0)
    shapes = leaves(real)
    lanes = real.obs.shape[:2]
    leaf = {
        path: _leaf(tiny, path, floats[path], shapes.get(path), lanes, path in changed)
        for path in floats
        if path in needed and not any(path[: len(d.path)] == d.path for d in drawn)
    }
    read = [x for path, x in leaf.items() if path not in changed]
    used = {x.path for x in leaf.values()} | {
        path for d in drawn for path in floats if path[: len(d.path)] == d.path
    }
    return Anatomy(
        tiny,
        tuple(leaf[path] for path in changed if path in fading and path in leaf),
        tuple(leaf[path] for path in changed if path not in fading and path in leaf)
        + tuple(x for x in read if x.axes == 2),
        tuple(x for x in read if x.axes < 2),
        tuple(_drawn(tiny, d, floats, shapes, lanes, count) for d in drawn),
        tuple(counters),
        {
            path: x
            for path, x in found.items()
            if path not in used and path not in counters and path not in floats and first.depends_on(x)
        },
    )


def _of(session: object) -> str:
    return type(session).__name__


def _refuse_generators(session: object, found: Mapping[Path, object]) -> None:
    for path, leaf in found.items():
        if isinstance(leaf, np.random.Generator | torch.Generator) or hasattr(leaf, "__next__"):
            raise NotCompiled(
                f"{_of(session)} keeps {name_of(path)}, which gives another number each time: "
                "draw all that is random in open, as tensors (T, E, steps)"
            )


def _stepped(session: Session[Never], n_act: int) -> Session[Never]:
    versions = {path: x._version for path, x in leaves(session).items() if isinstance(x, Tensor)}
    other = copied(session, {})
    with torch.no_grad():
        other.step(torch.zeros(1, 1, n_act))
    for path, x in leaves(session).items():
        if isinstance(x, Tensor) and x._version != versions[path]:
            raise NotCompiled(
                f"{_of(session)} changes {name_of(path)} in place, where it should make a new tensor"
            )
    return other


def _changes(
    session: object, before: Mapping[Path, object], after: Mapping[Path, object]
) -> tuple[list[Path], list[Path]]:
    """Tensors that are others after a step, and counters."""
    if before.keys() != after.keys():
        other = next(iter(before.keys() ^ after.keys()))
        raise NotCompiled(f"{_of(session)} keeps more or less after a step: {name_of(other)}")
    changed, counters = [], []
    for path, old in before.items():
        new = after[path]
        if isinstance(old, Tensor) and isinstance(new, Tensor):
            changed += [path] if new is not old else []
        elif type(old) is int and type(new) is int and new == old + 1:
            counters.append(path)
        elif not same(old, new):
            raise NotCompiled(f"{_of(session)} changes {name_of(path)} in a step, which is no tensor")
    return changed, counters


def _fading(stepped: Session[Never], changed: Sequence[Path]) -> set[Path]:
    """Of what changes, the tensors that the session's `state` sets."""
    if not isinstance(stepped, Differentiable):
        raise NotCompiled(f"{_of(stepped)} has no state, and so no gradient passes")
    other = copied(stepped, {})
    assert isinstance(other, Differentiable)
    before = leaves(other)
    given = tuple(x.clone() for x in other.state)
    other.state = given
    after = leaves(other)
    set_now = {path for path in after if after[path] is not before.get(path)}
    as_given = {path for path in set_now if any(after[path] is x for x in given)}
    if len(as_given) != len(given) or set_now != as_given or not as_given.issubset(changed):
        raise NotCompiled(
            f"the state of {_of(stepped)} is not made of tensors that it keeps and each step replaces"
        )
    return set_now


class _Steps:
    """The trace of one step of a session as a function of its tensors."""

    def __init__(
        self, session: Session[Never], paths: Sequence[Path], changed: Sequence[Path], n_act: int
    ) -> None:
        self.paths, self.changed = list(paths), list(changed)
        found = leaves(session)
        self._session = session

        def function(action: Tensor, *given: Tensor) -> list[Tensor]:
            one = copied(session, dict(zip(paths, given, strict=True)))
            obs, step = one.obs, one.step(action)
            after = leaves(one)
            new = [after[path] for path in changed]
            seen = [obs, step.reward, step.terminated.float(), step.truncated.float()]
            return seen + [x for x in new if isinstance(x, Tensor)]

        example = [x.detach().clone() for path in paths if isinstance(x := found[path], Tensor)]
        module = traced(function, [torch.zeros(1, 1, n_act), *example])
        self.nodes = list(module.graph.nodes)
        placeholders = [node for node in self.nodes if node.op == "placeholder"]
        self.path_of = dict(zip(placeholders[1:], paths, strict=True))
        (results,) = self.nodes[-1].args
        assert isinstance(results, list | tuple)
        self._results = list(results)
        self._module = module

    def depends_on(self, leaf: object) -> bool:
        """Whether the trace may have been another one with another leaf; a tensor in it is a constant."""
        if not isinstance(leaf, Tensor):
            return True
        constants = self._module.graph.find_nodes(op="get_attr")
        used = {self._module.get_buffer(str(node.target)).untyped_storage().data_ptr() for node in constants}
        return leaf.untyped_storage().data_ptr() in used

    def needed(self) -> set[Path]:
        """Tensors that what is seen depends on, in this tick or later."""
        of = {path: self._ancestors(node) for path, node in zip(self.changed, self._results[4:], strict=True)}
        needed: set[Path] = set()
        fresh = set().union(*(self._ancestors(node) for node in self._results[:4]))
        while fresh:
            needed |= fresh
            fresh = set().union(*(of.get(path, set()) for path in fresh)) - needed
        return needed

    def _ancestors(self, node: object) -> set[Path]:
        nodes = ancestors([node]) if isinstance(node, fx.Node) else set()
        return {self.path_of[x] for x in nodes if x in self.path_of}


class _Read(NamedTuple):
    """As `Drawn`: what the first tick read, and the next one after it."""

    path: Path
    first: int
    axis: int | None


def _drawn_ones(first: _Steps, second: _Steps, session: object) -> list[_Read]:
    """Of what the second tick reads the next. In all else the ticks have to be alike."""
    drawn = dict[_Read, None]()
    place = {node: k for k, node in enumerate(n for n in first.nodes if n.op != "placeholder")}
    other = {node: k for k, node in enumerate(n for n in second.nodes if n.op != "placeholder")}
    if len(place) != len(other):
        raise _not_the_same(session)
    for a, b in zip(place, other, strict=True):
        if a.op != b.op or (a.op == "call_function" and a.target != b.target):
            raise _not_the_same(session)
        for x, y in zip(_flat(a.args), _flat(b.args), strict=True):
            if isinstance(x, fx.Node) and isinstance(y, fx.Node):
                if x in first.path_of and y in second.path_of:
                    p, q = first.path_of[x], second.path_of[y]
                    if p != q:
                        drawn[_next_in_list(p, q, session)] = None
                elif place.get(x, -1) != other.get(y, -1):
                    raise _not_the_same(session)
            elif x != y:
                drawn[_next_slice(a, x, y, first, session)] = None
    return list(drawn)


def _not_the_same(session: object) -> NotCompiled:
    return NotCompiled(f"a step of {_of(session)} computes something else than the one before it")


def _flat(tree: object) -> list[object]:
    if isinstance(tree, list | tuple):
        return [x for part in tree for x in _flat(part)]
    return [tree]


def _next_in_list(p: Path, q: Path, session: object) -> _Read:
    i, j = p[-1], q[-1]
    if p[:-1] != q[:-1] or not isinstance(i, int) or not isinstance(j, int) or j != i + 1:
        raise NotCompiled(f"{_of(session)} reads {name_of(p)} in one step and {name_of(q)} in the next")
    return _Read(p[:-1], i, None)


def _next_slice(node: fx.Node, x: object, y: object, first: _Steps, session: object) -> _Read:
    """A slice x of a tensor along an axis, which in the next step is slice y."""
    if node.target is not _SELECT or not isinstance(x, int) or y != x + 1 or node.args[2] != x:
        raise _not_the_same(session)
    source, axis = node.args[0], node.args[1]
    while isinstance(source, fx.Node) and source not in first.path_of and _is_whole(source):
        source = source.args[0]
    if not isinstance(source, fx.Node) or source not in first.path_of or not isinstance(axis, int):
        raise _not_the_same(session)
    return _Read(first.path_of[source], x, axis)


def _is_whole(node: fx.Node) -> bool:
    """A slice that takes all there is, as x[:, :] does."""
    before = node.args[0] if node.args else None
    return isinstance(before, fx.Node) and node.meta["val"].shape == before.meta["val"].shape


def _axes(
    session: object,
    path: Path,
    tiny: Tensor,
    real: object,
    lanes: Sequence[int],
    either: Sequence[int] = (1, 2, 0),
) -> int:
    """How many of the leading axes are tasks and episodes; of several that fit, the first."""
    if isinstance(real, Tensor) and real.dtype == tiny.dtype:
        for axes in either:
            fits = tiny.shape[:axes] == (1,) * axes
            if fits and real.shape == torch.Size((*lanes[:axes], *tiny.shape[axes:])):
                return axes
    shape = list(real.shape) if isinstance(real, Tensor) else "gone"
    raise NotCompiled(
        f"{_of(session)} keeps {name_of(path)} of shape {shape}, expected tasks first, then episodes, "
        f"as [{lanes[0]}, …] or [{lanes[0]}, {lanes[1]}, …]"
    )


def _leaf(
    session: object, path: Path, tiny: Tensor, real: object, lanes: Sequence[int], carried: bool
) -> Leaf:
    either = (2,) if carried else (1, 2, 0)
    return Leaf(path, tiny.shape, _axes(session, path, tiny, real, lanes, either))


def _drawn(
    session: object,
    read: _Read,
    floats: Mapping[Path, Tensor],
    real: Mapping[Path, object],
    lanes: Sequence[int],
    count: int,
) -> Drawn:
    if read.axis is None:
        path = (*read.path, read.first)
        tiny, found = floats[path], real.get(path)
    else:
        whole, other = floats[read.path], real.get(read.path)
        tiny = whole.select(read.axis, read.first)
        found = other.select(read.axis, read.first) if isinstance(other, Tensor) else None
    axes = _axes(session, read.path, tiny, found, lanes)
    return Drawn(read.path, read.first - count, read.axis, tiny.shape, axes)
