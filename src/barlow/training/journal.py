"""The journal of a run: one JSON record per event, the only log format. No torch: the report reads it too."""

import json
import math
import numbers
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from barlow.files import durable_file, naming_the_file, sync_folder

Record = dict[str, Any]
Listener = Callable[[Record], Any]
"""What is called with each record after it is written."""
UNDONE_BY_REWIND = ("step", "schedule", "probe", "checkpoint", "finish")
SIGNIFICANT_DIGITS = 7  # A float32 has no more.
KEPT = "the last good checkpoint is kept"
"""What a run that cannot write has not lost."""
LONGEST_SHOWN = 200
"""Characters of a broken line that are kept."""


class Journal:
    """Appends records to a file of JSON lines, each flushed at once so that `kill -9` loses none."""

    def __init__(self, path: Path, *, enabled: bool = True, listener: Listener | None = None) -> None:
        """Open the journal, or continue one; a last line that a crash cut short is removed.

        `enabled` is False on every process but the first: nothing is read or written. `listener` is called with each
        record after it is written.
        """
        self.path = path
        self.enabled = enabled
        self._listener = listener
        self._file: IO[bytes] | None = None
        if enabled:
            path.parent.mkdir(parents=True, exist_ok=True)
            _mend_last_line(path)
            self._file = self._open()

    def write(self, event: str, /, **fields: Any) -> None:
        """Append one record: {"event": event, "time": unix seconds, **fields}.

        Fields are strings, booleans, numbers, None, and lists and mappings of them; a tensor, for one, is a ValueError.
        Floats are rounded to 7 significant digits; those that are not finite become "nan", "inf" or "-inf", since JSON
        has no such numbers and `float` reads them back.
        """
        if not self.enabled:
            return
        if self._file is None:
            raise ValueError(f"journal {self.path} is closed; no {event!r} record can be written")
        if taken := {"event", "time"} & fields.keys():
            raise ValueError(f"journal field {min(taken)!r} is written by the journal itself; choose another name")
        record = {"event": event, "time": round(time.time(), 3)}
        record |= {name: _plain(value, name) for name, value in fields.items()}
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        with naming_the_file(self.path, KEPT):
            while line:  # the file has no buffer: a full disk may take a part
                line = line[self._file.write(line) :]
        if self._listener is not None:
            self._listener(record)

    def write_once(self, event: str, /, **fields: Any) -> bool:
        """Append a record unless the journal has it already, at whatever time; return whether it was new."""
        wanted = {"event": event} | {name: _plain(value, name) for name, value in fields.items()}
        if self.enabled and any({**record, **wanted} == record for record in read_journal(self.path, [])):
            return False
        self.write(event, **fields)
        return True

    def sync(self) -> None:
        """Have all records on the disk; FileNotFoundError where the folder was deleted or moved under way."""
        if self._file is None:
            return
        try:
            here = os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except FileNotFoundError:
            here = False
        if not here:
            raise FileNotFoundError(
                f"out: {str(self.path.parent)!r} was deleted, moved or replaced while the run went on: it ends here"
            )
        with naming_the_file(self.path, KEPT):
            os.fsync(self._file.fileno())
            sync_folder(self.path.parent)

    def rewind(self, step: int) -> int:
        """Forget the steps after a checkpoint, which a resumed run takes again; return the number of records removed.

        Step, schedule, probe, checkpoint and finish records with a larger "step" go. Warnings, bad samples, starts and
        resumes stay: they happened. A line that is no record becomes a warning with what stands in it. The file is
        replaced whole.
        """
        if not self.enabled:
            return 0
        broken: list[int] = []
        records = read_journal(self.path, broken)
        kept = [record for record in records if not _is_after(record, step)]
        if len(kept) < len(records) or broken:
            lines = self.path.read_bytes().split(b"\n")
            self.close()
            with durable_file(self.path, kept=KEPT) as file:
                file.writelines((json.dumps(record) + "\n").encode() for record in kept)
            self._file = self._open()
            for number in broken:
                shown = lines[number - 1].decode(errors="replace")[:LONGEST_SHOWN]
                self.write("warning", message=f"line {number} of the journal was no record and was taken out: {shown}")
        return len(records) - len(kept)

    def close(self) -> None:
        """Close the file; what was written is already with the system."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "Journal":
        """Return the journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the journal."""
        self.close()

    def _open(self) -> IO[bytes]:
        return self.path.open("ab", buffering=0)


def read_journal(path: Path, broken: list[int] | None = None) -> list[Record]:
    """Return the records of a journal, of a run running or not, oldest first; a last line cut short is left out.

    Floats that were not finite are the strings "nan", "inf", "-inf". `broken` takes the numbers of the lines before the
    last that are no records; None: the first of them is a ValueError.
    """
    if not path.is_file():
        raise ValueError(f"journal: there is no file {path}")
    lines = path.read_bytes().split(b"\n")
    if (whole := _all_at_once(lines)) is not None:
        return whole
    records = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            records.append(_record(line))
        except ValueError:
            if number == len(lines):  # No newline follows: the process was stopped in the middle of a record.
                break
            if broken is None:
                raise ValueError(f"journal: line {number} of {path} is no record: {line[:60]!r}") from None
            broken.append(number)
    return records


def _all_at_once(lines: Sequence[bytes]) -> list[Record] | None:
    """The records of lines that are all whole, in a third of the time; None where any is not, for who looks at each."""
    given = [line for line in lines if line]
    try:
        found = json.loads(b"[%s]" % b",".join(given))
    except (ValueError, RecursionError):
        return None
    whole = len(found) == len(given) and all(
        isinstance(one, dict) and isinstance(one.get("event"), str) for one in found
    )
    return found if whole else None


def without_undone_steps(records: Iterable[Record]) -> list[Record]:
    """Leave out what lies behind a later resume: it was run again. `Journal.rewind` takes it out of the file."""
    kept: list[Record] = []
    for record in records:
        if record["event"] == "resume" and "step" in record:
            kept = [old for old in kept if not _is_after(old, record["step"])]
        kept.append(record)
    return kept


def _record(line: bytes) -> Record:
    try:
        record = json.loads(line)
    except RecursionError as error:
        raise ValueError("not a record") from error
    if not isinstance(record, dict) or not isinstance(record.get("event"), str):
        raise ValueError("not a record")
    return record


def _is_after(record: Record, step: int) -> bool:
    return record["event"] in UNDONE_BY_REWIND and record.get("step", 0) > step


def _mend_last_line(path: Path) -> None:
    """End the file with a newline, so that the next record does not continue what a crash left of the last one."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        start_of_last = content.rfind(b"\n") + 1
        try:
            _record(content[start_of_last:])
            file.write(b"\n")
        except ValueError:
            file.truncate(start_of_last)


def _plain(value: Any, name: str) -> Any:
    """Return `value` as JSON holds it; `name` is its place in the record, for the message."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return float(f"{number:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(number) else str(number)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{name}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{name}.{key}") for key, item in value.items()}
    raise ValueError(
        f"journal field {name!r}: got a {type(value).__name__}, wanted a string, a number, None, or lists "
        "and string-keyed mappings of them; of a tensor or an array pass .item() or .tolist()"
    )


def scalars(record: Record) -> dict[str, float]:
    """Return the numbers of a record by tag, event/field or event/field/key, NaN among them; none without a step."""
    if "step" not in record:
        return {}
    fields = {name: value for name, value in record.items() if name not in ("event", "time", "step")}
    return _numbers(fields, record["event"])


def _numbers(fields: Mapping[str, Any], prefix: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in fields.items():
        tag = f"{prefix}/{name}"
        if isinstance(value, Mapping):
            found |= _numbers(value, tag)
        elif value in ("nan", "inf", "-inf") or (isinstance(value, int | float) and not isinstance(value, bool)):
            found[tag] = float(value)
    return found
