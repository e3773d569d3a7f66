"""Which planted bugs do the tests find? Of trainer and export, in what learns and in what checks.

As `mutants`, whose figures these are of two other groups: 150 bugs each, the survivors in
results/mutants_trainer.survivors.json. In `trainer` a bug is in what is learned and how it is played, in `export` in
what a bundle is made of and compared by.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.harness import Figure
from benchmarks.mutation.sampling import killed


def run(seed: int) -> Mapping[str, Figure]:
    return killed("mutants_trainer", ("trainer", "export"), seed)
