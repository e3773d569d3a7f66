"""A process that runs tests with a bug planted: it ends with pytest's exit code."""

from __future__ import annotations

import os
import resource
import runpy
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process
from pathlib import Path

SITE = Path(__file__).parent / "site"
NOTHING = "="  # as the bug: the tests must pass
PRELOADED = (
    "pytest",
    "hypothesis",
    "numpy",
    "onnx.helper",
    "onnxruntime",
    "onnxscript",
    "torch.fx.experimental.proxy_tensor",
    "torch.onnx",
)  # what takes long, and is never changed


def run_tests(
    root: str, bug: str, tests: tuple[str, ...], without: tuple[str, ...], limit: int, told: Connection
) -> None:
    """bug: MODULE=FILE; without: tests that are left out; limit: s of processor time; told: what it took of that.

    Never returns.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    os.setsid()  # whoever ends this process ends what tests have started, too
    threading.Thread(target=_end_with, args=(parent_process(),), daemon=True).start()
    os.chdir(root)
    _quieten()
    os.environ["ACCLIMATE_BUG"] = "" if bug == NOTHING else bug
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(SITE), os.environ.get("PYTHONPATH", ""))))
    sys.path.insert(0, root)
    for name in [name for name in sys.modules if name.partition(".")[0].startswith(("acclimate", "tests"))]:
        del sys.modules[name]
    runpy.run_path(str(SITE / "sitecustomize.py"))
    import pytest
    from hypothesis import Phase, settings

    settings.register_profile("mutation", phases=(Phase.explicit, Phase.generate), database=None)
    settings.load_profile("mutation")  # that a test fails is enough: no smaller example is looked for
    plain = ("-x", "-q", "-p", "no:cacheprovider", "-m", "not alone", "--hypothesis-seed=0")
    code = int(pytest.main([*plain, *(f"--deselect={test}" for test in without), *tests]))
    told.send(time.process_time())
    os._exit(code)


def _end_with(parent: BaseProcess | None) -> None:
    """End this process, and what tests have started, where whoever runs it is killed: a test may have no end."""
    assert parent is not None
    wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def _quieten() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
