"""The command `acclimate`: finds the verbs that this installation can run, turns errors into sentences."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import NoReturn

from acclimate.command import collector, streams
from acclimate.control.signals import stopping_on_signals
from acclimate.errors import AcclimateError, OutputError, UsageError
from acclimate.names import did_you_mean

HELP = "help"
GROUP = "acclimate.verbs"  # entry-point group; each entry is a Verb


@dataclass(frozen=True)
class Verb:
    """One verb of the command. The module that defines it must import nothing heavy: `main` does that.

    configure: adds the verb's arguments to its parser.
    main:      does the work and returns the exit code; deliberate errors are AcclimateError.
    requires:  top-level modules without which the verb is not listed.
    extra:     the extra of this distribution that installs them.
    """

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    main: Callable[[argparse.Namespace], int]
    requires: tuple[str, ...] = ()
    extra: str = ""

    def missing(self) -> list[str]:
        """The required modules that are not installed."""
        return [module for module in self.requires if importlib.util.find_spec(module) is None]


@dataclass(frozen=True)
class BrokenVerb:
    """A verb whose module cannot be imported."""

    name: str
    error: ImportError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the process's exit code."""
    if argv is None:  # a program, and no part of one
        collector.calm()
    arguments = list(sys.argv[1:] if argv is None else argv)
    _heed_interrupts()
    streams.make_ready()
    try:
        return _dispatched(arguments)
    except AcclimateError as error:
        print(f"acclimate: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("acclimate: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader has gone, as in `acclimate … | head`: stay silent
        code = 141
    with contextlib.suppress(OutputError, BrokenPipeError):
        streams.settle()
    return code


def _dispatched(arguments: list[str]) -> int:
    """The exit code, once all that was printed has been written."""
    try:
        code = _dispatch(arguments)
    except SystemExit:  # of `--help`
        streams.settle()
        raise
    streams.settle()
    return code


def _heed_interrupts() -> None:
    """SIGINT ends a verb also where it was ignored from birth, as in `acclimate … &` in a script."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _dispatch(arguments: list[str]) -> int:
    verbs = find_verbs()
    if arguments[:1] == [HELP]:  # as git has it: `help` for `--help`, and `help VERB` for `VERB --help`
        arguments = [*arguments[1:2], "--help"]
    if arguments and not arguments[0].startswith("-"):
        return _run(_choose(arguments[0], verbs), arguments[1:])
    parser = _main_parser(verbs)
    parser.parse_args(arguments)
    parser.print_help(sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """Arguments that cannot be end in a sentence, as all that cannot be does."""

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Raises UsageError for an option that the verb does not have, asking what was meant."""
        shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
        listed = [option for action in shown for option in action.option_strings if option.startswith("--")]
        known = [option for action in self._actions for option in action.option_strings]
        for option in (argument.partition("=")[0] for argument in arguments if argument.startswith("--")):
            if not any(name.startswith(option) for name in known):
                meant = did_you_mean(option, listed, of="its options")
                raise UsageError(f"{self.prog} has no option {option!r}{meant}")
        return self.parse_args(arguments)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; `{self.prog} --help` says what there is")


def _run(verb: Verb, arguments: list[str]) -> int:
    parser = _Parser(prog=f"acclimate {verb.name}", description=verb.help)
    verb.configure(parser)
    with _stopping_on_signals():
        return verb.main(parser.read(arguments))


def _stopping_on_signals() -> contextlib.AbstractContextManager[None]:
    """Whatever a verb drives ends with it; where `main` runs in another thread, its caller sees to that."""
    if threading.current_thread() is threading.main_thread():
        return stopping_on_signals()
    return contextlib.nullcontext()


def find_verbs() -> dict[str, Verb | BrokenVerb]:
    """All verbs of the installed parts, alphabetically; one that is broken does not harm the others."""
    entries = sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    return {entry.name: _load(entry) for entry in entries}


def _load(entry: metadata.EntryPoint) -> Verb | BrokenVerb:
    try:
        verb = entry.load()
    except (ImportError, AttributeError) as error:
        return BrokenVerb(entry.name, ImportError(f"{entry.value}: {error}"))
    if not isinstance(verb, Verb):
        return BrokenVerb(entry.name, ImportError(f"{entry.value} is not a Verb"))
    return verb


def _choose(name: str, verbs: Mapping[str, Verb | BrokenVerb]) -> Verb:
    verb = verbs.get(name)
    if verb is None:
        raise UsageError(
            f"unknown verb {name!r}{did_you_mean(name, [*_listed(verbs), HELP], of='verbs here')}"
        )
    if isinstance(verb, BrokenVerb):
        raise UsageError(f"verb {name!r} cannot be loaded ({verb.error}); reinstall acclimate")
    missing = verb.missing()
    if missing:
        raise UsageError(f"verb {name!r} needs {' and '.join(missing)}; install acclimate[{verb.extra}]")
    return verb


def _listed(verbs: Mapping[str, Verb | BrokenVerb]) -> dict[str, Verb]:
    return {name: verb for name, verb in verbs.items() if isinstance(verb, Verb) and not verb.missing()}


def _main_parser(verbs: Mapping[str, Verb | BrokenVerb]) -> argparse.ArgumentParser:
    listed = _listed(verbs)
    width = max((len(name) for name in listed), default=0)
    lines = [f"  {name.ljust(width)}  {verb.help}" for name, verb in listed.items()]
    parser = argparse.ArgumentParser(
        prog="acclimate",
        usage="acclimate VERB [...]   (acclimate VERB --help for its arguments)",
        description="Adapt a meta-trained policy on the device itself.",
        epilog="verbs:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"acclimate {metadata.version('acclimate')}")
    return parser
