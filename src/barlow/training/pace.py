"""How fast work goes and how long it will take."""

import time
from collections import deque
from collections.abc import Callable

WINDOW = 60
"""Marks kept, at most one a second: the pace is that of the last minute."""


class Pace:
    """Rate over the last minute, so that one slow start or one long pause is soon forgotten."""

    def __init__(self, total: int, *, start: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock.

        Args:
            total: steps of the whole work.
            start: steps that were done before, by the run that is resumed.
            clock: seconds, from any origin.
        """
        self._total = total
        self._clock = clock
        self._now = (clock(), start, 0)  # seconds, steps done, samples seen
        self._marks = deque([self._now], maxlen=WINDOW)

    def advance(self, done: int, samples: int = 0) -> None:
        """Note that `done` steps are behind us.

        Args:
            done: steps done, those before the start included.
            samples: samples of the work since the last call.
        """
        self._now = (self._clock(), done, self._now[2] + samples)
        if self._now[0] - self._marks[-1][0] >= 1:
            self._marks.append(self._now)

    @property
    def samples_per_second(self) -> float:
        """Samples per second; 0 before anything is done."""
        seconds, _, samples = self._since_oldest_mark()
        return samples / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last step at this pace; None before anything is done."""
        seconds, steps, _ = self._since_oldest_mark()
        return (self._total - self._now[1]) * seconds / steps if steps > 0 else None

    def _since_oldest_mark(self) -> tuple[float, int, int]:
        then, done, samples = self._marks[0]
        return self._now[0] - then, self._now[1] - done, self._now[2] - samples
