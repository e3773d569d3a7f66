"""What was learned on this very machine: where it comes from, and where it goes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from acclimate.command.options import writable
from acclimate.errors import UsageError
from acclimate.policy.checkpoint import load_checkpoint
from acclimate.policy.policy import Policy


class Learned(NamedTuple):
    """A checkpoint to begin with, and a file for the one that comes of it."""

    begin: Path | None
    save: Path | None

    @classmethod
    def of(cls, args: argparse.Namespace) -> Learned:
        """As `--load`, `--save` and `--keep` say. Raises UsageError where they contradict, or a file cannot be."""
        if args.keep is None:
            return cls(None if args.load is None else Path(args.load), writable("--save", args.save))
        if args.load is not None or args.save is not None:
            raise UsageError("--keep FILE is --load and --save of the same file; give it alone")
        path = writable("--keep", args.keep)
        return cls(path if path is not None and path.exists() else None, path)

    @property
    def known(self) -> bool:
        """Whether anything was learned before."""
        return self.begin is not None

    def load(self, policy: Policy) -> None:
        """Raises CheckpointError for a file that is none, or of another bundle."""
        if self.begin is not None:
            load_checkpoint(self.begin, policy)
