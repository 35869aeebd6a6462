"""The one reader of a run folder: for the pages, for comparisons, and for a run that goes on. No torch.

Read with tolerance: a run that was killed half-way still gives a page. Only `journal.jsonl` or `recipe.json` has to be
there; what cannot be read is empty, and named in `RunFiles.unreadable`.
"""

import base64
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from barlow.files import read_json, why_not_own
from barlow.recipes import up_to_date
from barlow.training.journal import read_journal, without_undone_steps

Record = Mapping[str, Any]
Array = NDArray[Any]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Positions in epochs and the values there."""
PAUSES_BEFORE = ("start", "sitting", "resume")
"""Events that begin a sitting: the time before them is not training."""


@dataclass(frozen=True)
class RunFiles:
    """What one run folder holds.

    Attributes:
        recipe: the fields of the recipe by name.
        start: the journal's first facts: data, versions, device, number of parameters.
        records: the journal without the steps that a resume took back.
        summary: evaluation, label-free figures, timing; empty while the run goes on.
        evidence: arrays by name: pictures, correlations, eigenvalues.
        unreadable: one sentence per file or line that could not be read.
    """

    folder: Path
    recipe: Record = field(default_factory=dict)
    start: Record = field(default_factory=dict)
    records: Sequence[Record] = ()
    summary: Record = field(default_factory=dict)
    evidence: Mapping[str, Array] = field(default_factory=dict)
    unreadable: Sequence[str] = ()

    def events(self, event: str) -> list[Record]:
        """Return the journal's records of one kind, oldest first."""
        return list(self._by_event.get(event, ()))

    @cached_property
    def _by_event(self) -> Mapping[str, Sequence[Record]]:
        """The records of each kind: a page asks for them dozens of times."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record["event"], []).append(record)
        return found

    def section(self, name: str) -> Record:
        """Return one part of the summary, empty when it is not there."""
        return mapping(self.summary.get(name))

    def curve(self, event: str, *path: str) -> Curve:
        """Return a number of the journal over the epochs, e.g. `curve("step", "parts", "on_diagonal")`."""
        pairs, per_epoch = [], finite(self.start.get("steps_per_epoch"))
        for record in self._by_event.get(event, ()):
            value: Any = record
            for key in path:
                value = value.get(key) if isinstance(value, dict) else mapping(value).get(key)
            if (figure := finite(value)) is None:
                continue
            step = finite(record.get("step")) if per_epoch else None
            epoch = finite(record.get("epoch")) if step is None or per_epoch is None else step / per_epoch
            if epoch is not None:
                pairs.append((epoch, figure))
        table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def epoch_of(self, record: Record) -> float | None:
        """Return how many epochs lay behind the run at `record`, fractions included."""
        step, per_epoch = finite(record.get("step")), finite(self.start.get("steps_per_epoch"))
        return step / per_epoch if step is not None and per_epoch else finite(record.get("epoch"))

    def moments(self) -> list[tuple[float, Array]]:
        """Return (epoch, corner of C in [-1, 1]) for every moment of which the journal kept one."""
        found = []
        for record in self.events("probe"):
            try:
                levels = np.frombuffer(zlib.decompress(base64.b64decode(str(record["correlation"]))), dtype=np.uint8)
            except (KeyError, ValueError, zlib.error):  # runs of before have none, and a journal may be damaged
                continue
            side, epoch = math.isqrt(len(levels)), self.epoch_of(record)
            if side > 1 and side * side == len(levels) and epoch is not None:
                found.append((epoch, (levels.reshape(side, side).astype(np.float64) - 128) / 127))
        return found

    def names(self, event: str, field: str) -> list[str]:
        """Return the keys that `field` has in the records of one kind, in the order of their appearance."""
        return list(dict.fromkeys(key for record in self.events(event) for key in mapping(record.get(field))))

    @property
    def finished(self) -> bool:
        """Whether the last step was reached."""
        return bool(self.events("finish"))

    def seconds_of_training(self) -> float:
        """Return the seconds of training over all sittings, from the journal's times.

        What a kill threw away and a resume made again counts once; neither the time between sittings counts, nor what
        came after the last step.
        """
        times: list[tuple[float, str]] = []
        for record in self.records:
            if (time := finite(record.get("time"))) is not None:
                times.append((time, record["event"]))
            if record["event"] == "finish":
                break
        pairs = pairwise(times)
        return float(sum(max(end - begin, 0.0) for (begin, _), (end, event) in pairs if event not in PAUSES_BEFORE))


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


def read_run(folder: Path, *, arrays: bool = True) -> RunFiles:
    """Read everything that a run folder has; what is missing is empty, what is damaged is named in `unreadable`.

    A folder with neither a recipe nor a journal is refused. `arrays=False` leaves out `evidence`, which may be
    megabytes.
    """
    folder = Path(folder)
    if not is_run(folder):
        raise ValueError(f"folder: got {str(folder)!r}, wanted a run folder with recipe.json or journal.jsonl")
    unreadable: list[str] = []
    written = mapping(_read(folder / "recipe.json", read_json, unreadable))
    summary = mapping(_read(folder / "summary.json", read_json, unreadable))
    evidence = (_read(folder / "evidence.npz", _read_arrays, unreadable) if arrays else None) or {}
    records = without_undone_steps(_read_journal(folder / "journal.jsonl", unreadable))
    starts = [record for record in records if record["event"] == "start"]
    start = {**written, **(starts[-1] if starts else {})}
    start["data"] = {**mapping(start.get("data")), **mapping(written.get("data"))}  # that knows where they are now
    recipe = up_to_date(mapping(written.get("recipe")) or mapping(start.get("recipe")) or written)
    return RunFiles(folder, recipe, start, records, summary, evidence, unreadable)


def _read(path: Path, read: Callable[[Path], Any], unreadable: list[str]) -> Any:
    """Return `read(path)`, None when the file is missing, and None with a note when it is damaged or not the run's."""
    if why := why_not_own(path, path.parent):
        unreadable.append(f"{path.name} {why}, and is not read")
        return None
    if not path.is_file():
        return None
    try:
        return read(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        unreadable.append(f"{path.name} could not be read: {error}")
        return None


def _read_arrays(path: Path) -> dict[str, Array]:
    with path.open("rb") as file, zipfile.ZipFile(file):  # a damaged archive is refused here, with the file closed
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def _read_journal(path: Path, unreadable: list[str]) -> list[dict[str, Any]]:
    """Return the records; a last line that was cut off by a kill is normal, another broken line is noted."""
    broken: list[int] = []
    records: list[dict[str, Any]] = _read(path, lambda journal: read_journal(journal, broken), unreadable) or []
    if broken:
        lines = ", ".join(map(str, broken[:5]))
        unreadable.append(f"{path.name}: line {lines} could not be read ({len(broken)} in all)")
    return records
