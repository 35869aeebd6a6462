"""What charts are made of: scales and ticks, curves made lighter, and the frame, inline SVG that keeps its text size.

Places across are percentages, places down are pixels, so a chart fills any width; only what `stretched` holds
is stretched. Colours are CSS classes (`c1` ... `c8`, `quiet`), so that light and dark follow the style sheet.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from barlow.formats import number, text

Values = NDArray[np.float64]
Points = tuple[Values, Values]
End = tuple[str, str, float]
"""Name, colour class and last value of a curve."""

GLYPH = 7.2
"""Width of a letter of the chart labels in pixels, on the generous side."""
LABEL_GAP = 15.0
"""Least distance of two direct labels in pixels."""
MAX_POINTS = 600
"""Points drawn per curve; more cannot be seen and make the page heavy."""


@dataclass(frozen=True)
class Scale:
    """A range low < high laid on a length of 1; with `log`, equal ratios take equal lengths, and low is above 0."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return where `value` lies, 0 at `low` and 1 at `high`; values outside are put on the end."""
        if self.log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Return at most about `most` round values in the range with their labels."""
        values = _log_ticks(self.low, self.high, most) if self.log else []
        if len(values) < 2:
            values = _linear_ticks(self.low, self.high, most)
        return [(value, number(value)) for value in values]


def scale_for(values: Sequence[float] | Values, *, log: bool = False, from_zero: bool = False) -> Scale:
    """Return a scale that holds all finite `values` with a little room; for `log`, only those above 0.

    With `from_zero` the linear range starts at 0, as lengths of bars must.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array) & ((array > 0) | (not log))]
    if array.size == 0:
        return Scale(0.1, 1.0, log=True) if log else Scale(0.0, 1.0)
    low, high = float(array.min()), float(array.max())
    if log:
        room = max((high / low) ** 0.04, 1.05)
        return Scale(low / room, high * room, log=True)
    room = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    bottom = min(0.0, low) if from_zero else low - room
    return Scale(0.0 if low >= 0.0 > bottom else bottom, high + room)


