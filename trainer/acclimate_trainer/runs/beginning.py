"""Where training begins: anew, or with what another run has learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from acclimate.errors import UsageError
from torch import Tensor

from acclimate_trainer.contract.alike import differences
from acclimate_trainer.outer_loop.training import FOR_TRAINING, Algorithm, Progress, start
from acclimate_trainer.runs.configuration import Config
from acclimate_trainer.runs.run_directory import CONFIG, RunDirectory


def beginning(config: Config, algorithm: Algorithm) -> Progress:
    """A run that has not begun. Raises UsageError where what it is to begin with does not fit."""
    fresh = start(algorithm, config.seed)
    return replace(fresh, meta={**fresh.meta, **_taken(config, fresh.meta)}) if config.start else fresh


def _taken(config: Config, meta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of the policy that the run which a config starts from has, too."""
    path, where = Path(config.start), f"{config.name}: start"
    if not (path / CONFIG).is_file():
        raise UsageError(
            f"{where}: there is no run {path}; train one first, as in acclimate train servo_wide_mimic"
        )
    run = RunDirectory.open(path)
    lacking = list(differences(run.config.opened.family.spec, config.opened.family.spec))
    if lacking:
        raise UsageError(f"{where}: what is trained in {path} cannot drive this family: {'; '.join(lacking)}")
    progress = run.load()
    if progress is None:
        raise UsageError(f"{where}: nothing is trained in {path} yet; `acclimate train` does it")
    learned = {
        n: v.detach() for n, v in progress.chosen.items() if n in meta and not n.startswith(FOR_TRAINING)
    }
    other = [n for n, v in learned.items() if v.shape != meta[n].shape]
    if other or not learned:
        what = (
            f"parameter {other[0]!r} is of another size there"
            if other
            else "they have no parameter in common"
        )
        raise UsageError(
            f"{where}: {path} trained [{run.config.algorithm}], whose network is not that of [{config.algorithm}] here "
            f"({what}); train both with the same kind of network and the same widths"
        )
    return learned
