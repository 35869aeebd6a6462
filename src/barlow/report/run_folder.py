"""What a run left behind, read with tolerance: a run that was killed half-way still gives a page.

Only `journal.jsonl` or `recipe.json` has to be there. What cannot be read is named in `Run.unreadable`.
"""

import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Record = Mapping[str, Any]
Array = NDArray[Any]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Positions in epochs and the values there."""


@dataclass(frozen=True)
class Run:
    """One run folder in memory.

    Attributes:
        folder: where it is.
        recipe: the fields of the recipe by name.
        start: the journal's first facts: data, versions, device, number of parameters.
        records: the journal without the steps that a resume took back.
        summary: evaluation, label-free figures, timing; empty while the run goes on.
        evidence: arrays by name: pictures, correlations, eigenvalues.
        unreadable: one sentence per file or line that could not be read.
    """

    folder: Path
    recipe: Record
    start: Record
    records: Sequence[Record]
    summary: Record
    evidence: Mapping[str, Array]
    unreadable: Sequence[str]

    def events(self, event: str) -> list[Record]:
        """Return the journal's records of one kind, oldest first."""
        return [record for record in self.records if record.get("event") == event]

    def section(self, name: str) -> Record:
        """Return one part of the summary, empty when it is not there."""
        return mapping(self.summary.get(name))

    def curve(self, event: str, *path: str) -> Curve:
        """Return a number of the journal over the epochs, e.g. `curve("step", "parts", "on_diagonal")`."""
        pairs = []
        for record in self.events(event):
            value: Any = record
            for key in path:
                value = mapping(value).get(key)
            epoch, figure = self.epoch_of(record), finite(value)
            if epoch is not None and figure is not None:
                pairs.append((epoch, figure))
        table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def epoch_of(self, record: Record) -> float | None:
        """Return how many epochs lay behind the run at `record`, fractions included."""
        step, per_epoch = finite(record.get("step")), finite(self.start.get("steps_per_epoch"))
        return step / per_epoch if step is not None and per_epoch else finite(record.get("epoch"))

    def names(self, event: str, field: str) -> list[str]:
        """Return the keys that `field` has in the records of one kind, in the order of their appearance."""
        return list(dict.fromkeys(key for record in self.events(event) for key in mapping(record.get(field))))

    @property
    def finished(self) -> bool:
        """Whether the last step was reached."""
        return bool(self.events("finish"))


def finite(value: object) -> float | None:
    """Return `value` as a float when it is a finite number, else None: the journal may hold null and NaN."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def mapping(value: object) -> Record:
    """Return `value` when it is a mapping, else an empty one."""
    return cast(Record, value) if isinstance(value, Mapping) else {}


def is_run(folder: Path) -> bool:
    """Return whether `folder` holds a run: a recipe or a journal."""
    return any((folder / name).is_file() for name in ("recipe.json", "journal.jsonl"))


def find_runs(folder: Path) -> list[Path]:
    """Return the run folders in `folder` and below it, sorted by path; `folder` itself when it is a run."""
    if is_run(folder):
        return [folder]
    return sorted(path for path in folder.rglob("*") if path.is_dir() and is_run(path))


def read_run(folder: Path) -> Run:
    """Read everything that a run folder has.

    Args:
        folder: holds recipe.json or journal.jsonl, and what else the run got to write.

    Returns:
        The run; what is missing is empty, what is damaged is named in `unreadable`.

    Raises:
        ValueError: neither a recipe nor a journal is there.
    """
    folder = Path(folder)
    if not is_run(folder):
        raise ValueError(f"folder: got {str(folder)!r}, wanted a run folder with recipe.json or journal.jsonl")
    unreadable: list[str] = []
    written = mapping(_read(folder / "recipe.json", _read_json, unreadable))
    summary = mapping(_read(folder / "summary.json", _read_json, unreadable))
    evidence = _read(folder / "evidence.npz", _read_arrays, unreadable) or {}
    records = without_undone_steps(list(_read_journal(folder / "journal.jsonl", unreadable)))
    starts = [record for record in records if record.get("event") == "start"]
    start = {**written, **(starts[-1] if starts else {})}
    start["data"] = {**mapping(written.get("data")), **mapping(start.get("data"))}
    recipe = mapping(written.get("recipe")) or mapping(start.get("recipe")) or written
    return Run(folder, recipe, start, records, summary, evidence, unreadable)


def without_undone_steps(records: Sequence[Record]) -> list[Record]:
    """Leave out the steps and probes that lie behind a later resume: they were run again."""
    kept: list[Record] = []
    for record in records:
        step = finite(record.get("step"))
        if record.get("event") == "resume" and step is not None:
            kept = [old for old in kept if not _undone(old, step)]
        kept.append(record)
    return kept


def _undone(record: Record, step: float) -> bool:
    return record.get("event") in ("step", "probe") and (finite(record.get("step")) or 0.0) > step


def _read(path: Path, read: Callable[[Path], Any], unreadable: list[str]) -> Any:
    """Return `read(path)`, None when the file is missing, and None with a note when it is damaged."""
    if not path.is_file():
        return None
    try:
        return read(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        unreadable.append(f"{path.name} could not be read: {error}")
        return None


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_arrays(path: Path) -> dict[str, Array]:
    with path.open("rb") as file, zipfile.ZipFile(file):  # a damaged archive is refused here, with the file closed
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def _read_journal(path: Path, unreadable: list[str]) -> Iterator[Record]:
    """Yield the records; a last line that was cut off by a kill is normal, another broken line is noted."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    broken = []
    for position, line in enumerate(lines, start=1):
        try:
            record = json.loads(line) if line.strip() else {}
        except ValueError:
            record = None
        if isinstance(record, dict):
            yield record
        elif position < len(lines):
            broken.append(str(position))
    if broken:
        unreadable.append(f"{path.name}: line {', '.join(broken[:5])} could not be read ({len(broken)} in all)")
