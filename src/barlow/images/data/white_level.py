"""Which pixel value is white: told once for a source, from how all of its values are spread, not from the largest.

White is settled for a whole source, so that its images keep their relations: stretching each image by itself would
destroy the differences of brightness between them. A run keeps what was told of its training data, and reads whatever
it is given later in the same way.

Floats are fractions of white, 1, or values of 8 bits, 255. Resampling and reflectance put some of them a little above
white: those are clipped and counted. Integers of cameras, scanners and microscopes often have 10, 12 or 14 bits, are
stored in 16, and few files say so: the fewest bits that hold the values are taken. What could be one or the other is
refused, and the argument `white_level` settles it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Num

from barlow.data.arrays import chunks

BIT_DEPTHS = (8, 10, 12, 14, 16)
"""Bit depths that integers are taken for."""
MAX_VALUE = 65_535
"""Largest integer that is a pixel value unless `white_level` says otherwise: the largest of 16 bits."""
FLOAT_WHITES = (1.0, 255.0)
"""What may be white among floats, unless `white_level` says otherwise."""
SLACK = 1e-3
"""Floats above white by this share of it, or below 0, are rounding errors and not counted."""
FEW = 0.1
"""Share of the positive floats of a source that may be up to twice white: overshoot of a resampling, bright clouds."""
STRAY = 1e-3
"""Share of the positive floats of a source that may be anything above white: broken pixels."""
STRAY_INTEGERS = 1e-4
"""The same of integers, of which moreover no image may have more than `STRAY_OF_AN_IMAGE` above white."""
STRAY_OF_AN_IMAGE = 0.01
FEWEST_LEVELS = 32
"""Floats whose largest is below this are not taken for 0 to 255: hardly any level would be left."""
MOST = 0.9
"""An image with values above twice white is bad where more than this share of its positive values is above white, for
nearly all of it would become white; or where white was never told of such numbers."""
LEVELS = (1, *(2**bits - 1 for bits in BIT_DEPTHS))
"""Values that may be white; how much of a source is above each of them is counted."""
SETTLE = "--white-level (white_level=) says which value is white"


@dataclass(frozen=True)
class WhiteLevels:
    """The pixel values that become 255 in all images of a source, by kind of number; None where it was not told.

    Attributes:
        integer: of integers with more than 8 bits; one that was not told is 255.
        floating: of floats; one that was not told is 1.
        bytes: of arrays of uint8; one that was not told is 255. Image files of 8 bits have no other white than 255.
    """

    integer: int | float | None = None
    floating: int | float | None = None
    bytes: int | float | None = None

    def of(self, kind: np.dtype[Any]) -> int | float:
        """Return the white of numbers of a format."""
        if kind.kind == "b":
            return 1.0
        if kind.kind == "f":
            return 1.0 if self.floating is None else self.floating
        found = self.bytes if kind == np.uint8 else self.integer
        return 255.0 if found is None else found

    def known(self, kind: np.dtype[Any]) -> bool:
        """Return whether the white of numbers of a format was told or said."""
        name = "floating" if kind.kind == "f" else "bytes" if kind == np.uint8 else "integer"
        return getattr(self, name) is not None

    def fact(self) -> dict[str, int | float]:
        """Return what was told, as `recipe.json` holds it: {"integer": 4095}."""
        told = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: int(value) if value == int(value) else value for name, value in told.items()}


def levels_of_run(fact: Mapping[str, int | float]) -> WhiteLevels:
    """Undo `WhiteLevels.fact`; what this version does not know is left out."""
    return WhiteLevels(**{name: float(fact[name]) for name in asdict(WhiteLevels()) if name in fact})


def levels_asked(white_level: Any) -> WhiteLevels:
    """Return the levels where a user has said which value is white; ValueError for what cannot be one."""
    wrong = isinstance(white_level, bool) or not isinstance(white_level, (int, float, np.integer, np.floating))
    if wrong or not 0 < white_level < np.inf:
        raise ValueError(f"white_level: got {white_level!r}, wanted the value of white: 1, 255, 4095 or 65535")
    return WhiteLevels(*[float(white_level)] * 3)


@dataclass(frozen=True)
class Spread:
    """How the values of some images are spread.

    Attributes:
        floating: whether they are floats.
        whole: whether none of them has a fraction.
        positive: how many are above 0; negative: below, beyond `SLACK`.
        above: how many are above each of `LEVELS`, as `top_of` has it.
        most_above: the largest share of the positive values of one image that is above each of them.
    """

    floating: bool
    num_images: int
    low: float
    high: float
    whole: bool = True
    positive: int = 0
    negative: int = 0
    above: tuple[int, ...] = (0,) * len(LEVELS)
    most_above: tuple[float, ...] = (0.0,) * len(LEVELS)

    @property
    def plain(self) -> bool:
        """Whether the range alone tells white: bytes, or fractions from 0 to 1."""
        return self.low >= (-SLACK if self.floating else 0) and self.high <= top_of(
            1.0 if self.floating else 255.0, self.floating
        )

    @property
    def has_bit_depth(self) -> bool:
        """Whether these are integers that one of `BIT_DEPTHS` holds."""
        return not self.floating and self.low >= 0 and self.high <= MAX_VALUE

    def share_above(self, white: int | float) -> float:
        """Return how much of the positive values is above one of `LEVELS`."""
        return self.above[LEVELS.index(int(white))] / max(1, self.positive)


def top_of(white: int | float, floating: bool) -> int | float:
    """Return the value up to which nothing counts as clipped: white, with `SLACK` where values are floats."""
    return white * (1 + SLACK) if floating else white


def spread_of(array: Num[np.ndarray[Any, Any], "n ..."], bad: Collection[int] = (), *, counted: bool = False) -> Spread:
    """Look at all values of n images but the `bad` ones, chunk by chunk: it may be a mapped file.

    Where the range alone tells white nothing is counted, unless `counted` is set.
    """
    floating = array.dtype.kind == "f"
    lows, highs = zip(*((rows.min(), rows.max()) for rows in _rows(array, bad)), strict=True)
    number = len(array) - len(bad)
    found = Spread(floating, number, float(np.min(lows)), float(np.max(highs)))
    if found.plain and not counted:
        return found
    parts = [_counted(rows, floating) for rows in _rows(array, bad)]
    return merged(parts)


def merged(parts: Sequence[Spread]) -> Spread:
    """Return the spread of all images of some spreads of one kind, together."""
    return Spread(
        parts[0].floating,
        sum(part.num_images for part in parts),
        min(part.low for part in parts),
        max(part.high for part in parts),
        all(part.whole for part in parts),
        sum(part.positive for part in parts),
        sum(part.negative for part in parts),
        tuple(map(sum, zip(*(part.above for part in parts), strict=True))),
        tuple(map(max, zip(*(part.most_above for part in parts), strict=True))),
    )


def as_numbers(spread: Spread) -> Float64[np.ndarray[Any, Any], " k"]:
    """Write a spread as numbers, in which form it travels between processes."""
    first = (spread.floating, spread.num_images, spread.low, spread.high, spread.whole)
    return np.array([*first, spread.positive, spread.negative, *spread.above, *spread.most_above], dtype=np.float64)


def from_numbers(numbers: Sequence[float]) -> Spread:
    """Undo `as_numbers`."""
    floating, num_images, low, high, whole, positive, negative, *rest = numbers
    above, most_above = rest[: len(LEVELS)], rest[len(LEVELS) :]
    return Spread(
        bool(floating), int(num_images), low, high, bool(whole), int(positive), int(negative),
        tuple(map(int, above)), tuple(most_above),
    )  # fmt: skip


def widened(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values of half precision in single, for they cannot be compared with numbers beyond their own range."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _rows(array: npt.NDArray[Any], bad: Collection[int]) -> Iterable[npt.NDArray[Any]]:
    for start, chunk in chunks(array):
        good = [row for row in range(len(chunk)) if start + row not in bad] if bad else range(len(chunk))
        if good:
            chosen = chunk if len(good) == len(chunk) else chunk[list(good)]
            yield chosen.reshape(len(chosen), -1)


def _counted(rows: npt.NDArray[Any], floating: bool) -> Spread:
    rows = widened(rows)
    positive = (rows > 0).sum(1)
    above = np.stack([(rows > top_of(level, floating)).sum(1) for level in LEVELS], 1)
    return Spread(
        floating,
        len(rows),
        float(rows.min()),
        float(rows.max()),
        not floating or bool((rows == np.rint(rows)).all()),
        int(positive.sum()),
        int((rows < (-SLACK if floating else 0)).sum()),
        tuple(above.sum(0).tolist()),
        tuple((above / np.maximum(positive, 1)[:, None]).max(0).tolist()),
    )


def integer_white(spread: Spread) -> float:
    """Return 2^b - 1 for the fewest bits b of `BIT_DEPTHS` that hold all integers but strays."""
    for level in LEVELS[1:]:
        few = spread.most_above[LEVELS.index(level)] <= STRAY_OF_AN_IMAGE
        if spread.high <= level or (spread.positive and few and spread.share_above(level) <= STRAY_INTEGERS):
            return float(level)
    return float(MAX_VALUE)


def floating_white(spread: Spread) -> float:
    """Return the white of floats, 1 or 255; ValueError where they have another, or could have either.

    It is 1 where at most `FEW` of the positive values are above it and none above twice that, or at most `STRAY` are
    above it; and 255 where more than `FEW` are above 1, the same holds above 255, and either all are whole numbers or
    the largest is at least `FEWEST_LEVELS`. Values below 0 may be `FEW` too, and not below half of white under it.
    """
    for white in FLOAT_WHITES:
        if _fits(spread, white) and spread.low >= -white / 2 and spread.negative <= FEW * max(1, spread.positive):
            return white
    above = f", {spread.share_above(1):.2%} of the positive ones above 1" if 1 < spread.high <= 2 * MAX_VALUE else ""
    raise ValueError(
        f"data: got pixel values from {spread.low:g} to {spread.high:g}, wanted 0 to 1 or 0 to 255 "
        f"(views normalise by themselves): these are floats{above}; {SETTLE}"
    )


def _fits(spread: Spread, white: int | float) -> bool:
    above, high = spread.share_above(white), spread.high
    inside = high <= top_of(white, True) or above <= STRAY or (above <= FEW and high <= 2 * white)
    levels = white == 1 or (spread.share_above(1) > FEW and (spread.whole or high >= FEWEST_LEVELS))
    return inside and levels


def told_white(spread: Spread) -> WhiteLevels:
    """Tell white from the values of some images, all of them integers or all of them floats."""
    if spread.floating:
        return WhiteLevels(floating=floating_white(spread))
    if not spread.has_bit_depth:
        raise ValueError(
            f"data: got pixel values from {spread.low:g} to {spread.high:g}, wanted 0 to 255 or 0 to {MAX_VALUE} "
            f"(views normalise by themselves); {SETTLE}"
        )
    return WhiteLevels(integer=integer_white(spread))


def told_of_both(spreads: Iterable[Spread], looked_at: str) -> tuple[WhiteLevels, tuple[str, ...]]:
    """Tell white of images that are integers here and floats there, and how they are read.

    Images with values that no bit depth has, or with many below 0, tell nothing: they are bad when they are read.
    `looked_at` says how many there are of them: "{} images looked at".
    """
    found = list(spreads)
    integers = [spread for spread in found if spread.has_bit_depth]
    floats = [spread for spread in found if spread.floating and spread.negative <= FEW * spread.positive]
    told = [merged(kind) for kind in (integers, floats) if kind]
    levels = WhiteLevels()
    for spread in told:
        one = told_white(spread)
        levels = WhiteLevels(
            levels.integer if one.integer is None else one.integer,
            levels.floating if one.floating is None else one.floating,
        )
    return levels, tuple(line for spread in told for line in how_read(spread, levels, looked_at))


def how_read(spread: Spread, levels: WhiteLevels, looked_at: str) -> tuple[str, ...]:
    """Return the sentence that tells the user of a scale; none where bytes stay what they are."""
    most = f"{spread.high:g} is the largest value of {looked_at.format(spread.num_images)}"
    if spread.floating:
        white = levels.of(np.dtype(np.float32))
        clipped = "" if spread.high <= top_of(white, True) else f", and what is above {white:g} becomes white too"
        return (f"pixels are floats: read with {white:g} as white, 0 to {white:g} become 0 to 255: {most}{clipped}",)
    white = int(levels.of(np.dtype(np.uint16)))
    if white == 255 and spread.high <= white:
        return ()
    depth = f"read as {white.bit_length()} bits, 0 to {white} become 0 to 255"
    return (f"pixels with more than 8 bits: {depth}: {most}, and what is above {white} is clipped",)
