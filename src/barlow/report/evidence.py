"""The parts of the page that come from `evidence.npz`: what the network saw, and what became of it."""

import base64
import io
import json
import math
import wave
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from barlow.formats import number, text
from barlow.report.charts import Line, Mark, histogram, line_chart
from barlow.report.run_folder import Array, RunFiles, finite
from barlow.report.sections import grid, section
from barlow.report.words import label_free, untrained_too

MOST_BINS = 100
"""Bins of a histogram; more are narrower than a pixel on a phone."""
SMALLEST_SHARE = 1e-7
"""Eigenvalues below this share of the variance are not drawn: float32 features hold no more."""
LARGEST_SIDE = 160
"""Pictures are shrunk to this: they are shown smaller, and the page stays light."""
TINY_SIDE = 64
"""Up to this side single pixels are shown as squares."""
LONGEST, SHORTEST = 32, 12
"""Characters of a name under a picture, and under a small one."""
POSITIVE, NEGATIVE = (30, 125, 210), (220, 105, 30)
"""Colours of the heat map, blue and orange, strong enough on white and on black."""


def views(run: RunFiles) -> str:
    """Every original beside the two views that were made of it."""
    rows = [_pictures(run, name, 4) for name in ("originals", "views_a", "views_b")]
    if any(row is None for row in rows[1:]):
        return ""
    named = zip(("original", "view A", "view B"), ("originals", "views_a", "views_b"), rows, strict=True)
    there = [(caption, row, _players(run, name, len(row))) for caption, name, row in named if row is not None]
    cards = []
    for place in range(min(len(row) for _, row, _ in there)):
        shown = "".join(_figure(row[place], name, name + sound[place]) for name, row, sound in there)
        cards.append(f'<div class="views">{shown}</div>')
    explanation = (
        "The network is asked to give view A and view B the same features: what differs between them is what "
        "it learns to ignore."
    )
    if "sound_rate" in run.evidence:
        explanation += (
            " Time runs to the right in seconds, frequency upwards in kHz; what is played of views is made of"
        )
        explanation += " their spectrograms, with guessed phases."
    return section("views", "What the network saw", explanation, grid(*cards, kind="cards"))


def neighbours(run: RunFiles) -> str:
    """A few pictures and those whose features are most like theirs."""
    queries, images = _pictures(run, "neighbour_queries", 4), _pictures(run, "neighbour_images", 5)
    if queries is None or images is None:
        return ""
    similarities = run.evidence.get("neighbour_similarities")
    if similarities is not None and similarities.shape != images.shape[:2]:
        similarities = None
    # Near collapse all features are nearly equal: then two decimals would show 1.00 everywhere.
    decimals = 2 if similarities is None or float(similarities.min()) < 0.98 else 4
    asked = _players(run, "neighbour_queries", len(queries))
    own, others = (
        _named(run, "neighbour_query_names", queries.shape[:1]),
        _named(run, "neighbour_names", images.shape[:2]),
    )
    cards = []
    for place, (query, found) in enumerate(zip(queries, images, strict=False)):
        shown = [_figure(query, "query", "query" + asked[place], ' class="query"', own and own[place])]
        sounds = _players(run, "neighbour_images", len(found), place)
        for rank, picture in enumerate(found):
            caption = "" if similarities is None else f"{float(similarities[place, rank]):.{decimals}f}"
            called = others and others[place][rank]
            shown.append(
                _figure(picture, f"neighbour {rank + 1} {caption}".strip(), caption + sounds[rank], "", called)
            )
        cards.append(f'<div class="neighbours">{"".join(shown)}</div>')
    explanation = (
        f"First the query, then the {'clips' if any(asked) else 'pictures'} with the most similar features (1 is the "
        "same direction): they should be of one kind."
    )
    return section("neighbours", "Nearest neighbours", explanation, grid(*cards, kind="cards wide"))


