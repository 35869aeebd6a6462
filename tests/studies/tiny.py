"""Studies made small: the same cells with arguments that take a moment."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from barlow.studies.cells import Finished
from barlow.studies.study import Result, Settings, Study, carry_out

SETTINGS = Settings(data="digits", data_root="", seeds=1, form="quick")
FEW = {"most_train": 150, "most_test": 60}
"""Images: 124 to train on, as many of each class as the probes label, and enough to measure 64 features on."""


def tiny(study: Study, **arguments: Any) -> Study:
    """The study with other arguments in every cell that has them."""

    def cells(settings: Settings) -> list[Any]:
        return [
            replace(cell, arguments={name: arguments.get(name, value) for name, value in cell.arguments.items()})
            for cell in study.cells(settings)
        ]

    return replace(study, cells=cells)


def carried_out(study: Study, folder: Path) -> Result:
    """The study in this process."""
    return carry_out("tiny", study, SETTINGS, folder, jobs=1, quiet=True)


def outcomes(result: Result, claim: str) -> list[str]:
    """How the findings on a claim came out, in the order of the page."""
    return [finding.outcome for finding in result.conclusion.findings if finding.claim == claim]


def with_metrics(cell: Finished, **metrics: Any) -> Finished:
    """A cell with some metrics changed, to see a finding turn."""
    changed: Mapping[str, Any] = {**cell.metrics, **metrics}
    return replace(cell, metrics=changed)
