"""Pixel values of any number format become uint8 images, channels first, with the number of channels asked for."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from barlow.data.arrays import ArraySource, as_array, chunks, not_finite
from barlow.data.bad_samples import NOT_FINITE
from barlow.data.lost import count
from barlow.images.data.axes import Axis, axis_named, channels_first
from barlow.images.data.white_level import (
    MAX_VALUE,
    MOST,
    SETTLE,
    SLACK,
    WhiteLevels,
    how_read,
    levels_asked,
    levels_of_run,
    spread_of,
    told_white,
    top_of,
    widened,
)

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey: ITU-R BT.601, as Pillow converts."""
MOST_CHANNELS_OF_COLOUR = 4
"""Images with up to so many are colour, with alpha or another band behind it; which of more are red, green and blue
nobody knows."""


@dataclass(frozen=True)
class Reading:
    """How the pixels of a source are to be read; what is None, 0 or empty is told from the data.

    Attributes:
        white: the levels that a user or a run has told.
        axis: the channel axis of arrays that a user has named.
        axis_of_run: that of the training data of a run, for shapes that could be read either way.
        channels: of the network of a run.
        old_run: whether it is for a run whose folder does not say how its data were read.
    """

    white: WhiteLevels | None = None
    axis: Axis | None = None
    axis_of_run: str = ""
    channels: int = 0
    old_run: bool = False

    @property
    def axes(self) -> dict[str, Any]:
        """The arguments of `axes.py`."""
        return {"asked": self.axis, "channels": self.channels, "before": self.axis_of_run}


TELL = Reading()
"""Everything is told from the data."""
OLD_RUN = (
    "recipe.json of the run does not say which value was white in its training data, for an older version wrote it: "
    "told anew from these data; --white-level (white_level=) settles it"
)


def reading_of(
    facts: Mapping[str, Any] | None = None,
    *,
    channels: int = 0,
    white_level: Any = None,
    channels_axis: Any = None,
) -> Reading:
    """Return how data are to be read: as the user says, else as the training data of a run were, by its `facts`.

    `channels` are those of its network. `facts` None: there is no run, and what the user does not say is told.
    """
    known = facts is not None and "white_level" in facts
    white = levels_of_run(facts["white_level"]) if facts is not None and known else None
    return Reading(
        white if white_level is None else levels_asked(white_level),
        axis_named(channels_axis),
        str((facts or {}).get("channels_axis") or ""),
        channels,
        old_run=bool(facts) and not known and white_level is None,
    )


class Images(NamedTuple):
    """What an array was read as.

    Attributes:
        images: (n, c, h, w) uint8.
        bad: reason by position for images that are left out; their pixels are 0.
        notes: sentences for the user: how the array was read, where that is not plain.
        lost: what was lost, in words -> position -> number of values.
        reading: how it was read, for `recipe.json`: white_level and channels_axis.
    """

    images: Tensor
    bad: dict[int, str]
    notes: tuple[str, ...]
    lost: dict[str, dict[int, int]]
    reading: dict[str, Any]


def to_images(values: Tensor | npt.NDArray[Any], reading: Reading = TELL, *, told: WhiteLevels | None = None) -> Images:
    """Read an array as a set of images; arrays of uint8 are used where they lie.

    Axes are (n, h, w), (n, c, h, w) or (n, h, w, c), as `channels_first` tells them, or those of one picture in colour.
    White becomes 255, and all above it does too and is counted. It is what was `told` of these and more
    values, else what `reading` says, else told from these (`white_level.py`).

    Reasons by position are given for images with NaN or infinite values and for those whose values have no 8-bit
    meaning; their pixels are 0, and who makes a source of them judges. ValueError: no images, or none that can be read,
    or a shape or values that could be read in two ways.
    """
    array = as_array(values)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise ValueError(
            f"data: got an array of shape {array.shape}, wanted (N, H, W), (N, C, H, W) or (N, H, W, C); "
            "other samples go into barlow.ArraySource"
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"data: got an array of {array.dtype}, wanted numbers")
    array, axis, notes = channels_first(array, **reading.axes)
    bad = not_finite(array) if array.dtype.kind == "f" else {}
    if len(bad) == len(array):
        raise ValueError(f"data: got {NOT_FINITE} in every image")
    levels, told_notes = _levels(array, bad, reading) if told is None else (_of_kind(array.dtype, told), ())
    converted, lost, unfit = _scaled(array, levels, bad)
    bad |= unfit
    facts: dict[str, Any] = {"white_level": levels.fact()} | ({"channels_axis": axis} if axis else {})
    return Images(as_tensor(converted), bad, (*notes, *told_notes), lost, facts)


