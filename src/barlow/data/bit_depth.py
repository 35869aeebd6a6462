"""Which value of a pixel is white: one for a whole source, told from its pictures or from some of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

BIT_DEPTHS = (8, 10, 12, 14, 16)
"""Depths of cameras, scanners and microscopes. They are stored in 16 bits, and few files say which it is."""

LARGEST = 65_535
"""Largest whole number that is a pixel value."""


@dataclass(frozen=True)
class WhiteLevels:
    """The pixel values that become 255 in all pictures of a source, so that they keep their relations.

    Attributes:
        whole: of whole numbers with more than 8 bits; larger ones become 255 too.
        fraction: of fractions in picture files, 1 or 255; larger ones have no meaning.
    """

    whole: int = LARGEST
    fraction: float = 1.0


@dataclass(frozen=True)
class ValueRange:
    """Smallest and largest value of some pixels, and whether they are fractions."""

    low: float
    high: float
    fractions: bool

    @property
    def has_depth(self) -> bool:
        """Whether the values are whole numbers that a bit depth holds."""
        return not self.fractions and self.low >= 0 and self.high <= LARGEST


def range_of(values: npt.NDArray[Any]) -> ValueRange:
    """Return the range of an array of any shape that is not empty."""
    return ValueRange(float(values.min()), float(values.max()), values.dtype.kind == "f")


def white_level(highest: float) -> int:
    """Return 2^b - 1 for the smallest b of `BIT_DEPTHS` that holds `highest`, at most `LARGEST`."""
    return next((2**bits - 1 for bits in BIT_DEPTHS if highest < 2**bits), LARGEST)


def depth_notes(highest: float, looked_at: str) -> tuple[str, ...]:
    """Return the sentence that tells the user of a scale; none where whole numbers stay what they are.

    Args:
        highest: the value that the scale was told from.
        looked_at: where it is the largest one.
    """
    white = white_level(highest)
    if white == 255:
        return ()
    depth = f"read as {white.bit_length()} bits, 0 to {white} become 0 to 255"
    return (f"pixels with more than 8 bits: {depth}: {highest:.0f} is the largest value of {looked_at}",)


def levels_of(ranges: Iterable[ValueRange]) -> tuple[WhiteLevels, tuple[str, ...]]:
    """Tell the white of a source from some of its pictures.

    Whole numbers: the largest value of all that were looked at, taken to the next of `BIT_DEPTHS`. Fractions:
    1, or 255 where one of them is above 1. Pictures with values that no depth has tell nothing.

    Args:
        ranges: of the pictures with more than 8 bits among those looked at.

    Returns:
        The white, and a sentence for the user where whole numbers are scaled.
    """
    ranges = list(ranges)
    whole = [seen.high for seen in ranges if seen.has_depth]
    fraction = 255.0 if any(seen.high > 1 for seen in ranges if seen.fractions) else 1.0
    if not whole:
        return WhiteLevels(fraction=fraction), ()
    white = white_level(max(whole))
    notes = depth_notes(max(whole), f"{len(whole)} pictures looked at, and what is above {white} is clipped")
    return WhiteLevels(white, fraction), notes
