"""Bad samples are counted and named, and end the run when there are too many of them."""

from collections.abc import Callable, Iterable, Sequence

import torch

MOST_BAD = 0.01
"""Largest share of samples that may be unreadable."""

ENOUGH_ASKED = 2000
"""The share is judged over at least this many samples (or the whole source): where half a percent of a source is bad,
more than one percent of its first few hundred samples often is, by chance."""

NUM_NAMED = 5
"""How many bad samples an error names."""

NOT_FINITE = "NaN or infinite values"
"""The reason of samples that can be read but not computed with."""


class BadDataError(ValueError):
    """More samples than `MOST_BAD` could not be read."""


class BadSamples:
    """What could not be read so far: `reasons` by position, in the order in which they were found."""

    def __init__(self, num_samples: int, describe: Callable[[int], str]) -> None:
        """Start with nothing asked for; `describe` turns a position into what a person would call that sample."""
        self.reasons: dict[int, str] = {}
        self._asked = torch.zeros(num_samples, dtype=torch.bool)
        self._describe = describe

    def record(self, asked: Sequence[int], failures: Iterable[tuple[int, str]]) -> None:
        """Note what was asked for and what of it failed; stop when too much did.

        A sample counts once, however often it is asked for. The run stops as soon as the bad samples are more than 1%
        of those asked for, taken as at least `ENOUGH_ASKED`, or more than 1% of the whole source. `failures` are
        (position, reason) of those of `asked` that could not be read; the error names the first few.
        """
        self._asked[list(asked)] = True
        known = len(self.reasons)
        self.reasons.update(failures)
        if len(self.reasons) == known:
            return
        num_asked = int(self._asked.sum())
        if len(self.reasons) > MOST_BAD * min(len(self._asked), max(num_asked, ENOUGH_ASKED)):
            raise BadDataError(self._message(num_asked))

    def _message(self, num_asked: int) -> str:
        first = sorted(self.reasons)[:NUM_NAMED]
        named = "; ".join(f"{self._describe(position)} ({self.reasons[position]})" for position in first)
        more = len(self.reasons) - len(first)
        return (
            f"data: {len(self.reasons)} of {num_asked} samples cannot be read, "
            f"more than {MOST_BAD:.0%} may not be bad: {named}" + (f"; and {more} more" if more else "")
        )