def _levels(array: npt.NDArray[Any], bad: Mapping[int, str], reading: Reading) -> tuple[WhiteLevels, tuple[str, ...]]:
    """The level of the kind of numbers that an array holds, and how it came to it."""
    kind = array.dtype
    if reading.white is not None:
        levels = _of_kind(kind, reading.white)
        white = levels.of(kind)
        note = f"pixels are {kind}: read with {white:g} as white, 0 to {white:g} become 0 to 255"
        return levels, (note,) if kind.kind == "f" or white != 255 else ()
    if kind == np.uint8 or kind.kind == "b":
        return WhiteLevels(), ()
    spread = spread_of(array, bad)
    levels = told_white(spread)
    notes = how_read(spread, levels, "all")
    return levels, (*notes, OLD_RUN) if reading.old_run and notes and not spread.plain else notes


def _of_kind(kind: np.dtype[Any], levels: WhiteLevels) -> WhiteLevels:
    """Of some levels that of one kind of numbers alone: the only one that a source of them has."""
    if kind.kind == "f":
        return WhiteLevels(floating=levels.of(kind))
    if kind.kind == "b" or kind == np.uint8:
        return WhiteLevels(bytes=levels.bytes if kind == np.uint8 else None)
    return WhiteLevels(integer=levels.of(kind))


def _scaled(
    array: Shaped[np.ndarray[Any, Any], "n ..."], levels: WhiteLevels, bad: Mapping[int, str]
) -> tuple[npt.NDArray[np.uint8], dict[str, dict[int, int]], dict[int, str]]:
    """Bring values from 0 to white to 0 to 255; also what was clipped, and the images that cannot be read so."""
    white = levels.of(array.dtype)
    if array.dtype == np.uint8 and white == 255:
        return array, {}, {}
    converted = np.zeros(array.shape, dtype=np.uint8)
    lost: dict[str, dict[int, int]] = {}
    unfit: dict[int, str] = {}
    for start, chunk in chunks(array):
        with np.errstate(invalid="ignore"):  # NaN has no uint8; those rows are cleared below
            scaled = np.rint(np.clip(chunk.astype(np.float32) * (255.0 / white), 0, 255)).astype(np.uint8)
        converted[start : start + len(chunk)] = scaled
        _clipped(widened(chunk.reshape(len(chunk), -1)), start, levels, bad, lost, unfit)
    if len(unfit) == len(array) - len(bad):
        raise ValueError(f"data: got {next(iter(unfit.values()))}, in {len(unfit)} of {len(array)} images")
    converted[[*bad, *unfit]] = 0
    return converted, lost, unfit


def _clipped(
    rows: npt.NDArray[Any],
    start: int,
    levels: WhiteLevels,
    bad: Mapping[int, str],
    lost: dict[str, dict[int, int]],
    unfit: dict[int, str],
) -> None:
    """Count what is clipped in each image of a chunk, and find those that have no meaning with this white."""
    floating, white = rows.dtype.kind == "f", levels.of(rows.dtype)
    lows, highs = rows.min(1), rows.max(1)
    for row in np.flatnonzero(
        (highs > top_of(white, floating)) | (lows < (-SLACK * white if floating else 0))
    ).tolist():
        if start + row in bad:
            continue
        found = clipped(rows[row], levels)
        if isinstance(found, str):
            unfit[start + row] = found
            continue
        for what, number in found.items():
            lost.setdefault(what, {})[start + row] = number


