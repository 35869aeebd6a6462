"""A map of samples as one page that opens offline: pictures or sounds, neighbours, colours, search and a lasso."""

import base64
import io
import json
import math
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from barlow.formats import count, number, percent, printable, text
from barlow.report.page import write_page

MOST_POINTS = 20_000
"""Samples that a browser moves fluently on a laptop, with their pictures; more are thinned to so many."""
SIDES = ((2_500, 112), (6_000, 80), (12_000, 64), (math.inf, 48))
"""(samples up to, side of a thumbnail in pixels): the file stays near 15 MB."""
CELLS_A_ROW = 16
"""Thumbnails in a row of a sheet, and rows in it: one of 16 x 16 pictures decodes in one go on a phone too."""
TINY_SIDE = 32
"""Up to this side pictures are kept to the bit and shown as squares."""
WAVE_POINTS = 32
"""Heights in the small curve that stands for a sound."""
MOST_SOUND_BYTES = 40_000_000
"""Sounds in one page; a browser takes long to open a larger one. Beyond it samples have curves, and no player."""
POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data: blob:; '
    "media-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'\">"
)
"""Nothing can be fetched from anywhere, whatever stands in the names."""
PER_SAMPLE = (
    "names",
    "thumbnails",
    "neighbours",
    "similarities",
    "labels",
    "groups",
    "duplicates",
    "outlier",
    "remarks",
)
"""Fields of MapPoints with a row a sample, where they are given."""

Media = Literal["image", "audio"]


@dataclass(frozen=True)
class MapPoints:
    """What a map shows of n samples. Arrays may be NumPy's or tensors on the CPU; None is what there is not.

    Attributes:
        title: what the page is called, such as "Map of photos".
        xy: (n, 2) places between 0 and 1, as `features.projection.project` gives them.
        names: n names, what lists and downloads consist of.
        method: how the places were found, a phrase.
        trustworthiness: how far neighbours on the map are neighbours by features, 1 at best, .5 by chance.
        kept: share of the nearest neighbours by features that are nearest on the map too.
        media: "image" where `thumbnails` are small JPEG or PNG files, "audio" where they are WAV files (PCM).
        thumbnails: n of them, None where there is none.
        neighbours: (n, k) positions of the nearest other samples by features, nearest first; -1 for none.
        similarities: (n, k) what is written beside them, -1 to 1.
        labels: (n,) numbers into `class_names`, -1 for no label.
        groups: (n,) numbers into `group_names` (by default "group 1" and on), -1 for no group.
        duplicates: (n,) number of the group of near-copies, -1 for a sample that is there once.
        outlier: (n,) score, the more the less a sample fits in.
        remarks: n words said of a sample when it is chosen, such as why it is an outlier; "" for none.
        notes: sentences for the reader of the map, such as what was left out.
        noun: one sample in a word.
    """

    title: str
    xy: Any
    names: Sequence[str]
    method: str
    trustworthiness: float | None = None
    kept: float | None = None
    media: Media = "image"
    thumbnails: Sequence[bytes | None] | None = None
    neighbours: Any = None
    similarities: Any = None
    labels: Any = None
    class_names: Sequence[str] = ()
    groups: Any = None
    group_names: Sequence[str] = ()
    duplicates: Any = None
    outlier: Any = None
    remarks: Sequence[str] | None = None
    notes: Sequence[str] = ()
    noun: str = "sample"

    def __post_init__(self) -> None:
        """Refuse (ValueError) rows that are not one a sample, places outside the square, and numbers without a name."""
        xy = np.asarray(self.xy)
        if xy.ndim != 2 or xy.shape[1] != 2 or not len(xy):
            raise ValueError(f"xy: got shape {tuple(xy.shape)}, wanted (n, 2), a place for each of n samples")
        if not (np.isfinite(xy).all() and xy.min() >= 0 and xy.max() <= 1):
            raise ValueError("xy: got places that are not between 0 and 1")
        for name in PER_SAMPLE:
            value = getattr(self, name)
            if value is not None and len(value) != len(xy):
                raise ValueError(f"{name}: got {len(value)}, wanted one for each of {len(xy)} samples")
        if self.neighbours is not None and np.asarray(self.neighbours).max(initial=-1) >= len(xy):
            raise ValueError(f"neighbours: got a position beyond the {len(xy)} samples")
        if self.labels is not None and np.asarray(self.labels).max() >= len(self.class_names):
            raise ValueError(f"class_names: got {len(self.class_names)}, fewer than the classes of labels")
        if self.media not in ("image", "audio"):
            raise ValueError(f"media: got {self.media!r}, wanted 'image' or 'audio'")


