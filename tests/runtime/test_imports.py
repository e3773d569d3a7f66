import subprocess
import sys
from importlib import metadata
from pathlib import Path

import acclimate
import pytest
from acclimate.errors import AcclimateError, UsageError
from acclimate.policy.policy import Policy

from . import bundles

HEAVY = ("numpy", "onnxruntime", "onnx", "torch", "acclimate_bridge", "acclimate_trainer", "acclimate_export",
         "acclimate.command")  # fmt: skip


def _loaded_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert _loaded_after("import acclimate, acclimate.errors") == set()
    command = "import acclimate.command.cli, acclimate.command.verbs"
    assert _loaded_after(command) == {"acclimate.command"}


def test_driving_a_bundle_needs_numpy_and_one_engine_only(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.acclimate")
    assert _loaded_after(f"import acclimate\nacclimate.load({str(path)!r})") == {"numpy"}
    code = f"import acclimate\nacclimate.Policy(acclimate.load({str(path)!r})); acclimate.ControlLoop"
    assert _loaded_after(code) == {"numpy", "onnxruntime"}


def test_the_device_api_is_at_hand() -> None:
    assert acclimate.AcclimateError is AcclimateError
    assert acclimate.Policy is Policy
    names = [name for names in acclimate._HOME.values() for name in names.split()]
    assert {"Device", "Sample", "DeviceCaps", "Channel", "DeviceFault", "Trial", "AdaptWorker", "Guard"} <= {
        *names
    }
    assert {"load_checkpoint", "save_checkpoint", "TaskSpec", "RealClock", "ControlLoop", "load"} <= {*names}
    for name in names:
        assert callable(getattr(acclimate, name)), name
        assert name in dir(acclimate)
    with pytest.raises(AttributeError, match="module 'acclimate' has no attribute 'polcy'"):
        acclimate.polcy  # noqa: B018


def _entries(monkeypatch: pytest.MonkeyPatch, *entries: metadata.EntryPoint) -> None:
    def found(*, group: str, name: str) -> list[metadata.EntryPoint]:
        assert group == "acclimate.api"
        return [entry for entry in entries if entry.name == name]

    monkeypatch.setattr(metadata, "entry_points", found)


def test_other_parts_bring_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    _entries(monkeypatch, metadata.EntryPoint("train", "acclimate.bundle.file:load", "acclimate.api"))
    assert acclimate.train is acclimate.load
    assert "train" in dir(acclimate)


def test_a_part_that_is_not_there_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _entries(monkeypatch, metadata.EntryPoint("export", "no_such_package.api:export", "acclimate.api"))
    with pytest.raises(
        UsageError, match=r"^acclimate.simulate is not installed; install acclimate\[serial\]$"
    ):
        acclimate.simulate  # noqa: B018
    with pytest.raises(UsageError, match=r"cannot be loaded \(No module .*\); install acclimate\[export\]$"):
        acclimate.export  # noqa: B018
    assert not hasattr(acclimate, "simulate")


def test_a_bundle_shows_itself_in_a_line(tmp_path: Path) -> None:
    bundle = acclimate.load(bundles.write_tiny(tmp_path / "tiny.acclimate"))
    assert repr(bundle).startswith(
        f"<Bundle {tmp_path / 'tiny.acclimate'}: tiny (maml for servo, 4 observed, 1 commanded), "
    )
    assert len(repr(bundle)) < 300
    assert repr(bundle.manifest) == "<Manifest tiny (maml for servo, 4 observed, 1 commanded)>"
    assert repr(bundle.golden) == "<Golden: 6 ticks, one adapt>"
    policy = acclimate.Policy(bundle, "onnxruntime")
    assert repr(policy) == "<Policy tiny (maml for servo, 4 observed, 1 commanded), on onnxruntime>"