def clipped(values: npt.NDArray[Any], levels: WhiteLevels) -> dict[str, int] | str:
    """Return how many values of one image are clipped with these levels, in words; or why it cannot be read so."""
    white = levels.of(values.dtype)
    floating = values.dtype.kind == "f"
    low, high = float(values.min()), float(values.max())
    above = int((values > top_of(white, floating)).sum())
    below = int((values < (-SLACK * white if floating else 0)).sum())
    positive = int((values > 0).sum())
    most = high > 2 * white and (above > MOST * positive or not levels.known(values.dtype))
    impossible = not floating and (low < 0 or high > max(MAX_VALUE, white))
    beneath = low < -white / 2 or (below > 0 and below >= positive)
    if not np.isfinite((low, high)).all() or most or impossible or beneath:
        wanted = f"0 to 255 or 0 to {MAX_VALUE}" if impossible and high <= 2 * MAX_VALUE else f"0 to {white:g}"
        return f"pixel values from {low:g} to {high:g}, wanted {wanted} (views normalise by themselves); {SETTLE}"
    words = {
        f"pixel values above {white:g}, which became white": above,
        "pixel values below 0, which became black": below,
    }
    return {what: number for what, number in words.items() if number}


def one_to_bytes(
    values: Shaped[np.ndarray[Any, Any], "..."], levels: WhiteLevels
) -> UInt8[np.ndarray[Any, Any], "..."]:
    """Scale the values of one image from white to 255, counting what is clipped; ValueError where that has no meaning.

    In float64, and without the slack of a set: what a file holds is what it holds.
    """
    found = clipped(values, levels)
    if isinstance(found, str):
        raise ValueError(found)
    for what, number in found.items():
        count(what, number)
    scale = 255.0 / levels.of(values.dtype)
    return np.rint(np.clip(values.astype(np.float64) * scale, 0, 255)).astype(np.uint8)


def with_channels(images: UInt8[Tensor, "*n c h w"], channels: int) -> UInt8[Tensor, "*n d h w"]:
    """Convert between grey and RGB: grey is repeated (without memory), colour becomes grey, a fourth is dropped.

    0 channels converts nothing; what has no meaning, as from 2 to 3 channels, is refused, and so are more than four:
    nobody knows which of them are red, green and blue.
    """
    has = images.shape[-3]
    if channels in (0, has):
        return images
    if channels == 3 and has == 1:
        return images.expand(*images.shape[:-3], 3, -1, -1)
    if has > MOST_CHANNELS_OF_COLOUR:
        raise ValueError(
            f"data: got images with {has} channels, wanted {channels}: which of them are "
            f"{'red, green and blue' if channels == 3 else 'grey'}? Pass those alone, as in images[:, [3, 2, 1]]"
        )
    if channels == 3 and has == MOST_CHANNELS_OF_COLOUR:
        return images[..., :3, :, :]
    if channels == 1 and has >= 3:
        grey = sum(images[..., place, :, :] * weight for place, weight in enumerate(LUMA))
        return torch.as_tensor(grey).round().to(torch.uint8).unsqueeze(-3)
    raise ValueError(f"channels: got {channels}, which images with {has} channels cannot be converted to")


def source_of(found: Images, channels: int, **described: Any) -> ArraySource:
    """Return the source of an array that was read, with the channels asked for; `described` as for `ArraySource`."""
    notes = (*described.pop("notes", ()), *found.notes)
    if channels in (1, 3) and found.images.shape[1] == MOST_CHANNELS_OF_COLOUR:
        notes += ("the fourth channel of the images is left out, as that of transparency is",)
    return ArraySource(
        with_channels(found.images, channels),
        bad=found.bad,
        notes=notes,
        lost=found.lost,
        reading=found.reading,
        **described,
    )


def as_tensor(array: npt.NDArray[Any]) -> Tensor:
    """Return a tensor over the same memory; nothing in this package writes into samples."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array if min(array.strides, default=0) >= 0 else array.copy())
