"""The native engine: conforms, and deals with boards that lack a compiler and caches that hold rubbish."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from acclimate.bundle.file import load, write_bundle
from acclimate.engines import Engine, findings, open_engine
from acclimate.engines.c_source import Face, head
from acclimate.engines.native import NativeEngine
from acclimate.errors import EngineError, GoldenError
from acclimate.policy.policy import Policy
from acclimate.policy.trust import trust

from . import bundles
from .engine_conformance import EngineConformance

FOLDER = Path(__file__).parent
MANIFEST = bundles.manifest()
ACT_SPEC, ADAPT_SPEC = MANIFEST.graphs.act, MANIFEST.graphs.adapt
assert ADAPT_SPEC is not None

# The policy of `bundles`, by hand: these tests are of the engine, and not of what generates C.
ACT = (
    head(Face("act", 0, ACT_SPEC.inputs, ACT_SPEC.outputs))
    + """
#include <math.h>
void act(const float obs[4], const float noise[1], const float weight[1][4], const float sigma[1],
         const float previous[1], const float ticks[1],
         float action[1], float next_previous[1], float next_ticks[1], float size[1]) {
    float sum = sigma[0] * noise[0] + 0.1f * previous[0];
    for (int i = 0; i < 4; ++i) sum += weight[0][i] * obs[i];
    action[0] = next_previous[0] = sum;
    next_ticks[0] = ticks[0] + 1.0f;
    size[0] = fabsf(sum);
}
"""
)
ADAPT = (
    head(Face("adapt", 4 * 60, ADAPT_SPEC.inputs, ADAPT_SPEC.outputs))
    + """
#include <math.h>
void adapt(unsigned char workspace[240], const float weight[1][4], const float shots[1], const float ticks[1],
           const float obs[3][21][4], const float action[3][20][1], const float mask[3][20],
           float next_weight[1][4], float next_shots[1],
           float loss[1], float reward[1], float grad_norm[1], float step_norm[1], float info_ticks[1]) {
    float (*cost)[20] = (void *)workspace, count = 0, total = 0, squares = 0, grad[4] = {0};
    for (int e = 0; e < 3; ++e) for (int t = 0; t < 20; ++t) {
        float error = obs[e][t + 1][0] - obs[e][t + 1][2];
        cost[e][t] = error * error * mask[e][t];
        count += mask[e][t];
        total += cost[e][t];
    }
    for (int e = 0; e < 3; ++e) for (int t = 0; t < 20; ++t) {
        float deviation = action[e][t][0];
        for (int i = 0; i < 4; ++i) deviation -= weight[0][i] * obs[e][t][i];
        for (int i = 0; i < 4; ++i)
            grad[i] += deviation * (total / count - cost[e][t]) * mask[e][t] * obs[e][t][i] / count;
    }
    for (int i = 0; i < 4; ++i) {
        next_weight[0][i] = weight[0][i] + 0.05f * grad[i];
        squares += grad[i] * grad[i];
    }
    next_shots[0] = shots[0] + 1.0f;
    loss[0] = total / count;
    reward[0] = -loss[0];
    grad_norm[0] = sqrtf(squares);
    step_norm[0] = 0.05f * grad_norm[0];
    info_ticks[0] = ticks[0];
}
"""
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Not the user's own."""
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "native"


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run."""
    commands, run = [], subprocess.run

    def seen(command: list[str], **options: object) -> object:
        commands.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", seen)
    return commands


class TestNativeEngine(EngineConformance):
    @pytest.fixture
    def engine(self) -> Engine:
        return open_engine("native")

    @pytest.fixture
    def act_model(self) -> bytes:
        return ACT.encode()

    @pytest.fixture
    def adapt_model(self) -> bytes:
        return ADAPT.encode()


def _load(source: str = ACT) -> np.ndarray:
    """Load and run: the action of ones everywhere."""
    graph = NativeEngine().load(source.encode(), ACT_SPEC, "x.acclimate: act.c").bind()
    for array in graph.inputs.values():
        array[...] = 1.0
    graph.run()
    return graph.outputs["action"].copy()


def _libraries(cache: Path) -> list[Path]:
    return sorted(cache.iterdir()) if cache.exists() else []


def test_what_is_kept_needs_no_remark() -> None:
    engine = NativeEngine()
    engine.load(ACT.encode(), ACT_SPEC, "act")
    assert engine.remark == ""


def test_it_is_compiled_once(cache: Path, compiles: list[list[str]]) -> None:
    assert [_load()[0], _load()[0]] == pytest.approx([5.1, 5.1])
    assert len(compiles) == 1
    assert len(_libraries(cache)) == 1


def test_another_source_is_another_library(cache: Path) -> None:
    assert _load()[0] == pytest.approx(5.1)
    assert _load(ACT.replace("0.1f", "0.2f"))[0] == pytest.approx(5.2)
    assert len(_libraries(cache)) == 2


def test_another_compiler_is_another_library(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where one was upgraded; also one with arguments."""
    _load()
    mine = tmp_path / "mycc"
    mine.write_text('#!/bin/sh\nexec cc "$@"\n')
    mine.chmod(0o755)
    monkeypatch.setenv("CC", f"{mine} -DNOTHING")
    assert _load()[0] == pytest.approx(5.1)
    assert len(_libraries(cache)) == 2


