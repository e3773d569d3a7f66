"""Why a tick is not compiled."""

from __future__ import annotations


class NotCompiled(Exception):  # noqa: N818  (no failure: training goes on in torch)
    """`str` says why, as what follows "not compiled, since"."""
