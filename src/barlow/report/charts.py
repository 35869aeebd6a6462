"""Charts: curves, bars, histograms. Each is a `<figure>` with inline SVG, or "" without data."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from barlow.report.axes import Scale, Values, scale_for, smooth, thin
from barlow.report.formats import number, text
from barlow.report.plot import GLYPH, Points, across, curve, figure, legend, plot, stretched, svg

FEW_POINTS = 30
"""Up to so many points are drawn as dots too."""


@dataclass(frozen=True)
class Line:
    """One curve: its name, its points, and the colour class."""

    name: str
    x: Values
    y: Values
    color: str = "c1"
    dashed: bool = False


@dataclass(frozen=True)
class Mark:
    """A labelled straight line: across the plot at a y, or down the plot at an x."""

    name: str
    at: float
    color: str = "quiet"


@dataclass(frozen=True)
class Bar:
    """One bar with its label and, when there is one, its error, in the units of the value."""

    name: str
    value: float
    label: str
    color: str = "c1"
    error: float | None = None


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_name: str,
    log: bool = False,
    floor: Mark | None = None,
    upright: Mark | None = None,
    smoothed: bool = False,
    from_zero: bool = False,
    height: int = 260,
) -> str:
    """Draw curves over a common axis with their names at their ends; "" when there is nothing to draw.

    Args:
        title: what the y axis measures.
        lines: the curves; empty ones are left out.
        x_name: what the x axis counts.
        log: logarithmic y axis.
        floor: dashed line across, labelled like the curves.
        upright: dotted line down with its name on top.
        smoothed: draw the moving average and, faint, the raw curve.
        from_zero: the linear y axis starts at 0.
        height: of the plot in pixels.
    """
    lines = [line for line in lines if len(line.x)]
    if not lines:
        return ""
    raw = [thin(line.x, line.y) for line in lines]
    main = [thin(line.x, smooth(line.y), 300) for line in lines] if smoothed else raw
    lowest = [np.array([floor.at])] if floor else []
    ys = scale_for(np.concatenate([y for _, y in raw] + lowest), log=log, from_zero=from_zero)
    xs = _extent([x for x, _ in raw])
    ends = [(line.name, line.color, float(y[-1])) for line, (_, y) in zip(lines, main, strict=True)]
    ends += [(floor.name, floor.color, floor.at)] if floor else []
    body = stretched(_curves(lines, raw if smoothed else (), main, xs, ys, height), height)
    body += (_upright(upright, xs, height) if upright else "") + (_across(floor, ys, height) if floor else "")
    return plot(title, xs, ys, height, x_name, body, ends, _hover(lines, main, xs, x_name))


def bar_chart(title: str, groups: Sequence[tuple[str, Sequence[Bar]]], *, mark: Mark | None = None) -> str:
    """Draw horizontal bars of shares from 0 to 100% in named groups, each with its value at its end."""
    bars = [bar for _, group in groups for bar in group]
    if not bars:
        return ""
    left = max(len(bar.name) for bar in bars) * GLYPH + 12
    right = max(len(bar.label) for bar in bars) * GLYPH + 16
    y, parts = 0, []
    for name, group in groups:
        top = y + 24
        parts.append(f'<text class="group" x="{-left:.0f}" y="{y + 16}">{text(name)}</text>')
        y += 24
        for bar in group:
            parts.append(_bar(bar, y))
            y += 25
        parts.append(f'<line class="axis" x1="0" x2="0" y1="{top}" y2="{y}"/>')
        if mark:
            x = across(mark.at)
            parts.append(f'<line class="limit" x1="{x}" x2="{x}" y1="{top - 3}" y2="{y}"/>')
        y += 10
    if mark:
        place = f'x="{across(mark.at)}" y="{y + 4}" text-anchor="middle"'
        parts.append(f'<text class="tick" {place}>{text(mark.name)}</text>')
        y += 12
    return figure(title, svg("".join(parts), y, (left, right, 2.0), label=title))


def histogram(title: str, edges: Values, counts: Values, *, x_name: str, expected: Line | None = None) -> str:
    """Draw counts as bars over their edges, (B,) over (B+1,).

    With `expected`, whose y is one count per bin, a line is drawn on the same counts and the axis is
    logarithmic: the two differ in their tails.
    """
    tallest = float(counts.max(initial=0.0))
    if tallest <= 0.0 or not edges[0] < edges[-1]:
        return ""
    peak = max(tallest, float(expected.y.max())) if expected else tallest
    xs = Scale(float(edges[0]), float(edges[-1]))
    ys = Scale(0.5, peak * 1.5, log=True) if expected else Scale(0.0, peak * 1.08)
    height, bars, names = 250, [], ""
    for low, high, amount in zip(edges[:-1], edges[1:], counts, strict=True):
        if amount > 0:
            x, width = 1000 * xs.place(low), 1000 * (xs.place(high) - xs.place(low))
            top = ys.place(float(amount)) * height
            hint = f"<title>{number(low)} to {number(high)}: {number(float(amount), 9)}</title>"
            box = f'x="{x:.2f}" width="{width:.2f}" y="{height - top:.1f}" height="{top:.1f}"'
            bars.append(f'<rect class="bin" {box}>{hint}</rect>')
    if expected:
        shown = expected.y >= ys.low
        bars.append(curve(expected.x[shown], expected.y[shown], xs, ys, height, expected.color))
        names = legend([("measured", "c1", 0.0), (expected.name, expected.color, 0.0)])
    return plot(title, xs, ys, height, x_name, names=names, body=stretched("".join(bars), height))


def _extent(xs: Sequence[Values]) -> Scale:
    low, high = min(float(x.min()) for x in xs), max(float(x.max()) for x in xs)
    return Scale(min(low, 0.0) if low < 0.2 * high else low, high if high > low else low + 1.0)


def _curves(
    lines: Sequence[Line], raw: Sequence[Points], main: Sequence[Points], xs: Scale, ys: Scale, height: int
) -> str:
    """Draw all faint curves first, so that they lie under the strong ones."""
    faint = [curve(x, y, xs, ys, height, f"faint {line.color}") for line, (x, y) in zip(lines, raw, strict=False)]
    strong = []
    for line, (x, y) in zip(lines, main, strict=True):
        look = f"{line.color} dashed" if line.dashed else line.color
        strong.append(curve(x, y, xs, ys, height, look, dots=len(x) <= FEW_POINTS))
    return "".join(faint + strong)


def _across(mark: Mark, ys: Scale, height: int) -> str:
    y = height * (1 - ys.place(mark.at))
    hint = f"<title>{text(mark.name)}: {number(mark.at)}</title>"
    return f'<line class="line dashed {mark.color}" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}">{hint}</line>'


def _upright(mark: Mark, xs: Scale, height: int) -> str:
    place = xs.place(mark.at)
    side = 'text-anchor="end" dx="-6"' if place > 0.5 else 'dx="6"'
    name = f'<text class="name {mark.color}" x="{across(place)}" y="12" {side}>{text(mark.name)}</text>'
    ends = f'x1="{across(place)}" x2="{across(place)}" y1="0" y2="{height}"'
    return f'<line class="upright {mark.color}" {ends}/>{name}'


def _bar(bar: Bar, y: int) -> str:
    value = min(max(bar.value, 0.0), 1.0)
    parts = [f'<text class="tick" x="-8" y="{y + 14}" text-anchor="end">{text(bar.name)}</text>']
    hint = f"<title>{text(bar.name)}: {text(bar.label)}</title>"
    parts.append(f'<rect class="bar {bar.color}" x="0" y="{y}" width="{across(value)}" height="19">{hint}</rect>')
    right = value
    if bar.error:
        low, right = max(value - bar.error, 0.0), min(value + bar.error, 1.0)
        parts.append(f'<line class="error" x1="{across(low)}" x2="{across(right)}" y1="{y + 9.5}" y2="{y + 9.5}"/>')
        for end in (low, right):
            parts.append(f'<line class="error" x1="{across(end)}" x2="{across(end)}" y1="{y + 5}" y2="{y + 14}"/>')
    parts.append(f'<text class="value" x="{across(right)}" dx="7" y="{y + 14}">{text(bar.label)}</text>')
    return "".join(parts)


def _hover(lines: Sequence[Line], points: Sequence[Points], xs: Scale, x_name: str) -> str:
    """Return the attribute that the page's script reads to show values under the pointer."""
    curves: list[dict[str, Any]] = [
        {"name": line.name, "x": [_short(a) for a in x], "y": [_short(b) for b in y]}
        for line, (x, y) in zip(lines, points, strict=True)
    ]
    data = {"low": xs.low, "high": xs.high, "unit": x_name, "curves": curves}
    return f' data-curves="{text(json.dumps(data, separators=(",", ":")))}"'


def _short(value: float) -> float:
    return float(f"{value:.4g}")
