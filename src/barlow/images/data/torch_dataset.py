"""Any map-style torch `Dataset` (or list of images) as a source."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, Subset, TensorDataset

from barlow.data.arrays import ArraySource, as_array
from barlow.data.labels import UNLABELLED, Labels, as_labels, choose_labels
from barlow.data.lost import count
from barlow.data.order import evenly_spaced, generators_restored, seed_generators
from barlow.data.streaming import StreamSource, reason_of
from barlow.images.data.axes import channels_axis, channels_first
from barlow.images.data.decode import GREY_MODES, has_high_bit_depth, image_to_tensor, spread_of_image
from barlow.images.data.options import LoadOptions
from barlow.images.data.pixels import (
    OLD_RUN,
    TELL,
    Reading,
    as_tensor,
    source_of,
    to_images,
    with_channels,
)
from barlow.images.data.white_level import Spread, WhiteLevels, spread_of, told_of_both

IMAGE_KEYS = ("image", "img", "pixel_values", "x")
"""Where an item that is a mapping keeps its image."""
LABEL_COLUMNS = ("label", "labels")
"""Where a dataset with columns keeps its labels."""
IMAGE_KINDS = (Image.Image, Tensor, np.ndarray)
TWO_VIEWS = (
    "wanted one picture: leave such a transform out of the dataset and pass it as views=, for a run draws views; or "
    "take those of the items, by source, views = barlow.views_of_items(dataset)"
)
"""What to do with a dataset that draws the views of other projects."""
NUM_LOOKED_AT = 32
"""Items that are looked at to settle the number of channels, their axis, and which value is white."""
NUM_BIT_DEPTHS = 256
"""Items that are looked at for white where any of those has more than 8 bits or is above 1."""


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
    Tensors and arrays are (h, w), (c, h, w) or (h, w, c); which value is white is told from the items looked at, as
    for an array. With `as_images` False, tensors of any kind stay as they are. `name` is by default that of
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
        found = to_images(in_memory, options.reading)
        asked: dict[str, Any] = {"describe": "item {}".format, "most_bad": options.most_bad}
        return source_of(found, options.channels, name=name, labels=labels, **asked)
    seen = _look_at_items(dataset, name, options.reading) if as_images else _Look()
    reader = DatasetReader(dataset, as_images, options.channels or seen.channels, options.decode_size, seen.reading)
    return StreamSource(
        reader,
        name=name,
        labels=labels,
        notes=seen.notes,
        reading=seen.facts | {"decode_size": options.decode_size},
        num_workers=options.num_workers,
        most_bad=options.most_bad,
    )


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
            "reads them in random order: save them as a folder of images or as a .npy file, keep them as shards by "
            "barlow.write_shards, or wrap them in a dataset with __len__ and __getitem__"
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


@dataclass(frozen=True)
class _Look:
    """What some items of a dataset say of all: channels, how pixels are read, notes on it and facts for the run."""

    channels: int = 0
    reading: Reading = TELL
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def _look_at_items(dataset: Any, name: str, asked: Reading) -> _Look:
    """Look at some items: 1 channel when all are grey, else that of the most colourful; their white and their axis.

    Where any of them has more than 8 bits or floats above 1, more are looked at for white.
    """
    found, failures, pairs = _items(dataset, evenly_spaced(len(dataset), NUM_LOOKED_AT))
    if not found:
        raise ValueError(f"data: none of the {len(failures)} items looked at in {name} can be read: {failures[0]}")
    reading, axis = _with_axis(found, asked)
    spreads = _spreads_of(found)
    if any(not spread.plain for spread in spreads) and asked.white is None:
        spreads = _spreads_of(_items(dataset, evenly_spaced(len(dataset), NUM_BIT_DEPTHS))[0])
    told, notes = _told(spreads, len(found)) if asked.white is None else (asked.white, ())
    kinds = {spread.floating for spread in spreads}
    kept = WhiteLevels(told.integer if False in kinds else None, told.floating if True in kinds else None)
    facts: dict[str, Any] = {"white_level": kept.fact()} | ({"channels_axis": axis} if axis else {})
    channels = max(_channels_of(sample, reading) for sample in found)
    notes = (*notes, OLD_RUN) if asked.old_run and any(not spread.plain for spread in spreads) else notes
    said = f"items of {name} hold two pictures of one kind, of which the first is read; if they are views, {TWO_VIEWS}"
    return _Look(channels, replace(reading, white=told), (*notes, said) if pairs else notes, facts)


def _told(spreads: Sequence[Spread], number: int) -> tuple[WhiteLevels, tuple[str, ...]]:
    """Tell white of the items; floats that could be anything are bad items where most of the `number` are none."""
    try:
        return told_of_both(spreads, "{} images looked at")
    except ValueError:
        others = [spread for spread in spreads if not spread.floating]
        if 2 * (len(spreads) - len(others)) > number:
            raise
        return told_of_both(others, "{} images looked at")


def _items(dataset: Any, positions: Sequence[int]) -> tuple[list[Any], list[str], int]:
    """Return the samples of some items, of those that cannot be read the reasons, and how many hold two pictures.

    Those that cannot be read are counted when they are read.
    """
    found, failures, pairs = [], [], 0
    with generators_restored():
        for position in positions:
            seed_generators(position)  # random items too have to give the same answer after a resume
            try:
                item = dataset[position]
                sample = sample_of(item)
                if not isinstance(sample, Image.Image):
                    _check_shape(sample)
                found.append(sample)
                pairs += isinstance(item, (tuple, list)) and len(item) > 1 and _alike(*item[:2])
            except Exception as error:
                failures.append(f"item {position} ({reason_of(error)})")
    return found, failures, pairs


def _with_axis(samples: Sequence[Any], asked: Reading) -> tuple[Reading, str]:
    """Let items whose shape says clearly where their channels are speak for those whose shape does not."""
    axes = []
    for sample in samples:
        if not isinstance(sample, Image.Image) and sample.ndim == 3:
            with suppress(ValueError):
                axes.append(channels_axis((1, *sample.shape), asked=asked.axis, channels=asked.channels))
    axis = asked.axis_of_run or (axes[0] if axes else "")
    return replace(asked, axis_of_run=axis), axes[0] if axes else ""


def _channels_of(sample: Any, reading: Reading) -> int:
    if isinstance(sample, Image.Image):
        return 1 if sample.mode in GREY_MODES else 3
    return 1 if sample.ndim == 2 else channels_first(as_array(sample)[None], **reading.axes)[0].shape[1]


def _spreads_of(samples: Sequence[Any]) -> list[Spread]:
    """How the values of those items are spread that are floats or integers of more than 8 bits."""
    found = []
    for sample in samples:
        values = None if isinstance(sample, Image.Image) else as_array(sample)
        if values is None:
            with suppress(ValueError):  # a bad sample is counted when it is read
                found += [spread_of_image(sample)] if has_high_bit_depth(sample) else []
        elif values.dtype.kind in "iuf" and values.dtype != np.uint8 and np.isfinite(values).all():
            found.append(spread_of(values[None], counted=True))
    return found


def _alike(first: Any, second: Any) -> bool:
    """Whether two entries of an item are pictures of one kind, as two views are."""
    if isinstance(first, Image.Image):
        return isinstance(second, Image.Image) and first.mode == second.mode
    same = isinstance(first, (Tensor, np.ndarray)) and type(first) is type(second)
    return same and first.ndim > 1 and first.dtype == second.dtype and first.shape == second.shape


@dataclass(frozen=True)
class DatasetReader:
    """Reads the items of a dataset; a `Reader` of `data/streaming.py`. 0 channels: as the items are."""

    dataset: Any
    as_images: bool
    channels: int
    decode_size: int
    reading: Reading

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.dataset)

    def read(self, position: int) -> Tensor:
        """Return the sample of one item."""
        sample = sample_of(self.dataset[position])
        if isinstance(sample, Image.Image):
            return image_to_tensor(sample, self.channels or 3, self.decode_size, self.reading.white)
        if self.as_images:
            return with_channels(_one_image(sample, self.reading), self.channels)
        if not isinstance(sample, (Tensor, np.ndarray)):
            raise TypeError(f"a {type(sample).__name__}, wanted a tensor or a NumPy array")
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
        arrays = [value for value in item.values() if isinstance(value, IMAGE_KINDS)]
        arrays = [value for value in arrays if isinstance(value, Image.Image) or value.ndim > 0]
        if named or len(arrays) == 1:
            return (named or arrays)[0]
        keys = ", ".join(map(str, item)) or "none"
        wanted = f"an image under {', '.join(IMAGE_KEYS[:-1])} or {IMAGE_KEYS[-1]}"
        raise ValueError(
            f"an item with the keys {keys}, wanted {wanted}, or one array, tensor or Pillow image ({len(arrays)} came)"
        )
    first = item[0] if isinstance(item, (tuple, list)) and item else item
    if isinstance(first, (tuple, list)) and len(first) > 1 and all(isinstance(one, IMAGE_KINDS) for one in first):
        raise ValueError(f"an item of {len(first)} views, {TWO_VIEWS}")
    return first


def _check_shape(sample: Any) -> None:
    if not isinstance(sample, (Tensor, np.ndarray)):
        raise TypeError(f"a {type(sample).__name__}, wanted a tensor, a NumPy array or a Pillow image")
    if sample.ndim not in (2, 3) or 0 in sample.shape:
        raise ValueError(f"an item of shape {tuple(sample.shape)}, wanted an image (H, W), (C, H, W) or (H, W, C)")


def _one_image(sample: Any, reading: Reading) -> Tensor:
    _check_shape(sample)
    try:  # what is (h, w) has no axis of channels, whatever others have
        found = to_images(sample[None], replace(reading, axis=None, channels=0) if sample.ndim == 2 else reading)
    except ValueError as error:
        reason = str(error).removeprefix("data: got ").removesuffix(", in 1 of 1 images")
        raise ValueError(reason.removesuffix(" in every image")) from error
    for what, numbers in found.lost.items():
        count(what, sum(numbers.values()))
    return found.images[0]


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
