"""Policies that no test trains or exports: those of bundles that ship, and tiny ones as training begins them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from acclimate.bundle.file import STATE, Bundle, load, write_bundle
from acclimate.bundle.npz import pack_arrays
from acclimate_demo.shipped import shipped_bundle
from acclimate_export.bundle.bundling import record_golden
from acclimate_export.bundle.trained import META, Trained, as_array, from_bundle
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.configuration import parse_config
from torch import Tensor

from tests.export import runs


class Shipped(NamedTuple):
    """A bundle, and the policy that it was exported from."""

    bundle: Bundle
    trained: Trained


@cache
def shipped(name: str) -> Shipped:
    bundle = load(shipped_bundle(name))
    return Shipped(bundle, from_bundle(bundle))


def holding(bundle: Bundle, folder: Path, *suffixes: str, **members: bytes) -> Bundle:
    """The bundle with the graphs of these suffixes alone, and other contents of members, named NAME_SUFFIX."""
    new = {name.replace("_", "."): content for name, content in members.items()}
    kept = {
        name: content
        for name, content in bundle.members.items()
        if not name.startswith(("act.", "adapt.")) or name.endswith(suffixes)
    }
    path = folder / "held.acclimate"
    write_bundle(path, bundle.manifest, {**kept, **new})
    return load(path)


def changed(
    of: Shipped, folder: Path, change: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
) -> Shipped:
    """The policy with other meta-parameters, and its bundle in ONNX: the graphs are the same, what they read is not."""
    trained = Trained.of(of.trained.config, dict(of.trained.meta) | dict(change(of.trained.meta)), "here")
    with torch.no_grad():
        state = {name: as_array(value) for name, value in trained.policy.initial().items()}
    contents = {
        STATE: pack_arrays(state),
        "golden.npz": record_golden(trained).pack(),
        META: trained.pack_meta(),
    }
    named = {name.replace(".", "_"): content for name, content in contents.items()}
    return Shipped(holding(of.bundle, folder, "onnx", **named), trained)


def forgetful(bundle: Bundle, folder: Path) -> Bundle:
    """The same graphs, but what is remembered is cleared with every episode, and not with every trial."""
    state = tuple(replace(t, reset="episode") if t.reset == "trial" else t for t in bundle.manifest.state)
    path = folder / "forgetful.acclimate"
    write_bundle(path, replace(bundle.manifest, state=state), bundle.members)
    return load(path)


def untrained(algorithm: str, preset: str = "wide", seed: int = 1) -> Trained:
    """A tiny policy as training begins it."""
    config = parse_config(tomllib.loads(runs.config(algorithm, preset=preset)), "here")
    meta = algorithm_of(config).initial(np.random.default_rng(seed))
    return Trained.of(config, meta, "here")
