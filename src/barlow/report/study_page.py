"""The page of a study: what the paper says, what was found, whatever it is, and how to make it again. No torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from barlow.formats import Number, count, duration, number, text
from barlow.report.charts import FEW_POINTS
from barlow.report.formulas import formula
from barlow.report.page import contents, write_page
from barlow.report.plot import Scale, curve, plot, scale_for, stretched
from barlow.report.sections import section, table

Outcome = Literal["held", "failed", "undecided"]
HEIGHT = 300
MARGIN = 0.04
"""Room beside the first and the last point, as a share of the axis."""


@dataclass(frozen=True)
class Finding:
    """One claim and what was found of it.

    Attributes:
        claim: its mark, such as "C6" or "P8".
        statement: what is claimed, a sentence that can be true or false.
        outcome: held, failed or undecided.
        evidence: the numbers, a sentence.
    """

    claim: str
    statement: str
    outcome: Outcome
    evidence: str

    def __post_init__(self) -> None:
        if self.outcome not in ("held", "failed", "undecided"):
            raise ValueError(f"outcome: got {self.outcome!r}, wanted held, failed or undecided")

    @property
    def sentence(self) -> str:
        """The finding as one reads it."""
        return f"{self.claim}: {self.statement} {self.outcome.capitalize()}: {self.evidence}"


@dataclass(frozen=True)
class Table:
    """Numbers and texts in rows; numbers are rounded on the page and kept in `results.json`."""

    title: str
    reading: str
    head: Sequence[str]
    rows: Sequence[Sequence[Number | str]]


@dataclass(frozen=True)
class Curve:
    """Points in the order of x, with a name; `dashed` for what a formula predicts."""

    name: str
    x: Sequence[Number]
    y: Sequence[Number]
    color: str = "c1"
    dashed: bool = False


@dataclass(frozen=True)
class Plot:
    """Curves over one axis; on a logarithmic one, points at or below 0 are left out. `y_name`: what y measures."""

    title: str
    reading: str
    x_name: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = False
    y_name: str = ""


@dataclass(frozen=True)
class Conclusion:
    """What a study concludes: findings first, then tables and plots in the order of the page."""

    findings: Sequence[Finding]
    parts: Sequence[Table | Plot] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        """Return findings and tables as JSON holds them; plots show the same numbers."""
        tables = [asdict(part) for part in self.parts if isinstance(part, Table)]
        return {"verdicts": [asdict(finding) for finding in self.findings], "tables": tables}


@dataclass(frozen=True)
class StudyRecord:
    """How a study was made: the command that makes it again, settings and versions by name, seconds by cell."""

    command: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    seconds: Mapping[str, float]


def write_study_page(path: Path, title: str, statement: str, conclusion: Conclusion, record: StudyRecord) -> Path:
    """Write the page of a study; `statement` is what the paper says.

    In the order in which a reader wants it: the answer in a sentence, the first plot, each statement with what was
    found, the other plots, and the tables behind folds.
    """
    plots = [part for part in conclusion.parts if isinstance(part, Plot)]
    tables = [part for part in conclusion.parts if isinstance(part, Table)]
    drawn = [section(f"part-{place}", part.title, part.reading, _plot(part)) for place, part in enumerate(plots)]
    drawn = [part for part in drawn if part]
    folded = [section(f"table-{place}", part.title, part.reading, _folded(part)) for place, part in enumerate(tables)]
    found = section("findings", "Statement by statement", statement, _summary(conclusion.findings))
    parts = [*drawn[:1], found, *drawn[1:], *folded, _record(record)]
    header = f'<header><h1>{text(title)}</h1><p class="lead">{formula(headline(conclusion.findings))}</p>'
    return write_page(path, title, f"{header}{contents(parts)}</header>{''.join(parts)}")


def headline(findings: Sequence[Finding]) -> str:
    """Return the answer of a study in two sentences: how its statements fared, and its first one."""
    if not findings:
        return "Nothing is found yet."
    counts = {outcome: sum(one.outcome == outcome for one in findings) for outcome in ("held", "failed", "undecided")}
    said = ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number)
    first = findings[0]
    claim = first.statement[:1].upper() + first.statement[1:].rstrip(".")
    return f"{claim}: {first.outcome}. Of {count(len(findings), 'statement')} in all: {said}."


def _folded(part: Table) -> str:
    """A table behind a fold; nothing where it has no rows."""
    inside = _table(part)
    return f"<details><summary>{count(len(part.rows), 'row')}</summary>{inside}</details>" if inside else ""


def _summary(findings: Sequence[Finding]) -> str:
    said = [
        f"<li><b>{text(finding.claim)} {finding.outcome}.</b> {formula(finding.statement)} "
        f'<span class="note">{formula(finding.evidence[:1].upper() + finding.evidence[1:])}</span></li>'
        for finding in findings
    ]
    return f'<ul class="said">{"".join(said)}</ul>'


def _table(part: Table) -> str:
    rows = [[text(value if isinstance(value, str) else number(value)) for value in row] for row in part.rows]
    return table([formula(name) for name in part.head], rows) if rows else ""


def _plot(part: Plot) -> str:
    lines = [_points(line, part) for line in part.curves]
    lines = [line for line in lines if len(line.x)]
    if not lines:
        return ""
    xs = _across(np.concatenate([np.asarray(line.x, dtype=np.float64) for line in lines]), log=part.log_x)
    ys = scale_for(np.concatenate([np.asarray(line.y, dtype=np.float64) for line in lines]), log=part.log_y)
    drawn = "".join(
        curve(
            np.asarray(line.x, dtype=np.float64),
            np.asarray(line.y, dtype=np.float64),
            xs,
            ys,
            HEIGHT,
            f"{line.color} dashed" if line.dashed else line.color,
            dots=len(line.x) <= FEW_POINTS and not line.dashed,
        )
        for line in lines
    )
    ends = [(line.name, line.color, float(line.y[-1])) for line in lines]
    axis = f"{part.x_name}, logarithmic" if part.log_x else part.x_name
    return plot(part.y_name or part.title, xs, ys, HEIGHT, axis, stretched(drawn, HEIGHT), ends)


def _points(line: Curve, part: Plot) -> Curve:
    """The points that the axes can show."""
    kept = [
        (x, y)
        for x, y in zip(line.x, line.y, strict=True)
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or not part.log_x) and (y > 0 or not part.log_y)
    ]
    return Curve(line.name, [x for x, _ in kept], [y for _, y in kept], line.color, line.dashed)


def _across(x: np.ndarray[Any, np.dtype[np.float64]], *, log: bool) -> Scale:
    low, high = float(x.min()), float(x.max())
    if low == high:
        return scale_for(x, log=log)
    if log:
        room = (high / low) ** MARGIN
        return Scale(low / room, high * room, log=True)
    return Scale(low - MARGIN * (high - low), high + MARGIN * (high - low))


def _record(record: StudyRecord) -> str:
    total = sum(record.seconds.values())
    rows = [["command", text(record.command)]]
    rows += [[text(name), text(value)] for name, value in record.settings.items()]
    rows.append(["measured", text(f"{count(len(record.seconds), 'cell')}, {duration(total)} of computing in all")])
    rows.append(["versions", text(", ".join(f"{name} {value}" for name, value in record.versions.items()))])
    reading = "The same command goes on where it stopped and keeps what is measured."
    return section("record", "How this was made", reading, table([], rows, numeric=False))
