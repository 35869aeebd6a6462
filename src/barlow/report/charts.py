"""Charts: curves, bars, histograms. Each is a `<figure>` with inline SVG, or "" without data."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from barlow.formats import number, text
from barlow.report.plot import (
    GLYPH,
    MAX_POINTS,
    Points,
    Scale,
    Values,
    across,
    curve,
    figure,
    legend,
    plot,
    scale_for,
    smooth,
    stretched,
    svg,
    thin,
    wants_log,
)

FEW_POINTS = 30
"""Up to so many points are drawn as dots too."""
MANY_LINES, FEWEST_POINTS = 8, 40
"""Curves beyond which all of them share the points of so many, and the points that each keeps."""


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

    `title` is what the y axis measures; `floor` is a dashed line across, labelled like the curves, and `upright` a
    dotted one down with its name on top. `smoothed` draws the moving average and, faint, the raw curve. `height` is in
    pixels.
    """
    lines = [line for line in lines if len(line.x)]
    if not lines:
        return ""
    # Beyond a few curves all of them share the points of those: a page of a hundred runs stays one that opens.
    share = min(1.0, MANY_LINES / len(lines))
    raw = [thin(line.x, line.y, max(FEWEST_POINTS, int(share * MAX_POINTS))) for line in lines]
    main = [thin(line.x, smooth(line.y), max(FEWEST_POINTS, int(share * 300))) for line in lines] if smoothed else raw
    lowest = [np.array([floor.at])] if floor else []
    ys = scale_for(np.concatenate([y for _, y in raw] + lowest), log=log, from_zero=from_zero)
    xs = _extent([x for x, _ in raw])
    ends = [(line.name, line.color, float(y[-1])) for line, (_, y) in zip(lines, main, strict=True)]
    ends += [(floor.name, floor.color, floor.at)] if floor else []
    body = stretched(_curves(lines, raw if smoothed else (), main, xs, ys, height), height)
    body += (_upright(upright, xs, height) if upright else "") + (
        _across(floor, ys, height, f"{floor.name}: {number(floor.at)}") if floor else ""
    )
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
    strong = [_curve(replace(line, x=x, y=y), xs, ys, height) for line, (x, y) in zip(lines, main, strict=True)]
    return "".join(faint + strong)


def _curve(line: Line, xs: Scale, ys: Scale, height: int) -> str:
    look = f"{line.color} dashed" if line.dashed else line.color
    return curve(line.x, line.y, xs, ys, height, look, dots=len(line.x) <= FEW_POINTS)


def _across(mark: Mark, ys: Scale, height: int, hint: str) -> str:
    y = height * (1 - ys.place(mark.at))
    ends = f'x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"'
    return f'<line class="line dashed {mark.color}" {ends}><title>{text(hint)}</title></line>'


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


# --- Charts that only an audit needs: a waterfall, a spectrum with its error band, curves over a logarithmic axis.


ROW = 46
"""Pixels of one step of a waterfall: its name above its bar, which leaves a phone the whole width for the bar."""
THIN_BAR = 0.004
"""Least share of the width that a bar is drawn with: a part of nearly nothing stays visible."""
DECADES = 6
"""Orders of magnitude of a logarithmic axis below its largest value; less is as good as nothing."""


@dataclass(frozen=True)
class Step:
    """One step of a waterfall, its name above the bar.

    Attributes:
        value: how far it goes up (down if negative) from where the last step ended; of a total where it ends.
        color: colour class.
        total: the bar begins at 0.
    """

    name: str
    value: float
    color: str = "c1"
    total: bool = False


@dataclass(frozen=True)
class Band:
    """The range around a curve that its error leaves open."""

    x: Values
    low: Values
    high: Values
    color: str = "c1"


def waterfall(title: str, steps: Sequence[Step], *, scale: Scale | None = None) -> str:
    """Draw steps below each other, each bar beginning where the last one ended; "" without steps.

    `scale` may be that of another waterfall, to compare the two.
    """
    if not steps:
        return ""
    spans = _spans(steps)
    xs = scale or waterfall_scale([steps])
    labels = [number(step.value) if step.total else _signed(step.value) for step in steps]
    parts, names = [], []
    height = ROW * len(steps)
    for value, label in xs.ticks(5):
        x = across(xs.place(value))
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{height}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{height + 18}" text-anchor="middle">{label}</text>')
    for place, (step, (start, end), label) in enumerate(zip(steps, spans, labels, strict=True)):
        y = ROW * place
        low, high = sorted((xs.place(start), xs.place(end)))
        hint = f"<title>{text(step.name)}: {label}</title>"
        box = f'x="{across(low)}" width="{across(max(high - low, THIN_BAR))}" y="{y + 20}" height="18"'
        names.append(f'<text class="group step" x="0" dx="7" y="{y + 14}">{text(step.name)}</text>')
        parts.append(f'<rect class="bar {step.color}" {box}>{hint}</rect>')
        parts.append(f'<text class="value" x="{across(high)}" dx="7" y="{y + 34}">{label}</text>')
        if place + 1 < len(steps):
            x = across(xs.place(end))
            parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{y + 38}" y2="{y + ROW + 20}"/>')
    zero = across(xs.place(0.0))
    parts.append(f'<line class="axis" x1="{zero}" x2="{zero}" y1="0" y2="{height}"/>')
    right = max(len(label) for label in labels) * GLYPH + 16
    return figure(title, svg("".join(parts + names), height, (8.0, right, 26.0), label=title))