def correlation(run: RunFiles) -> str:
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
    if len(moments := run.moments()) > 1:
        charts.append(film(moments))
    off_diagonal, sentence = _off_diagonal(run, samples)
    charts.append(off_diagonal)
    said.append(sentence)
    of = f" of {number(samples, 9)} samples" if samples else ""
    batch = finite(run.recipe.get("batch_size"))
    of += f" (a batch has {number(batch, 9)})" if samples and batch else ""
    explanation = (
        f"The cross-correlation C{of}: the loss wants the diagonal at 1 and the rest at 0, "
        "and even independent features scatter around 0 as the line says."
    )
    spoken = " ".join(sentence for sentence in said if sentence)
    body = f'<p class="finding">{text(spoken)}</p>' if spoken else ""
    drawn = grid(*charts, kind="grid thirds")
    return section("correlation", "Correlation of the embeddings", explanation, drawn and body + drawn)


FRAME_SECONDS, LAST_SECONDS = 0.25, 2.0
FRAME_SIDE = 128
"""Pixels: a small C is enlarged to this."""
LEVELS = 12
"""Shades of either colour in a film: so few keep it small."""


def film(moments: Sequence[tuple[float, Array]]) -> str:
    """Draw C over the run as one moving picture, blue above 0 and orange below; the last moment stays longest."""
    first, last = (f"{moments[place][0]:.3g}" for place in (0, -1))
    side = moments[0][1].shape[0]
    data = base64.b64encode(film_bytes([matrix for _, matrix in moments])).decode("ascii")
    return (
        f'<figure class="chart"><figcaption>C over the run, {side} × {side}, epochs {first} to {last}</figcaption>'
        f'<div class="heat"><img src="data:image/gif;base64,{data}" alt="The correlation matrix from epoch {first} to '
        f'epoch {last}: the diagonal fills, the rest empties"></div></figure>'
    )


def film_bytes(matrices: Sequence[Array]) -> bytes:
    """Return matrices with values in [-1, 1] as the frames of a GIF: white at 0, blue at 1, orange at -1."""
    shades = np.sign(matrices) * (np.sqrt(np.abs(matrices)) * LEVELS).round() ** 2 / LEVELS**2
    side = (FRAME_SIDE, FRAME_SIDE)
    frames = [Image.fromarray(coloured(one)).resize(side, Image.Resampling.NEAREST).quantize(64) for one in shades]
    buffer, times = io.BytesIO(), [round(1000 * FRAME_SECONDS)] * (len(frames) - 1) + [round(1000 * LAST_SECONDS)]
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=times, loop=0, optimize=True)
    return buffer.getvalue()


def coloured(matrix: Array) -> NDArray[np.uint8]:
    """Return (H, W) in [-1, 1] as (H, W, 3): white at 0; the root of the size, so that small values show."""
    strength = np.sqrt(np.clip(np.abs(matrix), 0, 1))[..., None]
    full = np.where((matrix > 0)[..., None], POSITIVE, NEGATIVE)
    found: NDArray[np.uint8] = (255 + strength * (full - 255)).round().astype(np.uint8)
    return found


def _off_diagonal(run: RunFiles, samples: float | None) -> tuple[str, str]:
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


def spectrum(run: RunFiles) -> str:
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
    explanation = (
        "Each point is one direction of the features: a flat curve uses many directions, a steep one only a "
        "few; the effective rank is how many equally strong directions would amount to the same."
    )
    held = f"90% of the variance is held by: {'; '.join(said)} directions."
    held += f" Effective rank: {number(rank)}{untrained_too(run, 'effective_rank', number)}." if rank else ""
    finding = f'<p class="finding">{text(held)}</p>'
    return section("spectrum", "Spectrum of the features", explanation, chart and finding + chart)


def _pictures(run: RunFiles, name: str, dimensions: int) -> Array | None:
    pictures = run.evidence.get(name)
    usable = pictures is not None and pictures.ndim == dimensions and pictures.size and pictures.dtype == np.uint8
    return pictures if usable else None


