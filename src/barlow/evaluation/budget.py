"""How many samples an evaluation looks at where it has to keep to a time: decided once, from a pilot, and written down.

A time never enters a result by itself: it decides numbers of samples, which stand in the result, and an evaluation that
is taken up again is given them.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Int64
from torch import Tensor

from barlow.evaluation.arms import MOST_VALIDATION, VALIDATION_SHARE, seconds_of_probes
from barlow.evaluation.features import Features
from barlow.evaluation.splits import spread_over_classes

LADDER = (9, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.4, 1.2, 1)
"""Leading figures of the numbers to choose from, so that nearly equal times end at equal numbers."""
PILOT = 1000
"""Training samples of the pilot, and test samples, at most."""
PILOT_PER_SECOND = 12
"""Those of a pilot for so many seconds, so that it leaves most of a short time to what it is for."""
FEWEST, FEWEST_PER_CLASS = 300, 20
"""Fewer tell too little: so many training samples, and test samples, are looked at even where they take longer."""
TIMED = 64
"""Samples by which the pilot's own size is decided."""
EXTRACTION = 0.3
"""Share of the time that the features of all samples may take where no pilot is needed, and those of the pilot."""
SAFETY = 0.7
"""Share of the time that is planned with: a pilot is short, and other programs may be at work."""
SEED = 0
"""Of the choice of samples: the same ones for every network."""

LARGE, LARGE_SECONDS = 200_000, 1800.0
"""Samples beyond which an evaluation that was given no time takes about so long, and says what it looked at."""

Take = Callable[[str, list[int]], Features]
"""("train" or "test", positions) -> features."""


def seconds_for(seconds: float | None, num_samples: int) -> float | None:
    """Return about how long an evaluation of so many samples may take; None: as long as all of them do."""
    return LARGE_SECONDS if seconds is None and num_samples > LARGE else seconds


@dataclass(frozen=True)
class Sizes:
    """How many samples an evaluation looks at, and why.

    Attributes:
        train: training samples, of `of_train`.
        test: test samples, of `of_test`.
        seconds: what it was given.
        predicted_seconds: what the pilot expects all samples to take; 0 where none was needed.
    """

    train: int
    test: int
    of_train: int
    of_test: int
    seconds: float
    predicted_seconds: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.train == self.of_train and self.test == self.of_test

    @property
    def note(self) -> str:
        """What a reader has to know where not all samples were looked at; else empty."""
        if self.whole:
            return ""
        return (
            f"neighbours, linear probe and few labels on {self.train:,} of {self.of_train:,} training samples and "
            f"{self.test:,} of {self.of_test:,} test samples, class by class and the same for every row: all of them "
            f"would take about {self.predicted_seconds:,.0f} s, {self.seconds:,.0f} s were given"
        )

    def fits(self, num_train: int, num_test: int) -> bool:
        """Whether this was decided for as many samples as there are."""
        return (self.of_train, self.of_test) == (num_train, num_test)

    def as_record(self) -> dict[str, Any]:
        """Return the numbers for the result and the journal; `Sizes(**record)` is this again."""
        return asdict(self)


@dataclass(frozen=True)
class Cost:
    """What one kind of features took on n = `train` and m = `test` samples of the pilot.

    Attributes:
        width: d.
        extraction: seconds per sample.
        knn: seconds of the neighbours, the choice among the training samples included.
        linear: of the linear probe.
        few_labels: of the few-label fits.
    """

    train: int
    test: int
    width: int
    extraction: float
    knn: float
    linear: float
    few_labels: float

    def predicted(self, train: int, test: int) -> float:
        """Seconds on other numbers: similarities grow with queries times samples, the steps of a fit with n min(n, d).

        The few-label fits do not grow: they have as many labels.
        """
        knn = self.knn * _similarities(train, test) / _similarities(self.train, self.test)
        linear = self.linear * train * min(train, self.width) / (self.train * min(self.train, self.width))
        return self.extraction * (train + test) + knn + linear + self.few_labels


def _similarities(train: int, test: int) -> float:
    return float(train * (test + min(MOST_VALIDATION, VALIDATION_SHARE * train)))


def round_down(number: int | float) -> int:
    """Return the largest step of `LADDER` times a power of ten that is not above a number."""
    power = 10 ** max(0, math.floor(math.log10(max(number, 1))))
    return next((int(step * power) for step in LADDER if step * power <= number), 1)


def decide(
    arms: Mapping[str, Take], train_y: Int64[Tensor, " n"], test_y: Int64[Tensor, " m"], *, seconds: float
) -> Sizes:
    """Choose how many samples fit into a time, the same for all kinds of features.

    Where the features of all samples take little of the time, and they are few, all are looked at. Else the probes run
    on a pilot, and the largest numbers that are expected to keep to what is left of the time are taken. ValueError:
    a time that is no positive number.
    """
    if not seconds > 0:
        raise ValueError(f"seconds: got {seconds}, wanted a positive number")
    whole = Sizes(len(train_y), len(test_y), len(train_y), len(test_y), seconds)
    started = time.perf_counter()
    each = {name: _seconds_per_sample(take, train_y) for name, take in arms.items()}
    most = EXTRACTION * seconds / max(sum(each.values()), 1e-9)
    if len(train_y) + len(test_y) <= min(most, 2 * PILOT):
        return whole
    fewest = max(FEWEST, FEWEST_PER_CLASS * len(train_y.unique()))
    number = min(PILOT, max(fewest, int(min(most / 2, PILOT_PER_SECOND * seconds))))
    train, test = (spread_over_classes(y, most=number, seed=SEED).tolist() for y in (train_y, test_y))
    pilot = {name: (take("train", train), take("test", test)) for name, take in arms.items()}
    costs = costs_of(pilot, each)
    left = SAFETY * seconds - (time.perf_counter() - started)
    return _largest(costs, whole, left, fewest)


def costs_of(arms: Mapping[str, tuple[Features, Features]], extraction: Mapping[str, float]) -> list[Cost]:
    """Time the probes of each kind of features (training part, test part); `extraction` is in seconds per sample."""
    seconds_of_probes(*next(iter(arms.values())))  # libraries start in the first call, once and not in proportion
    return [
        Cost(len(train), len(test), train.h.shape[1], extraction[name], *seconds_of_probes(train, test))
        for name, (train, test) in arms.items()
    ]


def _largest(costs: list[Cost], whole: Sizes, seconds: float, fewest: int) -> Sizes:
    """The largest sizes that keep to the time, with at most as many test samples as training samples unless all fit."""
    in_all = sum(cost.predicted(whole.train, whole.test) for cost in costs)
    train, test = whole.train, whole.test
    while sum(cost.predicted(train, test) for cost in costs) > seconds and train > fewest:
        train = max(fewest, round_down(train - 1))
        test = min(whole.test, train)
    return Sizes(train, test, whole.of_train, whole.of_test, whole.seconds, in_all)


def _seconds_per_sample(take: Take, train_y: Tensor) -> float:
    """The faster of two small batches after a first one, in which libraries start."""
    positions = spread_over_classes(train_y, most=3 * TIMED, seed=SEED).tolist()
    times = []
    for start in range(3):
        part = positions[start::3]
        if part:
            began = time.perf_counter()
            take("train", part)
            times.append((time.perf_counter() - began) / len(part))
    return min(times[1:] or times)
