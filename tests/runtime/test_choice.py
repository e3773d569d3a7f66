"""`engine="auto"`, with the small bundle in two forms: ONNX, and C written by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.engines import ENGINES, findings
from acclimate.engines.findings import Found, Key
from acclimate.errors import EngineError, GoldenError
from acclimate.policy.policy import Policy
from acclimate.policy.trust import trust
from hypothesis import given
from hypothesis import strategies as st

from . import bundles
from .test_native_engine import ACT, ADAPT

OTHERWISE = ACT.replace("0.1f", "0.2f")  # compiles, and computes something else


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Not the user's own."""
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "choices"


def _bundle(folder: Path, act: str = ACT) -> Bundle:
    manifest = bundles.manifest()
    members = bundles.members(manifest) | {"act.c": act.encode(), "adapt.c": ADAPT.encode()}
    write_bundle(folder / "both.acclimate", manifest, members)
    bundle = load(folder / "both.acclimate")
    trust(bundle)
    return bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return _bundle(tmp_path)


def _key(bundle: Bundle) -> Key:
    return findings.key(bundle.sha256, ["native", "onnxruntime"])


def _refusing_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = folder / "cc"
    compiler.write_text("#!/bin/sh\necho 'error: out of order' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))


def test_the_fastest_is_taken_and_told(bundle: Bundle) -> None:
    policy = Policy(bundle)
    choice = policy.choice
    assert choice.act_us.keys() == {"native", "onnxruntime"}
    assert choice.engine == policy.engine.name == min(choice.act_us, key=lambda name: choice.act_us[name])
    assert not choice.remembered
    assert choice.why.startswith(f"the fastest here that passes the golden check ({choice.engine} ")
    assert choice.passed_over["litert"].startswith(
        ("the bundle has no act.tflite and no adapt.tflite", "engine 'litert' is not installed")
    )
    assert choice.lines()[0] == f"{choice.engine}: {choice.why}"


def test_choosing_leaves_the_policy_as_exported(bundle: Bundle) -> None:
    policy = Policy(bundle)
    for name, value in bundle.state.items():
        np.testing.assert_array_equal(policy.state(name), value)


def test_a_bundle_in_one_form_needs_no_measuring(tmp_path: Path, cache: Path) -> None:
    choice = Policy(load(bundles.write_tiny(tmp_path / "tiny.acclimate"))).choice
    assert (choice.engine, choice.why) == (
        "onnxruntime",
        "the only engine here that the bundle has members for",
    )
    assert choice.passed_over["native"] == "the bundle has no act.c and no adapt.c"
    assert not cache.exists()


CPU = st.fixed_dictionaries(
    {
        "model name": st.just("Some CPU @ 2.20GHz"),
        "flags": st.sampled_from(["fpu sse " * 300, "fpu avx " * 300]),
    }
)


@given(
    cores=st.lists(CPU, min_size=1, max_size=8),
    mhz=st.lists(st.floats(1, 9999), min_size=8, max_size=8),
    data=st.data(),
)
def test_a_processor_is_the_same_whatever_its_clock_does(
    tmp_path_factory: pytest.TempPathFactory,
    cores: list[dict[str, str]],
    mhz: list[float],
    data: st.DataObject,
) -> None:
    """And in whatever order its cores are listed; others than these are another one."""

    def told(cores: list[dict[str, str]], mhz: list[float]) -> str:
        path = tmp_path_factory.mktemp("cpu") / "cpuinfo"
        blocks = [
            f"processor\t: {i}\ncpu MHz\t\t: {speed:.3f}\n"
            + "".join(f"{k}\t: {v}\n" for k, v in core.items())
            for i, (core, speed) in enumerate(zip(cores, mhz, strict=False))
        ]
        path.write_text("\n".join(blocks))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(findings, "_CPUINFO", path)
            return findings.processor()

    again = data.draw(st.permutations(cores))
    assert told(cores, mhz) == told(again, [2.0 * speed for speed in mhz])
    other = [{**core, "flags": core["flags"] + "amx"} for core in cores]
    assert told(cores, mhz) != told(other, mhz)


def test_it_is_remembered(bundle: Bundle) -> None:
    first, second = Policy(bundle).choice, Policy(bundle).choice
    assert second.remembered
    assert (second.engine, second.act_us, second.passed_over) == (
        first.engine,
        first.act_us,
        first.passed_over,
    )


@pytest.mark.parametrize(
    ("taken", "loaded"), [("native", "acclimate.engines.native"), ("onnxruntime", "onnxruntime")]
)
def test_a_start_that_remembers_loads_one_engine(bundle: Bundle, taken: str, loaded: str) -> None:
    findings.remember(_key(bundle), Found(taken, {taken: 1.0}, {}))
    code = f"""
import sys, acclimate
policy = acclimate.Policy(acclimate.load({str(bundle.path)!r}))
print(policy.engine.name, policy.choice.remembered)
print(*[name for name in sys.modules if name in ("onnxruntime", "acclimate.engines.native")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{taken} True", loaded]


def test_an_engine_that_computes_otherwise_is_passed_over(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, OTHERWISE)
    for remembered in (False, True):
        choice = Policy(bundle).choice
        assert (choice.engine, choice.remembered) == ("onnxruntime", remembered)
        assert "golden check of act: 'action' is" in choice.passed_over["native"]
        assert choice.why == "the only engine here that runs the bundle and passes the golden check"


def test_an_engine_that_refuses_the_graph_is_passed_over(tmp_path: Path) -> None:
    choice = Policy(_bundle(tmp_path, ACT.replace("fabsf(sum)", "median(sum, sum)"))).choice
    assert choice.engine == "onnxruntime"
    assert "act.c" in choice.passed_over["native"]


def test_no_compiler_is_a_reason_and_not_the_end(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    choice = Policy(bundle).choice
    assert choice.engine == "onnxruntime"
    assert "needs a C compiler" in choice.passed_over["native"]


def test_an_engine_that_was_named_is_refused_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GoldenError, match="on engine 'native'"):
        Policy(_bundle(tmp_path, OTHERWISE), "native")
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(EngineError, match="engine 'native' needs a C compiler"):
        Policy(_bundle(tmp_path), "native")
    assert Policy(_bundle(tmp_path), "onnxruntime").choice.why == "as asked for"


def test_where_none_may_drive_every_reason_is_given(tmp_path: Path) -> None:
    manifest = bundles.manifest()
    right = bundles.members(manifest)
    wrong = right | {"act.c": OTHERWISE.encode(), "adapt.c": ADAPT.encode(), "act.onnx": b"rubbish"}
    write_bundle(tmp_path / "wrong.acclimate", manifest, wrong)
    trust(load(tmp_path / "wrong.acclimate"))
    with pytest.raises(
        GoldenError, match=r"no engine here may drive with .*native: .*; onnxruntime: .*act\.onnx"
    ):
        Policy(load(tmp_path / "wrong.acclimate"))


def test_one_remembered_that_fails_today_is_chosen_anew(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, OTHERWISE)
    findings.remember(_key(bundle), Found("native", {"native": 1.0}, {}))
    choice = Policy(bundle).choice
    assert (choice.engine, choice.remembered) == ("onnxruntime", False)
    found = findings.recall(_key(bundle))
    assert found is not None
    assert found.engine == "onnxruntime"


def test_it_can_be_made_to_choose_anew(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    Policy(bundle)
    monkeypatch.setenv("ACCLIMATE_CHOOSE", "anew")
    assert not Policy(bundle).choice.remembered


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"{}",
        {"engine": "native"},
        {"engine": "tensorrt", "act_us": {"tensorrt": 1.0}},
        {"act_us": {"native": "fast"}},
        {"act_us": [1.0]},
        {"failed": {"litert": 3}},
        {"key": {"format": 1}},
    ],
    ids=str,
)
def test_damaged_memory_is_no_memory(bundle: Bundle, cache: Path, content: bytes | dict[str, object]) -> None:
    key = _key(bundle)
    findings.remember(key, Found("onnxruntime", {"onnxruntime": 1.0, "native": 2.0}, {}))
    (path,) = cache.iterdir()
    if isinstance(content, dict):
        tree = json.loads(path.read_bytes()) | {"act_us": {"onnxruntime": 1.0}} | content
        path.write_text(json.dumps(tree))
    else:
        path.write_bytes(content)
    assert findings.recall(key) is None
    if content == b"{":
        assert not Policy(bundle).choice.remembered
        assert findings.recall(key) is not None  # it has been mended on the way


@pytest.mark.parametrize("what", ["bundle", "machine", "engines"])
def test_memory_of_something_else_is_no_memory(bundle: Bundle, what: str) -> None:
    key = _key(bundle)
    found = Found("native", {"native": 1.0}, {"litert": "why"})
    findings.remember(key, found)
    assert findings.recall(key) == found
    other: dict[str, object] = {"bundle": "0" * 64, "machine": "m68k", "engines": {"native": "0"}}
    assert findings.recall(key._replace(**{what: other[what]})) is None


def test_an_engine_installed_anew_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "an_engine.py"
    module.write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ENGINES, "onnxruntime", ENGINES["onnxruntime"]._replace(modules=("an_engine",)))
    before = findings.key("b", ["onnxruntime"])
    module.write_text("# 1.99")
    assert before != findings.key("b", ["onnxruntime"])


def test_another_compiler_is_another_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = findings.key("b", ["native"])
    _refusing_compiler(tmp_path, monkeypatch)
    assert findings.key("b", ["native"]) != before


def test_a_folder_that_cannot_be_written_is_no_error(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "file" / "cache"))
    choices = [Policy(bundle).choice for _ in range(2)]
    assert [choice.remembered for choice in choices] == [False, False]
    for choice in choices:
        assert choice.remark.startswith("all engines are tried at every start, since cannot write ")
        assert choice.lines()[-1] == choice.remark


def test_keys_name_no_engine_that_is_not_in_question(bundle: Bundle) -> None:
    assert set(_key(bundle).engines) == {"native", "onnxruntime"} < set(ENGINES)


def test_an_engine_that_crashes_is_passed_over(tmp_path: Path) -> None:
    """As one does that was built for another processor: the program that drives lives on."""
    crashing = ACT.replace("float sum = ", "*(volatile int *)0 = 1; float sum = ")
    choice = Policy(_bundle(tmp_path, crashing)).choice
    assert choice.engine == "onnxruntime"
    assert choice.passed_over["native"] == "its process died (SIGSEGV)"


def test_choosing_loads_no_engine_but_the_one_taken(bundle: Bundle) -> None:
    code = f"""
import sys, acclimate
policy = acclimate.Policy(acclimate.load({str(bundle.path)!r}))
loaded = {{"native": "acclimate.engines.native", "onnxruntime": "onnxruntime"}}
print([name for name, module in loaded.items() if module in sys.modules] == [policy.engine.name])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
