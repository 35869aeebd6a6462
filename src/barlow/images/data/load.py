"""Where a name, a path or an object becomes a `Source` of images.

A name is a row of `NAMED`; a path is a folder of images, a `.npy` or a `.npz` file, or anything of the table of
`data/stored/formats.py` (shards, tables, lists, addresses); an object is a tensor, an array, a map-style dataset, or a
source already.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from barlow.data.bad_samples import MOST_BAD
from barlow.data.labels import UNLABELLED, LabelChoice, choose_labels
from barlow.data.memory import Progress
from barlow.data.stored.contents import Contents, Stored, Wanted, with_groups
from barlow.data.stored.formats import FORMATS, format_of, is_stored, open_stored, stored_splits
from barlow.errors import did_you_mean, unknown
from barlow.images.data.array_files import array_file_source, array_splits
from barlow.images.data.axes import Axis
from barlow.images.data.decode import DECODE_SIZE, SUFFIXES
from barlow.images.data.encoded import encoded_source
from barlow.images.data.folder import files_source, folder_source, split_folders
from barlow.images.data.named import TRAIN_FLAG, NamedDataset, digits, imagenet, torchvision_dataset
from barlow.images.data.options import LoadOptions
from barlow.images.data.pixels import reading_of, source_of, to_images
from barlow.images.data.shapes import shapes
from barlow.images.data.torch_dataset import IMAGE_KEYS, dataset_source
from barlow.seams import Source

NAMED: dict[str, NamedDataset] = {
    "digits": NamedDataset(digits),
    "shapes": NamedDataset(shapes),
    "mnist": torchvision_dataset("MNIST", "MNIST/raw/train-images-idx3-ubyte", TRAIN_FLAG),
    "fashion-mnist": torchvision_dataset("FashionMNIST", "FashionMNIST/raw/train-images-idx3-ubyte", TRAIN_FLAG),
    "kmnist": torchvision_dataset("KMNIST", "KMNIST/raw/train-images-idx3-ubyte", TRAIN_FLAG),
    "cifar10": torchvision_dataset("CIFAR10", "cifar-10-batches-py/data_batch_1", TRAIN_FLAG),
    "cifar100": torchvision_dataset("CIFAR100", "cifar-100-python/train", TRAIN_FLAG),
    "svhn": torchvision_dataset("SVHN", "train_32x32.mat", {"train": {"split": "train"}, "test": {"split": "test"}}),
    "stl10": torchvision_dataset(
        "STL10",
        "stl10_binary/unlabeled_X.bin",
        {"train": {"split": "unlabeled"}, "labelled": {"split": "train"}, "test": {"split": "test"}},
    ),
    "imagenet": NamedDataset(imagenet),
}
"""Data sets by name. A folder of the same name is reached as ./name."""

FILES: dict[str, tuple[Callable[[Path, LoadOptions], Source], Callable[[Path], tuple[str, ...]]]] = {
    ".npy": (array_file_source, array_splits),
    ".npz": (array_file_source, array_splits),
}
"""Files by suffix: what makes a source of one, and the splits that it holds."""


def load_source(
    data: Any,
    *,
    split: str = "train",
    data_root: str | Path | None = None,
    labels: LabelChoice = "auto",
    download: bool = False,
    channels: int = 0,
    decode_size: int = DECODE_SIZE,
    num_workers: int | None = None,
    memory_budget: int | None = None,
    min_samples: int = 2,
    progress: Progress | None = None,
    white_level: int | float | None = None,
    channels_axis: Axis | int | str | None = None,
    facts: Mapping[str, Any] | None = None,
    most_bad: float = MOST_BAD,
) -> Source:
    """Turn a name, a path or an object into a source of images.

    Args:
        data: a name of `NAMED`; the path of a folder of images, a `.npy` or a `.npz` file; shards, a table, a list or
            an address (`data/stored/formats.py`); a list of paths of images (one alone where `min_samples` is 1); a
            tensor or an array of images; any map-style dataset; or a source, which is returned as it is.
        split: "train", "test", or another one of `splits(data)`; "labelled" is what a probe is fitted on: the
            training split, except where that has no labels (stl10).
        data_root: folder with the datasets of `NAMED`.
        labels: "auto" (what the data carry), "required", "none", or one label per sample.
        download: whether a dataset of `NAMED` may be fetched.
        channels: 1 or 3; 0: grey where all images looked at are grey, else RGB.
        decode_size: cap of the short side in pixels when files are decoded; 0 for no cap.
        num_workers: worker processes where samples are read from disk; None: one per available core.
        memory_budget: bytes up to which a folder is kept in memory; None: what the machine allows.
        min_samples: fewer samples than this are an error.
        progress: called as (samples read, samples in all) while a folder is read into memory.
        white_level: the pixel value that becomes 255, of arrays and of image files with more than 8 bits: 1, 255, 4095,
            65535. None: as in the run of `facts`, else told from how all values are spread (`white_level.py`).
        channels_axis: of arrays (N, C, H, W) "first" or 1, of (N, H, W, C) "last" or -1. None: told by the shape.
        facts: what `recipe.json` says of the data of the run whose network the images are for; None: there is no run.
        most_bad: share of all samples that may be unreadable; up to three are always left out without more ado.

    Returns:
        The source. Its `reading` says how the pixels were read, `notes` say it in words, `lost` count what was
        clipped.

    Raises:
        ValueError: no data of that name, or data that are no images, or whose values or shape could be read in two
            ways; says what came and what was wanted.
        BadDataError: more than 1% of all samples (`most_bad`) cannot be read.
    """
    root = None if data_root is None else Path(data_root).expanduser()
    network = int((facts or {}).get("image_shape", [channels])[0])
    reading = reading_of(facts, channels=network, white_level=white_level, channels_axis=channels_axis)
    options = LoadOptions(
        split,
        labels,
        root,
        download,
        channels,
        decode_size,
        num_workers,
        memory_budget,
        min_samples,
        progress,
        reading,
        most_bad,
    )
    if min_samples == 1 and _is_one_image(data):  # enough where nothing is learnt
        data = [data]
    available = splits(data)
    if split == "labelled" and "labelled" not in available:
        options = replace(options, split="train")
    elif split not in available:
        raise unknown("split", split, available)
    found = _resolve(data)
    if isinstance(found, NamedDataset):
        return found.load(options)
    if isinstance(found, _Place):
        return stored_source(found.data, options)
    if isinstance(found, Path):
        load = folder_source if found.is_dir() else FILES[found.suffix.lower()][0]
        return load(found, options)
    return _from_object(found, options)


def splits(data: Any) -> tuple[str, ...]:
    """Return the splits that `load_source` can load of `data`.

    ("train",) where there is nothing else; then `split_labelled` can make test data.
    """
    found = _resolve(data)
    if isinstance(found, NamedDataset):
        return found.splits
    if isinstance(found, _Place):
        return stored_splits(found.data)
    if isinstance(found, Path):
        if found.is_dir():
            return tuple(split_folders(found)) or ("train",)
        return FILES[found.suffix.lower()][1](found)
    return ("train",)


def looks_like_images(data: Any) -> bool:
    """Whether `load_source` would take this for images; what it then finds may still be none."""
    if isinstance(data, (str, Path)):
        path = Path(data).expanduser()
        return data in NAMED or path.is_dir() or path.suffix.lower() in FILES or is_stored(data)
    return not callable(data) or hasattr(data, "__getitem__") or hasattr(data, "__iter__")


def stored_source(data: str | Path | Stored, options: LoadOptions) -> Source:
    """Make a source of images in a store: they are decoded as those of a folder are."""
    columns = (*IMAGE_KEYS, "jpg", "png", "bytes")
    wanted = Wanted(options.split, SUFFIXES, columns, options.download)
    stored = data if isinstance(data, Stored) else open_stored(data, wanted)
    number = len(stored.contents)
    if number < options.min_samples:
        endings = ", ".join(sorted(SUFFIXES))
        raise ValueError(
            f"data: {number or 'no'} images in {stored.name}, wanted at least {options.min_samples} with the ending "
            f"{endings}"
        )
    labels = choose_labels(options.labels, stored.labels, stored.reason, number)

    def others() -> list[Contents]:
        if isinstance(data, Stored):
            return []
        names = [split for split in stored_splits(data) if split != options.split]
        return [open_stored(data, replace(wanted, split=split)).contents for split in names]

    source = encoded_source(
        stored.contents, name=stored.name, labels=labels, options=options, notes=stored.notes, other_splits=others
    )
    return with_groups(source, stored.groups)


def _is_one_image(data: Any) -> bool:
    return isinstance(data, (str, Path)) and Path(data).suffix.lower() in SUFFIXES and Path(data).expanduser().is_file()


def _from_object(data: Any, options: LoadOptions) -> Source:
    if isinstance(data, Source):
        if isinstance(options.labels, str) and options.labels == "required" and data.labels is None:
            raise ValueError(f"labels: required, but the source {data.name} has none")
        return data
    if isinstance(data, (Tensor, np.ndarray)):
        found = to_images(data, options.reading)
        number = len(found.images)
        if number < options.min_samples:
            raise ValueError(f"data: got {number} images, wanted at least {options.min_samples}")
        labels = choose_labels(options.labels, UNLABELLED, "an array carries none, give them as labels=", number)
        return source_of(found, options.channels, labels=labels, most_bad=options.most_bad)
    if isinstance(data, (list, tuple)) and data and all(isinstance(one, (str, Path)) for one in data):
        return files_source(data, options)
    if hasattr(data, "__iter__") or (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        return dataset_source(data, options)
    raise ValueError(
        f"data: got a {type(data).__name__}, wanted a name, a path, a tensor, an array or a map-style dataset"
    )


@dataclass(frozen=True)
class _Place:
    """Where samples are stored in one of the formats of `data/stored/formats.py`."""

    data: str | Path


def _resolve(data: Any) -> Any:
    """Return the row of a name, the place of a store, of a file or of a folder that is there, or `data` itself."""
    if not isinstance(data, (str, Path)):
        return data
    if isinstance(data, str) and data in NAMED:
        return NAMED[data]
    if format_of(data):
        return _Place(data)
    path = Path(data).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix.lower() in FILES):
        return path
    known = [*FILES, *(name for name in FORMATS if name.startswith("."))]
    wanted = f"wanted a folder of images, a {' or a '.join(known)} file"
    if path.suffix.lower() in SUFFIXES and path.is_file():
        raise ValueError(f"data: {path} is one image, {wanted}")
    if path.exists():
        raise ValueError(f"data: {path} is a file of another kind, {wanted}")
    hint = did_you_mean(str(data).lower().replace("_", "-"), NAMED)
    raise ValueError(f"data: there is no {str(data)!r}, {wanted}, or one of the names {', '.join(NAMED)}{hint}")
