"""Where a policy may begin: no further away than where training began."""

from __future__ import annotations

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import Manifest
from acclimate.errors import MismatchError


def outside(manifest: Manifest, obs: FloatArray) -> list[str]:
    """What stands where training never began, a phrase each; obs (n_obs,)."""
    task = manifest.task
    units = {name: channel.unit for channel in task.sensors for name in channel.scalars}
    read = {name: float(obs[task.index(name)]) for name in manifest.start}
    return [
        f"{name!r} reads {read[name]:.4g} {units[name]}, and may read {low:.4g} to {high:.4g}"
        for name, (low, high) in manifest.start.items()
        if not low <= read[name] <= high
    ]


def require_inside(manifest: Manifest, obs: FloatArray) -> None:
    """Raises MismatchError that lists everything."""
    found = outside(manifest, obs)
    if found:
        raise MismatchError(
            f"bundle {manifest.name!r} never began from where this machine stands: {'; '.join(found)}. Move it there, "
            "or use --approach"
        )
