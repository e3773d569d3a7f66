"""No code of a bundle runs that nobody has said to trust."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from acclimate.bundle.file import Bundle, load, write_bundle
from acclimate.command.cli import main
from acclimate.engines.native import NativeEngine
from acclimate.errors import EngineError
from acclimate.policy import trust as trusting
from acclimate.policy.policy import Policy
from acclimate.policy.trust import is_trusted, trust

from . import bundles
from .test_native_engine import ACT, ADAPT


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where nothing is trusted yet."""
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(trusting.FOLDER, str(tmp_path / "config"))
    monkeypatch.setenv(trusting.VARIABLE, "")
    return tmp_path / "config"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """What the bundle's C leaves behind as soon as it is loaded."""
    return tmp_path / "it ran"


@pytest.fixture
def bundle(tmp_path: Path, trace: Path) -> Bundle:
    hostile = f"""
#include <stdio.h>
__attribute__((constructor)) static void at_load(void) {{ fclose(fopen("{trace}", "w")); }}
"""
    members = bundles.members(bundles.manifest())
    members |= {"act.c": (ACT + hostile).encode(), "adapt.c": ADAPT.encode()}
    write_bundle(tmp_path / "hostile.acclimate", bundles.manifest(), members)
    return load(tmp_path / "hostile.acclimate")


def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trusting.VARIABLE, "")


def test_neither_looking_nor_driving_runs_it(
    bundle: Bundle, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(bundle.path)]) == 0
    policy = Policy(bundle)
    assert policy.engine.name == "onnxruntime"
    assert (
        "which is not trusted here; if you know who made it, say so once: acclimate inspect"
        in (policy.choice.passed_over["native"])
    )
    assert f"acclimate inspect {bundle.path} --trust" in capsys.readouterr().out
    assert not trace.exists()


@pytest.mark.parametrize("engine", ["native", NativeEngine()])
def test_naming_the_engine_is_not_enough(bundle: Bundle, trace: Path, engine: str | NativeEngine) -> None:
    with pytest.raises(
        EngineError, match=r"engine 'native' would run the C in .*, which is not trusted here"
    ):
        Policy(bundle, engine)
    assert main(["inspect", str(bundle.path), "--engine", "native"]) == 2
    assert not trace.exists()


def test_what_is_trusted_once_is_remembered(
    bundle: Bundle, trace: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["inspect", str(bundle.path), "--trust"]) == 0
    assert trace.exists()
    _fresh_process(monkeypatch)
    assert Policy(bundle, "native").engine.name == "native"
    assert (config / "trusted").read_text() == f"{bundle.sha256} tiny\n"
    assert trust(bundle) == ""
    assert (config / "trusted").read_text() == f"{bundle.sha256} tiny\n"


def test_trust_is_of_the_content_and_not_of_the_name(bundle: Bundle, tmp_path: Path) -> None:
    trust(bundle)
    other = tmp_path / "other" / "hostile.acclimate"
    other.parent.mkdir()
    altered = dict(bundle.members) | {"act.c": bundle.members["act.c"] + b"\n"}
    write_bundle(other, bundles.manifest(), altered)
    assert not is_trusted(load(other))
    moved = bundle.path.rename(tmp_path / "moved.acclimate")
    assert is_trusted(load(moved))


def test_processes_that_are_started_trust_what_this_one_does(bundle: Bundle) -> None:
    code = f"import acclimate; print(acclimate.Policy(acclimate.load({str(bundle.path)!r}), 'native').engine.name)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    os.environ[trusting.VARIABLE] = f"{'0' * 64},{bundle.sha256}"
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == "native\n"


def test_what_is_trusted_side_by_side_is_all_remembered(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = [replace(bundle, sha256=f"{k:064x}") for k in range(32)]
    with ThreadPoolExecutor(8) as threads:
        assert not any(threads.map(trust, several))
    _fresh_process(monkeypatch)
    assert all(is_trusted(each) for each in several)


@pytest.mark.parametrize(("more", "counts"), [(0, True), (1, False)])
def test_a_list_of_more_than_a_mebibyte_is_none(
    bundle: Bundle, config: Path, monkeypatch: pytest.MonkeyPatch, more: int, counts: bool
) -> None:
    trust(bundle)
    with (config / "trusted").open("ab") as file:
        file.write(b"\n" * (2**20 + more - file.tell()))
    _fresh_process(monkeypatch)
    assert is_trusted(bundle) is counts


def test_a_list_that_belongs_to_another_user_is_none_but_for_roots(
    bundle: Bundle, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(bundle)
    owner = (config / "trusted").stat().st_uid
    _fresh_process(monkeypatch)
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert is_trusted(bundle) is (owner == 0)


@pytest.mark.parametrize("named", ["ACCLIMATE_CONFIG", "XDG_CONFIG_HOME", "HOME"])
def test_the_list_lies_where_configurations_do(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """The first of these that is set decides."""
    below = {"ACCLIMATE_CONFIG": ".", "XDG_CONFIG_HOME": "acclimate", "HOME": ".config/acclimate"}
    for each in list(below)[: list(below).index(named)]:
        monkeypatch.delenv(each, raising=False)
    for each in list(below)[list(below).index(named) :]:
        monkeypatch.setenv(each, str(tmp_path / each))
    assert trust(bundle) == ""
    assert list(tmp_path.rglob("trusted")) == [tmp_path / named / below[named] / "trusted"]
    _fresh_process(monkeypatch)
    assert is_trusted(bundle)


@pytest.mark.parametrize("rights", [0o666, 0o622, 0o660])
def test_a_list_that_others_can_write_to_is_none(
    bundle: Bundle, config: Path, monkeypatch: pytest.MonkeyPatch, rights: int
) -> None:
    trust(bundle)
    _fresh_process(monkeypatch)
    (config / "trusted").chmod(rights)
    assert not is_trusted(bundle)


@pytest.mark.parametrize("rights", [0o600, 0o644, 0o755])
def test_a_list_that_others_can_only_read_counts(
    bundle: Bundle, config: Path, monkeypatch: pytest.MonkeyPatch, rights: int
) -> None:
    trust(bundle)
    _fresh_process(monkeypatch)
    (config / "trusted").chmod(rights)
    assert is_trusted(bundle)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b"0" * 64, b"a" * (2**20 + 1)])
def test_a_list_that_is_damaged_trusts_nothing(bundle: Bundle, config: Path, content: bytes) -> None:
    config.mkdir()
    (config / "trusted").write_bytes(content)
    assert not is_trusted(bundle)


def test_where_it_cannot_be_remembered_it_holds_this_time(
    bundle: Bundle, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("a file in the way")
    assert main(["inspect", str(bundle.path), "--trust", "--engine", "native"]) == 0
    assert "is trusted this time only: " in capsys.readouterr().err
    _fresh_process(monkeypatch)
    assert not is_trusted(bundle)


def test_without_c_there_is_nothing_to_trust(tmp_path: Path) -> None:
    plain = load(bundles.write_tiny(tmp_path / "tiny.acclimate", replace(bundles.manifest(), name="plain")))
    assert Policy(plain).choice.passed_over["native"] == "the bundle has no act.c and no adapt.c"