def wants_log(values: Sequence[float] | Values, ratio: float = 15.0) -> bool:
    """Return whether positive values span more than `ratio`, too much for a linear axis."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    return bool(array.size and array.min() > 0 and array.max() > ratio * array.min())


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    raw = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(multiple * power for multiple in (1, 2, 2.5, 5, 10, 20) if multiple * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{position * step:.12g}") for position in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        values = [m * 10.0**k for k in decades for m in steps if low <= m * 10.0**k <= high]
        if len(values) <= most:
            return values
    stride = math.ceil(len(values) / most)
    return values[::stride]


def smooth(y: Values, share: float = 0.03) -> Values:
    """Return the centred moving average over `share` of the curve.

    The window shrinks evenly at the start, where curves are steep, and only on the right at the end, where
    they are flat and the last value should not be one noisy batch.
    """
    half = int(len(y) * share / 2)
    if half < 1:
        return y
    here = np.arange(len(y))
    before = np.minimum(here, half)
    after = np.minimum(before, here[::-1])
    sums = np.concatenate([[0.0], np.cumsum(y)])
    return np.asarray((sums[here + after + 1] - sums[here - before]) / (before + after + 1))


def thin(x: Values, y: Values, most: int = MAX_POINTS) -> tuple[Values, Values]:
    """Keep at most `most` points of a curve: lowest and highest of every stretch, so no spike is lost."""
    if len(x) <= most:
        return x, y
    edges = np.linspace(0, len(x), most // 2 + 1).astype(int)
    kept: set[int] = set()
    for first, last in pairwise(edges.tolist()):
        kept |= {first + int(y[first:last].argmin()), first + int(y[first:last].argmax())}
    index = np.array(sorted(kept))
    return x[index], y[index]


def across(share: float) -> str:
    """Return a place across the plot, 0 to 1, as SVG wants it."""
    return f"{100 * share:.2f}%"


def stretched(body: str, height: int) -> str:
    """Return paths in a box of 1000 x height that is as wide as the plot."""
    box = f'viewBox="0 0 1000 {height}" preserveAspectRatio="none" width="100%" height="{height}"'
    return f"<svg {box}>{body}</svg>"


def curve(x: Values, y: Values, xs: Scale, ys: Scale, height: int, color: str, *, dots: bool = False) -> str:
    """Return one curve for a `stretched` box; `color` holds CSS classes."""
    places = [f"{1000 * xs.place(a):.1f} {height * (1 - ys.place(b)):.1f}" for a, b in zip(x, y, strict=True)]
    drawn = f'<path class="line {color}" d="M{"L".join(places)}"/>' if len(places) else ""
    if dots and places:  # a line of length 0 with a round cap is a dot that keeps its shape when the plot is stretched
        drawn += f'<path class="dots {color}" d="{"".join(f"M{place}h0" for place in places)}"/>'
    return drawn


def plot(
    title: str,
    xs: Scale,
    ys: Scale,
    height: int,
    x_name: str,
    body: str,
    ends: Sequence[End] = (),
    hover: str = "",
    names: str = "",
) -> str:
    """Put axes around `body`; several `ends` are named at the right, or above where there is no room."""
    y_ticks = ys.ticks(6 if height > 200 else 5)
    parts = []
    for value, label in y_ticks:
        y = height * (1 - ys.place(value))
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="-8" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for value, label in xs.ticks(5):
        place = f'x="{across(xs.place(value))}" y="{height + 18}" text-anchor="middle"'
        parts.append(f'<text class="tick" {place}>{label}</text>')
    parts.append(f'<text class="tick" x="100%" y="{height + 36}" text-anchor="end">{text(x_name)}</text>')
    parts.append(f'<line class="axis" x1="0" x2="100%" y1="{height}" y2="{height}"/>{body}')
    direct = len(ends) > 1
    parts.append(_end_labels(ends, ys, height) if direct else "")
    parts.append(f'<line class="cursor" y1="0" y2="{height}" visibility="hidden"/>' if hover else "")
    left = max([len(label) for _, label in y_ticks], default=1) * GLYPH + 14
    right = max(len(name) for name, _, _ in ends) * GLYPH + 14 if direct else 14.0
    drawing = svg("".join(parts), height, (left, right, 42.0), label=f"{title}, {x_name}", hover=hover)
    above = legend(ends) if direct else names
    return figure(title, above + drawing, log=ys.log, kind="chart direct" if direct else "chart")


def svg(body: str, height: int, margins: tuple[float, float, float], *, label: str, hover: str = "") -> str:
    """Return an SVG of the plot's size with (left, right, bottom) pixels of margin for what is written."""
    left, right, bottom = margins
    style = f"--left:{left:.0f}px;--right:{right:.0f}px;--bottom:{bottom:.0f}px"
    size = f'width="100%" height="{height:.0f}" role="img" aria-label="{text(label)}"'
    return f'<div class="plot" style="{style}"><svg {size}{hover}>{body}</svg></div>'


def figure(title: str, body: str, *, log: bool = False, kind: str = "chart") -> str:
    """Put a title above a chart."""
    note = ' <span class="note">logarithmic</span>' if log else ""
    return f'<figure class="{kind}"><figcaption>{text(title)}{note}</figcaption>{body}</figure>'


def legend(ends: Sequence[End]) -> str:
    """Return names in their colours."""
    items = "".join(f'<li class="{color}">{text(name)}</li>' for name, color, _ in ends)
    return f'<ul class="legend">{items}</ul>'


def _end_labels(ends: Sequence[End], ys: Scale, height: int) -> str:
    places = kept_apart([height * (1 - ys.place(value)) for _, _, value in ends], LABEL_GAP, 6.0, float(height))
    return "".join(
        f'<text class="name end {color}" x="100%" dx="8" y="{place + 4:.1f}">{text(name)}</text>'
        for (name, color, _), place in zip(ends, places, strict=True)
    )


def kept_apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels apart until neighbours keep `gap`, in their order, inside [low, high] if there is room."""
    order = sorted(range(len(places)), key=lambda position: places[position])
    moved = [min(max(places[position], low), high) for position in order]
    for index in range(1, len(moved)):
        moved[index] = max(moved[index], moved[index - 1] + gap)
    if moved and moved[-1] > high:
        moved[-1] = max(high, low)
        for index in range(len(moved) - 2, -1, -1):
            moved[index] = min(moved[index], moved[index + 1] - gap)
    result = [0.0] * len(places)
    for index, position in enumerate(order):
        result[position] = moved[index]
    return result
