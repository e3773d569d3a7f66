"""What holds for all tests: caches of their own, and how workers share a machine.

Under `pytest -n`, tests run side by side. While a test that is marked `alone` runs, none does but of its kind, one for
each core: it measures time, or drives in real time with little slack, and so waits most of the time. What has taken
long (`tests.slow`) comes first; `make test-fast` leaves it out, and what is marked `slow`, and whatever needs one of
`_SLOW_FIXTURES`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from acclimate.cache import VARIABLE
from acclimate.command import collector
from acclimate.policy import trust

from tests.sharing import Turns, base_of
from tests.slow import name_of, slow_tests

# They train, export or install: a test that needs one is slow if it happens to come first.
_SLOW_FIXTURES = {"trained_runs", "exported", "quantised", "wheel"}
_TURNS = pytest.StashKey[Turns]()


def pytest_configure(config: pytest.Config) -> None:
    collector.calm()
    if hasattr(config, "workerinput"):
        config.stash[_TURNS] = Turns(Path(config.option.basetemp).parent)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = slow_tests()
    for item in items:
        if name_of(item.nodeid) in slow or _SLOW_FIXTURES & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.slow)
    # First the files with what takes longest, so that all workers are busy until the end, each as a whole, since its
    # tests share what they need; then what must have a core to itself.
    longest: dict[Path, float] = {}
    for item in items:
        longest[item.path] = max(longest.get(item.path, 0.0), slow.get(name_of(item.nodeid), 0.0))
    items.sort(key=lambda item: (_is_alone(item), -longest[item.path], str(item.path)))


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for the test's turn. Its fixtures are made within it."""
    turns = item.config.stash.get(_TURNS, None)
    if turns is None:
        return (yield)
    with turns.take(alone=_is_alone(item)):
        return (yield)


@pytest.fixture(autouse=True, scope="session")
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the caches of whoever runs it, and neither do the processes that tests start.

    They are common to all workers: a bundle may be exported by one and run by another, and what one has compiled
    another need not.
    """
    before = {name: os.environ.get(name) for name in (VARIABLE, trust.FOLDER, trust.VARIABLE)}
    os.environ[VARIABLE] = str(base_of(tmp_path_factory) / "cache")
    os.environ[trust.FOLDER] = str(base_of(tmp_path_factory) / "config")
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
