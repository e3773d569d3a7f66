"""Which planted bugs do the tests find? Of runtime and bridge, in the modules that a machine's safety rests on.

A seeded sample of 150 bugs each (`mutation.operators`), one at a time, under the tests that concern the module. A bug
is killed where a test fails or does not end; where all pass, it survives. `killed_share.GROUP` is of the bugs that are
any: a survivor that `mutation/explained.toml` shows to change nothing is left out, and counted in `equivalent.GROUP`.
`unexplained.GROUP` counts survivors that nobody has looked at yet. All survivors, with the reasons, are in
results/mutants.survivors.json.

Trainer and export are in `mutants_trainer`.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.harness import Figure
from benchmarks.mutation.sampling import killed


def run(seed: int) -> Mapping[str, Figure]:
    return killed("mutants", ("runtime", "bridge"), seed)
