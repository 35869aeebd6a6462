"""From numbers to places: scales, round ticks, labels kept apart, long curves smoothed and thinned."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from barlow.report.formats import number

Values = NDArray[np.float64]

MAX_POINTS = 600
"""Points drawn per curve; more cannot be seen and make the page heavy."""


@dataclass(frozen=True)
class Scale:
    """A range of numbers laid on a length of 1.

    Attributes:
        low, high: ends of the range, low < high; both above 0 when `log`.
        log: equal ratios take equal lengths.
    """

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return where `value` lies, 0 at `low` and 1 at `high`; values outside are put on the end."""
        if self.log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Return at most about `most` round values in the range with their labels."""
        values = _log_ticks(self.low, self.high, most) if self.log else []
        if len(values) < 2:
            values = _linear_ticks(self.low, self.high, most)
        return [(value, number(value)) for value in values]


def scale_for(values: Sequence[float] | Values, *, log: bool = False, from_zero: bool = False) -> Scale:
    """Return a scale that holds all finite `values` with a little room.

    Args:
        values: what has to fit; not finite ones, and for `log` those at or below 0, are left out.
        log: logarithmic.
        from_zero: the linear range starts at 0, as lengths of bars must.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array) & ((array > 0) | (not log))]
    if array.size == 0:
        return Scale(0.1, 1.0, log=True) if log else Scale(0.0, 1.0)
    low, high = float(array.min()), float(array.max())
    if log:
        room = max((high / low) ** 0.04, 1.05)
        return Scale(low / room, high * room, log=True)
    room = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    bottom = min(0.0, low) if from_zero else low - room
    return Scale(0.0 if low >= 0.0 > bottom else bottom, high + room)


def wants_log(values: Sequence[float] | Values, ratio: float = 15.0) -> bool:
    """Return whether positive values span more than `ratio`, too much for a linear axis."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    return bool(array.size and array.min() > 0 and array.max() > ratio * array.min())


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    raw = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(multiple * power for multiple in (1, 2, 2.5, 5, 10, 20) if multiple * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{position * step:.12g}") for position in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        values = [m * 10.0**k for k in decades for m in steps if low <= m * 10.0**k <= high]
        if len(values) <= most:
            return values
    stride = math.ceil(len(values) / most)
    return values[::stride]


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels apart until neighbours keep `gap`, in their order, inside [low, high] if there is room."""
    order = sorted(range(len(places)), key=lambda position: places[position])
    moved = [min(max(places[position], low), high) for position in order]
    for index in range(1, len(moved)):
        moved[index] = max(moved[index], moved[index - 1] + gap)
    if moved and moved[-1] > high:
        moved[-1] = max(high, low)
        for index in range(len(moved) - 2, -1, -1):
            moved[index] = min(moved[index], moved[index + 1] - gap)
    result = [0.0] * len(places)
    for index, position in enumerate(order):
        result[position] = moved[index]
    return result


def smooth(y: Values, share: float = 0.03) -> Values:
    """Return the centred moving average over `share` of the curve.

    The window shrinks evenly at the start, where curves are steep, and only on the right at the end, where
    they are flat and the last value should not be one noisy batch.
    """
    half = int(len(y) * share / 2)
    if half < 1:
        return y
    here = np.arange(len(y))
    before = np.minimum(here, half)
    after = np.minimum(before, here[::-1])
    sums = np.concatenate([[0.0], np.cumsum(y)])
    return np.asarray((sums[here + after + 1] - sums[here - before]) / (before + after + 1))


def thin(x: Values, y: Values, most: int = MAX_POINTS) -> tuple[Values, Values]:
    """Keep at most `most` points of a curve: lowest and highest of every stretch, so no spike is lost."""
    if len(x) <= most:
        return x, y
    edges = np.linspace(0, len(x), most // 2 + 1).astype(int)
    kept: set[int] = set()
    for first, last in pairwise(edges.tolist()):
        kept |= {first + int(y[first:last].argmin()), first + int(y[first:last].argmax())}
    index = np.array(sorted(kept))
    return x[index], y[index]
