"""Tiny training runs: hardly trained, but of the real thing."""

from __future__ import annotations

from pathlib import Path

from acclimate.command.cli import main

EPISODES, STEPS, HIDDEN = 4, 60, 8

_SECTIONS = {
    "maml": f"[maml]\nhidden = {HIDDEN}\nsupport_episodes = {EPISODES}\nepisode_steps = {STEPS}\n",
    "rl2": f"[rl2]\nhidden = {HIDDEN}\nepisodes = 2\nside_by_side = 2\nepisode_steps = {STEPS}\n",
    "objectives": f"[objectives]\nhidden = {HIDDEN}\nmixing = 6\ncritic = 8\nepisodes = 2\nside_by_side = 2\n"
    f"episode_steps = {STEPS}\n",
    "ppo": f"[ppo]\nhidden = {HIDDEN}\nminibatches = 2\n",
    "robust": f"[robust]\nhidden = {HIDDEN}\nepisodes = 2\nepisode_steps = {STEPS}\n",
    "oracle": f"[oracle]\nhidden = {HIDDEN}\nepisodes = 2\nepisode_steps = {STEPS}\n",
}
# Of the bundles' files.
NAMES = {"maml": "adaptive", "rl2": "rl2", "objectives": "objectives", "robust": "robust", "oracle": "oracle"}


def config(algorithm: str, *, iterations: int = 2, preset: str = "wide") -> str:
    """A config, as TOML."""
    return (
        f'name = "tiny_{algorithm}"\nseed = 3\nclassical = false\n'
        f'[family]\nname = "servo"\noptions.preset = "{preset}"\n{_SECTIONS[algorithm]}'
        f"[training]\niterations = {iterations}\nmeta_batch_size = 4\n"
    )


def train(folder: Path, algorithm: str) -> Path:
    """A run in `folder`, by the command that a user types; returns its folder."""
    source = folder / f"{algorithm}.toml"
    source.write_text(config(algorithm), encoding="utf-8")
    assert main(["train", str(source), "--out", str(folder / algorithm)]) == 0
    return folder / algorithm


def export(run: Path, algorithm: str) -> Path:
    """The bundle of a run, by the command that a user types."""
    assert main(["export", str(run)]) == 0
    return bundle_of(run, algorithm)


def bundle_of(run: Path, algorithm: str) -> Path:
    """Where `export` puts it."""
    return run / f"{NAMES[algorithm]}.acclimate"


def export_as(run: Path, formats: str, *options: str, out: Path | None = None) -> Path:
    """The bundle of a run in these formats, beside the one of `export` where `out` is not given."""
    if out is None:
        out = run / f"{formats.replace(',', '_')}{''.join(options).replace('-', '_')}.acclimate"
    assert main(["export", str(run), "--format", formats, "--out", str(out), *options]) == 0
    return out
