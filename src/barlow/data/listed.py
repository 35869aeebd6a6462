"""Lists of samples: a text file, or lines on stdin, with one name of a file a line."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

SUFFIXES = (".txt", ".lst")
"""Of files that are lists of samples, which none of a kind of its own is."""
STDIN = "-"
"""What stands for a list on stdin, as shells have it."""


def listed(data: Any) -> Any:
    """Return the paths that a text file lists, one a line; any other data as they are.

    A path that is not whole is looked for from here, as `find` and `ls` give it, else from where the list lies. Empty
    lines are left out. ValueError: a list without a line.
    """
    if not isinstance(data, (str, Path)) or Path(data).suffix.lower() not in SUFFIXES:
        return data
    path = Path(data).expanduser()
    if not path.is_file():
        return data  # whoever reads it says that it is not there
    return named_in(path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(), path)


def named_in(lines: Iterable[str], place: Path | None = None) -> list[Path]:
    """Return the paths in some lines, those of the list at `place` also as seen from there."""
    found = [Path(line.strip()).expanduser() for line in lines if line.strip()]
    if not found:
        raise ValueError(f"data: the list {str(place or STDIN)!r} is empty, wanted the path of a file a line")
    if place is None:
        return found
    return [path if path.is_absolute() or path.exists() else place.parent / path for path in found]


def are_paths(data: Any) -> bool:
    """Whether data are a list of paths."""
    return isinstance(data, (list, tuple)) and bool(data) and all(isinstance(one, (str, Path)) for one in data)
