import importlib.metadata
import json
import os
import resource
import shlex
import subprocess
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path

import pytest
from acclimate.command import cli
from acclimate.command.cli import BrokenVerb, Verb
from acclimate.errors import AcclimateError, DeviceFault, UsageError

from . import bundles


def _run(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "acclimate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **options}, check=False)


def _raises(error: BaseException) -> Verb:
    def main(_: Namespace) -> int:
        raise error

    return Verb("break", "break", lambda _: None, main)


def _verbs(monkeypatch: pytest.MonkeyPatch, *verbs: Verb | BrokenVerb) -> None:
    monkeypatch.setattr(cli, "find_verbs", lambda: {verb.name: verb for verb in verbs})


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("no such thing"), 2), (DeviceFault("it is gone"), 1)]
)
def test_an_error_is_one_sentence_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: AcclimateError, code: int
) -> None:
    _verbs(monkeypatch, _raises(error))
    assert cli.main(["break"]) == code
    assert capsys.readouterr() == ("", f"acclimate: {error}\n")


def test_a_program_looks_for_garbage_seldom_and_a_function_leaves_that_to_its_caller() -> None:
    assert _garbage_threshold("main()") == 100_000
    assert _garbage_threshold("main(['--help'])") == _garbage_threshold("sys.exit()")


def _garbage_threshold(call: str) -> int:
    """After a call in a process of its own, as in `acclimate --help`."""
    head = "import gc, sys; from acclimate.command.cli import main"
    code = f"{head}\ntry: {call}\nexcept SystemExit: print(gc.get_threshold()[0])"
    command = [sys.executable, "-c", code, "--help"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def _options(parser: ArgumentParser) -> None:
    parser.add_argument("file")
    parser.add_argument("--servo", required=True)
    parser.add_argument("--drive-gain", type=float)
    parser.add_argument("--hidden", help=SUPPRESS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["x", "--servos=1"],
            "acclimate turn has no option '--servos'; did you mean '--servo'? its options: ",
        ),
        (["x", "--drivegain", "1"], "has no option '--drivegain'; did you mean '--drive-gain'?"),
        (
            ["--servo", "1"],
            "the following arguments are required: file; `acclimate turn --help` says what there is",
        ),
        (["x", "y", "--servo", "1"], "unrecognized arguments: y; `acclimate turn --help`"),
        (["x", "--servo", "1", "--drive-gain", "z"], "argument --drive-gain: invalid float value: 'z'"),
    ],
)
def test_arguments_that_cannot_be_end_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    _verbs(monkeypatch, Verb("turn", "turn", _options, lambda _: 0))
    assert cli.main(["turn", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert "--hidden" not in said
    assert cli.main(["turn", "x", "--servo", "1", "--drive", "2", "--hidden", "3"]) == 0


def test_an_interrupt_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _verbs(monkeypatch, _raises(KeyboardInterrupt()))
    assert cli.main(["break"]) == 130
    assert capsys.readouterr().err == "acclimate: interrupted\n"


def test_an_interrupt_is_heeded_by_a_command_in_the_background_of_a_script() -> None:
    """A shell without job control starts what stands before `&` with SIGINT ignored."""
    code = (
        "import os, signal; from acclimate.command import cli\n"
        "cli._dispatch = lambda _: os.kill(os.getpid(), signal.SIGINT) or 0\n"
        "raise SystemExit(cli.main([]))"
    )
    script = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} & wait $!"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "acclimate: interrupted\n")


def test_a_mistake_of_ours_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    _verbs(monkeypatch, _raises(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["break"])


def test_a_verb_gets_its_arguments_and_gives_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def configure(parser: ArgumentParser) -> None:
        parser.add_argument("number", type=int)

    _verbs(monkeypatch, Verb("double", "double", configure, lambda args: int(args.number) * 2))
    assert cli.main(["double", "21"]) == 42


def test_an_unknown_verb_is_refused_with_what_may_be_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _verbs(monkeypatch, _raises(ValueError()), Verb("inspect", "look", lambda _: None, lambda _: 0))
    assert cli.main(["inspct"]) == 2
    expected = "acclimate: unknown verb 'inspct'; did you mean 'inspect'? verbs here: break, inspect, help\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("said", "meant"), [("Inspect", "inspect"), ("INSPECT", "inspect"), ("hlep", "help")]
)
def test_case_does_not_hide_what_is_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str, meant: str
) -> None:
    _verbs(monkeypatch, Verb("inspect", "look", lambda _: None, lambda _: 0))
    assert cli.main([said]) == 2
    assert f"unknown verb {said!r}; did you mean {meant!r}?" in capsys.readouterr().err


def test_help_is_a_verb_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    walk = Verb("walk", "go on foot", lambda parser: parser.add_argument("--far"), lambda _: 0)
    _verbs(monkeypatch, walk)
    for arguments, shown in ((["help"], "walk  go on foot"), (["help", "walk"], "--far FAR")):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 0
        assert shown in capsys.readouterr().out


def test_a_verb_whose_needs_are_not_installed_is_not_listed_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fly = Verb("fly", "fly away", lambda _: None, lambda _: 0, ("no_such_wings", "numpy"), "wings")
    _verbs(monkeypatch, fly, Verb("walk", "go on foot", lambda _: None, lambda _: 0, ("numpy",)))
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "walk  go on foot" in shown
    assert "fly" not in shown
    assert cli.main(["fly"]) == 2
    assert capsys.readouterr().err == "acclimate: verb 'fly' needs no_such_wings; install acclimate[wings]\n"


