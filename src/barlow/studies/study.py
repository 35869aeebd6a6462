"""What a study is: a claim of the paper, cells that measure, and a conclusion from what they measured.

To write one, make a module `studies/<name>.py` with a constant STUDY and a line for it in `studies/table.py`:

    def _cells(settings: Settings) -> list[Cell]:            what is measured: one Cell per seed and case
        return [Cell(f"wide-seed{seed}", _measure, {"data": settings.data, "seed": seed, ...}) for seed in ...]

    def _measure(work: Path, *, data: str, seed: int) -> Metrics:       in any process, at any time, once
        return {"loss": ..., "curve": [...]}

    def _conclude(cells: Sequence[Finished]) -> Conclusion:  tables, plots and findings: "held", "failed", "undecided"
        return Conclusion([Finding("C6", "...", "held", f"largest loss {worst:.2g}")], [Table(...), Plot(...)])

    STUDY = Study("Title", "The paper says ...", _cells, _conclude)

Cells take seconds to minutes: what a kill loses. They do not see each other's metrics. A finding is computed from the
metrics and names them; thresholds are constants with their reason, and where noise could turn a finding it is
"undecided". `settings.form` tells how much to do: "quick" in half a minute to two minutes of one core, or in six to
eight for the studies that train, "core" for the answer, "whole" for every cell of a grid. Everything else (files,
going on, processes, page) is done here.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from barlow.files import write_json
from barlow.modalities import modality_for, place_to_keep
from barlow.report.page import sparing_a_page
from barlow.report.study_page import Conclusion, StudyRecord, write_study_page
from barlow.runs.folder import started_with, versions
from barlow.studies.cells import DATA_ROOT, Cell, Finished, compute_cells
from barlow.training.progress import Progress
from barlow.writers import one_writer

Form = Literal["quick", "core", "whole"]

MAY_CHANGE = ("seeds", DATA_ROOT)
"""Settings that decide no cell: more seeds are more cells, and data may be moved."""


UNSAID = (("labels", "auto"), ("hold_out", ""))
"""Settings of some studies, as they are where nobody says them."""


@dataclass(frozen=True)
class Settings:
    """What a study is asked to do.

    Attributes:
        data: a name or a path, as for `barlow pretrain`.
        data_root: folder of the named data sets; empty: nowhere in particular.
        seeds: 0, 1, ..., seeds - 1 are measured.
        labels: pattern of names that tells labels and groups, for studies of sound.
        hold_out: groups to test on, for studies of sound.
    """

    data: str
    data_root: str
    seeds: int
    form: Form
    labels: str = "auto"
    hold_out: str = ""

    @property
    def data_arguments(self) -> dict[str, Any]:
        """Data and their folder, as arguments of a cell."""
        return {"data": self.data, DATA_ROOT: self.data_root}


@dataclass(frozen=True)
class Study:
    """A claim and its test.

    Attributes:
        statement: what the paper says, in words, with the equation.
        cells: settings -> what is to be measured.
        conclude: the finished cells, in order -> findings, tables and plots.
        seeds: how many are measured where nobody says it, but for the quick form, which has one.
    """

    title: str
    statement: str
    cells: Callable[[Settings], list[Cell]]
    conclude: Callable[[Sequence[Finished]], Conclusion]
    seeds: int = 3


@dataclass(frozen=True)
class Result:
    """A finished study: its folder, its page, and what it found."""

    folder: Path
    page: Path
    conclusion: Conclusion


def carry_out(
    name: str, study: Study, settings: Settings, out: str | Path, *, jobs: int = 0, quiet: bool = False
) -> Result:
    """Measure what is not measured yet, conclude, and write `study.html` and `results.json`.

    Where `out` holds an unfinished or finished study, the settings are the same as before; only seeds may be added.
    `jobs` is processes at once; 0: one per core. Where a process broke off (RuntimeError), finished cells are kept.
    """
    if settings.seeds < 1:
        raise ValueError(f"seeds: got {settings.seeds}, wanted at least 1")
    folder = Path(out).expanduser()
    place = place_to_keep(modality_for(settings.data), settings.data)  # the same from everywhere
    with one_writer(folder):
        return _carry_out(name, study, replace(settings, data=place), folder, jobs, quiet)


def _carry_out(name: str, study: Study, settings: Settings, folder: Path, jobs: int, quiet: bool) -> Result:
    _begin_or_go_on(folder, name, settings)
    cells = compute_cells(folder, study.cells(settings), jobs=jobs, quiet=quiet)
    conclusion = study.conclude(cells)
    record = StudyRecord(
        command=command_of(name, settings, folder),
        settings={
            name: value for name, value in asdict(settings).items() if value != "" and (name, value) not in UNSAID
        },
        versions=versions(),
        seconds={cell.name: cell.seconds for cell in cells},
    )
    page = folder / "study.html"
    with sparing_a_page(Progress("study", 0, quiet=quiet).say):
        write_study_page(page, study.title, study.statement, conclusion, record)
    write_json(folder / "results.json", {"study": name, **asdict(record), **conclusion.as_json()})  # says: all is done
    return Result(folder, page, conclusion)


def command_of(name: str, settings: Settings, folder: Path) -> str:
    """Return the command line that makes a study again."""
    words = ["barlow", "study", name, "--data", settings.data, "--seeds", str(settings.seeds)]
    words += ["--data-root", settings.data_root] if settings.data_root else []
    words += [] if settings.labels == "auto" else ["--labels", settings.labels]
    words += ["--hold-out", settings.hold_out] if settings.hold_out else []
    words += [] if settings.form == "core" else [f"--{settings.form}"]
    return shlex.join([*words, "--out", str(folder)])


def _begin_or_go_on(folder: Path, name: str, settings: Settings) -> None:
    """Write down what the folder is for, or check that it is for the same."""
    said = {key: value for key, value in asdict(settings).items() if key not in MAY_CHANGE}
    # Of what only some studies have, what was not said is not there, as in folders from before there was such a thing.
    given = {"study": name} | {key: value for key, value in said.items() if (key, value) not in UNSAID}
    if not started_with(folder, "study.json", given, "this study's"):
        write_json(folder / "study.json", given)