def _players(run: RunFiles, name: str, number: int, row: int | None = None) -> list[str]:
    """Return a player for each of some samples, "" where there is nothing to be heard of them."""
    sounds, rate = run.evidence.get(f"{name}_sound"), _scalar(run, "sound_rate")
    if sounds is not None and row is not None:
        sounds = sounds[row] if row < len(sounds) else None
    if sounds is None or rate is None or sounds.dtype != np.int16 or len(sounds) < number:
        return [""] * number
    # The browser's own controls need more width than a spectrogram has: one button, which plays from the start.
    play = "const a=this.firstElementChild;a.currentTime=0;a.play()"
    return [
        f'<button class="play" type="button" aria-label="play" onclick="{play}">'
        f'<audio preload="none" src="{wav(sound, int(rate))}"></audio>&#9654;</button>'
        for sound in sounds[:number]
    ]


def wav(samples: NDArray[np.int16], rate: int) -> str:
    """Return mono samples of 16 bits as a WAV file in a `data:` URI."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _named(run: RunFiles, name: str, shape: tuple[int, ...]) -> list[Any]:
    """Names of samples, where there are as many as pictures; runs of before have none."""
    names = run.evidence.get(name)
    return [] if names is None or names.shape != shape else list(names.tolist())


def _figure(picture: Array, description: str, caption: str, kind: str = "", name: str | list[Any] = "") -> str:
    """A picture with a caption, and under it the name of the sample, whole under the pointer."""
    whole = f' title="{text(name)}"' if name else ""
    called = f'<span class="name">{text(short_name(str(name), SHORTEST))}</span>' if name else ""
    inside = f"{image_tag(picture, description)}<figcaption>{caption}{called}</figcaption>"
    return f"<figure{kind}{whole}>{inside}</figure>"


def short_name(name: str, longest: int = LONGEST) -> str:
    """Return the last two parts of a path, or the last alone, its middle left out where it is long."""
    short = "/".join(PurePath(name).parts[-2:]) if len(name) > longest else name
    short = PurePath(name).name if len(short) > longest else short
    return short if len(short) <= longest else f"{short[: longest // 2]}…{short[-longest // 2 :]}"


def _scalar(run: RunFiles, name: str) -> float | None:
    value = run.evidence.get(name)
    return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None


def png(picture: NDArray[np.generic]) -> str:
    """Return an array (H, W) or (H, W, C) as a `data:` URI; unless C is 3 or 4 the first channel is shown."""
    pixels = np.asarray(picture, dtype=np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        pixels = pixels[:, :, 0]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def image_tag(picture: NDArray[np.generic], description: str) -> str:
    """Return an `<img>` with the picture inside."""
    height, width = picture.shape[:2]
    tiny = ' class="tiny"' if max(height, width) <= TINY_SIDE else ""
    return f'<img{tiny} src="{png(picture)}" width="{width}" height="{height}" alt="{text(description)}">'


def heat_map(title: str, matrix: NDArray[np.floating], *, unit: str) -> str:
    """Draw a square matrix with signed values: blue above 0, orange below, nothing at 0, in light and dark.

    The colours span the values off the diagonal, all but the most extreme 0.5%; what is beyond is full. `unit` is what
    rows and columns are, for the hint under the pointer.
    """
    values = np.nan_to_num(np.asarray(matrix, dtype=np.float64))
    rows, columns = np.indices(values.shape)
    off_diagonal = np.abs(values[rows != columns])
    limit = max(float(np.quantile(off_diagonal, 0.995)) if off_diagonal.size else 1.0, 0.02)
    strength = np.clip(np.abs(values) / limit, 0.0, 1.0) * 255
    colors = np.where((values > 0)[..., None], POSITIVE, NEGATIVE)
    pixels = np.concatenate([colors, strength[..., None]], axis=2).round().astype(np.uint8)
    # (H, W) of whole hundredths: what the script shows under the pointer
    cells = json.dumps((100 * values).round().astype(int).tolist(), separators=(",", ":"))
    end = number(limit, 2)
    description = f"{title}: blue positive, orange negative"
    return (
        f'<figure class="chart"><figcaption>{text(title)}</figcaption>'
        f'<div class="heat"><img class="tiny" src="{png(pixels)}" alt="{text(description)}" '
        f'data-unit="{text(unit)}" data-cells="{cells}"></div>'
        f'<div class="ramp"><span>−{end}</span><i></i><span>+{end}</span></div></figure>'
    )
