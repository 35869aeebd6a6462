"""Charts that only an audit needs: a waterfall, a spectrum with its error band, curves over a logarithmic axis."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from barlow.report.axes import Scale, Values, scale_for, wants_log
from barlow.report.charts import FEW_POINTS, Line, Mark
from barlow.report.formats import number, text
from barlow.report.plot import GLYPH, across, curve, figure, legend, plot, stretched, svg

ROW = 46
"""Pixels of one step of a waterfall: its name above its bar, which leaves a phone the whole width for the bar."""
THIN_BAR = 0.004
"""Least share of the width that a bar is drawn with: a part of nearly nothing stays visible."""
DECADES = 6
"""Orders of magnitude of a logarithmic axis below its largest value; less is as good as nothing."""


@dataclass(frozen=True)
class Step:
    """One step of a waterfall.

    Attributes:
        name: above the bar.
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

    Args:
        title: what is measured along.
        steps: from top to bottom.
        scale: the horizontal axis; that of another waterfall, to compare the two.
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
    """Draw curves with error bands and lines across, from 0; "" without curves.

    Args:
        title: what the y axis measures.
        lines: the curves; empty ones are left out.
        x_name: what the x axis counts.
        bands: drawn below the curves.
        levels: dashed lines across, named like the curves.
        height: of the plot in pixels.
    """
    lines = [line for line in lines if len(line.x)]
    if not lines:
        return ""
    held = [*(line.y for line in lines), *(band.high for band in bands), np.array([mark.at for mark in levels])]
    ys = scale_for(np.concatenate(held), from_zero=True)
    low, high = min(float(line.x[0]) for line in lines), max(float(line.x[-1]) for line in lines)
    xs = Scale(low, high if high > low else low + 1.0)
    drawn = "".join(_band(band, xs, ys, height) for band in bands)
    drawn += "".join(_curve(line, xs, ys, height) for line in lines)
    body = stretched(drawn, height) + "".join(_across(mark, ys, height) for mark in levels)
    ends = [(line.name, line.color, float(line.y[-1])) for line in lines]
    ends += [(mark.name, mark.color, mark.at) for mark in levels]
    return plot(title, xs, ys, height, x_name, body, ends, _hover(lines, xs, x_name))


def log_chart(title: str, lines: Sequence[Line], *, x_name: str, here: Mark | None = None, height: int = 220) -> str:
    """Draw curves over a logarithmic x axis, and y axis where the values want it; "" without a curve.

    Points at or below 0, which such an axis cannot hold, are left out.

    Args:
        title: what the y axis measures.
        lines: the curves.
        x_name: what the x axis measures.
        here: a dotted line down, where the audited run stands.
        height: of the plot in pixels.
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
    return Line(line.name, line.x[kept], line.y[kept], line.color, line.dashed)


def _curve(line: Line, xs: Scale, ys: Scale, height: int) -> str:
    look = f"{line.color} dashed" if line.dashed else line.color
    return curve(line.x, line.y, xs, ys, height, look, dots=len(line.x) <= FEW_POINTS)


def _band(band: Band, xs: Scale, ys: Scale, height: int) -> str:
    points = [*zip(band.x, band.high, strict=True), *zip(band.x[::-1], band.low[::-1], strict=True)]
    places = [f"{1000 * xs.place(x):.1f} {height * (1 - ys.place(y)):.1f}" for x, y in points]
    return f'<path class="band {band.color}" d="M{"L".join(places)}Z"/>' if places else ""


def _across(mark: Mark, ys: Scale, height: int) -> str:
    y = height * (1 - ys.place(mark.at))
    hint = f"<title>{text(mark.name)}</title>"
    return f'<line class="line dashed {mark.color}" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}">{hint}</line>'


def _upright(mark: Mark, xs: Scale, height: int) -> str:
    place = xs.place(mark.at)
    side = 'text-anchor="end" dx="-6"' if place > 0.5 else 'dx="6"'
    name = f'<text class="name {mark.color}" x="{across(place)}" y="12" {side}>{text(mark.name)}</text>'
    ends = f'x1="{across(place)}" x2="{across(place)}" y1="0" y2="{height}"'
    return f'<line class="upright {mark.color}" {ends}/>{name}'


def _point(line: Line, x: float, y: float, xs: Scale, ys: Scale, height: int) -> str:
    """Return a spot that says the values below the pointer: the page's script knows linear axes only."""
    place = f'cx="{across(xs.place(x))}" cy="{height * (1 - ys.place(y)):.1f}" r="7"'
    return f'<circle class="spot" {place}><title>{text(line.name)} at {number(x)}: {number(y)}</title></circle>'


def _hover(lines: Sequence[Line], xs: Scale, x_name: str) -> str:
    curves = [{"name": line.name, "x": [_short(x) for x in line.x], "y": [_short(y) for y in line.y]} for line in lines]
    data = {"low": xs.low, "high": xs.high, "unit": x_name, "curves": curves}
    return f' data-curves="{text(json.dumps(data, separators=(",", ":")))}"'


def _short(value: float) -> float:
    return float(f"{value:.4g}")
