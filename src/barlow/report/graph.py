"""The part of the page that shows a graph: its numbers, a picture of a small one, the degrees of its nodes."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from barlow.formats import number, percent, text
from barlow.report.charts import Line, histogram, line_chart
from barlow.report.run_folder import Array, Record, RunFiles, finite, mapping
from barlow.report.sections import NETWORK_COLORS, grid, section, table
from barlow.report.words import rows

SIDE, SCALE = 640, 2
"""Pixels of the picture, and how much larger it is drawn before it is shrunk."""
COLOURS = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75), (227, 119, 194),
    (188, 189, 34), (23, 190, 207), (90, 90, 200),
)  # fmt: skip
"""Of classes, one after the other, again from the first where there are more."""
GREY, THREAD = (128, 128, 128), (128, 128, 128, 60)
"""Nodes without a class, and edges."""


def graph(run: RunFiles) -> str:
    """The numbers of the graph, a picture, and the degrees of its nodes."""
    counts, degrees = run.evidence.get("graph_counts"), run.evidence.get("graph_degrees")
    sizes = run.evidence.get("graph_sizes")
    if sizes is not None and sizes.size:
        shown = _bars("Nodes of a graph", sizes, "nodes")
        return section("graph", "The graphs", "How large the graphs are.", shown)
    if counts is None or degrees is None or counts.size != 3:
        return ""
    nodes, edges, features = (int(value) for value in counts)
    lines = [
        ["nodes", number(nodes, 12)], ["edges, each direction counted", number(edges, 12)],
        ["features of a node", number(features, 9)], ["edges to a node, on average", number(edges / max(nodes, 1))],
        ["nodes without a neighbour", number(int((degrees == 0).sum()), 9)],
    ]  # fmt: skip
    homophily = run.evidence.get("graph_homophily")
    if homophily is not None and homophily.size == 1:
        lines.append(["edges within a class (homophily)", percent(float(homophily.reshape(-1)[0]))])
    explanation = (
        "Neighbours are drawn to each other, colours are classes. Where most edges stay within a class, the mean of "
        "the neighbours' features says much already: the bar A²X is what it says without training."
    )
    drawn = grid(_drawing(run), _bars("Edges to a node", degrees, "edges"), kind="grid pair")
    return section("graph", "The graph", explanation, table([], lines, numeric=False), drawn)


def few_labels(run: RunFiles) -> str:
    """Accuracy over labels a class, of every row that was measured so."""
    found = rows(run)
    lines, colours = [], iter(f"c{place}" for place in range(3, 9))
    for row in found:
        given = row.get("labels_per_class")
        points = [mapping(point) for point in given] if isinstance(given, list) else []
        pairs = [(finite(one.get("per_class")), finite(one.get("mean"))) for one in points]
        known = [(k, mean) for k, mean in pairs if k is not None and mean is not None]
        if len(known) > 1:
            name = str(row["features"])
            x, y = (np.array(column, dtype=np.float64) for column in zip(*known, strict=True))
            lines.append(Line(name, x, y, NETWORK_COLORS.get(name) or next(colours, "quiet")))
    if not lines:
        return ""
    chart = line_chart("Accuracy over labels a class", lines, x_name="labels a class", height=260)
    explanation = (
        "What few labels are enough for: scaling and penalty of every row are chosen on the validation part. A network "
        "that learns from the labels itself stands beside the features."
    )
    return section("labels", "Few labels", explanation, chart, _readings(found))


def _readings(found: Sequence[Record]) -> str:
    """What else the features are good for, one line a row."""
    named = {str(row["features"]): mapping(row.get("readings")) for row in found}
    columns = list(dict.fromkeys(name for one in named.values() for name in one))
    lines = [
        [text(name), *(number(value) if (value := finite(one.get(column))) is not None else "" for column in columns)]
        for name, one in named.items()
        if one
    ]
    return table(["features", *map(text, columns)], lines) if columns else ""


def _bars(title: str, values: Array, unit: str) -> str:
    whole = values.astype(np.float64)
    largest = max(float(np.quantile(whole, 0.99)), 1.0)
    edges = np.linspace(-0.5, largest + 0.5, int(min(largest, 40)) + 2)
    counts, edges = np.histogram(np.minimum(whole, largest), bins=edges)
    return histogram(title, edges, counts.astype(np.float64), x_name=f"{unit}, the last bin and above")


def _drawing(run: RunFiles) -> str:
    """The nodes where the layout has them, as a picture: thousands of lines would make a page slow."""
    place, edges = run.evidence.get("graph_layout"), run.evidence.get("graph_edges")
    classes = run.evidence.get("graph_classes")
    if place is None or edges is None or classes is None or place.ndim != 2 or len(classes) != len(place):
        return ""
    size = SIDE * SCALE
    at = (0.02 + 0.96 * np.clip(place.astype(np.float64), 0, 1)) * size
    image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    for one, other in edges.T.tolist():
        pen.line([tuple(at[one]), tuple(at[other])], fill=THREAD, width=SCALE)
    radius = SCALE * (2.0 if len(place) > 1000 else 4.0)
    for (x, y), kind in zip(at.tolist(), classes.tolist(), strict=True):
        colour = COLOURS[kind % len(COLOURS)] if kind >= 0 else GREY
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(*colour, 255))
    buffer = io.BytesIO()
    image.resize((SIDE, SIDE), Image.Resampling.LANCZOS).quantize(64).save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    description = f"{len(place)} nodes, coloured by class, and their edges"
    return (
        f'<figure class="chart"><figcaption>The graph</figcaption><img src="data:image/png;base64,{data}" '
        f'width="{SIDE}" height="{SIDE}" style="max-width:100%;height:auto" alt="{text(description)}"></figure>'
    )
