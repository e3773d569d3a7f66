"""From a training run to a bundle: traced, converted, checked, written.

from acclimate_export import export, verify

exported = export("runs/mine")
print(exported)
verify(exported.path).ok
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acclimate_export.check.parity import Parity as Parity
    from acclimate_export.command.export import Exported as Exported
    from acclimate_export.command.export import export as export
    from acclimate_export.command.verify import verify as verify

# Loaded on first use: `acclimate --help` imports this package, and must not import torch.
_HOME = {
    "Exported": "command.export",
    "Parity": "check.parity",
    "export": "command.export",
    "verify": "command.verify",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'acclimate_export' has no attribute {name!r}")
    return getattr(import_module(f"acclimate_export.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
