"""What a study is: a claim of the paper, cells that measure, and a conclusion from their figures, whatever they are.

To write one, make a module `studies/<name>.py` with a constant STUDY and a line for it in `studies/table.py`:

    def _cells(settings: Settings) -> list[Cell]:            what is measured: one Cell per seed and arm
        return [Cell(f"wide-seed{seed}", _measure, {"data": settings.data, "seed": seed, ...}) for seed in ...]

    def _measure(work: Path, *, data: str, seed: int) -> Figures:       in any process, at any time, once
        return {"loss": ..., "curve": [...]}

    def _conclude(cells: Sequence[Finished]) -> Findings:    tables, plots and verdicts: "held", "failed", "undecided"
        return Findings([Verdict("C6", "...", "held", f"largest loss {worst:.2g}")], [Table(...), Plot(...)])

    STUDY = Study("Title", "The paper says ...", _cells, _conclude)

Cells take seconds to minutes: what a kill loses. They do not see each other's figures. A verdict is computed from the
figures and names them; thresholds are constants with their reason, and where noise could turn a verdict it is
"undecided". `settings.form` tells how much to do: "quick" in half a minute to two minutes of one core, or in six to
eight for the studies that train, "core" for the answer, "whole" for every cell of a grid. Everything else (files,
going on, processes, page) is done here.
"""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from barlow.report.study_page import Findings, StudyRecord, write_study_page
from barlow.run_folder import versions
from barlow.studies.cells import Cell, Finished, compute_cells
from barlow.training.durable_file import durable_file

Form = Literal["quick", "core", "whole"]

MAY_CHANGE = ("seeds", "data_root")
"""Settings that decide no cell: more seeds are more cells, and data may be moved."""


@dataclass(frozen=True)
class Settings:
    """What a study is asked to do.

    Attributes:
        data: a name or a path, as for `barlow pretrain`.
        data_root: where named data sets live; empty: nowhere in particular.
        seeds: 0, 1, ..., seeds - 1 are measured.
        form: quick, core or whole.
    """

    data: str
    data_root: str
    seeds: int
    form: Form


@dataclass(frozen=True)
class Study:
    """A claim and its test.

    Attributes:
        title: of the page.
        statement: what the paper says, in words, with the equation.
        cells: settings -> what is to be measured.
        conclude: the finished cells, in order -> verdicts, tables and plots.
    """

    title: str
    statement: str
    cells: Callable[[Settings], list[Cell]]
    conclude: Callable[[Sequence[Finished]], Findings]


@dataclass(frozen=True)
class Result:
    """A finished study: its folder, its page, and what it found."""

    folder: Path
    page: Path
    findings: Findings


def carry_out(
    name: str, study: Study, settings: Settings, out: str | Path, *, jobs: int = 0, quiet: bool = False
) -> Result:
    """Measure what is not measured yet, conclude, and write `results.json` and `study.html`.

    Args:
        name: of the study, for its record.
        study: from `STUDIES[name].load()`, or your own.
        settings: the same as before where `out` holds an unfinished or finished study; only seeds may be added.
        out: folder of the study.
        jobs: processes at once; 0: one per core.
        quiet: no progress on the terminal.

    Returns:
        The Result.

    Raises:
        ValueError: no seed, or a folder with something else or with the study under other settings.
        RuntimeError: a process broke off; finished cells are kept.
    """
    if settings.seeds < 1:
        raise ValueError(f"seeds: got {settings.seeds}, wanted at least 1")
    folder = Path(out)
    _take_up(folder, name, settings)
    cells = compute_cells(folder, study.cells(settings), jobs=jobs, quiet=quiet)
    findings = study.conclude(cells)
    record = StudyRecord(
        command=command_of(name, settings, folder),
        settings={name: value for name, value in asdict(settings).items() if value != ""},
        versions=versions(),
        seconds={cell.name: cell.seconds for cell in cells},
    )
    _write(folder / "results.json", {"study": name, **asdict(record), **findings.as_json()})
    page = write_study_page(folder / "study.html", study.title, study.statement, findings, record)
    return Result(folder, page, findings)


def command_of(name: str, settings: Settings, folder: Path) -> str:
    """Return the command line that makes a study again."""
    words = ["barlow", "study", name, "--data", settings.data, "--seeds", str(settings.seeds)]
    words += ["--data-root", settings.data_root] if settings.data_root else []
    words += [] if settings.form == "core" else [f"--{settings.form}"]
    return shlex.join([*words, "--out", str(folder)])


def _take_up(folder: Path, name: str, settings: Settings) -> None:
    """Write down what the folder is for, or check that it is for the same."""
    given = {"study": name} | {key: value for key, value in asdict(settings).items() if key not in MAY_CHANGE}
    path = folder / "study.json"
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"out: {str(folder)!r} holds something else, wanted a new folder or this study's")
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, given)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [
        f"{key} was {before.get(key)!r}, now {value!r}" for key, value in given.items() if before.get(key) != value
    ]
    if changed:
        raise ValueError(
            f"out: {str(folder)!r} was started with other settings: {'; '.join(changed)}. "
            "Go on with the old ones, or choose another folder"
        )


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with durable_file(path) as file:
        file.write(json.dumps(content, indent=1).encode())
