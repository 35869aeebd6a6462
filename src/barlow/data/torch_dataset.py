"""Any map-style torch `Dataset` (or list of pictures) as a source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, Subset, TensorDataset

from barlow.data.arrays import ArraySource
from barlow.data.bit_depth import ValueRange, WhiteLevels, levels_of, range_of
from barlow.data.decode import GREY_MODES, is_deep, picture_to_tensor
from barlow.data.labels import UNLABELLED, LabelChoice, Labels, as_labels, choose_labels
from barlow.data.order import evenly_spaced
from barlow.data.packing import reason_of
from barlow.data.pixels import as_array, as_tensor, pictures, with_channels
from barlow.data.reading import Reading
from barlow.data.seeds import generators_kept, seed_generators
from barlow.data.streaming import StreamSource

IMAGE_KEYS = ("image", "img", "pixel_values", "x")
"""Where an item that is a mapping keeps its picture."""

LABEL_COLUMNS = ("label", "labels")
"""Where a dataset with columns keeps its labels."""

NUM_PEEKED = 32
"""Items that are looked at to settle the number of channels and which value is white."""


@dataclass(frozen=True)
class DatasetReader:
    """Reads the items of a dataset; see `barlow.data.packing.Reader`.

    Attributes:
        dataset: has `len` and items.
        as_pictures: whether items become uint8 pictures; else they are tensors of any kind and stay as they
            are.
        channels: 1 or 3, or 0 where it is left to the items.
        decode_size: cap of the short side of Pillow images in pixels; 0 for no cap.
        white: of pictures with more than 8 bits.
    """

    dataset: Any
    as_pictures: bool
    channels: int
    decode_size: int
    white: WhiteLevels

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.dataset)

    def read(self, position: int) -> Tensor:
        """Return the sample of one item."""
        sample = sample_of(self.dataset[position])
        if isinstance(sample, Image.Image):
            return picture_to_tensor(sample, self.channels or 3, self.decode_size, self.white)
        if not isinstance(sample, (Tensor, np.ndarray)):
            raise TypeError(f"a {type(sample).__name__}, wanted a tensor, a NumPy array or a Pillow image")
        if self.as_pictures:
            return with_channels(_one_picture(sample, self.white), self.channels)
        return sample.detach().cpu() if isinstance(sample, Tensor) else as_tensor(sample)

    def describe(self, position: int) -> str:
        """Return the number of the item."""
        return f"item {position}"


def sample_of(item: Any) -> Any:
    """Return the sample of an item: the item itself, its first entry, or the picture of a mapping.

    That lies under one of `IMAGE_KEYS`, else it is the only array, tensor or Pillow image; scalars are none.

    Args:
        item: a sample, (sample, label, ...) or a mapping.

    Returns:
        The sample.

    Raises:
        ValueError: a mapping with no picture, or with several.
    """
    if isinstance(item, Mapping):
        named = [item[key] for key in IMAGE_KEYS if key in item]
        arrays = [value for value in item.values() if isinstance(value, (Image.Image, Tensor, np.ndarray))]
        arrays = [value for value in arrays if isinstance(value, Image.Image) or value.ndim > 0]
        if named or len(arrays) == 1:
            return (named or arrays)[0]
        keys = ", ".join(map(str, item)) or "none"
        wanted = f"a picture under {', '.join(IMAGE_KEYS[:-1])} or {IMAGE_KEYS[-1]}"
        raise ValueError(
            f"an item with the keys {keys}, wanted {wanted}, or one array, tensor or Pillow image ({len(arrays)} came)"
        )
    return item[0] if isinstance(item, (tuple, list)) and item else item


def dataset_source(
    dataset: Any,
    *,
    name: str = "",
    labels: LabelChoice = "auto",
    as_pictures: bool = True,
    reading: Reading | None = None,
) -> ArraySource | StreamSource:
    """Make a source of a map-style dataset.

    Datasets of torchvision that hold all pictures in memory and have no transform of their own are used where
    they lie, and so is a `TensorDataset`. Everything else is read item by item in worker processes, anew each
    time, because items may be random: what they draw from the global generators of Python, NumPy and torch
    follows from a seed and the item's position (`StreamSource` says more). Labels come from the attribute
    `targets` (or `labels`), or from the column `label` (or `labels`) of a dataset with columns, as those of
    Hugging Face are; never from the items.

    Args:
        dataset: has `len` and items: a tensor, an array, a Pillow image, a tuple that starts with one, or a
            mapping as `sample_of` takes it. Tensors and arrays are (h, w), (c, h, w) or (h, w, c); fractions in
            [0, 1]; whole numbers of the bit depth that holds those of the items looked at.
        name: what to call the data; default: the name of its class.
        labels: "auto", "required", "none", or one label per item.
        as_pictures: bring items to uint8 pictures; with False any tensors stay as they are.
        reading: how items are read.

    Returns:
        The source.

    Raises:
        ValueError: too few items, none that can be read among those looked at, no items by number at all (an
            iterable dataset), several datasets in a dictionary, or labels required where there are none.
    """
    _check_items(dataset)
    reading = reading or Reading()
    name = name or type(dataset).__name__
    length = len(dataset)
    if length < reading.min_samples:
        raise ValueError(f"data: {name} has {length} items, wanted at least {reading.min_samples}")
    reason = "the dataset has no attribute `targets` and no column `label` with a class for each item"
    chosen = choose_labels(labels, labels_of(dataset), reason, length)
    held = _held_in_memory(dataset) if as_pictures else None
    if held is not None:
        samples, bad, notes = pictures(held)
        samples = with_channels(samples, reading.channels)
        return ArraySource(samples, name=name, labels=chosen, describe="item {}".format, bad=bad, notes=notes)
    channels, white, notes = _peek(dataset, name) if as_pictures else (0, WhiteLevels(), ())
    reader = DatasetReader(dataset, as_pictures, reading.channels or channels, reading.decode_size, white)
    return StreamSource(reader, name=name, labels=chosen, notes=notes, num_workers=reading.num_workers)


def labels_of(dataset: Any) -> Labels:
    """Return the labels that a dataset carries without reading its items.

    Args:
        dataset: looked at for `targets`, `labels` and `classes`, and for a column in `LABEL_COLUMNS` with its
            names in `features`; a `Subset` and a `TensorDataset` are looked into.

    Returns:
        The labels, or none. Attributes that are no labels (a wrong number, boxes, -1 for "unknown") give
        none.
    """
    if isinstance(dataset, Subset):
        whole = labels_of(dataset.dataset)
        if whole.values is None:
            return UNLABELLED
        return Labels(whole.values[torch.as_tensor(list(dataset.indices))], whole.class_names)
    found: Any = getattr(dataset, "targets", None)
    if found is None:
        found = getattr(dataset, "labels", None)
    if found is None and isinstance(dataset, TensorDataset) and len(dataset.tensors) > 1:
        second = dataset.tensors[1]
        found = None if second.is_floating_point() else second
    names = _class_names(dataset)
    if found is None:
        found, names = _label_column(dataset)
    if found is None:
        return UNLABELLED
    try:
        return as_labels(found, len(dataset), names)
    except (ValueError, TypeError):
        return UNLABELLED


def _class_names(dataset: Any) -> list[str]:
    """Return the names under `classes`; torchvision's ImageNet keeps several per class there."""
    names = getattr(dataset, "classes", None)
    if not isinstance(names, (list, tuple)):
        return []
    return [str(name[0] if isinstance(name, tuple) else name) for name in names]