def write_map_page(path: Path, points: MapPoints) -> Path:
    """Write the map of some samples as one HTML file that needs nothing but itself, durably, and return its path.

    It shows pictures where there is room for them (or plays sounds), moves by mouse, wheel, fingers and keys, lists the
    nearest neighbours of what is clicked, colours by class, group, near-copies and outliers, finds names, and what a
    lasso is drawn around becomes a list to copy or to keep. More than `MOST_POINTS` samples are thinned, and this is
    said on the page.

    ValueError: a thumbnail that cannot be read, by its name.

    Example:
        points = MapPoints("Map of photos", places.xy, names, places.method, places.trustworthiness)
        write_map_page(Path("map.html"), points)
    """
    total = len(points.names)
    if total > MOST_POINTS:
        points = thinned(points, shown_of(total, MOST_POINTS))
    return write_page(path, points.title, _body(points, total), head=POLICY)


def shown_of(num_samples: int, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Return the positions, in order, of the samples that a map of so many shows: all, or `most` drawn by chance.

    Whoever draws first and then finds neighbours among those has all of them on the map.
    """
    if num_samples <= most:
        return np.arange(num_samples)
    return np.sort(np.random.default_rng(0).choice(num_samples, most, replace=False))


def thinned(points: MapPoints, positions: NDArray[np.int64]) -> MapPoints:
    """Return a map of some of its samples; neighbours that are not among them become -1."""
    kept: dict[str, Any] = {"xy": np.asarray(points.xy)[positions]}
    for name in PER_SAMPLE:
        value = getattr(points, name)
        if value is not None:
            listed = isinstance(value, (list, tuple))
            kept[name] = [value[i] for i in positions] if listed else np.asarray(value)[positions]
    if points.neighbours is not None:
        new = np.full(len(points.names) + 1, -1)  # the last one is where -1 points
        new[positions] = np.arange(len(positions))
        kept["neighbours"] = new[np.asarray(kept["neighbours"])]
    return replace(points, **kept)


def _body(points: MapPoints, total: int) -> str:
    own = files("barlow.report")
    style, script, markup = (own.joinpath(f"map.{end}").read_text(encoding="utf-8") for end in ("css", "js", "html"))
    content, sheets = _content(points)
    notes = [*points.notes, *_left_out(points, content, total)]
    said = {
        "title": text(points.title),
        "facts": text(_facts(points, total)),
        "about": "".join(f"<p>{text(sentence)}</p>" for sentence in _about(points)),
        "notes": f'<p class="status" id="notes">{text(" ".join(notes))}</p>' if notes else "",
        "noun": text(points.noun),
    }
    for name, value in said.items():
        markup = markup.replace(f"{{{{{name}}}}}", value)
    data = json.dumps(content).replace("<", "\\u003c")  # so that no name ends the element
    return (
        f'<style>\n{style}</style>{markup}<script type="application/json" id="map-data">{data}</script>'
        + "".join(f'<script type="text/plain" class="sheet">{sheet}</script>' for sheet in sheets)
        + f"<script>\n{script}</script>"
    )


def _facts(points: MapPoints, total: int) -> str:
    """What stands under the title: how many, and how far the map can be trusted."""
    shown = len(points.names)
    facts = [count(shown, points.noun) + (f" of {number(total, 12)}" if shown < total else "")]
    if points.trustworthiness is not None:
        facts.append(f"trustworthiness {number(points.trustworthiness)}")
    if points.kept is not None:
        facts.append(f"{percent(points.kept, 0)} of neighbours kept")
    return " · ".join(facts)


def _about(points: MapPoints) -> list[str]:
    said = [f"Places: {points.method}. Only what is near means something: the axes, and what is far from what, do not."]
    if points.trustworthiness is not None:
        said.append(
            f"Trustworthiness {number(points.trustworthiness)}: how far the neighbours on the map are neighbours by "
            "features too; 1 is best, and 0.5 is what places by chance have."
        )
    if points.kept is not None:
        said.append(f"Of the nearest neighbours by features, {percent(points.kept)} are among the nearest on the map.")
    if points.neighbours is not None:
        said.append("What a click lists are the nearest by features, wherever they stand on the map.")
    return said


def _left_out(points: MapPoints, content: dict[str, Any], total: int) -> list[str]:
    said = []
    if len(points.names) < total:
        said.append(
            f"{count(total, points.noun)} were thinned to {number(len(points.names), 12)}, drawn by chance; "
            "neighbours that were not drawn are not listed."
        )
    silent = sum(sound is None for sound in content.get("sounds", ()))
    if silent:
        said.append(f"{count(silent, points.noun)} without a player, to keep this page light.")
    return said


def _content(points: MapPoints) -> tuple[dict[str, Any], list[str]]:
    """Return what the script reads, numbers as base64 of little-endian arrays, and sheets of pictures as data URLs."""
    content: dict[str, Any] = {
        "title": printable(points.title),
        "noun": points.noun,
        "media": points.media,
        "names": [printable(name) for name in points.names],
        "xy": _packed(points.xy, "<f4"),
    }
    for name, kind in (("labels", "<i4"), ("groups", "<i4"), ("duplicates", "<i4"), ("outlier", "<f4")):
        if getattr(points, name) is not None:
            content[name] = _packed(getattr(points, name), kind)
    content["class_names"] = [printable(name) for name in points.class_names]
    content["group_names"] = [printable(name) for name in points.group_names]
    if points.remarks is not None:
        content["remarks"] = [printable(remark) for remark in points.remarks]
    if points.neighbours is not None:
        content["k"] = np.asarray(points.neighbours).shape[1]
        content["neighbours"] = _packed(points.neighbours, "<i4")
        if points.similarities is not None:
            content["similarities"] = _packed(points.similarities, "<f4")
    if points.thumbnails is None or not any(points.thumbnails):
        return content, []
    if points.media == "audio":
        return content | _sounds(points.thumbnails, points.names), []
    pictures, sheets = _sheets(points.thumbnails, points.names)
    return content | pictures, sheets


def _packed(array: Any, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(np.asarray(array), dtype=kind).tobytes()).decode()


def _sheets(thumbnails: Sequence[bytes | None], names: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return where each picture stands and how large it is, and the sheets that hold 16 x 16 of them each."""
    largest = next(side for most, side in SIDES if len(thumbnails) <= most)
    shrunk = [_picture(data, name, largest) for data, name in zip(thumbnails, names, strict=True)]
    sizes = np.array([(0, 0) if picture is None else picture.size for picture in shrunk], dtype=np.uint8)
    side = int(sizes.max())
    sheets = []
    for start in range(0, len(shrunk), CELLS_A_ROW**2):
        some = shrunk[start : start + CELLS_A_ROW**2]
        rows = math.ceil(len(some) / CELLS_A_ROW)
        sheet = Image.new("RGB", (side * CELLS_A_ROW, side * rows))
        for cell, picture in enumerate(some):
            if picture is not None:
                sheet.paste(picture, (side * (cell % CELLS_A_ROW), side * (cell // CELLS_A_ROW)))
        sheets.append(_data_url(sheet, exact=side <= TINY_SIDE))
    return {"sizes": _packed(sizes, "u1"), "cell": side, "a_row": CELLS_A_ROW, "tiny": side <= TINY_SIDE}, sheets


def _picture(data: bytes | None, name: str, largest: int) -> Image.Image | None:
    """Return a picture at most so large, on white where it is transparent."""
    if not data:
        return None
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()  # before its file is closed
            clear = "transparency" in opened.info or opened.mode in ("RGBA", "LA", "PA")
            picture: Image.Image = opened.convert("RGBA" if clear else "RGB")
            picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"thumbnails: that of {printable(name)!r} is no picture ({error})") from error
    if picture.mode == "RGBA":
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture.getchannel("A"))
        return white
    return picture


def _data_url(sheet: Image.Image, *, exact: bool) -> str:
    """A sheet as the smallest file that every browser reads: WebP, or what this Pillow can write."""
    buffer = io.BytesIO()
    kind = "webp" if features.check("webp") else "png" if exact else "jpeg"
    if kind == "webp":
        sheet.save(buffer, "WEBP", lossless=exact, quality=72, method=2)
    else:
        sheet.save(buffer, kind.upper(), quality=78)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _sounds(thumbnails: Sequence[bytes | None], names: Sequence[str]) -> dict[str, Any]:
    """Return the sounds to play, as many as a page can hold spread over all, and a small curve of each."""
    curves = np.zeros((len(thumbnails), WAVE_POINTS), dtype=np.uint8)
    for row, (data, name) in enumerate(zip(thumbnails, names, strict=True)):
        if data:
            curves[row] = _curve(data, name)
    order = np.random.default_rng(0).permutation(len(thumbnails))
    bytes_until = np.cumsum([len(thumbnails[i] or b"") for i in order])
    fits = set(order[bytes_until <= MOST_SOUND_BYTES].tolist())
    played = [base64.b64encode(data).decode() if data and i in fits else None for i, data in enumerate(thumbnails)]
    return {"sounds": played, "waves": _packed(curves, "u1"), "wave_points": WAVE_POINTS}


def _curve(data: bytes, name: str) -> NDArray[np.uint8]:
    """Return how loud a sound is along its time, 0 to 255 of its own loudest moment."""
    try:
        with wave.open(io.BytesIO(data)) as sound:
            width, channels = sound.getsampwidth(), sound.getnchannels()
            raw = sound.readframes(sound.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"thumbnails: that of {printable(name)!r} is no WAV file of PCM ({error})") from error
    if width == 1:
        samples = np.frombuffer(raw, np.uint8).astype(np.float64) - 128
    elif width == 3:  # the two upper bytes of three
        samples = np.frombuffer(raw, np.uint8).reshape(-1, 3)[:, 1:].copy().view("<i2").ravel().astype(np.float64)
    else:
        samples = np.frombuffer(raw, f"<i{width}").astype(np.float64)
    loud = np.abs(samples[: len(samples) // channels * channels]).reshape(-1, channels).max(axis=1, initial=0)
    heights = np.array([part.max(initial=0) for part in np.array_split(loud, WAVE_POINTS)])
    return np.asarray(np.round(255 * heights / max(heights.max(), 1)), dtype=np.uint8)