def test_no_compiler_on_the_board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(
        EngineError, match="'native' needs a C compiler, and found none of cc, gcc, clang; install gcc"
    ):
        _load()


def test_a_compiler_named_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-cc -O9")
    with pytest.raises(EngineError, match=r"\$CC is 'no-such-cc -O9', which is not found"):
        _load()


def test_a_board_without_a_compiler_takes_what_one_has_made(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in an image for many boards: the library comes with it, in a folder that nobody can write to."""
    _load()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    cache.chmod(0o500)
    assert _load()[0] == pytest.approx(5.1)
    with pytest.raises(EngineError, match="needs a C compiler"):
        _load(ACT.replace("0.1f", "0.2f"))
    monkeypatch.setattr(findings, "processor", lambda: "another")
    monkeypatch.setattr("acclimate.engines.c_library.processor", lambda: "another")
    with pytest.raises(EngineError, match="needs a C compiler"):
        _load()


def test_without_a_compiler_rubbish_is_passed_over(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _load()
    (library,) = _libraries(cache)
    stem = library.name.partition("-")[0]
    (cache / f"{stem}-ffffffff.so").write_bytes(b"rubbish")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert _load()[0] == pytest.approx(5.1)


def test_no_folder_to_compile_in_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(
        EngineError, match=r"has no folder to compile in \(.*No such file.*\); set \$TMPDIR to one"
    ):
        _load()


def test_a_compiler_that_fails(cache: Path) -> None:
    with pytest.raises(EngineError) as caught:
        _load(ACT + "\nint x = ;\n")
    sentence = str(caught.value)
    assert sentence.startswith("x.acclimate: act.c is refused by ")
    assert "error: expected expression" in sentence
    assert "\n" not in sentence
    assert _libraries(cache) == []


def test_a_compiler_that_knows_no_native_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "plaincc"
    mine.write_text(
        '#!/bin/sh\ncase "$*" in *=native*) echo "error: bad value native" >&2; exit 1;; esac\nexec cc "$@"\n'
    )
    mine.chmod(0o755)
    monkeypatch.setenv("CC", str(mine))
    assert _load()[0] == pytest.approx(5.1)


def test_every_binding_has_a_workspace_of_its_own() -> None:
    """Act of one slot may run while adapt does. Here a function tells how often its workspace was used."""
    counting = ACT.replace("workspace 0", "workspace 8").replace("void act(", "void act(unsigned char *w, ")
    counting = counting.replace("size[0] = fabsf(sum);", "size[0] = ++*(unsigned *)w;")
    program = NativeEngine().load(counting.encode(), ACT_SPEC, "act")
    graphs = [program.bind() for _ in range(3)]
    for runs in (1, 2):
        for graph in graphs:
            graph.run()
            assert graph.outputs["info.size"][0] == runs


def test_another_processor_is_another_library(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a card moves to another board, or several share a home."""
    _load()
    monkeypatch.setattr(findings, "_CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("model name\t: another\n")
    assert _load()[0] == pytest.approx(5.1)
    assert len(_libraries(cache)) == 2


def test_a_function_that_is_not_there() -> None:
    """The head names another one than the code has."""
    with pytest.raises(EngineError, match=r"act\.c is refused by .*\bother\b"):
        _load(ACT.replace(" * graph act", " * graph other"))


def _damage(library: Path, how: str) -> None:
    content = bytearray(library.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = bytearray()
    elif how == "altered":
        content[len(content) // 3] ^= 0xFF
    else:  # of another processor, hash and all: the number of AArch64, or of x86-64 there
        content[18:20] = (183 if content[18] == 62 else 62).to_bytes(2, "little")
        content[-32:] = hashlib.sha256(content[:-32]).digest()
    library.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "empty", "altered", "of another processor"])
def test_rubbish_in_the_cache_is_compiled_anew(cache: Path, tmp_path: Path, how: str) -> None:
    """In a process of its own, since a library that is mapped and cut short ends the process."""
    _load()
    (library,) = _libraries(cache)
    whole = library.read_bytes()
    fresh = tmp_path / "fresh.so"
    fresh.write_bytes(whole)
    fresh.replace(library)  # this process has the old file mapped
    _damage(library, how)
    program = "from tests.runtime.test_native_engine import _load; print(_load()[0])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=FOLDER.parents[1], check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(5.1)
    (library,) = _libraries(cache)
    assert library.read_bytes()[:4] == b"\x7fELF"
    assert len(library.read_bytes()) == len(whole)
    ctypes.CDLL(str(library))


def test_several_that_compile_at_once(cache: Path) -> None:
    """Each finds a whole library, and one is left."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: float(_load()[0]), range(4)))
    assert found == pytest.approx([5.1] * 4)
    assert len(_libraries(cache)) == 1


def _homeless() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("why", ["nobody's home", "open to others", "not a folder"])
def test_where_nothing_can_be_kept_it_runs_all_the_same(
    cache: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == "nobody's home":
        monkeypatch.delenv("ACCLIMATE_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", _homeless)
    elif why == "open to others":
        cache.mkdir(parents=True)
        cache.chmod(0o777)
    else:
        cache.parent.mkdir()
        cache.write_text("")
    assert _load()[0] == pytest.approx(5.1)
    assert not cache.is_dir() or _libraries(cache) == []
    engine = NativeEngine()
    engine.load(ACT.encode(), ACT_SPEC, "act")
    assert engine.remark.startswith("engine 'native' compiles anew at every start, since")


def test_others_may_not_read_or_write_the_folder(cache: Path) -> None:
    _load()
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("/* acclimate-c 1", "/* acclimate-c 2", "does not begin with a comment '/[*] acclimate-c 1'"),
        (" * workspace 0\n", "", "does not begin with graph and workspace"),
        (" * in obs 4", " * in obs four", "its head has the line ' [*] in obs four'"),
    ],
)
def test_a_head_that_cannot_be(old: str, new: str, sentence: str) -> None:
    with pytest.raises(EngineError, match=rf"act\.c is refused by engine 'native': .*{sentence}"):
        _load(ACT.replace(old, new, 1))


def test_not_a_number_stays_what_it_is() -> None:
    """The guard and the loop look for it: no flag may let the compiler assume that there is none."""
    asks = ACT.replace("size[0] = fabsf(sum)", "size[0] = sum == sum ? 0.0f : 1.0f")
    graph = NativeEngine().load(asks.encode(), ACT_SPEC, "act").bind()
    for value in (np.nan, np.inf, -np.inf):
        graph.inputs["obs"][...] = 0.0
        graph.inputs["state.weight"][...] = 1.0
        graph.inputs["obs"][0] = value
        graph.run()
        np.testing.assert_array_equal(graph.outputs["action"], [value])
        assert graph.outputs["info.size"][0] == np.isnan(value)


def test_denormals_stay_what_they_are() -> None:
    """Loading a library that was linked with -ffast-math changes the arithmetic of the whole process."""
    program = (
        "from tests.runtime.test_native_engine import _load\nimport numpy as np\n_load()\n"
        "print(float(np.float32(1e-38) / np.float32(10)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=FOLDER.parents[1], check=True
    )
    assert float(done.stdout) > 0.0


def _bundle(folder: Path, act: str) -> Path:
    members = bundles.members(MANIFEST) | {"act.c": act.encode(), "adapt.c": ADAPT.encode()}
    write_bundle(folder / "tiny.acclimate", MANIFEST, members)
    trust(load(folder / "tiny.acclimate"))
    return folder / "tiny.acclimate"


def test_a_policy_acts_adapts_and_goes_back(tmp_path: Path) -> None:
    policy = Policy(load(_bundle(tmp_path, ACT)), "native")
    before = policy.act(np.ones(4, np.float32)).copy()
    policy.adapt(bundles.window(4))
    policy.commit()
    after = policy.act(np.ones(4, np.float32)).copy()
    policy.rollback()
    policy.reset("episode")
    assert after != before
    assert policy.act(np.ones(4, np.float32)) == before


def test_an_engine_that_computes_otherwise_is_refused_by_name(tmp_path: Path) -> None:
    path = _bundle(tmp_path, ACT.replace("0.1f", "0.11f"))
    with pytest.raises(
        GoldenError, match=r"golden check of act: 'action' is .* on engine 'native', expected"
    ):
        Policy(load(path), "native")


def test_a_bundle_without_c(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.acclimate")
    with pytest.raises(EngineError, match=r"tiny\.acclimate has no 'act\.c', which engine 'native' needs"):
        Policy(load(path), "native")
