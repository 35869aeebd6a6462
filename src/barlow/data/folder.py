"""A folder of pictures as a source: in memory where it is small, decoded by worker processes where not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from barlow.data.arrays import ArraySource
from barlow.data.bit_depth import ValueRange, WhiteLevels, levels_of
from barlow.data.decode import FORMATS, GREY_MODES, SUFFIXES, capped, is_deep, loses_bits, read_picture, read_range
from barlow.data.folder_index import FolderIndex, Paths, folders_in, index_folder, split_folders
from barlow.data.labels import UNLABELLED, LabelChoice, Labels, choose_labels
from barlow.data.memory import memory_budget, read_all
from barlow.data.order import evenly_spaced
from barlow.data.reading import Reading
from barlow.data.streaming import StreamSource

NUM_PEEKED = 128
"""Headers that are read to settle the number of channels and to estimate the memory that the set takes."""

NUM_DEPTHS = 32
"""Pictures with more than 8 bits among them that are decoded to settle which value is white."""


@dataclass(frozen=True)
class PictureReader:
    """Reads the pictures of an index; see `barlow.data.packing.Reader`.

    Attributes:
        root: the folder.
        paths: files relative to `root`.
        channels: 1 or 3.
        decode_size: cap of the short side in pixels; 0 for no cap.
        white: of pictures with more than 8 bits.
    """

    root: str
    paths: Paths
    channels: int
    decode_size: int
    white: WhiteLevels

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.paths)

    def read(self, position: int) -> Tensor:
        """Decode one file."""
        return read_picture(self.describe(position), self.channels, self.decode_size, self.white)

    def describe(self, position: int) -> str:
        """Return the path of one file."""
        return f"{self.root}/{self.paths[position]}"


def folder_source(
    root: Path, *, split: str = "train", labels: LabelChoice = "auto", reading: Reading | None = None
) -> ArraySource | StreamSource:
    """Make a source of all pictures under a folder.

    First-level folders are classes when every picture lies in one of them, there are at least two, and they
    hold two pictures each on average (a folder per picture is a habit of storage, not a class). Folders named
    train, test or val are splits and their first-level folders are the classes, numbered alike in all splits.
    Grey pictures with more than 8 bits are scaled alike in all splits too, by the bit depth that holds the
    values of those looked at.

    Args:
        root: an existing folder.
        split: "train", "test" or "val"; everything is "train" where the folders are no splits.
        labels: "auto", "required", "none", or one label per picture in sorted order of the paths.
        reading: how files are read.

    Returns:
        The source.

    Raises:
        ValueError: no such split, no pictures, or labels required where there are none.
        BadDataError: more than 1% of the pictures cannot be read.
    """
    reading = reading or Reading()
    folders = split_folders(root)
    if split not in folders and (folders or split != "train"):
        has = ", ".join(folders) if folders else "no folders named train and test"
        raise ValueError(f"split: no {split!r} in {root}: it has {has}")
    place = root / folders[split] if folders else root
    index = index_folder(place)
    if len(index.paths) < reading.min_samples:
        raise ValueError(_too_few(index, reading.min_samples))
    siblings = [root / folder for folder in set(folders.values()) if folder != place.name]
    classes = sorted({name for sibling in siblings for name in folders_in(sibling)})
    found, reason = _class_labels(index, classes)
    chosen = choose_labels(labels, found, reason, len(index.paths))
    unused = sorted(set(folders_in(root)) - set(folders.values())) if folders else []
    name = root.resolve().name or str(root)
    return _open(index, siblings, name, chosen, _notes(index, unused), reading)


def _open(
    index: FolderIndex, siblings: Sequence[Path], name: str, labels: Labels, notes: Sequence[str], reading: Reading
) -> ArraySource | StreamSource:
    seen = _peek(index, reading.decode_size)
    channels = reading.channels or (1 if seen.grey else 3)
    white, depth = levels_of(_depths(seen, siblings))
    notes = [*notes, *depth, *_cut_note(seen)]
    reader = PictureReader(str(index.root), index.paths, channels, reading.decode_size, white)
    stream = StreamSource(reader, name=name, labels=labels, notes=notes, num_workers=reading.num_workers)
    budget = memory_budget() if reading.memory_budget is None else reading.memory_budget
    return read_all(stream, reading.progress) if seen.pixels * channels * len(reader) <= budget else stream


@dataclass(frozen=True)
class _Headers:
    """What the headers of some pictures say.

    Attributes:
        grey: whether all are grey.
        pixels: their mean number of pixels once decoded.
        deep: the files whose grey has more than 8 bits.
        cut: how many have 16 bits of which Pillow keeps 8.
    """

    grey: bool
    pixels: float
    deep: list[str]
    cut: int


def _peek(index: FolderIndex, decode_size: int) -> _Headers:
    modes: list[str] = []
    deep: list[str] = []
    pixels = cut = 0
    for position in evenly_spaced(len(index.paths), NUM_PEEKED):
        path = f"{index.root}/{index.paths[position]}"
        try:
            with Image.open(path, formats=FORMATS) as image:
                modes.append(image.mode)
                width, height = capped(image.size, decode_size)
                deep += [path] if is_deep(image) else []
                cut += loses_bits(image)
        except Exception:
            continue  # bad samples are counted when they are read
        pixels += width * height
    grey = bool(modes) and all(mode in GREY_MODES for mode in modes)
    return _Headers(grey, pixels / max(1, len(modes)), deep, cut)


def _depths(seen: _Headers, siblings: Sequence[Path]) -> Iterator[ValueRange]:
    """Decode some of the pictures with more than 8 bits, of the other splits too if this one has any."""
    others = [_peek(index_folder(sibling), decode_size=0) for sibling in siblings] if seen.deep else []
    for headers in (seen, *others):
        for place in evenly_spaced(len(headers.deep), NUM_DEPTHS):
            try:
                yield read_range(headers.deep[place])
            except Exception:
                continue  # as above


def _cut_note(seen: _Headers) -> list[str]:
    if not seen.cut:
        return []
    return [
        f"of the colours of {seen.cut} of the pictures looked at, which have 16 bits per channel, the upper 8 are "
        "read: where fewer bits are in use, as with 12, little is left; convert such files to 8 bits before"
    ]


def _class_labels(index: FolderIndex, other_classes: Sequence[str]) -> tuple[Labels, str]:
    """Return the labels that the folders give, or none and the reason."""
    folders = index.first_folders()
    loose = folders.count("")
    names = sorted(set(folders) | set(other_classes))
    if loose:
        return UNLABELLED, f"{loose} pictures lie in {index.root} itself, not in a folder named after a class"
    if len(names) < 2:
        return UNLABELLED, f"{index.root} has one first-level folder, classes need at least two"
    if len(folders) < 2 * len(set(folders)):
        return UNLABELLED, f"the first-level folders of {index.root} hold less than two pictures on average"
    place = {name: number for number, name in enumerate(names)}
    return Labels(torch.tensor([place[folder] for folder in folders]), tuple(names)), ""


def _notes(index: FolderIndex, unused_folders: Sequence[str]) -> list[str]:
    notes = []
    if index.ignored:
        counts = ", ".join(f"{suffix} ({count})" for suffix, count in index.ignored.items())
        files = sum(index.ignored.values())
        notes.append(f"files in {index.root} that are no pictures, left out: {files}, by ending {counts}")
    if unused_folders:
        notes.append(f"folders beside the splits are left out: {', '.join(unused_folders)}")
    return notes


def _too_few(index: FolderIndex, wanted: int) -> str:
    endings = ", ".join(sorted(SUFFIXES))
    found = f"{len(index.paths)} picture" if len(index.paths) == 1 else f"{len(index.paths) or 'no'} pictures"
    others = sum(index.ignored.values())
    beside = f" beside {others} other files" if others else ""
    return f"data: {found} in {index.root}{beside}, wanted at least {wanted} with the ending {endings}"
