"""Bad samples are counted and named, and end a run when there are too many of them."""

from collections.abc import Callable, Iterable, Mapping

from barlow.formats import printable
from barlow.seams import Source

MOST_BAD = 0.01
"""Largest share of all samples of a source that may be unreadable where a run learns from it."""
FEW = 3
"""So many never end a run, where they are at most half of the source: one broken file among forty is no sign that the
folder is the wrong one, and three are read at a glance among the warnings."""
ANY = 1.0
"""The share where nothing is learnt: features of the other samples do not depend on those that cannot be read."""

NUM_NAMED = 5
"""How many bad samples an error names."""

NOT_FINITE = "NaN or infinite values"
"""The reason of samples that can be read but not computed with."""


class BadDataError(ValueError):
    """More samples than `MOST_BAD` could not be read."""


class BadSamples:
    """What could not be read so far: `reasons` by position, in the order in which they were found."""

    def __init__(self, num_samples: int, describe: Callable[[int], str], most: float = MOST_BAD) -> None:
        """Start with none; `describe` turns a position into what a person would call that sample."""
        self.reasons: dict[int, str] = {}
        self._num_samples = num_samples
        self._allowed = max(int(most * num_samples), min(FEW, num_samples // 2))
        self._describe = describe

    def record(self, failures: Iterable[tuple[int, str]]) -> None:
        """Note (position, reason) of samples that could not be read; stop when they are too many of the whole source.

        A sample counts once, however often it is asked for, and what was not asked for yet counts as good: the run
        stops as soon as it can no longer end below the share, and not before. The error names the first few.
        """
        known = len(self.reasons)
        self.reasons.update(failures)
        if len(self.reasons) > max(known, self._allowed):
            raise BadDataError(self._message())

    def _message(self) -> str:
        named = named_samples(self.reasons, self._describe)
        return (
            f"data: {len(self.reasons)} of {self._num_samples} samples cannot be read, at most {self._allowed} may be "
            f"bad: {named}"
        )


def left_out(source: Source, reasons: Mapping[int, str] | None = None) -> str:
    """Return the sentence that counts and names what of a source could not be read so far; "" where all could be.

    `reasons` by position; None: those that the source knows.
    """
    reasons = source.bad if reasons is None else reasons
    if not reasons:
        return ""
    which = named_samples(reasons, source.describe)
    return f"{len(reasons)} of {len(source)} samples in {source.name} cannot be read and are left out: {which}"


def named_samples(reasons: Mapping[int, str], describe: Callable[[int], str]) -> str:
    """Return the first few bad samples with their reasons, and how many more there are, in one line."""
    first = sorted(reasons)[:NUM_NAMED]
    named = "; ".join(f"{printable(describe(position))} ({reasons[position]})" for position in first)
    more = len(reasons) - len(first)
    return named + (f"; and {more} more" if more else "")