def _label_column(dataset: Any) -> tuple[Any, list[str]]:
    """Return the column of labels and the names of its classes; nothing where there is none, or a class is missing."""
    columns = getattr(dataset, "column_names", None)
    name = next((name for name in LABEL_COLUMNS if isinstance(columns, list) and name in columns), None)
    if name is None:
        return None, []
    # A transform of the items would be run for the labels too, on all pictures.
    plain = dataset.with_format(None) if hasattr(dataset, "with_format") else dataset
    found = plain[name][:]  # at once; going over a column reads it item by item
    features = getattr(dataset, "features", None)
    names = getattr(features.get(name), "names", None) if isinstance(features, Mapping) else None
    return None if any(label is None for label in found) else found, list(names or [])


def _check_items(dataset: Any) -> None:
    kind = type(dataset).__name__
    if isinstance(dataset, Mapping):
        keys = list(dataset)
        example = f", as in data[{keys[0]!r}]" if keys else ""
        raise ValueError(f"data: got a {kind} of {', '.join(map(str, keys))}, wanted one of them{example}")
    by_number = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if isinstance(dataset, IterableDataset) or not by_number:
        raise ValueError(
            f"data: got {kind}, which gives its items one after the other, wanted items by number, since an epoch "
            "reads them in random order: save them as a folder of pictures or as a .npy file, or wrap them in a "
            "dataset with __len__ and __getitem__"
        )


def _held_in_memory(dataset: Any) -> Any:
    if isinstance(dataset, Subset):
        held = _held_in_memory(dataset.dataset)
        return None if held is None else held[list(dataset.indices)]
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[0]
    plain = type(dataset).__module__.startswith("torchvision.datasets") and dataset.transforms is None
    data = getattr(dataset, "data", None) if plain else None
    return data if isinstance(data, (Tensor, np.ndarray)) and len(data) == len(dataset) else None


def _peek(dataset: Any, name: str) -> tuple[int, WhiteLevels, tuple[str, ...]]:
    """Look at some items: 1 channel when all are grey, else that of the most colourful; their white; notes on it."""
    channels: list[int] = []
    deep: list[ValueRange] = []
    failures: list[str] = []
    with generators_kept():
        for position in evenly_spaced(len(dataset), NUM_PEEKED):
            seed_generators(position)  # random items too have to give the same answer after a resume
            try:
                sample = sample_of(dataset[position])
                if isinstance(sample, Image.Image):
                    channels.append(1 if sample.mode in GREY_MODES else 3)
                    deep += [range_of(np.asarray(sample))] if is_deep(sample) else []
                else:
                    channels.append(len(_one_picture(sample, WhiteLevels())))
                    values = as_array(sample)
                    deep += [range_of(values)] if values.dtype.kind in "iu" and values.dtype != np.uint8 else []
            except Exception as error:  # bad samples are counted when they are read
                failures.append(f"item {position} ({reason_of(error)})")
    if not channels:
        raise ValueError(f"data: none of the {len(failures)} items looked at in {name} can be read: {failures[0]}")
    return max(channels), *levels_of(deep)


def _one_picture(sample: Any, white: WhiteLevels) -> Tensor:
    if sample.ndim not in (2, 3) or 0 in sample.shape:
        raise ValueError(f"an item of shape {tuple(sample.shape)}, wanted a picture (H, W), (C, H, W) or (H, W, C)")
    if sample.is_floating_point() if isinstance(sample, Tensor) else sample.dtype.kind == "f":
        low, high = float(sample.min()), float(sample.max())
        if low < -1e-3 or high > 1 + 1e-3:
            raise ValueError(f"fractions from {low:g} to {high:g}, wanted 0 to 1 (views normalise by themselves)")
    return pictures(sample[None], white.whole)[0][0]
