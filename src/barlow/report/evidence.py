"""The parts of the page that come from `evidence.npz`: what the network saw, and what became of it."""

import math

import numpy as np
from numpy.typing import NDArray

from barlow.report.charts import Line, Mark, histogram, line_chart
from barlow.report.formats import number, text
from barlow.report.pictures import heat_map, image_tag
from barlow.report.run_folder import Array, Run, finite
from barlow.report.sections import grid, section
from barlow.report.words import label_free, untrained_too

MOST_BINS = 100
"""Bins of a histogram; more are narrower than a pixel on a phone."""
SMALLEST_SHARE = 1e-7
"""Eigenvalues below this share of the variance are not drawn: float32 features hold no more."""


def views(run: Run) -> str:
    """Every original beside the two views that were made of it."""
    rows = [_pictures(run, name, 4) for name in ("originals", "views_a", "views_b")]
    if any(row is None for row in rows[1:]):
        return ""
    captions = [name for name, row in zip(("original", "view A", "view B"), rows, strict=True) if row is not None]
    cards = []
    for samples in zip(*(row for row in rows if row is not None), strict=False):
        shown = "".join(
            f"<figure>{image_tag(sample, name)}<figcaption>{name}</figcaption></figure>"
            for name, sample in zip(captions, samples, strict=True)
        )
        cards.append(f'<div class="views">{shown}</div>')
    reading = (
        "The network is asked to give view A and view B the same features: what differs between them is what "
        "it learns to ignore."
    )
    return section("views", "What the network saw", reading, grid(*cards, kind="cards"))


def neighbours(run: Run) -> str:
    """A few pictures and those whose features are most like theirs."""
    queries, images = _pictures(run, "neighbour_queries", 4), _pictures(run, "neighbour_images", 5)
    if queries is None or images is None:
        return ""
    similarities = run.evidence.get("neighbour_similarities")
    if similarities is not None and similarities.shape != images.shape[:2]:
        similarities = None
    # Features near collapse are all alike: then two decimals would show 1.00 everywhere.
    decimals = 2 if similarities is None or float(similarities.min()) < 0.98 else 4
    cards = []
    for place, (query, found) in enumerate(zip(queries, images, strict=False)):
        shown = [f'<figure class="query">{image_tag(query, "query")}<figcaption>query</figcaption></figure>']
        for rank, picture in enumerate(found):
            caption = "" if similarities is None else f"{float(similarities[place, rank]):.{decimals}f}"
            tag = image_tag(picture, f"neighbour {rank + 1} {caption}".strip())
            shown.append(f"<figure>{tag}<figcaption>{caption}</figcaption></figure>")
        cards.append(f'<div class="neighbours">{"".join(shown)}</div>')
    reading = (
        "First the query, then the pictures with the most similar features (1 is the same direction): "
        "they should be of one kind."
    )
    return section("neighbours", "Nearest neighbours", reading, grid(*cards, kind="cards wide"))


def correlation(run: Run) -> str:
    """The cross-correlation of a large held-out sample: a corner, the diagonal, the rest against chance."""
    samples = _scalar(run, "correlation_num_samples")
    block, diagonal = run.evidence.get("correlation_block"), run.evidence.get("correlation_diagonal")
    charts, said = [], []
    if block is not None and block.ndim == 2 and block.shape[0] == block.shape[1] > 1:
        charts.append(heat_map(f"Corner of C, {block.shape[0]} × {block.shape[1]}", block, unit="features"))
    if diagonal is not None and diagonal.size > 1 and np.isfinite(diagonal).all():
        ends = min(float(diagonal.min()), 0.0), max(float(diagonal.max()), 1.0)
        counts, edges = np.histogram(diagonal.astype(np.float64), bins=40, range=ends)
        charts.append(histogram("Diagonal (1 is the aim)", edges, counts.astype(np.float64), x_name="correlation"))
        said.append(f"The diagonal has mean {number(float(diagonal.mean()))}.")
    off_diagonal, sentence = _off_diagonal(run, samples)
    charts.append(off_diagonal)
    said.append(sentence)
    of = f" of {number(samples, 9)} samples" if samples else ""
    batch = finite(run.recipe.get("batch_size"))
    of += f" (a batch has {number(batch, 9)})" if samples and batch else ""
    reading = (
        f"The cross-correlation C{of}: the loss wants the diagonal at 1 and the rest at 0, "
        "and even independent features scatter around 0 as the line says."
    )
    spoken = " ".join(sentence for sentence in said if sentence)
    body = f'<p class="finding">{text(spoken)}</p>' if spoken else ""
    drawn = grid(*charts, kind="grid thirds")
    return section("correlation", "Correlation of the embeddings", reading, drawn and body + drawn)


