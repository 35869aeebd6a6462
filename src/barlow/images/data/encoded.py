"""Encoded images, in files or in a store, as a source: in memory where they are few, decoded by workers where not."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from barlow.data.arrays import ArraySource
from barlow.data.labels import Labels
from barlow.data.memory import FillingSource, memory_budget, read_all
from barlow.data.order import evenly_spaced
from barlow.data.stored.contents import Contents
from barlow.data.streaming import StreamSource
from barlow.images.data.decode import (
    GREY_MODES,
    decoded_size,
    has_high_bit_depth,
    loses_bits,
    num_pages,
    opened,
    read_image,
    read_spread,
)
from barlow.images.data.options import LoadOptions
from barlow.images.data.pixels import OLD_RUN
from barlow.images.data.white_level import Spread, WhiteLevels, as_numbers, from_numbers, told_of_both

OtherSplits = Callable[[], Iterable[Contents]]
"""Gives the contents of the other splits of some data, when they are asked for."""
NUM_HEADERS = 128
"""Headers that are read to settle the number of channels and to estimate the memory that all images take."""
NUM_MORE_HEADERS = 1024
"""The same where any of them has more than 8 bits, to find others."""
NUM_BIT_DEPTHS = 256
"""Images with more than 8 bits among them that are decoded to settle which value is white, where not all are read."""


def encoded_source(
    contents: Contents,
    *,
    name: str,
    labels: Labels,
    options: LoadOptions,
    notes: Sequence[str] = (),
    other_splits: OtherSplits = tuple,
) -> ArraySource | FillingSource | StreamSource:
    """Settle channels and white from some headers, then read everything into memory where it fits.

    All splits have the same white: `other_splits` gives the contents of the others, where that has to be told.
    """
    seen = _read_headers(contents, options.decode_size)
    channels = options.channels or (1 if seen.grey else 3)
    budget = memory_budget() if options.memory_budget is None else options.memory_budget
    fits = seen.pixels * channels * len(contents) <= budget
    white, depth_notes = _white(contents, seen, other_splits, options, whole=fits)
    reader = ImageReader(contents, channels, options.decode_size, white)
    stream = StreamSource(
        reader,
        name=name,
        labels=labels,
        notes=[*notes, *depth_notes, *_lost_bits_note(seen), *_pages_note(seen)],
        reading={"white_level": seen.levels(white).fact(), "decode_size": options.decode_size},
        num_workers=options.num_workers,
        most_bad=options.most_bad,
    )
    return read_all(stream, options.progress) if fits else stream


@dataclass(frozen=True)
class ImageReader:
    """Reads images; a `Reader` of `data/streaming.py`."""

    contents: Contents
    channels: int
    decode_size: int
    white: WhiteLevels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.contents)

    def read(self, position: int) -> Tensor:
        """Decode one image."""
        return read_image(self.contents.content(position), self.channels, self.decode_size, self.white)

    def describe(self, position: int) -> str:
        """Return the path of one image, or what else it is called by."""
        return self.contents.describe(position)


@dataclass(frozen=True)
class _Headers:
    """What the headers of some images say.

    Attributes:
        pixels: their mean number of pixels once decoded.
        high_bit_depth: positions of those whose grey has more than 8 bits.
        kinds: whether that is of floats, in any of them, and in any of them not.
        lost_bits: how many have 16 bits of which Pillow keeps 8.
        pages: how many pages or frames each has.
    """

    grey: bool
    pixels: float
    high_bit_depth: list[int]
    kinds: set[bool]
    lost_bits: int
    pages: list[int]

    def levels(self, white: WhiteLevels) -> WhiteLevels:
        """Return the white of those kinds of numbers that are there."""
        integer, floating = (
            (white.integer if False in self.kinds else None),
            (white.floating if True in self.kinds else None),
        )
        return WhiteLevels(integer, floating)


def _read_headers(contents: Contents, decode_size: int, most: int = NUM_HEADERS) -> _Headers:
    modes: list[str] = []
    high_bit_depth: list[int] = []
    kinds: set[bool] = set()
    pages: list[int] = []
    pixels = lost_bits = 0
    for position in evenly_spaced(len(contents), most):
        try:
            with opened(contents.content(position)) as image:
                modes.append(image.mode)
                width, height = decoded_size(image.size, decode_size)
                if has_high_bit_depth(image):
                    high_bit_depth.append(position)
                    kinds.add(image.mode == "F")
                lost_bits += loses_bits(image)
                pages.append(num_pages(image))
        except Exception:
            continue  # bad samples are counted when they are read
        pixels += width * height
    grey = bool(modes) and all(mode in GREY_MODES for mode in modes)
    return _Headers(grey, pixels / max(1, len(modes)), high_bit_depth, kinds, lost_bits, pages)


def _white(
    contents: Contents, seen: _Headers, other_splits: OtherSplits, options: LoadOptions, *, whole: bool
) -> tuple[WhiteLevels, tuple[str, ...]]:
    """Return the white asked for, or that of the run; else tell it, and say so.

    Images with more than 8 bits are decoded for it: all of them where the `whole` data will be read into memory
    anyway, else some of those whose headers were looked at; of other splits some.
    """
    if options.reading.white is not None:
        return options.reading.white, ()
    if not seen.high_bit_depth:
        return WhiteLevels(), ()
    looked_at = [(contents, range(len(contents)) if whole else _some(contents))]
    looked_at += [(split, _some(split)) for split in other_splits()]
    spreads = (spread for one, positions in looked_at for spread in _spreads(one, positions, options))
    white, notes = told_of_both(spreads, "{} images looked at")
    return white, (*notes, OLD_RUN) if options.reading.old_run else notes


def _some(contents: Contents) -> Sequence[int]:
    found = _read_headers(contents, 0, NUM_MORE_HEADERS).high_bit_depth
    return [found[place] for place in evenly_spaced(len(found), NUM_BIT_DEPTHS)]


def _spreads(contents: Contents, positions: Sequence[int], options: LoadOptions) -> Iterator[Spread]:
    """Decode images, by the workers that read samples too; those with 8 bits, and those that are broken, give none."""
    stream = StreamSource(SpreadReader(contents), name="spreads", num_workers=options.num_workers)
    for batch in stream.batches(positions, 64):
        for numbers in batch.samples.tolist():
            if numbers[1]:
                yield from_numbers(numbers)


@dataclass(frozen=True)
class SpreadReader:
    """Reads how the values of images with more than 8 bits are spread; a `Reader` of `data/streaming.py`."""

    contents: Contents

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.contents)

    def read(self, position: int) -> Tensor:
        """Return a spread as numbers; zeros where there is none: bad samples are counted when they are read."""
        try:
            spread = read_spread(self.contents.content(position))
        except Exception:
            spread = None
        return torch.from_numpy(as_numbers(Spread(False, 0, 0.0, 0.0) if spread is None else spread))

    def describe(self, position: int) -> str:
        """Return the path of one image, or what else it is called by."""
        return self.contents.describe(position)


def _lost_bits_note(seen: _Headers) -> list[str]:
    if not seen.lost_bits:
        return []
    return [
        f"of the colours of {seen.lost_bits} of the images looked at, which have 16 bits per channel, the upper 8 are "
        "read: where fewer bits are in use, as with 12, little is left; convert such files to 8 bits before"
    ]


def _pages_note(seen: _Headers) -> list[str]:
    several = [pages for pages in seen.pages if pages > 1]
    if not several:
        return []
    return [
        f"{len(several)} of {len(seen.pages)} files looked at have several pages or frames, up to {max(several)}: the "
        f"first of each is read, and {sum(several) - len(several)} are left out; to learn from them, save each page as "
        "a file"
    ]
