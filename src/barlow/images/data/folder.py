"""A folder of images as a source: in memory where it is small, decoded by worker processes where not."""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from barlow.data.arrays import ArraySource
from barlow.data.labels import UNLABELLED, Labels, choose_labels
from barlow.data.memory import FillingSource
from barlow.data.packed_paths import PackedPaths
from barlow.data.stored.contents import FileContents
from barlow.data.streaming import StreamSource
from barlow.images.data.decode import SUFFIXES
from barlow.images.data.encoded import encoded_source
from barlow.images.data.layout import (
    JUNK_FILES,
    Layout,
    about_pictures,
    are_splits,
    beside_pictures,
    class_folders,
    is_folder,
    is_junk,
    is_pictures,
    layout_of,
    may_be_about_pictures,
    named,
    num_files,
)
from barlow.images.data.options import LoadOptions

FOLDERS_LEFT, FILES_LEFT = "folders that programs leave behind", "files that programs leave behind"
MASK_FILES = "masks or thumbnails of images beside them"
"""What is left out of a folder beside what is no image."""


def folder_source(root: Path, options: LoadOptions) -> ArraySource | FillingSource | StreamSource:
    """Make a source of all images under a folder.

    First-level folders are classes when every image lies in one of them, there are at least two, and they hold two
    images each on average (a folder per image is a habit of storage, not a class). Folders named train, test or val are
    splits and their first-level folders are the classes; all splits have the same classes and the same white. Masks
    beside images and what programs leave behind are left out. A note says what was taken for what.
    """
    layout = layout_of(root)
    if options.split not in layout.splits and (layout.splits or options.split != "train"):
        has = ", ".join(layout.splits) if layout.splits else "no folders named train and test"
        raise ValueError(f"split: got {options.split!r}, which is not in {root}: it has {has}")
    place = layout.place(options.split)
    index = index_folder(root / place)
    if len(index.paths) < options.min_samples:
        raise ValueError(_too_few(index, options.min_samples))
    others = [root / folder for folder in dict.fromkeys(layout.splits.values()) if folder != place]
    found, reason = _class_labels(index, layout, root)
    labels = choose_labels(options.labels, found, reason, len(index.paths))
    notes = _notes(index, layout.unused)
    source = encoded_source(
        index.contents(),
        name=root.resolve().name or str(root),
        labels=labels,
        notes=notes,
        options=options,
        other_splits=lambda: (index_folder(other).contents() for other in others),
    )
    source.notes += tuple(_structure_note(root, layout, index, found, reason))
    return source


def files_source(paths: Sequence[str | Path], options: LoadOptions) -> ArraySource | FillingSource | StreamSource:
    """Make a source of image files by their paths, in that order; no classes are told from them."""
    files = [Path(path).expanduser().absolute() for path in paths]
    if not files or len(files) < options.min_samples:
        raise ValueError(f"data: got {len(files)} paths, wanted at least {max(1, options.min_samples)} image files")
    root = Path(os.path.commonpath([file.parent for file in files]))
    index = FolderIndex(root, PackedPaths(file.relative_to(root).as_posix() for file in files))
    labels = choose_labels(options.labels, UNLABELLED, "a list of paths carries none, give labels=", len(files))
    return encoded_source(index.contents(), name=root.name or "files", labels=labels, options=options)


def split_folders(root: Path) -> dict[str, str]:
    """Return the splits that a folder is laid out in: name of the split -> folder, see `layout_of`."""
    return layout_of(root).splits


@dataclass(frozen=True)
class FolderIndex:
    """What lies under a folder.

    Attributes:
        paths: images, relative to `root`, with "/" between the parts, sorted.
        runs: (folder, number) of the images that follow each other in one folder, in the order of `paths`.
        ignored: number of files by ending that are no images, and of folders that cannot be opened.
        beside: folders of masks and the like of the images beside them, left out.
        left_out: number of hidden files, of what programs leave behind, and of masks among the images, by what it is.
    """

    root: Path
    paths: PackedPaths
    runs: tuple[tuple[str, int], ...] = ()
    ignored: dict[str, int] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)

    def contents(self) -> FileContents:
        """Return the images as what can be decoded."""
        return FileContents(str(self.root), self.paths)

    def first_folders(self) -> Counter[str]:
        """Return how many images each first-level folder holds, "" for images in the root itself."""
        counts: Counter[str] = Counter()
        for folder, number in self.runs:
            counts[folder.partition("/")[0]] += number
        return counts

    def labels(self, names: Sequence[str]) -> Labels:
        """Return the first-level folder of each image as its class, one of `names`."""
        place = {name: number for number, name in enumerate(names)}
        values = [place[folder.partition("/")[0]] for folder, _ in self.runs]
        repeated = np.repeat(np.array(values, dtype=np.int64), [number for _, number in self.runs])
        return Labels(torch.from_numpy(repeated), tuple(names))


