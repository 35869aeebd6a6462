"""Every format of stored samples: how it is told, what opens it, and which splits it has."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from barlow.data.packed_paths import PackedPaths
from barlow.data.stored import hub, manifest, shards
from barlow.data.stored.contents import FileContents, Stored, Wanted
from barlow.data.stored.labelled import by_folder
from barlow.data.stored.parquet import forget_kept, parquet
from barlow.data.stored.places import absolute, exists, expanded, files_under, is_address, is_pattern
from barlow.data.stored.splits import by_split, of_split

LOOKED_AT = 200
"""Entries of a folder by whose endings it is told to be one of shards or of tables."""
FIRST = 8
"""Samples without names that are looked at to tell what they are: the first may be a bad one."""


@dataclass(frozen=True)
class Format:
    """A row of the table.

    Attributes:
        open: (place, wanted) -> what is stored there.
        splits: place -> names of its splits.
        first: place -> name of the first sample, "" where samples have none.
    """

    open: Callable[[str, Wanted], Stored]
    splits: Callable[[str], tuple[str, ...]]
    first: Callable[[str], str]


def _files(place: str, ending: str) -> list[str]:
    """The files of a pattern, a folder or an address, or the one file."""
    if is_pattern(place) or place.lower().endswith(ending):
        found = expanded(place)
    else:
        found = [file for file in files_under(place) if file.lower().endswith(ending)]
    if not found:
        raise ValueError(f"data: no file fits {place!r}, wanted one ending in {ending}")
    if missing := [file for file in found[:1] + found[-1:] if not exists(file)]:
        raise ValueError(f"data: there is no {missing[0]!r}, which {place!r} stands for")
    return found


def _open_files(place: str, wanted: Wanted) -> Stored:
    """Files below an address, with folders as classes."""
    forget_kept()
    found = [file for file in files_under(place) if PurePosixPath(file).suffix.lower() in wanted.endings]
    chosen = of_split(found, wanted.split) if found else []
    root = place.rstrip("/")
    names = PackedPaths(file.removeprefix(root + "/") for file in chosen)
    labels = by_folder(names)
    reason = f"the files of {place} are not in folders of classes"
    name = PurePosixPath(root).name
    contents = FileContents(root, names)
    return Stored(name, contents, reason=reason) if labels is None else Stored(name, contents, labels)


def _open_tables(place: str, wanted: Wanted) -> Stored:
    forget_kept()
    return parquet(_files(place, ".parquet"), wanted)


FORMATS: Mapping[str, Format] = {
    ".tar": Format(
        lambda place, wanted: shards.shards(_files(place, ".tar"), wanted),
        lambda place: tuple(by_split(_files(place, ".tar"))),
        lambda place: shards.first_sample(_files(place, ".tar")),
    ),
    ".parquet": Format(_open_tables, lambda place: tuple(by_split(_files(place, ".parquet"))), lambda place: ""),
    ".csv": Format(manifest.manifest, manifest.manifest_splits, manifest.first_name),
    ".txt": Format(manifest.file_list, lambda place: ("train",), manifest.first_name),
    "save_to_disk": Format(hub.saved, hub.splits, lambda place: ""),
    hub.PREFIX: Format(hub.hub, hub.splits, lambda place: ""),
    "://": Format(
        _open_files,
        lambda place: tuple(by_split(files_under(place))),
        lambda place: next(iter(files_under(place)), ""),
    ),
}
"""Format -> how it is read: by the ending of a file, of a pattern, or of what lies in a folder or at an address."""


def format_of(data: Any) -> str:
    """Return the format of some data by name, path, pattern or address; "" where they are none of these."""
    if not isinstance(data, (str, Path)) or not str(data):
        return ""
    place = str(data)
    if place.startswith(hub.PREFIX):
        return hub.PREFIX
    suffix = PurePosixPath(place).suffix.lower()
    if suffix in FORMATS and (is_pattern(place) or is_address(place) or Path(place).expanduser().is_file()):
        return suffix
    if is_address(place):
        endings = [PurePosixPath(file).suffix.lower() for file in islice(files_under(place), LOOKED_AT)]
        return _most(endings, (".tar", ".parquet")) or "://"
    folder = Path(place).expanduser()
    return _of_folder(folder) if folder.is_dir() else ""


def _of_folder(folder: Path) -> str:
    if hub.is_saved(folder):
        return "save_to_disk"
    with os.scandir(folder) as scan:
        entries = [entry for entry in islice(scan, LOOKED_AT) if not entry.name.startswith(".")]
    files = [PurePosixPath(entry.name).suffix.lower() for entry in entries if entry.is_file()]
    if found := _most(files, (".tar", ".parquet")):
        return found
    inside = [entry for entry in entries if entry.is_dir()]
    if files or not inside or len(by_split(f"{entry.path}/x" for entry in inside)) < 2:
        return ""
    return _of_folder(Path(sorted(entry.path for entry in inside)[0]))  # of splits: train/000.tar, test/000.tar


def _most(endings: Collection[str], wanted: Collection[str]) -> str:
    """The ending of most files, where it is one of those wanted."""
    return next((one for one in wanted if 2 * sum(ending == one for ending in endings) > len(endings)), "")


def is_elsewhere(data: Any) -> bool:
    """Whether data are named by an address or on the hub, not by a path."""
    return isinstance(data, str) and (is_address(data) or data.startswith(hub.PREFIX))


def is_there(place: str) -> bool:
    """Whether something lies at a path, an address or the first place of a pattern; names of the hub always count."""
    return place.startswith(hub.PREFIX) or exists(place)


def is_stored(data: Any) -> bool:
    """Whether data are in one of the formats."""
    return bool(format_of(data))


def open_stored(data: str | Path, wanted: Wanted) -> Stored:
    """Open stored samples: nothing of them is read or decoded yet."""
    return FORMATS[format_of(data)].open(_place(data), wanted)


def stored_splits(data: str | Path) -> tuple[str, ...]:
    """Return the names of the splits of stored samples."""
    return FORMATS[format_of(data)].splits(_place(data))


def first_samples(data: str | Path, columns: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """Return the name of the first stored sample, or where samples have none the first bytes of some, beside ""."""
    kind = FORMATS[format_of(data)]
    if name := kind.first(_place(data)):
        return [(name, b"")]
    contents = kind.open(_place(data), Wanted(columns=columns)).contents
    found = [contents.content(position) for position in range(min(len(contents), FIRST))]
    return [(one, b"") if isinstance(one, str) else ("", one[:16]) for one in found]


def _place(data: str | Path) -> str:
    place = str(data)
    return place if place.startswith(hub.PREFIX) or is_pattern(place) else absolute(place)
