"""The C core by itself: no warning, few bytes; and a board with little room loses nothing for good."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from acclimate_bridge.link.messages import Hello, Obs, Schema, Type, WireChannel
from acclimate_bridge.link.wire import Decoder, Frame, encode
from acclimate_bridge.simulation.profile import Profile

from benchmarks._boards import CORE, CORTEX_M4, SOURCES, compiled, sizes

from .bench import ROWS, CCore
from .building import STRICT, need

SCHEMA = Schema(
    tuple(WireChannel(f"q{i}", "rad", 2.0**-10, -3.0, 3.0) for i in range(23)),
    tuple(WireChannel(f"u{i}", "1", 2.0**-10, -1.0, 1.0) for i in range(27)),
)


@pytest.mark.parametrize("source", CORE)
@pytest.mark.parametrize("compiler", ["gcc", "clang", "arm-none-eabi-gcc"])
def test_it_compiles_without_a_warning(compiler: str, source: str, tmp_path: Path) -> None:
    target = CORTEX_M4 if compiler.startswith("arm") else ()
    compiled(need(compiler), *STRICT, *target, "-Os", "-c", SOURCES / source, "-o", tmp_path / "core.o")


def test_it_is_small(tmp_path: Path) -> None:
    need("arm-none-eabi-gcc")
    found = sizes(tmp_path)
    assert found.text <= 3072
    assert found.ram <= 1024


@pytest.fixture
def core(library: ctypes.CDLL) -> CCore:
    return CCore(library, Profile(SCHEMA), [[0] * 23] * ROWS, boot_id=1)


def test_a_board_with_little_room_describes_itself_bit_by_bit(core: CCore) -> None:
    core.advance(0.0)
    core.room(3)
    core.feed(encode(Frame(Type.HELLO, 0, 0, 0, Hello(5).pack()), SCHEMA.layout), 0.001)
    decoder, frames = Decoder(SCHEMA.layout), list[Frame]()
    for k in range(1, 30):
        frames += decoder.feed(core.advance(0.001 * k))
        core.room(3)
    channels = [f.payload for f in frames if f.type == Type.CHANNEL]
    assert channels == list(SCHEMA.channel_payloads)
    assert [f.seq for f in frames] == list(range(1, len(frames) + 1))


def test_what_finds_no_room_is_missing_in_the_count(core: CCore) -> None:
    core.feed(encode(Frame(Type.HELLO, 0, 0, 0, Hello(5).pack()), SCHEMA.layout), 0.0)
    decoder = Decoder(SCHEMA.layout)
    last = decoder.feed(core.advance(0.0))[-1].seq
    core.room(0)
    core.advance(0.035)
    core.room(-1)
    (obs,) = decoder.feed(core.advance(0.045))
    assert (obs.type, obs.seq) == (Type.OBS, last + 4)
    assert Obs.unpack(obs.payload).values == (0,) * 23


def test_a_clock_that_runs_back_lets_no_time_pass(core: CCore) -> None:
    core.feed(encode(Frame(Type.HELLO, 0, 0, 0, Hello(5).pack()), SCHEMA.layout), 1.0)
    core.advance(1.0)
    assert core.advance(0.5) == b""
    assert core.idle() == 10_000
