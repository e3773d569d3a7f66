"""A policy that is too slow for its rate on this board is refused in a sentence; the period is what is changed here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acclimate.bundle.file import Bundle, load
from acclimate.bundle.manifest import Manifest
from acclimate.command.bench import report
from acclimate.command.bench.measuring import Measured
from acclimate.errors import UsageError
from acclimate.policy.pace import SHARE, act_seconds, keeps_pace, require_pace
from acclimate.policy.policy import Policy

from . import bundles


def _every(seconds: float) -> Manifest:
    """A policy whose control period is so long."""
    manifest = bundles.manifest()
    return replace(manifest, task=replace(manifest.task, control_dt=seconds))


def _bundle(folder: Path, seconds: float) -> Bundle:
    return load(bundles.write_tiny(folder / "tiny.acclimate", _every(seconds)))


def test_no_act_fits_into_a_microsecond(tmp_path: Path) -> None:
    policy = Policy(_bundle(tmp_path, 1e-6), "onnxruntime")
    with pytest.raises(
        UsageError, match=r"act of bundle 'tiny' takes .* ms here on engine 'onnxruntime', and the "
    ):
        require_pace(policy)


def test_one_fits_into_an_hour_and_leaves_the_policy_as_it_was(tmp_path: Path) -> None:
    policy = Policy(_bundle(tmp_path, 3600.0), "onnxruntime")
    before = {name: policy.state(name) for name in (t.name for t in policy.manifest.state)}
    require_pace(policy)
    assert act_seconds(policy) > 0.0
    for name, value in before.items():
        np.testing.assert_array_equal(policy.state(name), value)


def test_the_device_needs_some_of_the_period_too() -> None:
    assert keeps_pace(SHARE * 0.01, 0.01)
    assert not keeps_pace(1.01 * SHARE * 0.01, 0.01)


@pytest.mark.parametrize(("us", "fits"), [(10.0, True), (9000.0, False)])
def test_bench_says_so(tmp_path: Path, us: float, fits: bool) -> None:
    bundle = _bundle(tmp_path, 0.01)
    measured = Measured("onnxruntime", us={("act", "hot"): [us] * 5})
    assert report.fits(measured, 0.01) is fits
    assert report.fits(Measured("native", refused="no"), 0.01) is None
    said = "\n".join(report.table(bundle, [], [measured]))
    assert ("onnxruntime: act takes 9 ms, and the control period is 10 ms" in said) is not fits
