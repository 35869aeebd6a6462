"""What is lost of samples while they are read, such as values above white, is counted and said.

What reads a sample calls `count` where it leaves something out. `counting` collects it, in the process that reads.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from barlow.seams import Source

Lost = Mapping[str, Mapping[int, int]]
"""What was lost, in words ("values above 255, which became white") -> position of a sample -> how often in it."""

_COUNTS: ContextVar[dict[str, int] | None] = ContextVar("lost of the sample that is being read", default=None)


def count(what: str, number: int) -> None:
    """Count `number` times `what` for the sample that is being read; nothing where nobody collects it."""
    counts = _COUNTS.get()
    if counts is not None and number:
        counts[what] = counts.get(what, 0) + number


@contextmanager
def counting() -> Iterator[dict[str, int]]:
    """Collect what is counted while the block runs: what -> number."""
    counts: dict[str, int] = {}
    token = _COUNTS.set(counts)
    try:
        yield counts
    finally:
        _COUNTS.reset(token)


def lost_in(source: Source) -> list[str]:
    """Return a sentence for each kind of loss that a source has counted so far.

    Example: "12 values above 255, which became white, in 2 of 60 samples: photos/3.tif, photos/8.tif".
    """
    sentences = []
    counted: Lost = getattr(source, "lost", {})
    for what, numbers in counted.items():
        first = ", ".join(source.describe(position) for position in sorted(numbers)[:2])
        more = ", ..." if len(numbers) > 2 else ""
        total = sum(numbers.values())
        sentences.append(f"{total:,} {what}, in {len(numbers):,} of {len(source):,} samples: {first}{more}")
    return sentences


def warn_of_lost(*sources: Source) -> None:
    """Warn of what the sources have counted, for callers who have no journal."""
    for sentence in dict.fromkeys(line for source in sources for line in lost_in(source)):
        warnings.warn(sentence, stacklevel=3)
