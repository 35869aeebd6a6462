"""A folder of images as a source: in memory where it is small, decoded by worker processes where not."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from barlow.data.arrays import ArraySource
from barlow.data.labels import UNLABELLED, Labels, choose_labels
from barlow.data.memory import memory_budget, read_all
from barlow.data.order import evenly_spaced
from barlow.data.streaming import StreamSource
from barlow.images.data.decode import (
    FORMATS,
    GREY_MODES,
    SUFFIXES,
    decoded_size,
    has_high_bit_depth,
    loses_bits,
    read_image,
    read_range,
)
from barlow.images.data.options import LoadOptions
from barlow.images.data.pixels import ValueRange, WhiteLevels, white_levels

SPLIT_FOLDERS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Names of the first-level folders that are splits, not classes; upper and lower case are the same."""
NUM_HEADERS = 128
"""Headers that are read to settle the number of channels and to estimate the memory that the folder takes."""
NUM_BIT_DEPTHS = 32
"""Images with more than 8 bits among them that are decoded to settle which value is white."""


def folder_source(root: Path, options: LoadOptions) -> ArraySource | StreamSource:
    """Make a source of all images under a folder.

    First-level folders are classes when every image lies in one of them, there are at least two, and they hold two
    images each on average (a folder per image is a habit of storage, not a class). Folders named train, test or val are
    splits and their first-level folders are the classes; all splits have the same classes and the same white.
    """
    folders = split_folders(root)
    if options.split not in folders and (folders or options.split != "train"):
        has = ", ".join(folders) if folders else "no folders named train and test"
        raise ValueError(f"split: got {options.split!r}, which is not in {root}: it has {has}")
    place = root / folders[options.split] if folders else root
    index = index_folder(place)
    if len(index.paths) < options.min_samples:
        raise ValueError(_too_few(index, options.min_samples))
    other_splits = [root / folder for folder in set(folders.values()) if folder != place.name]
    classes = {name for split in other_splits for name in folders_in(split)}
    labels = choose_labels(options.labels, *_class_labels(index, classes), len(index.paths))
    unused = sorted(set(folders_in(root)) - set(folders.values())) if folders else []
    return _open(index, other_splits, root.resolve().name or str(root), labels, _notes(index, unused), options)


def split_folders(root: Path) -> dict[str, str]:
    """Return the splits that a folder is laid out in: name of the split -> name of the folder, empty without splits.

    A folder has splits when it has a training folder beside a test or validation folder, or nothing else than a
    training folder. With a validation folder and no test folder, the validation folder is the test split too, as is
    usual for ImageNet.
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


def folders_in(root: Path) -> list[str]:
    """Return the names of the first-level folders of `root`, hidden ones left out, sorted."""
    with os.scandir(root) as scan:
        return sorted(entry.name for entry in scan if entry.is_dir() and not entry.name.startswith("."))


class PackedPaths:
    """Many paths in two blocks of memory.

    A list of a million strings would be copied into every worker process as soon as it counts references.
    """

    def __init__(self, paths: Iterable[str]) -> None:
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
        paths: images, relative to `root`, with "/" between the parts, sorted.
        ignored: number of files by ending that are no images, and of folders that cannot be opened.
    """

    root: Path
    paths: PackedPaths
    ignored: dict[str, int] = field(default_factory=dict)

    def first_folders(self) -> list[str]:
        """Return the first-level folder of each image, "" for images in the root itself."""
        return [path.partition("/")[0] if "/" in path else "" for path in self.paths]


def index_folder(root: Path) -> FolderIndex:
    """Find every image under `root` by its name; nothing is opened.

    Hidden files and folders (".name") are left out. Links are followed, but each folder is visited once, under its own
    name rather than a link's where it has both, so loops end. Broken links with an image's name are listed: they
    become bad samples, which is how the user hears of them. Two calls on the same tree return the same order on every
    file system.
    """
    walk = _Walk(root)
    walk.visit("")
    while walk.linked_folders:  # after all real folders, so that real names win
        walk.visit(walk.linked_folders.pop(0))
    return FolderIndex(root, PackedPaths(sorted(walk.found)), dict(sorted(walk.ignored.items())))


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


def _class_labels(index: FolderIndex, other_classes: Iterable[str]) -> tuple[Labels, str]:
    """Return the labels that the folders give, or none and the reason."""
    folders = index.first_folders()
    loose = folders.count("")
    names = sorted({*folders, *other_classes})
    if loose:
        return UNLABELLED, f"{loose} images lie in {index.root} itself, not in a folder named after a class"
    if len(names) < 2:
        return UNLABELLED, f"{index.root} has one first-level folder, classes need at least two"
    if len(folders) < 2 * len(set(folders)):
        return UNLABELLED, f"the first-level folders of {index.root} hold less than two images on average"
    place = {name: number for number, name in enumerate(names)}
    return Labels(torch.tensor([place[folder] for folder in folders]), tuple(names)), ""


