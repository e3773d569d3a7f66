"""The picture of `acclimate bench`, as SVG: drawn by hand, since a board has nothing to draw with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from acclimate.command.bench.measuring import PACES, Measured
from acclimate.command.bench.report import GRAPHS, cpu_share, machine, middle

_LEFT, _WIDTH, _GAP, _ROW, _TOP = 170, 330, 60, 22, 46  # px
_COLOURS = dict(zip(PACES, ("#1b6ca8", "#e08a1e", "#b03a48"), strict=True))
_BAR = "#7d8b99"
_Bar = Callable[[Measured], float | None]


def draw(title: str, found: Sequence[Measured]) -> str:
    """An SVG document: times of act and adapt on logarithmic axes, p50 to p99; start, memory and CPU as bars."""
    rows = [of for of in found if of.times()]
    panels = [_times(graph, rows) for graph in GRAPHS if any((graph, "hot") in of.times() for of in rows)]
    panels += [
        _bars("process start to first action, ms", rows, lambda of: middle(of, lambda s: s.first_action_ms)),
        _bars("resident memory, MB", rows, lambda of: middle(of, lambda s: s.rss_mb)),
        _bars("CPU at 50 Hz, % of a core", rows, _percent),
    ]
    height = _TOP + len(rows) * _ROW + 30
    cells = [
        f'<g transform="translate({(i % 2) * (_LEFT + _WIDTH + _GAP)} {40 + (i // 2) * height})">{panel}</g>'
        for i, panel in enumerate(panels)
    ]
    size = 2 * (_LEFT + _WIDTH + _GAP), 50 + math.ceil(len(panels) / 2) * height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" font-family="sans-serif"'
    caption = _text(10, 24, f"{title} on {machine()}", "start", 14)
    return "\n".join(
        [head + ' font-size="12">', _rectangle(0, 0, *size, "#ffffff"), caption, *cells, "</svg>\n"]
    )


def _percent(of: Measured) -> float | None:
    share = cpu_share(of)
    return None if share is None else 100.0 * share


def _times(graph: str, rows: Sequence[Measured]) -> str:
    """One row per subject, one line per pace from p50 (dot) to p99."""
    marks = [t for of in rows for (name, _), t in of.times().items() if name == graph]
    low = math.floor(math.log10(min(t.p50 for t in marks)))
    high = math.ceil(math.log10(max(t.p99 for t in marks)))

    def x(us: float) -> float:
        return _LEFT + _WIDTH * (math.log10(us) - low) / max(high - low, 1)

    parts = [_title(f"one {graph}, µs: p50 (dot) to p99")]
    bottom = _TOP + len(rows) * _ROW
    for power in range(low, high + 1):
        parts.append(_line(x(10.0**power), _TOP - 4, x(10.0**power), bottom, "#dddddd"))
        parts.append(_text(x(10.0**power), bottom + 14, f"{10.0**power:g}", "middle"))
    for i, (pace, colour) in enumerate(_COLOURS.items()):
        parts.append(_dot(_LEFT + 8 + 70 * i, 28, colour))
        parts.append(_text(_LEFT + 16 + 70 * i, 32, pace, "start"))
    for row, of in enumerate(rows):
        parts.append(_label(row, of.name))
        for i, (pace, colour) in enumerate(_COLOURS.items()):
            t = of.times().get((graph, pace))
            if t is not None:
                y = _TOP + row * _ROW + 5 + 5 * i
                parts += [_line(x(t.p50), y, x(t.p99), y, colour), _dot(x(t.p50), y, colour)]
    return "".join(parts)


def _bars(title: str, rows: Sequence[Measured], of: _Bar) -> str:
    """One bar per subject, from zero, with its number."""
    values: Mapping[str, float] = {m.name: v for m in rows if (v := of(m)) is not None and math.isfinite(v)}
    largest = max(values.values(), default=0.0) or 1.0
    parts = [_title(title)]
    for row, name in enumerate(m.name for m in rows):
        parts.append(_label(row, name))
        if name in values:
            length, y = 0.85 * _WIDTH * values[name] / largest, _TOP + row * _ROW
            parts.append(_rectangle(_LEFT, y + 3, length, _ROW - 8, _BAR))
            parts.append(_text(_LEFT + length + 5, y + 14, f"{values[name]:.3g}", "start"))
    return "".join(parts)


def _title(text: str) -> str:
    return f'<text x="{_LEFT}" y="14" font-weight="bold">{escape(text)}</text>'


def _label(row: int, name: str) -> str:
    return _text(_LEFT - 8, _TOP + row * _ROW + 14, name, "end")


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="2"/>'
    )


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'


def _rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
