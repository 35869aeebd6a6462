"""Pixel values of any number format become uint8 images, channels first, with the number of channels asked for.

Which value is white is settled once for a whole source, so that its images keep their relations: stretching each
image by itself would destroy the differences of brightness between them. Floats are in [0, 1]. Integers of cameras,
scanners and microscopes often have 10, 12 or 14 bits, are stored in 16, and few files say so: the largest value of all
tells it.
"""

import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from torch import Tensor

from barlow.data.arrays import as_array, chunks, not_finite

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey: ITU-R BT.601, as Pillow converts."""
BIT_DEPTHS = (8, 10, 12, 14, 16)
"""Bit depths that integers are taken for."""
MAX_VALUE = 65_535
"""Largest integer that is a pixel value: the largest of 16 bits."""


def to_images(
    values: Tensor | npt.NDArray[Any], white: int | None = None
) -> tuple[UInt8[Tensor, "n c h w"], dict[int, str], tuple[str, ...]]:
    """Read an array as a set of images; arrays of uint8 are used where they lie.

    Axes are (n, h, w), (n, c, h, w) or (n, h, w, c): the channel axis of four is the smaller one of the second and the
    last. Integers are taken for 8, 10, 12, 14 or 16 bits, the fewest that hold the largest of them, and scaled by
    255 / (2^bits - 1), or by 255 / `white`, with all above it 255 too; floats in [0, 1] are scaled by 255, and those
    in [0, 255] are rounded.

    Also returns the reason by position for images with NaN or infinite values (their pixels are 0; more than 1% are an
    error), and a sentence for the user where the array itself told that it has more than 8 bits.
    """
    array = as_array(values)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise ValueError(
            f"data: got an array of shape {array.shape}, wanted (N, H, W), (N, C, H, W) or (N, H, W, C); "
            "other samples go into barlow.ArraySource"
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[3] < array.shape[1]:
        array = array.transpose(0, 3, 1, 2)
    converted, bad, notes = _to_uint8(array, white)
    return as_tensor(converted), bad, notes


def with_channels(images: UInt8[Tensor, "*n c h w"], channels: int) -> UInt8[Tensor, "*n d h w"]:
    """Convert between grey and RGB: grey is repeated (without memory), colour becomes grey, a fourth is dropped.

    0 channels converts nothing; what has no meaning, as from 2 to 3 channels, is refused.
    """
    has = images.shape[-3]
    if channels in (0, has):
        return images
    if channels == 3 and has == 1:
        return images.expand(*images.shape[:-3], 3, -1, -1)
    if channels == 3 and has > 3:
        return images[..., :3, :, :]
    if channels == 1 and has >= 3:
        grey = sum(images[..., place, :, :] * weight for place, weight in enumerate(LUMA))
        return torch.as_tensor(grey).round().to(torch.uint8).unsqueeze(-3)
    raise ValueError(f"channels: got {channels}, which images with {has} channels cannot be converted to")


def as_tensor(array: npt.NDArray[Any]) -> Tensor:
    """Return a tensor over the same memory; nothing in this package writes into samples."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array if min(array.strides, default=0) >= 0 else array.copy())


@dataclass(frozen=True)
class ValueRange:
    """Smallest and largest of some pixel values, and whether they are floats."""

    low: float
    high: float
    floating: bool

    @property
    def has_bit_depth(self) -> bool:
        """Whether the values are integers that one of `BIT_DEPTHS` holds."""
        return not self.floating and self.low >= 0 and self.high <= MAX_VALUE


@dataclass(frozen=True)
class WhiteLevels:
    """The pixel values that become 255 in all images of a source.

    Attributes:
        integer: of integers with more than 8 bits; larger ones become 255 too.
        floating: of floats in image files, 1 or 255; larger ones have no meaning.
    """

    integer: int = MAX_VALUE
    floating: float = 1.0


def range_of(array: npt.NDArray[Any], bad: Collection[int] = ()) -> ValueRange:
    """Return the range of an array that is not empty, without its bad rows, chunk by chunk: it may be a mapped file."""
    lows, highs = [], []
    for start, chunk in chunks(np.atleast_1d(array)):
        good = [row for row in range(len(chunk)) if start + row not in bad] if bad else range(len(chunk))
        if good:
            values = chunk if len(good) == len(chunk) else chunk[good]
            lows.append(values.min())
            highs.append(values.max())
    return ValueRange(float(np.min(lows)), float(np.max(highs)), array.dtype.kind == "f")


def white_level(highest: float) -> int:
    """Return 2^b - 1 for the smallest b of `BIT_DEPTHS` that holds `highest`, at most `MAX_VALUE`."""
    return next((2**bits - 1 for bits in BIT_DEPTHS if highest < 2**bits), MAX_VALUE)


def white_levels(ranges: Iterable[ValueRange]) -> tuple[WhiteLevels, tuple[str, ...]]:
    """Tell the white of a source from some of its images, and the sentence for the user where integers are scaled.

    Images with values that no bit depth has tell nothing. Floats are in [0, 255] where one of them is above 1.
    """
    ranges = list(ranges)
    integers = [seen.high for seen in ranges if seen.has_bit_depth]
    floating = 255.0 if any(seen.high > 1 for seen in ranges if seen.floating) else 1.0
    if not integers:
        return WhiteLevels(floating=floating), ()
    white = white_level(max(integers))
    looked_at = f"{len(integers)} images looked at, and what is above {white} is clipped"
    return WhiteLevels(white, floating), bit_depth_notes(max(integers), looked_at)


def bit_depth_notes(highest: float, looked_at: str) -> tuple[str, ...]:
    """Return the sentence that tells the user of a scale; none where integers stay what they are."""
    white = white_level(highest)
    if white == 255:
        return ()
    depth = f"read as {white.bit_length()} bits, 0 to {white} become 0 to 255"
    return (f"pixels with more than 8 bits: {depth}: {highest:.0f} is the largest value of {looked_at}",)


def _to_uint8(
    array: npt.NDArray[Any], white: int | None
) -> tuple[npt.NDArray[np.uint8], dict[int, str], tuple[str, ...]]:
    kind = array.dtype.kind
    if array.dtype == np.uint8:
        return array, {}, ()
    if kind not in "biuf":
        raise ValueError(f"data: got an array of {array.dtype}, wanted numbers")
    bad = not_finite(array) if kind == "f" else {}
    seen = range_of(array, bad)
    scale = _scale(kind, seen, white)
    converted = np.zeros(array.shape, dtype=np.uint8)
    for start, chunk in chunks(array):
        with np.errstate(invalid="ignore"):  # NaN has no uint8; those rows are cleared below
            scaled = np.rint(np.clip(chunk.astype(np.float32) * scale, 0, 255)).astype(np.uint8)
        converted[start : start + len(chunk)] = scaled
    converted[list(bad)] = 0
    return converted, bad, bit_depth_notes(seen.high, "all") if white is None and kind in "iu" else ()


def _scale(kind: str, seen: ValueRange, white: int | None) -> float:
    slack = 1e-3  # resampled floats overshoot by a rounding error
    if kind == "b" or (seen.floating and seen.low >= -slack and seen.high <= 1 + slack):
        return 255.0
    if seen.floating and seen.low >= 0 and seen.high <= 255:
        return 1.0
    if seen.has_bit_depth:
        return 255 / (white or white_level(seen.high))
    wanted = "0 to 1 or 0 to 255" if seen.floating else f"0 to 255 or 0 to {MAX_VALUE}"
    raise ValueError(
        f"data: got pixel values from {seen.low:g} to {seen.high:g}, wanted {wanted} (views normalise by themselves)"
    )