def test_a_broken_verb_does_not_break_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [
        importlib.metadata.EntryPoint("bad", "acclimate.no_such_module:VERB", cli.GROUP),
        importlib.metadata.EntryPoint("inspect", "acclimate.command.verbs:INSPECT", cli.GROUP),
        importlib.metadata.EntryPoint("odd", "acclimate.command.cli:GROUP", cli.GROUP),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: entries)
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "inspect" in capsys.readouterr().out
    assert cli.main(["bad"]) == 2
    assert "verb 'bad' cannot be loaded (acclimate.no_such_module:VERB: No module" in capsys.readouterr().err
    assert cli.main(["odd"]) == 2
    assert "acclimate.command.cli:GROUP is not a Verb" in capsys.readouterr().err


def test_the_version_is_the_distributions() -> None:
    assert _run("--version").stdout == f"acclimate {importlib.metadata.version('acclimate')}\n"


def test_without_a_verb_help_goes_to_stderr() -> None:
    done = _run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "verbs:" in done.stderr


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom acclimate.command import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = ('numpy', 'torch', 'onnx', 'onnxruntime', 'matplotlib', 'serial')\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_is_quick() -> None:
    # Processor time, which a busy machine does not stretch; the promise is 0.3 s on a desktop.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.3


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.acclimate")
    command = f"{sys.executable} -m acclimate inspect {path} --json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_inspect_shows_the_facts(tmp_path: Path) -> None:
    done = _run("inspect", str(bundles.write_tiny(tmp_path / "tiny.acclimate")))
    assert done.returncode == 0
    assert done.stderr == ""
    for fact in (
        "tiny (maml)",
        "100 Hz",
        "position",
        "to be followed",
        "written by adapt",
        "6 ticks reproduced",
    ):
        assert fact in done.stdout


def test_inspect_gives_one_json_object(tmp_path: Path) -> None:
    done = _run("inspect", str(bundles.write_tiny(tmp_path / "tiny.acclimate")), "--json")
    tree = json.loads(done.stdout)
    assert tree["manifest"]["name"] == "tiny"
    assert tree["golden"]["engine"] == "onnxruntime"
    assert tree["golden"]["ok"] is True
    assert {row["graph"] for row in tree["golden"]["rows"]} == {"act", "adapt"}


def test_inspect_says_which_engine_and_why_no_other(tmp_path: Path) -> None:
    path = str(bundles.write_tiny(tmp_path / "tiny.acclimate"))
    text = _run("inspect", path).stdout
    assert "engine       onnxruntime: the only engine here that the bundle has members for" in text
    assert "not native: the bundle has no act.c and no adapt.c" in text
    assert "engine       onnxruntime: as asked for" in _run("inspect", path, "--engine", "onnxruntime").stdout


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        ("tensorrt", "unknown engine 'tensorrt'; valid names: auto, native, litert, onnxruntime"),
        ("native", "{path} has no 'act.c', which engine 'native' needs"),
    ],
)
def test_inspect_refuses_an_engine_that_cannot_be(tmp_path: Path, engine: str, sentence: str) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.acclimate")
    done = _run("inspect", str(path), "--engine", engine)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"acclimate: {sentence.format(path=path)}\n"


def test_inspect_shows_a_bundle_that_no_engine_here_runs(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.acclimate")
    code = f"""
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "onnxruntime" else find(name, *rest)
from acclimate.command.cli import main
sys.exit(main(["inspect", {str(path)!r}, *sys.argv[1:]]))
"""
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "golden       not replayed: no engine here runs" in text.stdout
    assert "engine 'onnxruntime' is not installed; install acclimate[onnx]" in text.stdout
    done = subprocess.run([sys.executable, "-c", code, "--json"], capture_output=True, text=True, check=True)
    golden = json.loads(done.stdout)["golden"]
    assert (golden["engine"], golden["ok"], golden["rows"]) == (None, None, [])


def test_inspect_of_a_policy_that_does_not_adapt(tmp_path: Path) -> None:
    frozen = bundles.without_adapt(bundles.manifest())
    done = _run("inspect", str(bundles.write_tiny(tmp_path / "robust.acclimate", frozen)))
    assert "none: this policy does not adapt" in done.stdout


def test_inspect_of_a_policy_that_adapts_as_it_acts(tmp_path: Path) -> None:
    rl2 = bundles.recurrent(bundles.manifest())
    done = _run("inspect", str(bundles.write_tiny(tmp_path / "rl2.acclimate", rl2)))
    assert "adapt        no graph: it adapts in its memory as it acts (previous, ticks)" in done.stdout


def test_inspect_shows_the_task(tmp_path: Path) -> None:
    text = _run("inspect", str(bundles.write_tiny(tmp_path / "tiny.acclimate"))).stdout
    for shown in (
        "observes     position         rad       -3.2 to 3.2, measured",
        "commands     duty             1         -1 to 1, neutral: 0",
        "varies in    kt                         0.001 to 50",
        "follows      target           within 1 of 0, for position, and its rate target_velocity",
        "is judged by error            rad       rms of position − target; lower is better",
    ):
        assert shown in text


def test_inspect_refuses_a_truncated_bundle_in_one_sentence(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.acclimate")
    path.write_bytes(path.read_bytes()[:3000])
    done = _run("inspect", str(path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"acclimate: {path} is truncated")
    assert done.stderr.count("\n") == 1
