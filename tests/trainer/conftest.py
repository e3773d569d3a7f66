"""One thread, as the trainer itself has, since the tensors are small; and double precision for finite differences."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Double precision: as default, and for the trainer's constants."""
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("acclimate_trainer."):
            for name, value in list(vars(module).items()):
                if isinstance(value, torch.Tensor):
                    monkeypatch.setattr(module, name, value.double())
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
