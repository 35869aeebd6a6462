"""The frame of a chart: inline SVG that keeps its text size, with axes, names at the ends, and a legend.

Places across are percentages, places down are pixels, so a chart fills any width; only what `stretched` holds
is stretched. Colours are CSS classes (`c1` ... `c8`, `quiet`), so that light and dark follow the style sheet.
"""

from collections.abc import Sequence

from barlow.report.axes import Scale, Values, spread
from barlow.report.formats import text

GLYPH = 7.2
"""Width of a letter of the chart labels in pixels, on the generous side."""
LABEL_GAP = 15.0
"""Least distance of two direct labels in pixels."""
Points = tuple[Values, Values]
End = tuple[str, str, float]
"""Name, colour class and last value of a curve."""


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
    places = spread([height * (1 - ys.place(value)) for _, _, value in ends], LABEL_GAP, 6.0, float(height))
    return "".join(
        f'<text class="name end {color}" x="100%" dx="8" y="{place + 4:.1f}">{text(name)}</text>'
        for (name, color, _), place in zip(ends, places, strict=True)
    )
