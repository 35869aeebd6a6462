"""Any map-style torch `Dataset` (or list of images) as a source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, Subset, TensorDataset

from barlow.data.arrays import ArraySource, as_array
from barlow.data.labels import UNLABELLED, Labels, as_labels, choose_labels
from barlow.data.order import evenly_spaced, generators_restored, seed_generators
from barlow.data.streaming import StreamSource, reason_of
from barlow.images.data.decode import GREY_MODES, has_high_bit_depth, image_to_tensor
from barlow.images.data.options import LoadOptions
from barlow.images.data.pixels import (
    ValueRange,
    WhiteLevels,
    as_tensor,
    range_of,
    to_images,
    white_levels,
    with_channels,
)

IMAGE_KEYS = ("image", "img", "pixel_values", "x")
"""Where an item that is a mapping keeps its image."""
LABEL_COLUMNS = ("label", "labels")
"""Where a dataset with columns keeps its labels."""
NUM_LOOKED_AT = 32
"""Items that are looked at to settle the number of channels and which value is white."""


def dataset_source(
    dataset: Any, options: LoadOptions, *, name: str = "", as_images: bool = True
) -> ArraySource | StreamSource:
    """Make a source of a map-style dataset.

    Datasets of torchvision that hold all images in memory and have no transform of their own are used where they lie,
    and so is a `TensorDataset`. Everything else is read item by item in worker processes, again each time, because
    items may be random: what they draw from the global generators of Python, NumPy and torch follows from a seed and
    the item's position (`StreamSource` says more). Labels come from the attribute `targets` (or `labels`), or from the
    column `label` (or `labels`) of a dataset with columns, as those of Hugging Face are; never from the items. The
    items are a tensor, an array, a Pillow image, a tuple that starts with one, or a mapping as `sample_of` takes it.
    Tensors and arrays are (h, w), (c, h, w) or (h, w, c); floats in [0, 1]; integers of the bit depth that holds those
    of the items looked at. With `as_images` False, tensors of any kind stay as they are. `name` is by default that of
    the class. Iterable datasets and dictionaries of several are refused.
    """
    _check_items(dataset)
    name, length = name or type(dataset).__name__, len(dataset)
    if length < options.min_samples:
        raise ValueError(f"data: {name} has {length} items, wanted at least {options.min_samples}")
    reason = "the dataset has no attribute `targets` and no column `label` with a class for each item"
    labels = choose_labels(options.labels, labels_of(dataset), reason, length)
    in_memory = _in_memory(dataset) if as_images else None
    if in_memory is not None:
        images, bad, notes = to_images(in_memory)
        images = with_channels(images, options.channels)
        return ArraySource(images, name=name, labels=labels, describe="item {}".format, bad=bad, notes=notes)
    channels, white, notes = _look_at_items(dataset, name) if as_images else (0, WhiteLevels(), ())
    reader = DatasetReader(dataset, as_images, options.channels or channels, options.decode_size, white)
    return StreamSource(reader, name=name, labels=labels, notes=notes, num_workers=options.num_workers)


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
            "reads them in random order: save them as a folder of images or as a .npy file, or wrap them in a "
            "dataset with __len__ and __getitem__"
        )


def _in_memory(dataset: Any) -> Any:
    if isinstance(dataset, Subset):
        whole = _in_memory(dataset.dataset)
        return None if whole is None else whole[list(dataset.indices)]
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[0]
    plain = type(dataset).__module__.startswith("torchvision.datasets") and dataset.transforms is None
    data = getattr(dataset, "data", None) if plain else None
    return data if isinstance(data, (Tensor, np.ndarray)) and len(data) == len(dataset) else None


def _look_at_items(dataset: Any, name: str) -> tuple[int, WhiteLevels, tuple[str, ...]]:
    """Look at some items: 1 channel when all are grey, else that of the most colourful; their white; notes on it."""
    channels: list[int] = []
    ranges: list[ValueRange] = []
    failures: list[str] = []
    with generators_restored():
        for position in evenly_spaced(len(dataset), NUM_LOOKED_AT):
            seed_generators(position)  # random items too have to give the same answer after a resume
            try:
                sample = sample_of(dataset[position])
                if isinstance(sample, Image.Image):
                    channels.append(1 if sample.mode in GREY_MODES else 3)
                    ranges += [range_of(np.asarray(sample))] if has_high_bit_depth(sample) else []
                else:
                    channels.append(len(_one_image(sample, WhiteLevels())))
                    values = as_array(sample)
                    ranges += [range_of(values)] if values.dtype.kind in "iu" and values.dtype != np.uint8 else []
            except Exception as error:  # bad samples are counted when they are read
                failures.append(f"item {position} ({reason_of(error)})")
    if not channels:
        raise ValueError(f"data: none of the {len(failures)} items looked at in {name} can be read: {failures[0]}")
    return max(channels), *white_levels(ranges)


@dataclass(frozen=True)
class DatasetReader:
    """Reads the items of a dataset; a `Reader` of `data/streaming.py`. 0 channels: as the items are."""

    dataset: Any
    as_images: bool
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
            return image_to_tensor(sample, self.channels or 3, self.decode_size, self.white)
        if not isinstance(sample, (Tensor, np.ndarray)):
            raise TypeError(f"a {type(sample).__name__}, wanted a tensor, a NumPy array or a Pillow image")
        if self.as_images:
            return with_channels(_one_image(sample, self.white), self.channels)
        return sample.detach().cpu() if isinstance(sample, Tensor) else as_tensor(sample)

    def describe(self, position: int) -> str:
        """Return the number of the item."""
        return f"item {position}"


def sample_of(item: Any) -> Any:
    """Return the sample of an item: the item itself, its first entry, or the image of a mapping.

    That lies under one of `IMAGE_KEYS`, else it is the only array, tensor or Pillow image; scalars are none. A mapping
    with no image, or with several, is refused.
    """
    if isinstance(item, Mapping):
        named = [item[key] for key in IMAGE_KEYS if key in item]
        arrays = [value for value in item.values() if isinstance(value, (Image.Image, Tensor, np.ndarray))]
        arrays = [value for value in arrays if isinstance(value, Image.Image) or value.ndim > 0]
        if named or len(arrays) == 1:
            return (named or arrays)[0]
        keys = ", ".join(map(str, item)) or "none"
        wanted = f"an image under {', '.join(IMAGE_KEYS[:-1])} or {IMAGE_KEYS[-1]}"
        raise ValueError(
            f"an item with the keys {keys}, wanted {wanted}, or one array, tensor or Pillow image ({len(arrays)} came)"
        )
    return item[0] if isinstance(item, (tuple, list)) and item else item


def _one_image(sample: Any, white: WhiteLevels) -> Tensor:
    if sample.ndim not in (2, 3) or 0 in sample.shape:
        raise ValueError(f"an item of shape {tuple(sample.shape)}, wanted an image (H, W), (C, H, W) or (H, W, C)")
    if sample.is_floating_point() if isinstance(sample, Tensor) else sample.dtype.kind == "f":
        low, high = float(sample.min()), float(sample.max())
        if low < -1e-3 or high > 1 + 1e-3:
            raise ValueError(f"floats from {low:g} to {high:g}, wanted 0 to 1 (views normalise by themselves)")
    return to_images(sample[None], white.integer)[0][0]


def labels_of(dataset: Any) -> Labels:
    """Return the labels that a dataset carries, without reading its items; a `Subset` is looked into.

    Attributes that are no labels (a wrong number, boxes, -1 for "unknown") give none.
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
    # A transform of the items would be run for the labels too, on all images.
    plain = dataset.with_format(None) if hasattr(dataset, "with_format") else dataset
    found = plain[name][:]  # at once; going over a column reads it item by item
    features = getattr(dataset, "features", None)
    names = getattr(features.get(name), "names", None) if isinstance(features, Mapping) else None
    return None if any(label is None for label in found) else found, list(names or [])
