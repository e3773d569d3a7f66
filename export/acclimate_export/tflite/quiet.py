"""Silence around tools that talk while they work."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_NO_PROGRESS = {"LITERT_TORCH_SHOW_PROGRESS": "n"}


@contextmanager
def quiet() -> Iterator[None]:
    """The converter, from its import on, tells of progress, of GPU libraries that it lacks, and of deprecations."""
    sys.stderr.flush()
    before = {name: os.environ.get(name) for name in _NO_PROGRESS}
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    os.environ.update(_NO_PROGRESS)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
        logging.disable(level)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