def index_folder(root: Path) -> FolderIndex:
    """Find every image under `root` by its name; nothing is opened.

    Hidden files and folders (".name"), masks beside images and what programs leave behind are left out and counted.
    Links are followed, but each folder is visited once, under its own name rather than a link's where it has both, so
    loops end. Broken links with an image's name are listed: they become bad samples, which is how the user hears of
    them. Two calls on the same tree return the same order on every file system.
    """
    walk = _Walk(root)
    walk.visit("")
    while walk.linked_folders:  # after all real folders, so that real names win
        walk.visit(walk.linked_folders.pop(0))
    ignored, left_out = (dict(sorted(counted.items())) for counted in (walk.ignored, walk.left_out))
    runs, parts = [], []
    for folder, names in walk.in_order(""):
        runs.append((folder, len(names)))
        parts.append(PackedPaths([f"{folder}/{name}" for name in names] if folder else names))
    return FolderIndex(root, PackedPaths.joined(parts), tuple(runs), ignored, tuple(sorted(walk.beside)), left_out)


class _Walk:
    """A walk through folders: the names in each as one text, since a string of its own for each weighs four times."""

    def __init__(self, root: Path) -> None:
        self.ignored: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.beside: list[str] = []
        self.linked_folders: list[str] = []
        self._root = root
        self._visited: set[tuple[int, int]] = set()
        self._names: dict[str, str] = {}
        self._inside: dict[str, list[str]] = {}

    def visit(self, start: str) -> None:
        if start:
            self._inside.setdefault(start.rpartition("/")[0], []).append(start)
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
            self._sort_in(entries, folder, pending)
            self.linked_folders.sort()

    def in_order(self, folder: str) -> Iterator[tuple[str, list[str]]]:
        """Yield (folder, names) in the order of whole paths: what lies in "a/" stands behind "a-" and before "ab"."""
        names = self._names[folder].split("/") if folder in self._names else []
        start = 0
        for child in sorted(self._inside.get(folder, ()), key=lambda path: path + "/"):
            stop = bisect_left(names, child.rpartition("/")[2] + "/", lo=start)
            if stop > start:
                yield folder, names[start:stop]
            yield from self.in_order(child)
            start = stop
        if names[start:]:
            yield folder, names[start:]

    def _sort_in(self, entries: "list[os.DirEntry[str]]", folder: str, pending: list[str]) -> None:
        """Tell the entries of one folder apart: images, folders, links, and what is left out."""
        seen = [entry for entry in entries if entry.name[0] != "."]
        if hidden := len(entries) - len(seen):
            self.left_out["hidden files and folders"] += hidden
        real = [entry.name for entry in seen if entry.is_dir(follow_symlinks=False)]
        links = [entry for entry in seen if entry.is_symlink()]
        linked = {entry.name for entry in links if is_folder(entry)}
        away = linked.union(real)
        files = [entry.name for entry in seen] if not away else [e.name for e in seen if e.name not in away]
        left = self._left_out(files, away, folder)
        prefix = f"{folder}/" if folder else ""
        found = [prefix + name for name in real if name not in left]
        pending += found
        if found:
            self._inside.setdefault(folder, []).extend(found)
        self.linked_folders += [prefix + name for name in linked if name not in left]
        broken = {entry.name for entry in links if not Path(entry.path).exists()} - linked
        gone, names = away | left, []
        for entry in seen:
            name = entry.name
            if name in gone:
                continue
            if (name[-4:] in SUFFIXES or _suffix(name) in SUFFIXES) and (name in broken or entry.is_file()):
                names.append(name)
            else:
                self.ignored[_suffix(name) or "no ending"] += 1
        if names:
            names.sort()
            self._names[folder] = "/".join(names)

    def _left_out(self, files: list[str], folders: set[str], folder: str) -> set[str]:
        """Return what of one folder is neither an image nor may hold images, and count it."""
        masks = beside_pictures(folders)
        self.beside += [f"{folder}/{name}" if folder else name for name in masks]
        junk = set(filter(is_junk, folders))
        text = "/".join(files).lower()
        left = (
            {name for name in files if name.lower() in JUNK_FILES} if any(map(text.__contains__, JUNK_FILES)) else set()
        )
        about: set[str] = set()
        if may_be_about_pictures(text):
            stems = about_pictures([name.rpartition(".")[0] for name in files])
            about = {name for name in files if name.rpartition(".")[0] in stems} - left
        for what, names in ((FOLDERS_LEFT, junk), (FILES_LEFT, left), (MASK_FILES, about)):
            if names:
                self.left_out[what] += len(names)
        return masks | junk | left | about


