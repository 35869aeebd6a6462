"""From differences over seeds to held, failed or undecided."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from barlow.report.study_page import Outcome

T_95 = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83)
"""Student's t for 1, 2, ... degrees of freedom, one side, 95%: the spread of few seeds is itself uncertain."""
T_MANY = 1.64


@dataclass(frozen=True)
class Spread:
    """A mean over seeds and how far it may be off.

    Attributes:
        mean: over the seeds.
        margin: half the width of the interval around it: one side leaves out 5%.
        num_seeds: how many.
    """

    mean: float
    margin: float
    num_seeds: int

    def __str__(self) -> str:
        about = "one seed" if self.num_seeds == 1 else f"{self.num_seeds} seeds"
        return f"{self.mean:.3g} ± {self.margin:.1g} ({about})"


def spread(values: Sequence[float], alone: float) -> Spread:
    """Return the mean of one figure over seeds with its margin.

    Args:
        values: one per seed, such as differences of two arms of the same seed.
        alone: standard deviation between seeds where there is one seed only, known from elsewhere.

    Raises:
        ValueError: no value.
    """
    if not values:
        raise ValueError("values: got none, wanted one per seed")
    count = len(values)
    if count == 1:
        return Spread(values[0], T_MANY * alone, 1)
    quantile = T_95[count - 2] if count - 2 < len(T_95) else T_MANY
    return Spread(fmean(values), quantile * stdev(values) / count**0.5, count)


def positive(found: Spread) -> Outcome:
    """Return held where the mean is above 0 by more than its margin, failed where it is below, else undecided.

    Args:
        found: of a figure that the statement says is above 0.
    """
    if found.mean > found.margin:
        return "held"
    return "failed" if found.mean < -found.margin else "undecided"


def all_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Return failed if one part failed, held if every part held, else undecided.

    Args:
        outcomes: of the parts of one statement, at least one.
    """
    if "failed" in outcomes:
        return "failed"
    return "held" if outcomes and all(outcome == "held" for outcome in outcomes) else "undecided"
