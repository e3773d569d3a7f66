"""Brings a planted bug into a Python process: $ACCLIMATE_BUG names a module, and a file with what it then is.

Python imports this at its start where the folder is on PYTHONPATH, and so it reaches the processes that tests start.
"""

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType


class _Planted(SourceFileLoader):
    """Loads the module with another source, of which no bytecode is kept."""

    source = b""

    def get_code(self, fullname: str) -> CodeType:
        del fullname
        return self.source_to_code(self.source, self.path)


class _Finder(MetaPathFinder):
    def __init__(self, module: str, source: bytes) -> None:
        self._module, self._source = module, source

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        del target
        if name != self._module:
            return None
        spec = PathFinder.find_spec(name, path)  # type: ignore[arg-type]
        if spec is None or spec.origin is None:
            return None
        loader = _Planted(name, spec.origin)
        loader.source = self._source
        spec.loader = loader
        return spec


def install() -> None:
    """Have imports find the bug."""
    module, _, file = os.environ.get("ACCLIMATE_BUG", "").partition("=")
    if module:
        with open(file, "rb") as source:  # noqa: PTH123  (of every process that a test starts: as little as can be)
            sys.meta_path.insert(0, _Finder(module, source.read()))


install()
