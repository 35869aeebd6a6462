"""`.npy` and `.npz` files of pictures."""

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
from barlow.data.bit_depth import depth_notes, range_of, white_level
from barlow.data.labels import UNLABELLED, LabelChoice, Labels, as_labels, choose_labels
from barlow.data.pixels import pictures, with_channels
from barlow.data.reading import Reading

IMAGE_KEYS = ("images", "image", "x", "X", "data", "arr_0")
"""Names under which an archive may keep its pictures; with splits also as in train_images, x_train."""

LABEL_KEYS = ("labels", "label", "y", "Y", "targets", "target")
"""Names under which an archive may keep its labels, alike."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class _Content:
    array: npt.NDArray[Any]
    labels: Labels
    notes: tuple[str, ...]
    white: int | None = None


def array_splits(path: Path) -> tuple[str, ...]:
    """Return the splits that an array file has: ("train",) unless its keys name others.

    Args:
        path: a `.npy` or `.npz` file.

    Returns:
        Names of the splits.

    Raises:
        ValueError: a damaged archive.
    """
    if path.suffix.lower() == ".npy":
        return ("train",)
    with _archive(path) as archive:
        return tuple(_layout(archive.files)) or ("train",)


def array_file_source(
    path: Path, *, split: str = "train", labels: LabelChoice = "auto", reading: Reading | None = None
) -> ArraySource:
    """Make a source of a `.npy` file (pictures) or a `.npz` file (pictures, and labels if it has them).

    A `.npy` file of uint8 is mapped, not read, so that it may be larger than the memory. The splits of an archive
    have one bit depth, that of the largest value of all.

    Args:
        path: the file.
        split: "train", or a split that the keys of the archive name (x_train, test_images, ...).
        labels: "auto", "required", "none", or one label per picture.
        reading: only its channels and its smallest number of samples matter here.

    Returns:
        The source; its notes say which keys were used, and how pictures of more than 8 bits are scaled.

    Raises:
        ValueError: a damaged file, no pictures of that split under a known key, or values that are no pixels.
        BadDataError: more than 1% of the pictures have NaN or infinite values.
    """
    content = (_read_npy if path.suffix.lower() == ".npy" else _read_npz)(path, split)
    array = content.array
    reading = reading or Reading()
    wanted = reading.min_samples
    if array.ndim == 0 or len(array) < wanted:
        raise ValueError(f"data: {path} has an array of shape {array.shape}, wanted at least {wanted} pictures")
    chosen = choose_labels(labels, content.labels, f"{path} has no {' or '.join(LABEL_KEYS)}", len(array))
    samples, bad, notes = pictures(array, content.white)
    notes = content.notes + notes
    samples = with_channels(samples, reading.channels)
    describe = f"{path.name}, sample {{}}".format
    return ArraySource(samples, name=path.stem, labels=chosen, describe=describe, bad=bad, notes=notes)


def _read_npy(path: Path, split: str) -> _Content:
    if split != "train":
        raise ValueError(f"split: no {split!r} in {path}: a .npy file has no splits")
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
                f"data: {path} has {found}; wanted pictures of the split {split!r} under one of "
                f"{', '.join(IMAGE_KEYS)}, or as in {split}_images, x_{split}"
            )
        image_key, label_key = layout[split]
        array = _member(archive, image_key, path)
        note = f"{path.name}: pictures are {image_key!r}, {array.dtype} {array.shape}"
        others = {key for key, _ in layout.values()} - {image_key}
        white, depth = _white_of_all(array, (_member(archive, key, path) for key in others))
        if label_key is None:
            return _Content(array, UNLABELLED, (f"{note}; no labels", *depth), white)
        names = _class_names([_member(archive, key, path) for _, key in layout.values() if key is not None])
        labels = as_labels(_member(archive, label_key, path), len(array), names)
        note = f"{note}; labels are {label_key!r}, {len(labels.class_names)} classes"
        return _Content(array, labels, (note, *depth), white)


def _white_of_all(
    array: npt.NDArray[Any], other_splits: Iterable[npt.NDArray[Any]]
) -> tuple[int | None, tuple[str, ...]]:
    """Return the white of a split and the others together, where it has more than 8 bits, and a note on it."""
    if array.dtype.kind not in "iu" or array.dtype == np.uint8:
        return None, ()
    ranges = [range_of(split) for split in chain((array,), other_splits) if split.size and split.dtype.kind in "iu"]
    highest = max((seen.high for seen in ranges if seen.has_depth), default=0.0)
    return white_level(highest), depth_notes(highest, "all splits")


@contextmanager
def _archive(path: Path) -> Iterator[NpzFile]:
    with path.open("rb") as file:  # NumPy leaves the file open when it is no archive
        try:
            archive = np.load(file, allow_pickle=False)
        except (OSError, EOFError, ValueError, BadZipFile) as error:
            raise ValueError(f"data: {path} cannot be read as a .npz file: {error}") from error
        if not isinstance(archive, NpzFile):
            raise ValueError(f"data: {path} is no archive of arrays in spite of its name")
        with archive:
            yield archive


def _member(archive: NpzFile, key: str, path: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = archive[key]
    except (OSError, EOFError, ValueError, BadZipFile, zlib.error) as error:
        raise ValueError(f"data: {key!r} in {path} cannot be read: {error}") from error
    return array


def _layout(keys: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Return the keys of pictures and of labels for each split that the archive has."""
    layout: dict[str, tuple[str, str | None]] = {}
    for split in SPLITS:
        images = _find(keys, IMAGE_KEYS, split)
        if images is None and split == "train":
            images = next((key for key in IMAGE_KEYS if key in keys), None)
            labels = next((key for key in LABEL_KEYS if key in keys), None)
        else:
            labels = _find(keys, LABEL_KEYS, split)
        if images is not None:
            layout[split] = (images, labels)
    if "val" in layout:
        layout.setdefault("test", layout["val"])
    return layout


def _find(keys: Sequence[str], names: Sequence[str], split: str) -> str | None:
    spellings = [f"{split}_{name}" for name in names] + [f"{name}_{split}" for name in names]
    return next((key for key in spellings if key in keys), None)


def _class_names(label_arrays: Sequence[npt.NDArray[Any]]) -> list[str]:
    """Return the classes of all splits together, so that they are numbered alike in each."""
    flat = np.concatenate([labels.reshape(-1) for labels in label_arrays])
    if flat.dtype.kind in "SUO":
        return sorted({entry.decode() if isinstance(entry, bytes) else str(entry) for entry in flat.tolist()})
    return [str(number) for number in range(int(flat.max()) + 1)] if flat.size else []