def waterfall_scale(waterfalls: Sequence[Sequence[Step]]) -> Scale:
    """Return one horizontal axis for several waterfalls; it holds 0."""
    places = [place for steps in waterfalls for span in _spans(steps) for place in span]
    low, high = min([0.0, *places]), max([0.0, *places])
    return Scale(low, high if high > low else low + 1.0)


def spectrum_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_name: str,
    bands: Sequence[Band] = (),
    levels: Sequence[Mark] = (),
    height: int = 300,
) -> str:
    """Draw curves over error bands, with dashed levels across, from 0; "" without curves."""
    lines = [line for line in lines if len(line.x)]
    if not lines:
        return ""
    held = [*(line.y for line in lines), *(band.high for band in bands), np.array([mark.at for mark in levels])]
    ys = scale_for(np.concatenate(held), from_zero=True)
    low, high = min(float(line.x[0]) for line in lines), max(float(line.x[-1]) for line in lines)
    xs = Scale(low, high if high > low else low + 1.0)
    drawn = "".join(_band(band, xs, ys, height) for band in bands)
    drawn += "".join(_curve(line, xs, ys, height) for line in lines)
    body = stretched(drawn, height) + "".join(_across(mark, ys, height, mark.name) for mark in levels)
    ends = [(line.name, line.color, float(line.y[-1])) for line in lines]
    ends += [(mark.name, mark.color, mark.at) for mark in levels]
    return plot(
        title, xs, ys, height, x_name, body, ends, _hover(lines, [(line.x, line.y) for line in lines], xs, x_name)
    )


def log_chart(title: str, lines: Sequence[Line], *, x_name: str, here: Mark | None = None, height: int = 220) -> str:
    """Draw curves over a logarithmic x axis, and y axis where the values want it; "" without a curve.

    Points at or below 0, which such an axis cannot hold, are left out. `here`: a dotted line where the audited run
    stands.
    """
    drawn = [_drawable(line) for line in lines]
    drawn = [line for line in drawn if len(line.x)]
    if not drawn:
        return ""
    ends = np.concatenate([line.x for line in drawn] + ([np.array([here.at])] if here and here.at > 0 else []))
    low, high = float(ends.min()), float(ends.max())
    xs = Scale(low, high if high > low else 2.0 * low, log=True)
    values = np.concatenate([line.y for line in drawn])
    top = float(values.max())
    values = values[values >= top / 10.0**DECADES]
    ys = scale_for(values, log=wants_log(values), from_zero=True)
    body = "".join(_curve(line, xs, ys, height) for line in drawn)
    over = "".join(_point(line, x, y, xs, ys, height) for line in drawn for x, y in zip(line.x, line.y, strict=True))
    names = legend([(line.name, line.color, 0.0) for line in drawn])
    place = _upright(here, xs, height) if here and here.at > 0 else ""
    return plot(title, xs, ys, height, x_name, stretched(body, height) + place + over, names=names)


def _spans(steps: Sequence[Step]) -> list[tuple[float, float]]:
    """Return where each bar begins and ends."""
    spans, here = [], 0.0
    for step in steps:
        start = 0.0 if step.total else here
        here = start + step.value
        spans.append((start, here))
    return spans


def _signed(value: float) -> str:
    return f"+{number(value)}" if value > 0 else number(value)


def _drawable(line: Line) -> Line:
    kept = np.isfinite(line.x) & np.isfinite(line.y) & (line.x > 0) & (line.y > 0)
    return replace(line, x=line.x[kept], y=line.y[kept])


def _band(band: Band, xs: Scale, ys: Scale, height: int) -> str:
    points = [*zip(band.x, band.high, strict=True), *zip(band.x[::-1], band.low[::-1], strict=True)]
    places = [f"{1000 * xs.place(x):.1f} {height * (1 - ys.place(y)):.1f}" for x, y in points]
    return f'<path class="band {band.color}" d="M{"L".join(places)}Z"/>' if places else ""


def _point(line: Line, x: float, y: float, xs: Scale, ys: Scale, height: int) -> str:
    """Return a spot that says the values below the pointer: the page's script knows linear axes only."""
    place = f'cx="{across(xs.place(x))}" cy="{height * (1 - ys.place(y)):.1f}" r="7"'
    return f'<circle class="spot" {place}><title>{text(line.name)} at {number(x)}: {number(y)}</title></circle>'
