"""The recorded sequence that every board replays before the first command leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from acclimate.arrays import FloatArray
from acclimate.bundle.manifest import GraphSpec, Manifest
from acclimate.bundle.npz import check_arrays, pack_arrays
from acclimate.errors import BundleError
from acclimate.task.episode import Window

_PREFIX = "next."


@dataclass(frozen=True)
class GoldenAdapt:
    """One `adapt` from the initial state. `next`: what adapt wrote; `info`: scalars of shape (1,)."""

    window: Window
    next: Mapping[str, FloatArray]
    info: Mapping[str, FloatArray]


@dataclass(frozen=True)
class Golden:
    """K ticks of `act` from the initial state, and one `adapt` from the initial state."""

    obs: FloatArray  # (K, n_obs)
    noise: FloatArray  # (K, *noise shape)
    action: FloatArray  # (K, n_act)
    next: Mapping[str, FloatArray] = field(default_factory=dict)  # (K, *shape) after each tick
    adapt: GoldenAdapt | None = None

    def __repr__(self) -> str:
        return f"<Golden: {self.ticks} ticks{'' if self.adapt is None else ', one adapt'}>"

    @property
    def ticks(self) -> int:
        return len(self.obs)

    def pack(self) -> bytes:
        """The content of golden.npz."""
        arrays = {"act.obs": self.obs, "act.noise": self.noise, "act.action": self.action}
        arrays |= {f"act.next.{name}": value for name, value in self.next.items()}
        if self.adapt is not None:
            arrays |= {f"adapt.window.{name}": value for name, value in self.adapt.window._asdict().items()}
            arrays |= {f"adapt.next.{name}": value for name, value in self.adapt.next.items()}
            arrays |= {f"adapt.info.{name}": value for name, value in self.adapt.info.items()}
        return pack_arrays(arrays)

    @classmethod
    def from_arrays(cls, manifest: Manifest, arrays: Mapping[str, FloatArray], where: str) -> Golden:
        """Raises BundleError unless names and shapes are exactly what `manifest` calls for."""
        ticks = len(arrays["act.obs"]) if "act.obs" in arrays and arrays["act.obs"].ndim else 0
        if ticks < 1:
            raise BundleError(f"{where} lacks the array 'act.obs' with at least one tick")
        check_arrays(arrays, _shapes(manifest, ticks), where)
        written = _written(manifest.graphs.act)
        return cls(
            arrays["act.obs"],
            arrays["act.noise"],
            arrays["act.action"],
            {name: arrays[f"act.next.{name}"] for name in written},
            _adapt_of(manifest.graphs.adapt, arrays),
        )


def _adapt_of(graph: GraphSpec | None, arrays: Mapping[str, FloatArray]) -> GoldenAdapt | None:
    if graph is None:
        return None
    window = Window(*(arrays[f"adapt.window.{name}"] for name in Window._fields))
    written = {name: arrays[f"adapt.next.{name}"] for name in _written(graph)}
    return GoldenAdapt(window, written, {name: arrays[f"adapt.info.{name}"] for name in _infos(graph)})


def _shapes(m: Manifest, ticks: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "act.obs": (ticks, m.n_obs),
        "act.noise": (ticks, *m.noise.shape),
        "act.action": (ticks, m.n_act),
    }
    shapes |= {f"act.next.{name}": (ticks, *shape) for name, shape in _written(m.graphs.act).items()}
    if m.graphs.adapt is not None:
        assert m.window is not None  # a manifest has a window where it has an adapt graph
        episodes, steps = m.window.episodes, m.window.steps
        shapes["adapt.window.obs"] = (episodes, steps + 1, m.n_obs)
        shapes["adapt.window.action"] = (episodes, steps, m.n_act)
        shapes["adapt.window.mask"] = (episodes, steps)
        shapes |= {f"adapt.next.{name}": shape for name, shape in _written(m.graphs.adapt).items()}
        shapes |= {f"adapt.info.{name}": (1,) for name in _infos(m.graphs.adapt)}
    return shapes


def _written(graph: GraphSpec) -> dict[str, tuple[int, ...]]:
    return {t.name.removeprefix(_PREFIX): t.shape for t in graph.outputs if t.name.startswith(_PREFIX)}


def _infos(graph: GraphSpec) -> list[str]:
    return [t.name.removeprefix("info.") for t in graph.outputs if t.name.startswith("info.")]
