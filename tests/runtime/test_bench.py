"""`acclimate bench`, with the small bundle and real processes; that figures are right on average is not tested here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from acclimate.bundle.file import Bundle, load
from acclimate.command.bench import answers, chart, measuring, report
from acclimate.command.bench.measuring import Effort, Measured, Process, Start
from acclimate.command.bench.percentiles import Times
from acclimate.command.bench.subjects import BY_RUN, DEFAULTS, build, names
from acclimate.engines import ENGINES
from acclimate.engines.timing import hot, once, paced
from acclimate.errors import EngineError, UsageError

from . import bundles


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return bundles.write_tiny(tmp_path / "tiny.acclimate")


@pytest.fixture
def bundle(path: Path) -> Bundle:
    return load(path)


def _bench(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "acclimate", "bench", str(path), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_percentiles_are_those_of_the_calls() -> None:
    times = Times.of([float(us) for us in range(1001)])
    assert times == pytest.approx(Times(1001, 500.0, 990.0, 999.0))
    assert Times.of([1.0, 2.0, 3.0]).p999 is None


def test_calls_are_timed_one_by_one() -> None:
    assert once(lambda: time.sleep(0.002)) >= 2000.0
    calls: list[int] = []
    assert len(hot(lambda: calls.append(0), 7)) == len(calls) == 7


def test_paced_calls_keep_their_period_and_do_not_make_up_for_what_was_missed() -> None:
    begun: list[float] = []

    def call() -> None:
        begun.append(time.perf_counter())
        time.sleep(0.05 if len(begun) == 1 else 0.0)

    paced(call, 4, 0.01)
    assert begun[1] - begun[0] >= 0.05
    assert begun[3] - begun[0] >= 0.05 + 2 * 0.01 - 1e-4


@pytest.mark.parametrize("name", ["onnxruntime", BY_RUN, DEFAULTS])
def test_what_is_measured_computes_the_golden_sequence(bundle: Bundle, name: str) -> None:
    subject, golden = build(name, bundle), bundle.golden
    if name == "onnxruntime":
        assert subject.choice is not None
    for obs, noise, action in zip(golden.obs, golden.noise, golden.action, strict=True):
        np.testing.assert_allclose(subject.act(obs, noise), action, rtol=1e-5, atol=1e-6)
    assert subject.adapt is not None
    subject.adapt()


def test_a_policy_without_adapt_has_nothing_to_adapt(tmp_path: Path) -> None:
    frozen = load(
        bundles.write_tiny(tmp_path / "robust.acclimate", bundles.without_adapt(bundles.manifest()))
    )
    for name in ("onnxruntime", BY_RUN):
        assert build(name, frozen).adapt is None


def test_a_subject_that_nobody_knows(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="there is no tensorrt of"):
        build("tensorrt", bundle)
    assert names()[: len(ENGINES) + 2] == [*ENGINES, BY_RUN, DEFAULTS]


def test_a_process_is_brought_up_asked_and_ended(path: Path) -> None:
    with Process(path, "onnxruntime") as process:
        assert process.graphs == ["act", "adapt"]
        start = process.start
        assert start.first_action_ms > start.import_ms + start.load_ms > 0.0
        assert start.rss_mb > start.anon_mb > 1.0
        assert len(measuring.times(process, "adapt", 5, 0.0)) == 5
        assert min(measuring.times(process, "act", 20, 0.001)) > 0.0
        assert 0.0 < measuring.cpu_share(process, 50.0, 0.2) < 1.0
        assert 0.0 < measuring.idle_ms(process, "adapt", 0.05) < 50.0
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_refusal_is_told_by_the_process(path: Path) -> None:
    with pytest.raises(EngineError, match=r"has no 'act\.c', which engine 'native' needs"):
        Process(path, "native")


def test_a_process_that_dies_is_told_with_its_signal(path: Path) -> None:
    with Process(path, "onnxruntime") as process:
        os.kill(process.pid, signal.SIGILL)
        with pytest.raises(EngineError, match=r"its process died \(SIGILL\)"):
            process.ask("times act 1 0")


def test_driving_is_the_loops_own(bundle: Bundle) -> None:
    subject = build("onnxruntime", bundle)
    acts: list[int] = []

    def act(obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        acts.append(0)
        return subject.act(obs, noise)

    answers.cpu_share(bundle, subject._replace(act=act), 100.0, 0.2)
    assert len(acts) == 30 + 20  # 0.3 s before what counts


def test_everything_is_measured_and_what_is_refused_is_told(path: Path) -> None:
    done = _bench(path, "--seconds", "0.1", "--json", "--only", "native", "onnxruntime")
    assert (done.returncode, done.stderr) == (0, "")
    tree = json.loads(done.stdout)
    native, onnx = tree["rows"]
    assert (native["name"], native["times"]) == ("native", [])
    assert "has no 'act.c'" in native["refused"]
    assert onnx["refused"] is None
    assert {t["graph"] for t in onnx["times"]} == {"act", "adapt"}
    assert {t["pace"] for t in onnx["times"] if t["graph"] == "act"} == set(measuring.PACES)
    assert all(0.0 < t["p50_us"] <= t["p99_us"] for t in onnx["times"])
    assert onnx["first_action_ms"] > onnx["import_ms"] > 0.0
    assert tree["choice"][0] == "onnxruntime: the only engine here that the bundle has members for"


def test_tables_and_a_picture(path: Path, tmp_path: Path) -> None:
    picture = tmp_path / "bench.svg"
    done = _bench(path, "--seconds", "0.1", "--only", "onnxruntime", "--plot", str(picture))
    assert (done.returncode, done.stderr) == (0, "")
    assert "auto takes onnxruntime: the only engine" in done.stdout
    rows = [line for line in done.stdout.splitlines() if line.startswith("onnxruntime ")]
    assert len(rows) == 3  # act, adapt, process
    assert ET.parse(picture).getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--seconds", "0"), "--seconds must be from 0.1 to 600, found 0"),
        (
            ("--only", "tensorrt"),
            "--only: there is no 'tensorrt'; valid names: native, litert, onnxruntime, ",
        ),
        (
            ("--plot", "bench.png"),
            "--plot bench.png: the picture is an SVG; expected a name that ends in .svg",
        ),
        (("--plot", "nowhere/bench.svg"), "--plot nowhere/bench.svg: the folder nowhere does not exist"),
        (("--only", "native"), "nothing could be measured: native: "),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(path: Path, options: tuple[str, ...], sentence: str) -> None:
    done = _bench(path, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"acclimate: {sentence}")
    assert done.stderr.count("\n") == 1


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ctrl_c_ends_it_and_its_processes(path: Path) -> None:
    command = [sys.executable, "-m", "acclimate", "bench", str(path), "--only", "onnxruntime"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _until(lambda: bool(_children(process.pid)))
        children = _children(process.pid)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "acclimate: interrupted\n")
    # One that was just being started ends when it finds that nobody asks it anything.
    _until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def _measured(name: str, us: float) -> Measured:
    times = {(graph, pace): [us, 2.0 * us] for graph in report.GRAPHS for pace in measuring.PACES}
    return Measured(name, "", [Start(100.0, 40.0, 50.0, 30.0, 10.0)], times, [0.01])


def test_the_picture_shows_every_subject_and_number() -> None:
    picture = chart.draw(
        "a <name>", [_measured("fast", 10.0), _measured("slow", 1000.0), Measured("none", "why")]
    )
    root = ET.fromstring(picture)
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("fast") == texts.count("slow") == 5  # panels
    assert "none" not in texts
    assert {"100", "30", "1"} <= set(texts)
    dots = [
        float(dot.get("cx", "nan"))
        for dot in root.iter("{http://www.w3.org/2000/svg}circle")
        if dot.get("cx")
    ]
    assert all(0.0 <= x <= 600.0 for x in dots)


def test_a_table_has_a_dash_where_nothing_was_measured(bundle: Bundle) -> None:
    slow = _measured("slow", 2000.0)
    del slow.us["adapt", "1 kHz"]
    lines = report.table(bundle, ["slow: why"], [slow])
    adapt = lines.index(next(line for line in lines if line.startswith("adapt, ms")))
    assert lines[adapt + 2].split() == ["slow", "3", "3.98", "–", "3", "3.98", "–", "–", "–", "–"]
    assert report.tree(bundle, [], Effort(), [slow])["seconds"] == 10.0
