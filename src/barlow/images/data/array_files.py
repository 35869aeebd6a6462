"""`.npy` and `.npz` files of images."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap
from numpy.lib.npyio import NpzFile

from barlow.data.arrays import ArraySource
from barlow.data.labels import UNLABELLED, Labels, as_labels, choose_labels
from barlow.images.data.options import LoadOptions
from barlow.images.data.pixels import bit_depth_notes, range_of, to_images, white_level, with_channels

IMAGE_KEYS = ("images", "image", "x", "X", "data", "arr_0")
"""Names under which an archive may keep its images; with splits also as in train_images, x_train."""
LABEL_KEYS = ("labels", "label", "y", "Y", "targets", "target")
"""Names under which an archive may keep its labels; with splits as those of images."""
SPLITS = ("train", "val", "test")

_UNREADABLE = (OSError, EOFError, ValueError, BadZipFile, zlib.error)


@dataclass(frozen=True)
class _Content:
    array: npt.NDArray[Any]
    labels: Labels
    notes: tuple[str, ...]
    white: int | None = None


def array_splits(path: Path) -> tuple[str, ...]:
    """Return the splits that an array file has: ("train",) unless its keys name others."""
    if path.suffix.lower() == ".npy":
        return ("train",)
    with _archive(path) as archive:
        return tuple(_layout(archive.files)) or ("train",)


def array_file_source(path: Path, options: LoadOptions) -> ArraySource:
    """Make a source of a `.npy` file (images) or a `.npz` file (images, and labels if it has them).

    A `.npy` file of uint8 is mapped, not read, so that it may be larger than the memory. The splits of an archive have
    one bit depth, that of the largest value of all.
    """
    content = _read_npy(path) if path.suffix.lower() == ".npy" else _read_npz(path, options.split)
    array, wanted = content.array, options.min_samples
    if array.ndim == 0 or len(array) < wanted:
        raise ValueError(f"data: {path} has an array of shape {array.shape}, wanted at least {wanted} images")
    reason = f"{path} has no {' or '.join(LABEL_KEYS)}"
    labels = choose_labels(options.labels, content.labels, reason, len(array))
    images, bad, notes = to_images(array, content.white)
    return ArraySource(
        with_channels(images, options.channels),
        name=path.stem,
        labels=labels,
        describe=f"{path.name}, sample {{}}".format,
        bad=bad,
        notes=content.notes + notes,
    )


def _read_npy(path: Path) -> _Content:
    try:
        array: npt.NDArray[Any] = open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise ValueError(f"data: {path} cannot be read as a .npy file: {error}") from error
    return _Content(array, UNLABELLED, (f"{path.name}: {array.dtype} {array.shape}",))


def _read_npz(path: Path, split: str) -> _Content:
    with _archive(path) as archive:
        layout = _layout(archive.files)
        if split not in layout:
            found = ", ".join(archive.files) or "no arrays"
            raise ValueError(
                f"data: {path} has {found}; wanted images of the split {split!r} under one of "
                f"{', '.join(IMAGE_KEYS)}, or as in {split}_images, x_{split}"
            )
        image_key, label_key = layout[split]
        array = _member(archive, image_key, path)
        note = f"{path.name}: images are {image_key!r}, {array.dtype} {array.shape}"
        others = {key for key, _ in layout.values()} - {image_key}
        white, depth = _white_of_all(array, (_member(archive, key, path) for key in others))
        if label_key is None:
            return _Content(array, UNLABELLED, (f"{note}; no labels", *depth), white)
        names = _class_names([_member(archive, key, path) for _, key in layout.values() if key is not None])
        labels = as_labels(_member(archive, label_key, path), len(array), names)
        note = f"{note}; labels are {label_key!r}, {len(labels.class_names)} classes"
        return _Content(array, labels, (note, *depth), white)


def _layout(keys: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Return the keys of images and of labels for each split that the archive has."""
    layout: dict[str, tuple[str, str | None]] = {}
    for split in SPLITS:
        images, labels = (_key_of_split(keys, names, split) for names in (IMAGE_KEYS, LABEL_KEYS))
        if images is None and split == "train":
            images, labels = (next((key for key in names if key in keys), None) for names in (IMAGE_KEYS, LABEL_KEYS))
        if images is not None:
            layout[split] = (images, labels)
    if "val" in layout:
        layout.setdefault("test", layout["val"])
    return layout


def _key_of_split(keys: Sequence[str], names: Sequence[str], split: str) -> str | None:
    spellings = [f"{split}_{name}" for name in names] + [f"{name}_{split}" for name in names]
    return next((key for key in spellings if key in keys), None)


def _white_of_all(
    array: npt.NDArray[Any], other_splits: Iterable[npt.NDArray[Any]]
) -> tuple[int | None, tuple[str, ...]]:
    """Return the white of a split and the others together, where it has more than 8 bits, and a note on it."""
    if array.dtype.kind not in "iu" or array.dtype == np.uint8:
        return None, ()
    ranges = [range_of(split) for split in chain((array,), other_splits) if split.size and split.dtype.kind in "iu"]
    highest = max((seen.high for seen in ranges if seen.has_bit_depth), default=0.0)
    return white_level(highest), bit_depth_notes(highest, "all splits")


def _class_names(labels_of_splits: Sequence[npt.NDArray[Any]]) -> list[str]:
    """Return the classes of all splits together, so that a class has the same number in each."""
    flat = np.concatenate([labels.reshape(-1) for labels in labels_of_splits])
    if flat.dtype.kind in "SUO":
        return sorted({entry.decode() if isinstance(entry, bytes) else str(entry) for entry in flat.tolist()})
    return [str(number) for number in range(int(flat.max()) + 1)] if flat.size else []


@contextmanager
def _archive(path: Path) -> Iterator[NpzFile]:
    with path.open("rb") as file:  # NumPy leaves the file open when it is no archive
        try:
            archive = np.load(file, allow_pickle=False)
        except _UNREADABLE as error:
            raise ValueError(f"data: {path} cannot be read as a .npz file: {error}") from error
        if not isinstance(archive, NpzFile):
            raise ValueError(f"data: {path} is no archive of arrays in spite of its name")
        with archive:
            yield archive


def _member(archive: NpzFile, key: str, path: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = archive[key]
    except _UNREADABLE as error:
        raise ValueError(f"data: {key!r} in {path} cannot be read: {error}") from error
    return array
