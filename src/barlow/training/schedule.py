"""Which step of the plan each step of a run stands for: itself, or where the clock says, in a run fitted to a time.

    planned steps   0 ........................ planned     what the learning rate and the method's own schedules know
    steps           0 ...... turn ....... total            what is trained; `total` is settled anew as the clock tells

A run with a time goes through its planned schedule faster or slower, never cut short: from each decision on, the rest
of the plan is spread evenly over the steps that are left. So the cosine comes to its end at the last step, and, given
the decisions, every number of the run follows. They are in the checkpoint and in the journal; a run that is resumed
keeps those before its checkpoint.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

LOOKS = 50
"""Times that a run with a time looks at the clock."""
WINDOW = 10
"""Looks that the pace is measured over: a fifth of the run, so that one pause does not pass for the pace."""
SHORTEST_END = 0.02
"""Share of the planned steps that is trained from now on even where the time is up: a schedule needs steps to end."""


class Schedule:
    """The places of the steps of one run in its plan.

    Attributes:
        planned: steps of the plan.
        total: steps that the run will have, as it looks now.
    """

    def __init__(self, planned: int, seconds_left: Callable[[], float] | None = None) -> None:
        """Plan so many steps; `seconds_left` tells how long training may go on, None: as long as they take."""
        self.planned = self.total = planned
        self._seconds_left = seconds_left
        self._turns: list[
            tuple[int, float, int]
        ] = []  # step, its place in the plan, steps of the whole run from then on
        self._marks: deque[tuple[float, int]] = deque(maxlen=WINDOW + 1)  # seconds left, step
        self._pause = 0.0

    @property
    def is_timed(self) -> bool:
        """Whether the clock has a say in how many steps there are."""
        return self._seconds_left is not None

    def place(self, step: int) -> int | float:
        """Return where step `step` (from 0) stands in the plan, from 0 to `planned`."""
        if not self._turns:
            return step
        begin, place, total = self._turns[-1]
        return place + (self.planned - place) * (step - begin) / (total - begin)

    def is_due(self, step: int) -> bool:
        """Return whether it is time for a decision, before step `step`; never in a run without a time."""
        if self._seconds_left is None:
            return False
        left = self._seconds_left()
        if not self._marks:
            self._pause = max(left, 0.0) / LOOKS
            self._marks.append((left, step))
            return left <= 0
        return step > self._marks[-1][1] and self._marks[-1][0] - left >= self._pause

    def suggestion(self, step: int) -> int:
        """Return the steps of the whole run by which its time is over, at the pace of late; at least a short end."""
        if self._seconds_left is None:
            return self.total
        left = self._seconds_left()
        self._marks.append((left, step))
        (before, begin), least = self._marks[0], max(1, round(SHORTEST_END * self.planned))
        least = min(least, max(1, self.total - step))
        fitting = left * (step - begin) / (before - left) if before > left else 0.0
        return step + max(least, round(fitting))

    def turn(self, step: int, total: int) -> None:
        """Spread the rest of the plan over the steps from `step` (from 0, the next one) up to `total`."""
        if total <= step:
            raise ValueError(f"total: got {total}, wanted more than the {step} steps that are done")
        self._turns.append((step, float(self.place(step)), total))
        self.total = total

    def state(self) -> list[list[Any]]:
        """Return the decisions as a checkpoint holds them."""
        return [list(turn) for turn in self._turns]

    def restore(self, state: list[list[Any]]) -> None:
        """Take up the decisions of a checkpoint."""
        self._turns = [(int(step), float(place), int(total)) for step, place, total in state]
        self.total = self._turns[-1][2] if self._turns else self.planned
