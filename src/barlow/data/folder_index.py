"""The pictures of a folder: found quickly, listed in one fixed order, with what the folder structure says."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from barlow.data.decode import SUFFIXES

SPLIT_FOLDERS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Names of the first-level folders that are splits, not classes; upper and lower case are the same."""


class Paths:
    """Many paths in two blocks of memory.

    A list of a million strings would be copied into every worker process as soon as it counts references.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        """Store the paths in the order given."""
        encoded = [os.fsencode(path) for path in paths]
        self._text = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)])

    def __len__(self) -> int:
        """Return the number of paths."""
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        """Return one path; IndexError behind the last."""
        if not 0 <= index < len(self):
            raise IndexError(f"path {index} of {len(self)}")
        return os.fsdecode(self._text[self._ends[index] : self._ends[index + 1]])

    def __iter__(self) -> Iterator[str]:
        """Yield all paths."""
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class FolderIndex:
    """What lies under a folder.

    Attributes:
        root: the folder.
        paths: pictures, relative to `root`, with "/" between the parts, sorted.
        ignored: number of files by ending that are no pictures, and of folders that cannot be opened.
    """

    root: Path
    paths: Paths
    ignored: dict[str, int] = field(default_factory=dict)

    def first_folders(self) -> list[str]:
        """Return the first-level folder of each picture, "" for pictures in the root itself."""
        return [path.partition("/")[0] if "/" in path else "" for path in self.paths]


def index_folder(root: Path) -> FolderIndex:
    """Find every picture under `root` by its name; nothing is opened.

    Hidden files and folders (".name") are left out. Links are followed, but each folder is visited once,
    under its own name rather than a link's where it has both, so loops end. Broken links with a picture's
    name are listed: they become bad samples, which is how the user hears of them.

    Args:
        root: an existing folder.

    Returns:
        The index; two calls on the same tree return the same order on every file system.
    """
    walk = _Walk(root)
    walk.visit("")
    while walk.linked_folders:  # after all real folders, so that real names win
        walk.visit(walk.linked_folders.pop(0))
    return FolderIndex(root, Paths(sorted(walk.found)), dict(sorted(walk.ignored.items())))


class _Walk:
    def __init__(self, root: Path) -> None:
        self.found: list[str] = []
        self.ignored: Counter[str] = Counter()
        self.linked_folders: list[str] = []
        self._root = root
        self._visited: set[tuple[int, int]] = set()

    def visit(self, start: str) -> None:
        pending = [start]
        while pending:
            folder = pending.pop()
            place = self._root / folder
            try:
                status = place.stat()
                with os.scandir(place) as scan:
                    entries = list(scan)
            except OSError:
                self.ignored["folders that cannot be opened"] += 1
                continue
            if (status.st_dev, status.st_ino) in self._visited:
                continue
            self._visited.add((status.st_dev, status.st_ino))
            prefix = f"{folder}/" if folder else ""
            for entry in entries:
                if not entry.name.startswith("."):
                    self._sort_in(entry, prefix + entry.name, pending)
            self.linked_folders.sort()

    def _sort_in(self, entry: "os.DirEntry[str]", path: str, pending: list[str]) -> None:
        if entry.is_dir(follow_symlinks=False):
            pending.append(path)
        elif entry.is_symlink() and entry.is_dir():
            self.linked_folders.append(path)
        else:
            _, dot, ending = entry.name.rpartition(".")  # a Path per file would cost more than the scan
            suffix = (dot + ending).lower() if dot else "no ending"
            broken_link = entry.is_symlink() and not Path(entry.path).exists()
            if suffix in SUFFIXES and (entry.is_file() or broken_link):
                self.found.append(path)
            else:
                self.ignored[suffix] += 1


def folders_in(root: Path) -> list[str]:
    """Return the names of the first-level folders of `root`, hidden ones left out, sorted."""
    with os.scandir(root) as scan:
        return sorted(entry.name for entry in scan if entry.is_dir() and not entry.name.startswith("."))


def split_folders(root: Path) -> dict[str, str]:
    """Return the split folders directly under `root`: name of the split -> name of the folder.

    A folder is laid out in splits when it has a training folder beside a test or validation folder, or
    nothing else than a training folder. With a validation folder and no test folder, the validation folder is
    the test split too, as is usual for ImageNet.

    Args:
        root: an existing folder.

    Returns:
        Empty when the folders are not splits.
    """
    present = folders_in(root)
    lower = {name.lower(): name for name in reversed(present)}
    found = {
        split: lower[spelling]
        for split, spellings in SPLIT_FOLDERS.items()
        for spelling in reversed(spellings)
        if spelling in lower
    }
    if "train" not in found or (len(found) == 1 and len(present) > 1):
        return {}
    if "val" in found:
        found.setdefault("test", found["val"])
    return found
