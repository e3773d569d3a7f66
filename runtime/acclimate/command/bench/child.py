"""One process of `acclimate bench`: brings one subject up as a user's program would, then measures what it is asked to.

The first line on stdout says how that went; then each line on stdin is a question, and each line on stdout an answer.
Until the first action nothing is imported that driving does not need: start and memory are those of a user's program.
"""

from __future__ import annotations

import sys
import time


def main() -> None:
    """`sys.argv[1:]` is a bundle's path, a subject's name, and "once" where nothing will be asked."""
    path, name, *once = sys.argv[1:]
    try:
        _serve(path, name, once=bool(once))
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # the parent says so


def _serve(path: str, name: str, *, once: bool) -> None:
    begin = time.perf_counter()
    from acclimate.errors import AcclimateError

    try:
        from acclimate.bundle.file import load
        from acclimate.command.bench import subjects

        imported = time.perf_counter()
        bundle = load(path)
        subject = subjects.build(name, bundle)
        subject.act(bundle.golden.obs[0], bundle.golden.noise[0])
    except (AcclimateError, ImportError) as error:
        _say({"refused": " ".join(str(error).split()), "kind": type(error).__name__})
        return
    loaded = time.perf_counter()
    memory = {"rss_mb": _memory("VmRSS"), "anon_mb": _memory("RssAnon")}
    print(flush=True)  # the first action: an empty line, for the parent's clock
    graphs = ["act"] if subject.adapt is None else ["act", "adapt"]
    took = {"import_ms": 1e3 * (imported - begin), "load_ms": 1e3 * (loaded - imported)}
    choice = subject.choice.lines() if subject.choice else []
    _say({**took, **memory, "graphs": graphs, "choice": choice})
    if not once:
        from acclimate.command.bench import answers

        for line in sys.stdin:
            _say(answers.answer(line, bundle, subject))


def _memory(kind: str) -> float:
    """Resident memory of this process, in 10⁶ bytes; NaN where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123  (pathlib is not loaded yet)
            (line,) = [line for line in file if line.startswith(f"{kind}:")]
    except (OSError, ValueError):
        return float("nan")
    return int(line.split()[1]) * 1024 / 1e6


def _say(tree: object) -> None:
    import json

    print(json.dumps(tree), flush=True)
