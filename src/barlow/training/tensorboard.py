"""A copy of a journal's numbers for TensorBoard; needs the extra `barlow[tensorboard]`, and no torch."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from barlow.training.journal import Record, read_journal


class TensorboardMirror:
    """Writes the numbers of each record it is called with; `Journal(listener=...)` takes one."""

    def __init__(self, logdir: Path) -> None:
        """Start an event file in `logdir`.

        Args:
            logdir: the folder that `tensorboard --logdir` is given.

        Raises:
            ValueError: TensorBoard is not installed.
        """
        try:
            writer: Any = import_module("tensorboard.summary").Writer
        except ImportError as error:
            raise ValueError(f"tensorboard: cannot be loaded ({error}); pip install 'barlow[tensorboard]'") from error
        self._writer = writer(str(logdir))

    def __call__(self, record: Record) -> None:
        """Write the scalars of one record at its step; records without a step have none.

        Args:
            record: as `Journal.write` makes it and `read_journal` returns it.
        """
        for tag, value in scalars(record).items():
            self._writer.add_scalar(tag, value, record["step"], wall_time=record["time"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


def mirror_journal(path: Path, logdir: Path) -> None:
    """Write a whole journal, of a finished run for one, as one new event file.

    Args:
        path: the journal.
        logdir: the folder that `tensorboard --logdir` is given.

    Raises:
        ValueError: no journal at `path`, or TensorBoard is not installed.
    """
    records = read_journal(path)
    mirror = TensorboardMirror(logdir)
    for record in records:
        mirror(record)
    mirror.close()


def scalars(record: Record) -> dict[str, float]:
    """Return the numbers of a record that has a step, named event/field or event/field/key.

    Args:
        record: one record of a journal.

    Returns:
        Numbers by tag, NaN and infinities among them; empty for a record without a step.
    """
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
