"""The time of an audit: what is left of it, and what each part of the work may take."""

import time

FORWARDS = 0.4
"""Share of the time for the views of all networks: the figures of the features rest on them."""
SUMS = 0.25
"""Share for the sums of features that exist already: without a network, statistics take longer than these."""
FIT = 0.15
"""Share for fitting an MLP."""
USUAL = 60.0
"""Seconds for which the usual numbers of blocks, directions and multiplications are made."""
LATE = 1.2
"""Times the time that was asked for, beyond which an audit says what it took."""
DIRECTIONS = ((30.0, 512), (10.0, 256), (0.0, 128))
"""From so many seconds on, so many directions of wide features: every block of samples takes their cube."""


class Clock:
    """Counts from now; `seconds` is what the whole audit may take."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._started = seconds, time.perf_counter()

    @property
    def left(self) -> float:
        """Seconds that are left, not below 0."""
        return max(0.0, self.seconds - (time.perf_counter() - self._started))

    @property
    def overrun(self) -> float:
        """Seconds that were taken, 0 where they are about those that were asked for."""
        taken = time.perf_counter() - self._started
        return taken if taken > LATE * self.seconds else 0.0

    @property
    def usual(self) -> float:
        """What of the usual work fits, at most all: decided by the time that was asked for, not by one measured."""
        return min(1.0, self.seconds / USUAL)

    @property
    def directions(self) -> int:
        """Directions that the spectrum of wide features is of."""
        return next(most for least, most in DIRECTIONS if self.seconds >= least)
