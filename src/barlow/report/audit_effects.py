"""The parts of the page of an audit that look inside: each augmentation, its strength, each layer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from barlow.report.audit_sections import told
from barlow.report.audit_words import (
    DIRECTIONS_HEAD,
    Figures,
    direction_cells,
    listed,
    measured,
    numbers,
    plain,
    transforms,
)
from barlow.report.charts import Bar, Line, bar_chart, line_chart
from barlow.report.formats import number, text
from barlow.report.run_folder import finite
from barlow.report.sections import grid, section, table

COLORS = 8
"""Colour classes of the style sheet; the ninth curve gets the first colour again, dashed."""
EFFECTS = (
    (
        "total_effect",
        "In context: share of all variance",
        "How much of the variance of the features moves when only this augmentation is drawn anew and the others stay "
        "as they are: shorter is more invariant.",
        "c1",
    ),
    (
        "marginal",
        "Alone: against the distance between images",
        "This augmentation on an otherwise untouched image: at 100% it moves the image as far as to another image.",
        "c4",
    ),
)
"""Figure, title, what to read from it, and colour."""
SHARES = "Share of the variance that is augmentation"


def share_bar(value: float, error: float | None, color: str, name: str = "") -> Bar:
    """Return the bar of a share that is written as "47.6% ± 0.4"."""
    return Bar(name, value, measured(value, error, share=True), color, error)


def named_bars(title: str, groups: Mapping[str, Sequence[Bar]]) -> str:
    """Draw bars below the names of their groups; the longest, with its error, takes the whole width."""
    reach = max((bar.value + (bar.error or 0.0) for bars in groups.values() for bar in bars), default=0.0)
    scale = reach if reach > 0 else 1.0
    drawn = [
        (name, [replace(bar, value=bar.value / scale, error=(bar.error or 0.0) / scale) for bar in bars])
        for name, bars in groups.items()
    ]
    return bar_chart(title, drawn)


def effect_bars(figures: Figures, effect: str, color: str, name: str = "") -> dict[str, list[Bar]]:
    """Return a bar for each augmentation, the largest total effect first."""
    groups: dict[str, list[Bar]] = {}
    for one in transforms(figures):
        value, error = finite(one.get(effect)), finite(one.get(f"{effect}_error"))
        if value is not None:
            groups.setdefault(plain(one.get("name")), []).append(share_bar(value, error, color, name))
    return groups


def layer_bars(figures: Figures, color: str, name: str = "") -> dict[str, list[Bar]]:
    """Return a bar for each layer, from the backbone to the output of the projector."""
    groups: dict[str, list[Bar]] = {}
    for layer in listed(figures.get("layers")):
        share, error = finite(layer.get("augmentation_share")), finite(layer.get("error"))
        if share is not None:
            groups.setdefault(str(layer.get("name", "")), []).append(share_bar(share, error, color, name))
    return groups


def augmentations(figures: Figures) -> str:
    """What each augmentation does to the features."""
    charts = [
        told(said, named_bars(title, effect_bars(figures, effect, color))) for effect, title, said, color in EFFECTS
    ]
    reading = (
        "What the features still follow although it should be ignored; ± is one standard error. Augmentations act "
        "together, so that the shares need not add up."
    )
    if any(one.get("view") for one in transforms(figures)):
        reading += (
            " The views have different pipelines: what they draw differently is there for each of them, all else as in "
            "view a."
        )
    return section("augmentations", "Each augmentation", reading, grid(*charts), _directions(figures))


def _directions(figures: Figures) -> str:
    """What the most invariant directions still follow; nothing where that was not measured."""
    lines = [[text(cell) for cell in line] for line in direction_cells(figures)]
    return table(list(DIRECTIONS_HEAD), lines) if lines else ""


def strengths(figures: Figures) -> str:
    """How the effect of each augmentation grows with its strength."""
    lines: list[Line] = []
    for one in transforms(figures):
        given = one.get("curve")
        points = [numbers(point) for point in given] if isinstance(given, (list, tuple)) else []
        kept = np.array(sorted(point[:2] for point in points if len(point) > 1))
        if len(kept) > 1:
            color, dashed = f"c{len(lines) % COLORS + 1}", len(lines) >= COLORS
            lines.append(Line(plain(one.get("name")), kept[:, 0], kept[:, 1], color, dashed))
    reading = (
        "Where a curve is low the features ignore the augmentation; where it bends up their invariance ends. "
        "1 is the strength in the pipeline."
    )
    height = max(260, 16 * len(lines))
    x_name = "strength of the augmentation"
    chart = line_chart("Share of all variance", lines, x_name=x_name, from_zero=True, height=height)
    return section("strengths", "Where invariance ends", reading, chart)


def layers(figures: Figures) -> str:
    """The share of augmentation layer by layer, from the backbone to the output of the projector."""
    lines = []
    for layer in listed(figures.get("layers")):
        share, error = finite(layer.get("augmentation_share")), finite(layer.get("error"))
        others = [finite(layer.get(key)) for key in ("mean_correlation", "effective_rank")]
        cells = ["" if share is None else measured(share, error, share=True)]
        cells += ["" if value is None else number(value) for value in others]
        lines.append([text(layer.get("name", "")), *map(text, cells)])
    bars = layer_bars(figures, "c1")
    if "h" in bars:
        bars["h"] = [replace(bar, color="c3") for bar in bars["h"]]
    reading = (
        "Shorter bars are more invariant, from the first layer down to the output z of the projector. It is h, in "
        "green, that is used afterwards: what becomes invariant only behind it is thrown away with the projector."
    )
    head = ["layer", "augmentation share", "mean correlation", "effective rank"]
    measured_too = table(head, lines) if lines else ""
    return section("layers", "Layer by layer", reading, named_bars(SHARES, bars), measured_too)
