"""From numbers to held, failed or undecided: conditions, parts of a statement, and differences over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from barlow.report.study_page import Outcome

T_95 = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83)
"""Student's t for 1, 2, ... degrees of freedom, one side, 95%: the deviation of few seeds is itself uncertain."""
T_MANY = 1.64

ONE_SEED = {"backbone_limit": 0.15, "few_labels": 0.03, "linear": 0.03, "share": 0.03, "share_h": 0.03}
"""Standard deviations between seeds, for studies of one seed. Two seeds of seven trained variants on digits differed by
0.02 to 0.21 in L*_P(h), which is 1.4 standard deviations; by up to 0.04 in accuracies with 100 labels; by up to 0.02 in
shares of a fall of the loss and of variance."""


def held_if(condition: bool) -> Outcome:
    """Return held where the condition is true, failed where it is not."""
    return "held" if condition else "failed"


def all_of(outcomes: Sequence[Outcome]) -> Outcome:
    """Return failed if one part of a statement failed, held if there are parts and each held, else undecided."""
    if "failed" in outcomes:
        return "failed"
    return "held" if outcomes and all(outcome == "held" for outcome in outcomes) else "undecided"


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds, and half the width of the interval around it: one side leaves out 5%."""

    mean: float
    margin: float
    num_seeds: int

    def __str__(self) -> str:
        about = "one seed" if self.num_seeds == 1 else f"{self.num_seeds} seeds"
        return f"{self.mean:.3g} ± {self.margin:.1g} ({about})"

    @property
    def positive(self) -> Outcome:
        """Held where the mean is above 0 by more than its margin, failed where it is below, else undecided."""
        if self.mean > self.margin:
            return "held"
        return "failed" if self.mean < -self.margin else "undecided"


def over_seeds(values: Sequence[float], one_seed: float) -> SeedMean:
    """Return the mean of one figure over seeds, such as a difference of two variants of the same seed, with its margin.

    `one_seed` is the standard deviation between seeds to assume where there is one seed only.
    """
    if not values:
        raise ValueError("values: got none, wanted one per seed")
    count = len(values)
    if count == 1:
        return SeedMean(values[0], T_MANY * one_seed, 1)
    quantile = T_95[count - 2] if count - 2 < len(T_95) else T_MANY
    return SeedMean(fmean(values), quantile * stdev(values) / count**0.5, count)