def _open(
    index: FolderIndex,
    other_splits: Sequence[Path],
    name: str,
    labels: Labels,
    notes: Sequence[str],
    options: LoadOptions,
) -> ArraySource | StreamSource:
    """Settle channels and white from some headers, then read everything into memory where it fits."""
    seen = _read_headers(index, options.decode_size)
    channels = options.channels or (1 if seen.grey else 3)
    white, depth_notes = white_levels(_value_ranges(seen, other_splits))
    reader = ImageReader(str(index.root), index.paths, channels, options.decode_size, white)
    stream = StreamSource(
        reader,
        name=name,
        labels=labels,
        notes=[*notes, *depth_notes, *_lost_bits_note(seen)],
        num_workers=options.num_workers,
    )
    budget = memory_budget() if options.memory_budget is None else options.memory_budget
    return read_all(stream, options.progress) if seen.pixels * channels * len(reader) <= budget else stream


@dataclass(frozen=True)
class ImageReader:
    """Reads the images of an index; a `Reader` of `data/streaming.py`."""

    root: str
    paths: PackedPaths
    channels: int
    decode_size: int
    white: WhiteLevels

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.paths)

    def read(self, position: int) -> Tensor:
        """Decode one file."""
        return read_image(self.describe(position), self.channels, self.decode_size, self.white)

    def describe(self, position: int) -> str:
        """Return the path of one file."""
        return f"{self.root}/{self.paths[position]}"


@dataclass(frozen=True)
class _Headers:
    """What the headers of some images say.

    Attributes:
        pixels: their mean number of pixels once decoded.
        high_bit_depth: the files whose grey has more than 8 bits.
        lost_bits: how many have 16 bits of which Pillow keeps 8.
    """

    grey: bool
    pixels: float
    high_bit_depth: list[str]
    lost_bits: int


def _read_headers(index: FolderIndex, decode_size: int) -> _Headers:
    modes: list[str] = []
    high_bit_depth: list[str] = []
    pixels = lost_bits = 0
    for position in evenly_spaced(len(index.paths), NUM_HEADERS):
        path = f"{index.root}/{index.paths[position]}"
        try:
            with Image.open(path, formats=FORMATS) as image:
                modes.append(image.mode)
                width, height = decoded_size(image.size, decode_size)
                high_bit_depth += [path] if has_high_bit_depth(image) else []
                lost_bits += loses_bits(image)
        except Exception:
            continue  # bad samples are counted when they are read
        pixels += width * height
    grey = bool(modes) and all(mode in GREY_MODES for mode in modes)
    return _Headers(grey, pixels / max(1, len(modes)), high_bit_depth, lost_bits)


def _value_ranges(seen: _Headers, other_splits: Sequence[Path]) -> Iterator[ValueRange]:
    """Decode some of the images with more than 8 bits, of the other splits too if this one has any."""
    others = [_read_headers(index_folder(split), 0) for split in other_splits] if seen.high_bit_depth else []
    for headers in (seen, *others):
        for place in evenly_spaced(len(headers.high_bit_depth), NUM_BIT_DEPTHS):
            try:
                yield read_range(headers.high_bit_depth[place])
            except Exception:
                continue  # as above


def _lost_bits_note(seen: _Headers) -> list[str]:
    if not seen.lost_bits:
        return []
    return [
        f"of the colours of {seen.lost_bits} of the images looked at, which have 16 bits per channel, the upper 8 are "
        "read: where fewer bits are in use, as with 12, little is left; convert such files to 8 bits before"
    ]


def _notes(index: FolderIndex, unused_folders: Sequence[str]) -> list[str]:
    notes = []
    if index.ignored:
        counts = ", ".join(f"{suffix} ({count})" for suffix, count in index.ignored.items())
        files = sum(index.ignored.values())
        notes.append(f"files in {index.root} that are no images, left out: {files}, by ending {counts}")
    if unused_folders:
        notes.append(f"folders beside the splits are left out: {', '.join(unused_folders)}")
    return notes


def _too_few(index: FolderIndex, wanted: int) -> str:
    endings = ", ".join(sorted(SUFFIXES))
    found = f"{len(index.paths) or 'no'} image{'s' * (len(index.paths) != 1)}"
    others = sum(index.ignored.values())
    beside = f" beside {others} other files" if others else ""
    return f"data: {found} in {index.root}{beside}, wanted at least {wanted} with the ending {endings}"
