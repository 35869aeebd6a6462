"""What every format of stored samples comes down to: the content of each, its name, and labels where there are some."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from barlow.data.groups import Groups
from barlow.data.labels import UNLABELLED, Labels
from barlow.data.packed_paths import PackedPaths
from barlow.data.stored.places import is_address, read_whole

Content = str | bytes
"""The path of a file on the disk, or what such a file would hold."""


@runtime_checkable
class Contents(Protocol):
    """Stored samples by position; picklable and without state, because worker processes get a copy."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def content(self, position: int) -> Content:
        """Return one sample, or raise anything where it cannot be had."""
        ...

    def describe(self, position: int) -> str:
        """Return what a person would call the sample: its path where it is a file."""
        ...


@dataclass(frozen=True)
class Wanted:
    """What is looked for in a store.

    Attributes:
        split: "train", "test" or another one that is there.
        endings: of the files of the modality, in lower case, with the dot.
        columns: names under which a table may keep its samples.
        download: whether a data set of the hub may be fetched.
    """

    split: str = "train"
    endings: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()
    download: bool = False


@dataclass(frozen=True)
class Stored:
    """Samples of a store, and what is known of them.

    Attributes:
        name: what to call the data.
        reason: why there are no labels, where there are none.
        notes: sentences for the user.
    """

    name: str
    contents: Contents
    labels: Labels = UNLABELLED
    groups: Groups | None = None
    reason: str = ""
    notes: Sequence[str] = field(default=())


@dataclass(frozen=True)
class FileContents:
    """Files by their paths, from a folder or an address on where they are relative."""

    root: str
    paths: PackedPaths

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.paths)

    def content(self, position: int) -> Content:
        """Return the path of one file, or its bytes where it lies at an address."""
        place = self.describe(position)
        return read_whole(place) if is_address(place) else place

    def describe(self, position: int) -> str:
        """Return the path or the address of one file."""
        path = self.paths[position]
        return path if not self.root or path.startswith("/") or is_address(path) else f"{self.root}/{path}"


Made = TypeVar("Made")


def with_groups(source: Made, groups: Groups | None) -> Made:
    """Return a source of stored samples with their groups, where they have some."""
    if groups is not None:
        told: Any = source
        told.groups, told.group_names = groups.values, groups.names
    return source