def _off_diagonal(run: Run, samples: float | None) -> tuple[str, str]:
    """Return the histogram of the entries off the diagonal and what it says."""
    edges, counts = run.evidence.get("offdiagonal_edges"), run.evidence.get("offdiagonal_counts")
    if edges is None or counts is None or edges.size != counts.size + 1 or not counts.sum():
        return "", ""
    measured = root_mean_square(edges.astype(np.float64), counts.astype(np.float64))
    edges, counts = without_empty_ends(edges.astype(np.float64), counts.astype(np.float64))
    middles = (edges[:-1] + edges[1:]) / 2
    expected, sentence = None, ""
    if samples and samples > 1:
        chance = 1.0 / math.sqrt(samples - 1.0)
        expected = Line("chance", middles, normal_counts(edges, chance, float(counts.sum())), "c2")
        sentence = f"Off the diagonal the entries have size {number(measured)} (root mean square)"
        sentence += f", {number(measured / chance, 2)} times what independent features show"
        sentence += f" on so many samples ({number(chance)})."
    chart = histogram("Off the diagonal", edges, counts, x_name="correlation", expected=expected)
    return chart, sentence


def root_mean_square(edges: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Return the root mean square of binned values; the width of the bins is taken out (Sheppard's correction)."""
    middles, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    return math.sqrt(max(float((counts * (middles**2 - widths**2 / 12)).sum() / counts.sum()), 0.0))


def without_empty_ends(
    edges: NDArray[np.float64], counts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut empty bins off, as many on either side of 0, and join neighbours until at most `MOST_BINS` are left."""
    filled = np.flatnonzero(counts)
    reach = 1.1 * max(abs(edges[filled[0]]), abs(edges[filled[-1] + 1]))
    first = int(np.searchsorted(edges, -reach, side="right")) - 1
    last = int(np.searchsorted(edges, reach, side="left"))
    first, last = max(first, 0), min(last, len(counts))
    starts = np.arange(first, last, math.ceil((last - first) / MOST_BINS))
    return np.append(edges[starts], edges[last]), np.add.reduceat(counts[:last], starts)


def normal_counts(edges: NDArray[np.float64], deviation: float, total: float) -> NDArray[np.float64]:
    """Return how many of `total` centred normal numbers fall between neighbouring edges, (B+1,) -> (B,)."""
    below = np.array([0.5 * (1.0 + math.erf(edge / (deviation * math.sqrt(2.0)))) for edge in edges])
    return np.asarray(total * np.diff(below))


def spectrum(run: Run) -> str:
    """Eigenvalues of the covariance of the features, trained and untrained, each as a share of its sum."""
    lines, said = [], []
    for name, figure, color in (("trained", "", "c1"), ("untrained", "_untrained", "c2")):
        values = run.evidence.get(f"eigenvalues{figure}")
        if values is None or not values.size or not float(values.sum()) > 0:
            continue
        shares = np.sort(values.astype(np.float64))[::-1] / float(values.sum())
        visible = shares[shares >= SMALLEST_SHARE]
        lines.append(Line(name, np.arange(1.0, len(visible) + 1.0), visible, color))
        needed = int(np.searchsorted(np.cumsum(shares), 0.9 * (1.0 - 1e-12))) + 1
        said.append(f"{name} {number(needed, 9)} of {number(len(shares), 9)}")
    rank = label_free(run, "effective_rank")
    upright = Mark(f"effective rank {number(rank)}", rank, "c1") if rank else None
    chart = line_chart(
        "Share of the variance",
        lines,
        x_name="direction, strongest first",
        log=True,
        upright=upright,
        height=280,
    )
    reading = (
        "Each point is one direction of the features: a flat curve uses many directions, a steep one only a "
        "few; the effective rank is how many equally strong directions would amount to the same."
    )
    held = f"90% of the variance is held by: {'; '.join(said)} directions."
    held += f" Effective rank: {number(rank)}{untrained_too(run, 'effective_rank', number)}." if rank else ""
    finding = f'<p class="finding">{text(held)}</p>'
    return section("spectrum", "Spectrum of the features", reading, chart and finding + chart)


def _pictures(run: Run, name: str, dimensions: int) -> Array | None:
    pictures = run.evidence.get(name)
    usable = pictures is not None and pictures.ndim == dimensions and pictures.size and pictures.dtype == np.uint8
    return pictures if usable else None


def _scalar(run: Run, name: str) -> float | None:
    value = run.evidence.get(name)
    return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None
