"""Files that are either the old one or the whole new one, whatever happens while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def durable_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write that takes the place of `path` when the block ends well.

    Written aside in the same folder, synced to the disk, renamed over `path`, and the folder synced. A
    process killed at any moment, or a power cut, leaves the old file or the new one under `path`. The file
    aside has one fixed name, so a killed process leaves at most one, and the next write takes it over: one
    writer per path.

    Args:
        path: the file to replace or to make; its folder exists.

    Yields:
        The file aside, open for bytes.
    """
    aside = path.with_name(path.name + ".partial")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open a folder; its file system journals renames.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
