"""Files that are either the old one or the whole new one, whatever happens while they are written."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def durable_path(path: Path) -> Iterator[Path]:
    """Give a path to write to, whose file takes the place of `path` when the block ends well.

    It is in the same folder, synced to the disk, renamed over `path`, and the folder synced. A process killed at any
    moment, or a power cut, leaves the old file or the new one under `path`; an error removes what was written. The name
    aside is fixed, so a killed process leaves at most one such file, and the next write takes it over: one writer per
    path. The folder of `path` is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".partial")
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # Windows cannot open a folder; its file system journals renames.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def durable_file(path: Path) -> Iterator[IO[bytes]]:
    """Give a file open for bytes that takes the place of `path` when the block ends well, as `durable_path` does."""
    with durable_path(path) as aside, aside.open("wb") as file:
        yield file


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, durably."""
    with durable_file(path) as file:
        file.write(json.dumps(content, indent=1).encode())


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; a file that is none raises ValueError."""
    return json.loads(path.read_text(encoding="utf-8"))