def _suffix(name: str) -> str:
    """The ending of a name, in lower case with its dot; a Path per file would cost more than the scan."""
    _, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if dot else ""


def _class_labels(index: FolderIndex, layout: Layout, root: Path) -> tuple[Labels, str]:
    """Return the labels that the folders give, or none and the reason; all splits number the same classes alike."""
    folders = index.first_folders()
    here = set(folders)
    if loose := folders[""]:
        return UNLABELLED, f"{loose} images lie in {index.root} itself, not in a folder named after a class"
    if are_splits(here) and not layout.splits:
        return UNLABELLED, f"{named(sorted(here))} are splits by their names, and {root} has no folder named train"
    if index.beside and any(map(is_pictures, here)):
        return UNLABELLED, f"{named(sorted(here))} stand beside {named(index.beside)}, so they are no classes"
    of_splits = {folder: class_folders(root / folder) for folder in layout.splits.values()}
    training = of_splits.get(layout.splits.get("train", ""), set())
    if training and not training & here:
        return UNLABELLED, f"{index.root} has none of the class folders of {layout.splits['train']}/"
    shared = [classes for classes in of_splits.values() if not training or classes & training]
    names = sorted(here.union(*shared))
    if len(names) < 2:
        return UNLABELLED, f"{index.root} has one first-level folder, classes need at least two"
    if len(index.paths) < 2 * len(here):
        return UNLABELLED, f"the first-level folders of {index.root} hold less than two images on average"
    return index.labels(names), ""


def _structure_note(root: Path, layout: Layout, index: FolderIndex, labels: Labels, reason: str) -> list[str]:
    """Say in one line what was taken for splits, classes, masks and junk; nothing of images in one plain folder."""
    if not (layout.splits or layout.beside or index.beside or index.left_out or any(index.first_folders())):
        return []
    by_folder: dict[str, list[str]] = {}
    for split, folder in layout.splits.items():
        by_folder.setdefault(folder, []).append(split)
    parts = [f"{folder}/ is {' and '.join(splits)}" for folder, splits in by_folder.items()]
    parts += [f"the images are those of {layout.pictures}/"] if layout.pictures else []
    names = labels.class_names
    parts.append(f"{len(names)} classes by folder: {named(names)}" if names else f"no classes: {reason}")
    if names and (bare := [folder for folder in by_folder if not class_folders(root / folder) & set(names)]):
        parts.append(f"{named(bare)} has no folders of these classes, so its images have no labels")
    within = os.path.relpath(index.root, root)
    masks = [*layout.beside, *(folder if within == "." else f"{within}/{folder}" for folder in index.beside)]
    counted = [f"{name}/ ({num_files(root / name)} files)" for name in masks]
    pictures = [name for name in masks if index_folder(root / name).paths]
    if pictures:
        parts.append(f"{named(f'{name}/' for name in pictures)} left for later: barlow segment learns from masks")
    left = [f"masks, labels or the like in {named(counted)}"] if masks else []
    left += [f"{count} {what}" for what, count in index.left_out.items()]
    parts += [f"left out: {', '.join(left)}"] if left else []
    return [f"how {root.resolve().name or root} is read: {'; '.join(parts)}"]


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
