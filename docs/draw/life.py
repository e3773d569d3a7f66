"""life.png: one policy's life, from config to actuator."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from docs.draw import ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Stop(NamedTuple):
    """A station of the policy: its name, what happens there, the module that does it, whose colour it has."""

    name: str
    text: str
    module: str
    colour: str


class Lane(NamedTuple):
    """Stations from left to right, and when they are passed."""

    title: str
    when: str
    stops: tuple[Stop, ...]


LANES = (
    Lane(
        "On the desktop",
        "once",
        (
            Stop("config", "family, algorithm,\niterations, seed: TOML", "acclimate_trainer.runs", "trainer"),
            Stop(
                "train",
                "machines are drawn; act and\nadapt are improved in torch",
                "acclimate_trainer.outer_loop",
                "trainer",
            ),
            Stop(
                "trace",
                "act and adapt as two graphs,\nthe gradient step inside",
                "acclimate_export.graphs",
                "export",
            ),
            Stop("check", "every engine must agree\nwith torch to 1e-5", "acclimate_export.check", "export"),
            Stop(
                "NAME.acclimate",
                "manifest, graphs, state,\ngolden sequence",
                "acclimate.bundle",
                "runtime",
            ),
        ),
    ),
    Lane(
        "On the board",
        "at every start",
        (
            Stop("read", "hashes and limits;\nno code is run", "acclimate.bundle", "runtime"),
            Stop(
                "engine",
                "the fastest that reproduces\nthe golden sequence",
                "acclimate.engines",
                "runtime",
            ),
            Stop("policy", "its state in two slots:\nlive and spare", "acclimate.policy", "runtime"),
            Stop(
                "device",
                "channels, units and rate are\ncompared with the manifest",
                "acclimate_bridge.link",
                "bridge",
            ),
        ),
    ),
    Lane(
        "Every tick",
        "as often as trained: 100 Hz for servos",
        (
            Stop("measure", "newest reading: fresh, finite,\nin range", "acclimate_bridge.link", "bridge"),
            Stop("observe", "sensors by name, then\nwhat is asked for", "acclimate.control", "runtime"),
            Stop("act", "action and next state\nfrom the live slot", "acclimate.policy", "runtime"),
            Stop("limit", "finite, clamped,\nslew-limited", "acclimate.control", "runtime"),
            Stop("command", "a frame with session,\nnumber and CRC-32", "acclimate_bridge.link", "bridge"),
        ),
    ),
    Lane(
        "Every window",
        "beside the loop, where the policy takes steps",
        (
            Stop(
                "window", "transitions, and which of\nthem may be learned from", "acclimate.policy", "runtime"
            ),
            Stop("adapt", "reads the live slot,\nwrites the spare one", "acclimate.policy", "runtime"),
            Stop(
                "guard", "finite, within the trust\nradius, enough valid ticks", "acclimate.policy", "runtime"
            ),
            Stop(
                "swap", "between two ticks; taken back\nwhere the error rises", "acclimate.policy", "runtime"
            ),
        ),
    ),
)

_MARGIN, _TITLE = 0.3, 1.75  # inches; _TITLE: width of the lanes' titles
_BOX, _STEP = (1.98, 0.98), 2.26  # of a station; from one to the next
_LANE = 1.5  # from lane to lane
_STATIONS = 5


def draw() -> Figure:
    """A lane for each stage; arrows lead from station to station."""
    width = _MARGIN + _TITLE + _STATIONS * _STEP + 1.0
    figure, axes = ink.blank(width, len(LANES) * _LANE + 2 * _MARGIN)
    tops = [len(LANES) * _LANE + _MARGIN - 0.25 - row * _LANE for row in range(len(LANES))]
    for lane, top in zip(LANES, tops, strict=True):
        _lane(axes, lane, top)
    _turns(axes, tops)
    return figure


def _lane(axes: Axes, lane: Lane, top: float) -> None:
    axes.text(_MARGIN, top - 0.3, lane.title, fontsize=12.5, weight="bold", color=ink.INK, va="center")
    axes.text(_MARGIN, top - 0.5, _folded(lane.when), fontsize=8.5, color=ink.GREY, va="top")
    for i, stop in enumerate(lane.stops):
        _stop(axes, stop, _left(i), top)
        if i:
            _arrow(axes, [(_left(i) - _STEP + _BOX[0], top - _BOX[1] / 2), (_left(i), top - _BOX[1] / 2)])


def _stop(axes: Axes, stop: Stop, x: float, top: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    patch = FancyBboxPatch((x, top - _BOX[1]), *_BOX, boxstyle="round,pad=0,rounding_size=0.07",
                           facecolor=ink.FILLS[stop.colour], edgecolor=ink.LINES[stop.colour], lw=1.0)  # fmt: skip
    axes.add_patch(patch)
    axes.text(x + 0.1, top - 0.17, stop.name, fontsize=10.5, weight="bold", color=ink.INK, va="center")
    axes.text(x + 0.1, top - 0.32, stop.text, fontsize=8.2, color=ink.INK, va="top", linespacing=1.25)
    axes.text(x + 0.1, top - _BOX[1] + 0.12, stop.module, fontsize=6.8, color=ink.LINES[stop.colour], va="center",
              family="monospace")  # fmt: skip


def _turns(axes: Axes, tops: list[float]) -> None:
    """What leaves a lane: the bundle goes to the board, actions to the actuator, new parameters back to `act`."""
    desktop, board, tick, window = tops
    right = _left(_STATIONS - 1) + _BOX[0] / 2
    gap = _LANE - _BOX[1]
    _arrow(axes, [(right, desktop - _BOX[1]), (right, desktop - _BOX[1] - gap / 2),
                  (_left(0) + _BOX[0] / 2, desktop - _BOX[1] - gap / 2), (_left(0) + _BOX[0] / 2, board)],
           "one file, copied to the board")  # fmt: skip
    device = _left(3) + _BOX[0] / 2
    _arrow(axes, [(device, board - _BOX[1]), (device, board - _BOX[1] - gap / 2),
                  (_left(0) + _BOX[0] / 2, board - _BOX[1] - gap / 2), (_left(0) + _BOX[0] / 2, tick)],
           "drive")  # fmt: skip
    end = _left(_STATIONS - 1) + _BOX[0]
    _arrow(axes, [(end, tick - _BOX[1] / 2), (end + 0.3, tick - _BOX[1] / 2)])
    axes.text(end + 0.36, tick - _BOX[1] / 2, "actuator,\nwatchdog", fontsize=9, va="center", color=ink.INK,
              weight="bold")  # fmt: skip
    act, swap = _left(2) + _BOX[0] / 2, _left(3) + _BOX[0] / 2
    middle = tick - _BOX[1] - gap / 2
    _arrow(axes, [(_left(0) + _BOX[0] / 2, tick - _BOX[1]), (_left(0) + _BOX[0] / 2, window)])
    _arrow(
        axes,
        [(swap, window), (swap, middle), (act, middle), (act, tick - _BOX[1])],
        "new parameters are live",
    )


def _arrow(axes: Axes, corners: list[tuple[float, float]], label: str = "") -> None:
    """Along the corners, with a head at the last; the label stands above the longest stretch."""
    xs, ys = zip(*corners[:-1], strict=True)
    axes.plot(xs, ys, color=ink.GREY, lw=1.2, solid_capstyle="round")
    axes.annotate("", corners[-1], corners[-2], arrowprops={"arrowstyle": "-|>", "lw": 1.2, "color": ink.GREY,
                  "shrinkA": 0, "shrinkB": 0})  # fmt: skip
    if label:
        (x0, y), (x1, _) = corners[1], corners[2]
        axes.text((x0 + x1) / 2, y + 0.03, label, fontsize=8.2, ha="center", va="bottom", color=ink.INK,
                  style="italic")  # fmt: skip


def _left(station: int) -> float:
    return _MARGIN + _TITLE + station * _STEP


def _folded(text: str, limit: int = 22) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > limit:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
