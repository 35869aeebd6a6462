"""Which of some files are of which split, by their names: train-000.tar, test/000.parquet."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from barlow.errors import unknown

SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval"),
}
"""Words that name a split at the beginning of a file's name, or as a folder."""


def split_of(word: str) -> str:
    """Return the split that a word names, "" for none."""
    return next((split for split, words in SPLITS.items() if word.lower() in words), "")


def by_split(places: Iterable[str]) -> dict[str, list[str]]:
    """Return split -> files; all are "train" unless a training split stands beside another one.

    Where there is a validation split and no test split, it is that too.
    """
    places = list(places)
    found: dict[str, list[str]] = {}
    for place in places:
        parts = place.rpartition("/")
        name = split_of(re.split(r"[-_.0-9]", parts[2])[0]) or split_of(parts[0].rpartition("/")[2])
        found.setdefault(name, []).append(place)
    if "train" not in found or len(found.keys() - {""}) < 2:
        return {"train": places}
    found.pop("", None)
    return found if "test" in found or "val" not in found else {**found, "test": found["val"]}


def of_split(places: Sequence[str], split: str) -> list[str]:
    """Return the files of one split; ValueError where there are none."""
    found = by_split(places)
    split = "train" if split == "labelled" else split
    if split not in found:
        raise unknown("split", split, found)
    return found[split]


def name_of(places: Sequence[str]) -> str:
    """Return what to call some files: the name of one, or of the folder of several; that of a split goes up one."""
    first = PurePosixPath(places[0])
    if len(places) == 1:
        return first.name
    folder = first.parent.parent if split_of(first.parent.name) else first.parent
    return folder.name or first.name
