"""No test reads or writes the caches of whoever runs it, and neither do the processes that tests start."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from acclimate.cache import VARIABLE


@pytest.fixture(autouse=True, scope="session")
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = before
