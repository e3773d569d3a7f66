"""Parts of a session by its anatomy: whether it has them, what is drawn for the next ticks, others in their place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Never

import torch
from torch import Tensor

from acclimate_trainer.compiled.anatomy import Anatomy, Drawn
from acclimate_trainer.compiled.leaves import Path, at, copied, same, tensor_at
from acclimate_trainer.contract.family import Session


def fits(anatomy: Anatomy, session: Session[Never], lanes: Sequence[int], ticks: int) -> bool:
    """Whether a session of so many tasks and episodes is of this build, and has `ticks` left of what is drawn."""
    if type(session) is not type(anatomy.tiny):
        return False
    for leaf in (*anatomy.carried, *anatomy.constants):
        x = at(session, leaf.path)
        if not isinstance(x, Tensor) or x.dtype != torch.float32 or x.shape != leaf.real_shape(lanes):
            return False
    return all(_is_fixed(at(session, path), value) for path, value in anatomy.fixed.items()) and all(
        _left(anatomy, session, one) >= ticks for one in anatomy.drawn
    )


def _is_fixed(found: object, value: object) -> bool:
    if isinstance(value, Tensor):  # of truth values or whole numbers: one for all
        return isinstance(found, Tensor) and bool((found == value.reshape(-1)[0]).all())
    return same(found, value)


def count_of(anatomy: Anatomy, session: Session[Never]) -> int:
    """Ticks that a session has counted; 0 where it does not count."""
    counts = (at(session, path) for path in anatomy.counters)
    return next((count for count in counts if isinstance(count, int)), 0)


def _left(anatomy: Anatomy, session: Session[Never], one: Drawn) -> int:
    begin, whole = one.offset + count_of(anatomy, session), at(session, one.path)
    if one.axis is not None:
        return whole.shape[one.axis] - begin if isinstance(whole, Tensor) else 0
    return len(whole) - begin if isinstance(whole, tuple | list) else 0


def ahead(anatomy: Anatomy, session: Session[Never], one: Drawn, ticks: int) -> Tensor:
    """What the next ticks read, the ticks in front."""
    begin = one.offset + count_of(anatomy, session)
    if one.axis is not None:
        return tensor_at(session, one.path).narrow(one.axis, begin, ticks).movedim(one.axis, 0)
    whole = at(session, one.path)
    assert isinstance(whole, tuple | list)
    return torch.stack(list(whole[begin : begin + ticks]))


def placed(
    anatomy: Anatomy, carried: Iterable[Tensor], constants: Iterable[Tensor], drawn: Iterable[Tensor]
) -> Session[Never]:
    """The tiny session with these in place of its own, before its first step."""
    replaced: dict[Path, object] = {}
    for leaf, x in zip((*anatomy.carried, *anatomy.constants), (*carried, *constants), strict=True):
        replaced[leaf.path] = x if leaf.axes else x[0]
    for one, x in zip(anatomy.drawn, drawn, strict=True):
        begin, value = one.offset + count_of(anatomy, anatomy.tiny), x if one.axes else x[0]
        if one.axis is None:
            replaced[(*one.path, begin)] = value
        else:
            sizes = list(value.shape)
            sizes.insert(one.axis, begin + 1)
            replaced[one.path] = value.unsqueeze(one.axis).expand(sizes)
    return copied(anatomy.tiny, replaced)
