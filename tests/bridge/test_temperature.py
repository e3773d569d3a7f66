"""`run --temperature`: actions are drawn, in a drive all the time; and what cannot be is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from acclimate_bridge.simulation.spawn import SimulatedPort, simulated_port

from .conftest import Acclimate


@pytest.fixture(scope="module")
def warm(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("warm") / "warm.acclimate"
    tiny.write_tiny(path, tiny.with_temperature(tiny.manifest()))
    return path


@pytest.fixture(scope="module")
def device() -> Iterator[SimulatedPort]:
    with simulated_port("--servo", "XL-320") as device:
        yield device


def test_a_drive_draws_its_actions_where_it_is_asked_to(
    acclimate: Acclimate, warm: Path, device: SimulatedPort
) -> None:
    """The tiny policy adds its noise to what it does: its chatter tells whether it was given any."""
    chatter = []
    for options in ((), ("--temperature", "0.5")):
        done = acclimate("run", warm, "--port", device.port, "--seconds", "1", "--json", *options)
        assert done.returncode == 0, done.stderr
        chatter.append(json.loads(done.stdout)["figures"]["chatter"])
    assert chatter[1] > 2.0 * chatter[0]


@pytest.mark.parametrize(
    ("bundle", "options", "message"),
    [
        ("warm", ("--temperature", "nan"), "temperature must be from 0 to 100, found nan"),
        ("warm", ("--temperature", "1", "--forever"), "give --seconds"),
        ("tiny", ("--temperature", "1"), "bundle 'tiny' acts without a temperature"),
    ],
)
def test_what_run_refuses(
    here: Acclimate, bundles: Path, warm: Path, bundle: str, options: tuple[str, ...], message: str
) -> None:
    path = warm if bundle == "warm" else bundles / "tiny.acclimate"
    done = here("run", path, "--port", "/dev/null", *options)
    assert done.returncode == 2
    assert message in done.stderr
