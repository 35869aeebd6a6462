"""By how much one arm is ahead of another, paired by seed, with the interval that so few seeds allow: for `methods.py`.

Two arms of one seed share data, probes and, where the network is the same, its first weights, so that their difference
is the figure to look at. Its interval is Student's: mean ± t s / sqrt(n), t with n - 1 degrees of freedom, 4.30 for
three seeds. One seed has no interval, and then there is no lead to speak of.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import t

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Lead:
    """Differences of two arms in points, seed by seed."""

    by_seed: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean difference over seeds."""
        return statistics.fmean(self.by_seed)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Ends of the two-sided interval of the mean, None with one seed."""
        count = len(self.by_seed)
        if count < 2:
            return None
        margin = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * statistics.stdev(self.by_seed) / math.sqrt(count)
        return self.mean - margin, self.mean + margin

    def __str__(self) -> str:
        if self.interval is None:
            return "one seed"
        low, high = self.interval
        return f"{self.mean:+.1f} ({low:+.1f} to {high:+.1f})"


def lead(results: Sequence[Mapping[str, Any]], arm: str, other: str, figure: str) -> Lead | None:
    """Return the lead of `arm` over `other` in points of a figure, over the seeds that both have; None without any."""
    values = {
        name: {one["seed"]: one[figure] for one in results if one["arm"] == name and figure in one}
        for name in (arm, other)
    }
    shared = sorted(values[arm].keys() & values[other].keys())
    return Lead(tuple(100 * (values[arm][seed] - values[other][seed]) for seed in shared)) if shared else None
