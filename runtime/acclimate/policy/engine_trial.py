"""One engine on trial, in a process of its own: see `policy.choice`, which starts it, and asks it for times."""

from __future__ import annotations

import json
import sys
from functools import partial

from acclimate.bundle.file import load
from acclimate.engines.timing import hot
from acclimate.errors import AcclimateError
from acclimate.policy.policy import Policy


def main() -> None:
    """`sys.argv[1:]` is a bundle's path and an engine's name; each question a number of calls to time."""
    path, engine = sys.argv[1:]
    try:
        _serve(path, engine)
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # the parent says so


def _serve(path: str, engine: str) -> None:
    try:
        bundle = load(path)
        act = partial(Policy(bundle, engine).act, bundle.golden.obs[0], bundle.golden.noise[0])
        act()
    except (AcclimateError, ImportError) as error:
        _say({"refused": " ".join(str(error).split()), "kind": type(error).__name__})
        return
    _say({})
    for line in sys.stdin:
        _say(hot(act, int(line)))


def _say(tree: object) -> None:
    print(json.dumps(tree), flush=True)
