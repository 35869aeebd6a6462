"""`.npy` and `.npz` files of images."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap
from numpy.lib.npyio import NpzFile

from barlow.data.arrays import ArraySource, not_finite
from barlow.data.labels import UNLABELLED, Labels, as_labels, choose_labels
from barlow.images.data.options import LoadOptions
from barlow.images.data.pixels import source_of, to_images
from barlow.images.data.white_level import WhiteLevels, how_read, merged, spread_of, told_white

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
    told: WhiteLevels | None = None


def array_splits(path: Path) -> tuple[str, ...]:
    """Return the splits that an array file has: ("train",) unless its keys name others."""
    if path.suffix.lower() == ".npy":
        return ("train",)
    with _archive(path) as archive:
        return tuple(_layout(archive.files)) or ("train",)


def array_file_source(path: Path, options: LoadOptions) -> ArraySource:
    """Make a source of a `.npy` file (images) or a `.npz` file (images, and labels if it has them).

    A `.npy` file of uint8 is mapped, not read, so that it may be larger than the memory. The splits of an archive have
    one white, told from the values of all.
    """
    content = (
        _read_npy(path)
        if path.suffix.lower() == ".npy"
        else _read_npz(path, options.split, tell=options.reading.white is None)
    )
    array, wanted = content.array, options.min_samples
    if array.ndim == 0 or len(array) < wanted:
        raise ValueError(f"data: {path} has an array of shape {array.shape}, wanted at least {wanted} images")
    found = to_images(array, options.reading, told=content.told)
    if len(found.images) < wanted:
        raise ValueError(f"data: {path} has {len(found.images)} images, wanted at least {wanted}; {found.notes[0]}")
    reason = f"{path} has no {' or '.join(LABEL_KEYS)}"
    labels = choose_labels(options.labels, content.labels, reason, len(found.images))
    return source_of(
        found,
        options.channels,
        name=path.stem,
        labels=labels,
        describe=f"{path.name}, sample {{}}".format,
        notes=content.notes,
        most_bad=options.most_bad,
    )


def _read_npy(path: Path) -> _Content:
    try:
        array: npt.NDArray[Any] = open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise ValueError(f"data: {path} cannot be read as a .npy file: {error}") from error
    return _Content(array, UNLABELLED, (f"{path.name}: {array.dtype} {array.shape}",))


def _read_npz(path: Path, split: str, *, tell: bool) -> _Content:
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
        told, depth = _white_of_all(array, [_member(archive, key, path) for key in others]) if tell else (None, ())
        if label_key is None:
            return _Content(array, UNLABELLED, (f"{note}; no labels", *depth), told)
        given = {name: _member(archive, key, path) for name, (_, key) in layout.items() if key is not None}
        labels = _labels_of(given, split, len(array))
        note = f"{note}; labels are {label_key!r}, {len(labels.class_names)} classes"
        return _Content(array, labels, (note, *depth), told)


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
    array: npt.NDArray[Any], other_splits: Sequence[npt.NDArray[Any]]
) -> tuple[WhiteLevels | None, tuple[str, ...]]:
    """Return the white of a split and the others together, where it is not plain, and a note on it.

    Splits whose values are no pixels have no say; nothing is told where no other holds numbers of the same kind.
    """
    kind = array.dtype.kind
    if array.dtype == np.uint8 or kind not in "iuf":
        return None, ()
    alike = [one for one in other_splits if one.size and (one.dtype.kind == "f") == (kind == "f")]
    splits = [(one, not_finite(one) if kind == "f" else {}) for one in alike if one.dtype.kind in "iuf"]
    spreads = [spread_of(one, bad, counted=True) for one, bad in splits if len(bad) < len(one)]
    spreads = [spread for spread in spreads if spread.floating or spread.has_bit_depth]
    own = not_finite(array) if kind == "f" else {}
    if not spreads or not array.size or len(own) == len(array):
        return None, ()
    spread = spread_of(array, own, counted=True)
    if not (spread.floating or spread.has_bit_depth):
        return None, ()
    together = merged([spread, *spreads])
    told = told_white(together)
    return told, how_read(together, told, "all splits")


def _labels_of(given: Mapping[str, npt.NDArray[Any]], split: str, num_samples: int) -> Labels:
    """Return the labels of a split, its classes numbered over all splits together: the same number in each."""
    as_labels(given[split], num_samples)  # for its checks
    names = list(given)
    everything = np.concatenate([given[name].reshape(-1) for name in names])
    found = as_labels(everything, len(everything))
    if found.values is None:
        return UNLABELLED
    start = sum(given[name].size for name in names[: names.index(split)])
    return Labels(found.values[start : start + num_samples], found.class_names)


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
