"""The figures of an audit as numbers with intervals, read with tolerance: what could not be measured is missing.

An interval is value +- 2 standard errors, cut to what is possible. Closed forms and counts have no standard error.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from barlow.report.formats import number

Record = Mapping[str, Any]
NUM_ERRORS = 2.0
"""Half-width of an interval in standard errors: about 95%."""
FINE_INTERVAL = 0.01
"""Percentages whose interval is narrower than this on either side are written with one decimal."""
POSSIBLE: Mapping[str, tuple[float, float]] = {
    "augmentation_share": (0.0, 1.0),
    "augmentation_share_z": (0.0, 1.0),
    "mean_correlation": (0.0, 1.0),
    "view_information": (0.0, math.inf),
    "rank": (0.0, math.inf),
    "condition_number": (1.0, math.inf),
    "effective_rank": (0.0, math.inf),
    "participation_ratio": (0.0, math.inf),
    "rank_me": (0.0, math.inf),
    "lidar": (0.0, math.inf),
    "alpha_r_squared": (0.0, 1.0),
    "alignment": (0.0, 4.0),
    "uniformity": (-math.inf, 0.0),
    "asymmetry": (0.0, 2.0),
    "asymmetry_expected": (0.0, math.inf),
    "skew_share": (0.0, 1.0),
    "null_edge": (0.0, 1.0),
    "num_above_edge": (0.0, math.inf),
}
"""Least and largest possible value by name; a name that is not here may be any number."""
COUNTS = ("rank", "null_edge", "num_above_edge")
"""Quantities that need no error: counts, and what only the sizes decide."""


class MissingFigureError(LookupError):
    """A figure that the audit does not have; the message is its place, such as "loss.batch"."""


@dataclass(frozen=True)
class Measured:
    """A number with its standard error.

    Attributes:
        value: the number.
        error: one standard error; None where none is known.
        least: smallest possible value, where intervals are cut.
        most: largest possible value.
        exact: whether no error is known because there is none to know: closed forms, counts.
    """

    value: float
    error: float | None = None
    least: float = -math.inf
    most: float = math.inf
    exact: bool = False

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return None if self.error is None else min(max(self.value - NUM_ERRORS * self.error, self.least), self.most)

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return None if self.error is None else max(min(self.value + NUM_ERRORS * self.error, self.most), self.least)

    def above(self, threshold: float) -> bool | None:
        """Return whether the whole interval lies above a threshold, None where it straddles it.

        Without a standard error the value alone decides.
        """
        low, high = self.low, self.high
        if low is None or high is None:
            return self.value > threshold
        return True if low > threshold else None if high > threshold else False

    def as_percent(self) -> str:
        """Return "48% [46, 50]", with a decimal where the interval is narrow enough for one."""
        if self.low is None or self.high is None:
            return f"{_percent(self.value, 0)}%{self._unknown}"
        decimals = 1 if self.high - self.low < 2 * FINE_INTERVAL else 0
        low, high = _percent(self.low, decimals), _percent(self.high, decimals)
        return f"{_percent(self.value, decimals)}% [{low}, {high}]"

    def as_number(self) -> str:
        """Return "12.3 [11.8, 12.8]"."""
        if self.low is None or self.high is None:
            return number(self.value) + self._unknown
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"

    @property
    def _unknown(self) -> str:
        return "" if self.exact else " (error not known)"


class Figures:
    """The figures of one audit by place: "loss.batch" is figures["loss"]["batch"].

    Args:
        figures: as in audit.json; anything may be absent, null or of another kind.
    """

    def __init__(self, figures: Mapping[str, Any]) -> None:
        self._figures = figures

    def number(self, place: str) -> float:
        """Return the finite number at `place`.

        Raises:
            MissingFigureError: there is none.
        """
        found = self.find(place)
        if found is None:
            raise MissingFigureError(place)
        return found

    def find(self, place: str) -> float | None:
        """Return the finite number at `place`, None where there is none."""
        return finite(self._at(place))

    def measured(self, place: str, *, least: float = -math.inf, most: float = math.inf) -> Measured:
        """Return the number at `place` with its error, which stands beside it: "loss.batch" and "loss.batch_error".

        Args:
            place: of the number.
            least: smallest possible value.
            most: largest possible value.

        Raises:
            MissingFigureError: there is none.
        """
        return Measured(self.number(place), self.find(f"{place}_error"), least, most)

    def word(self, place: str) -> str:
        """Return the text at `place`, empty where there is none."""
        found = self._at(place)
        return found if isinstance(found, str) else ""

    def quantity(self, name: str) -> Measured:
        """Return one of the quantities with its error, cut to what is possible.

        Raises:
            MissingFigureError: it was not measured.
        """
        least, most = POSSIBLE.get(name, (-math.inf, math.inf))
        value = self.number(f"quantities.{name}.value")
        error = self.find(f"quantities.{name}.error")
        return Measured(min(max(value, least), most), error, least, most, exact=name in COUNTS)

    def numbers(self, place: str) -> list[float]:
        """Return a list of numbers, up to the first entry that is none; empty where there is no list."""
        found: list[float] = []
        for entry in _sequence(self._at(place)):
            value = finite(entry)
            if value is None:
                break
            found.append(value)
        return found

    def records(self, place: str) -> list["Figures"]:
        """Return the entries of a list of records, such as "augmentations"."""
        return [Figures(cast(Record, entry)) for entry in _sequence(self._at(place)) if isinstance(entry, Mapping)]

    def _at(self, place: str) -> object:
        found: object = self._figures
        for key in place.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return found


def finite(value: object) -> float | None:
    """Return `value` as a float when it is a finite number, else None: JSON may hold null, NaN or text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _percent(share: float, decimals: int) -> str:
    return number(round(100.0 * share, decimals), 12)


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()
