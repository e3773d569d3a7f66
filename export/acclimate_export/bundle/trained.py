"""A trained policy in torch, rebuilt from a run of the trainer or from a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle
from acclimate.bundle.manifest import Objectives
from acclimate.bundle.npz import pack_arrays, unpack_arrays
from acclimate.errors import BundleError, UsageError
from acclimate.fields import Json
from acclimate_trainer.contract.complete import Complete
from acclimate_trainer.contract.policy import Policy
from acclimate_trainer.outer_loop.training import FOR_TRAINING
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.configuration import Config, parse_config
from acclimate_trainer.runs.run_directory import CHECKPOINT, RunDirectory
from acclimate_trainer.settings.tables import ConfigError
from torch import Tensor

from acclimate_export.bundle.family_file import at_home, bare

_WEIGHTS = "task_vector"  # the state that says what a policy of successor features drives for
META = "meta.npz"  # member of a bundle: the meta-parameters, from which its torch policy is rebuilt


@dataclass(frozen=True)
class Trained:
    """A policy, the family that it was trained on, and what both were made of."""

    config: Config
    meta: Mapping[str, Tensor]
    family: Complete[object]
    policy: Policy

    @classmethod
    def of(cls, config: Config, meta: Mapping[str, Tensor], where: str) -> Trained:
        """Raises UsageError where `meta` is not what training by `config` gives."""
        family = Complete.of(config.opened.family)
        algorithm = algorithm_of(config)
        wanted, meta = (_kept(tensors) for tensors in (algorithm.initial(np.random.default_rng(0)), meta))
        for name in sorted(wanted.keys() | meta.keys()):
            found, expected = _describe(meta.get(name)), _describe(wanted.get(name))
            if found != expected:
                raise UsageError(
                    f"{where}: meta-parameter {name!r} is {found}, expected {expected}; "
                    "it was trained by another version of Acclimate: train anew"
                )
            if not torch.isfinite(meta[name]).all():
                raise UsageError(f"{where}: meta-parameter {name!r} holds values that are not finite")
        detached = {name: meta[name].detach().clone() for name in wanted}
        return cls(config, detached, family, algorithm.policy(detached))

    @property
    def objectives(self) -> Objectives | None:
        """What the policy can be told to drive for: weights of the task's features, where it has such."""
        weights = next((t for t in self.policy.state if t.name == _WEIGHTS), None)
        spec = self.policy.spec
        named = weights is not None and weights.shape == (len(spec.features),)
        return Objectives(_WEIGHTS, spec.reward) if named else None

    @property
    def infers_objective(self) -> bool:
        """Whether adapting changes what the policy drives for."""
        return any(t.name == _WEIGHTS and t.written_by == "adapt" for t in self.policy.state)

    def resolved(self) -> Json:
        """The config as JSON, with every default of the family; a file of the user's without its folder."""
        tree = self.config.tree()
        family = tree["family"]
        assert isinstance(family, dict)
        if "use" in family:
            family = family | {"use": bare(str(family["use"]))}
        resolved: Json = json.loads(json.dumps(tree | {"family": family}))
        return resolved

    def pack_meta(self) -> bytes:
        """The content of meta.npz."""
        return pack_arrays({name: as_array(value) for name, value in self.meta.items()})


def from_run(run: RunDirectory, *, unfinished: bool = False) -> tuple[Trained, int]:
    """The policy of a run's newest checkpoint, and its iteration.

    Raises UsageError where there is none or it is damaged, and, but for `unfinished`, where training is not done.
    """
    progress, total = run.load(), run.config.training.iterations
    if progress is None:
        raise UsageError(
            f"{run.path} has no {CHECKPOINT}: nothing is trained there yet; `acclimate train` does it"
        )
    if progress.iteration < total and not unfinished:
        raise UsageError(
            f"{run.path} is at iteration {progress.iteration} of {total}; "
            "let `acclimate train` finish it, or export it as it is with --unfinished"
        )
    return Trained.of(run.config, progress.chosen, str(run.path / CHECKPOINT)), progress.iteration


def from_bundle(bundle: Bundle, family: Path | None = None) -> Trained:
    """The policy that a bundle was exported from; `family` is the file of its family, where that is the user's.

    Raises BundleError where the bundle does not say, or the file is not found.
    """
    config = bundle.manifest.provenance.get("config")
    if META not in bundle.members or not isinstance(config, dict):
        raise BundleError(
            f"{bundle.path} holds no {META} with the config that it was trained by, as `acclimate export` writes it: "
            "the policy cannot be rebuilt in torch; give the folder that it was exported from with --run"
        )
    if bundle.manifest.family.use is not None:
        config = {**config, "family": at_home(config["family"], bundle, family)}
    where = f"{bundle.path}: provenance.config"
    try:
        parsed = parse_config(config, where)  # type: ignore[arg-type]  # it checks each value
    except ConfigError as error:
        raise BundleError(
            f"{error}; the bundle is of another version of Acclimate or of its family: export it again"
        ) from None
    arrays = unpack_arrays(bundle.members[META], f"{bundle.path}: {META}")
    meta = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Trained.of(parsed, meta, f"{bundle.path}: {META}")


def as_array(tensor: Tensor) -> FloatArray:
    """A float32 copy that shares nothing with `tensor`."""
    array: FloatArray = tensor.detach().to(torch.float32).numpy().copy()
    return array


def _kept(meta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All but what only training has."""
    return {name: value for name, value in meta.items() if not name.startswith(FOR_TRAINING)}


def _describe(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"a tensor of shape {list(tensor.shape)}"
