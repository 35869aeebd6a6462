"""One thing that the figures of an audit say: a sentence with its number and interval, and what to try next."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from barlow.auditing.measured import Figures, Measured

Level = Literal["good", "note", "warning"]


@dataclass(frozen=True)
class Verdict:
    """What the figures say about one question.

    Attributes:
        name: of the question, such as "batch_floor".
        level: "warning": something to change; "note": how to read the figures; "good": nothing to change.
        sentence: what was found, with number and interval.
        value: the number.
        low: lower end of its interval; None for closed forms and counts.
        high: upper end.
        advice: what to try next.
    """

    name: str
    level: Level
    sentence: str
    value: float
    low: float | None
    high: float | None
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)


Check = Callable[[Figures], Verdict | None]
"""One question to the figures: None where nothing is to be said; MissingFigureError where it cannot be put."""


def say(name: str, level: Level, found: Measured, sentence: str, advice: str) -> Verdict:
    """Return a verdict about a measured number."""
    return Verdict(name, level, sentence, found.value, found.low, found.high, advice)
