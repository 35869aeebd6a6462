"""The one place where a name, a path or an object becomes a `Source`."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from barlow.data.array_files import array_file_source, array_splits
from barlow.data.arrays import ArraySource
from barlow.data.decode import DECODE_SIZE, SUFFIXES
from barlow.data.folder import folder_source
from barlow.data.folder_index import split_folders
from barlow.data.image_statistics import image_shape
from barlow.data.labels import UNLABELLED, LabelChoice, choose_labels
from barlow.data.memory import Progress
from barlow.data.named import TRAIN_FLAG, NamedData, Request, digits, from_torchvision, imagenet
from barlow.data.pixels import pictures, with_channels
from barlow.data.reading import Reading
from barlow.data.shapes import shapes
from barlow.data.source import Source
from barlow.data.torch_dataset import dataset_source

NAMED: dict[str, NamedData] = {
    "digits": NamedData(digits),
    "shapes": NamedData(shapes),
    "mnist": from_torchvision("MNIST", "MNIST/raw/train-images-idx3-ubyte", TRAIN_FLAG),
    "fashion-mnist": from_torchvision("FashionMNIST", "FashionMNIST/raw/train-images-idx3-ubyte", TRAIN_FLAG),
    "kmnist": from_torchvision("KMNIST", "KMNIST/raw/train-images-idx3-ubyte", TRAIN_FLAG),
    "cifar10": from_torchvision("CIFAR10", "cifar-10-batches-py/data_batch_1", TRAIN_FLAG),
    "cifar100": from_torchvision("CIFAR100", "cifar-100-python/train", TRAIN_FLAG),
    "svhn": from_torchvision("SVHN", "train_32x32.mat", {"train": {"split": "train"}, "test": {"split": "test"}}),
    "stl10": from_torchvision(
        "STL10",
        "stl10_binary/unlabeled_X.bin",
        {"train": {"split": "unlabeled"}, "labelled": {"split": "train"}, "test": {"split": "test"}},
    ),
    "imagenet": NamedData(imagenet),
}
"""Data sets by name. A folder of the same name is reached as ./name."""
LOOKED_AT = 8
"""Pictures whose channels are counted: the first one that can be read is enough."""


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
) -> Source:
    """Turn what the user names or holds into a source of pictures.

    Args:
        data: a name of `NAMED`; a path of a folder of pictures, a `.npy` or a `.npz` file; a tensor or an
            array of pictures; any map-style dataset; or a source, which is returned as it is.
        split: "train", "test", or another one of `splits(data)`; "labelled" is what a probe is fitted on: the
            training split, except where that has no labels (stl10).
        data_root: folder with the data sets that go by a name.
        labels: "auto" (what the data carry), "required", "none", or one label per sample.
        download: whether a data set that goes by a name may be fetched.
        channels: 1 or 3; 0: grey where all pictures looked at are grey, else RGB.
        decode_size: cap of the short side in pixels when files are decoded; 0 for no cap.
        num_workers: worker processes where samples are read from disk; None: one per available core.
        memory_budget: bytes up to which a folder is kept in memory; None: what the machine allows.
        min_samples: fewer samples than this are an error.
        progress: called as (samples read, samples in all) while a folder is read into memory.

    Returns:
        The source.

    Raises:
        ValueError: nothing of that name, or data that are no pictures; says what came and what was wanted.
        BadDataError: more than 1% of the samples cannot be read.
    """
    reading = Reading(channels, decode_size, num_workers, memory_budget, min_samples, progress)
    has = splits(data)
    if split == "labelled" and "labelled" not in has:
        split = "train"
    if split not in has:
        near = get_close_matches(split, has, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"split: got {split!r}, wanted one of {', '.join(has)}{hint}")
    found = _resolve(data)
    if isinstance(found, NamedData):
        root = None if data_root is None else Path(data_root).expanduser()
        return found.load(Request(split, root, download, labels, reading))
    if isinstance(found, Path):
        from_path = folder_source if found.is_dir() else array_file_source
        return from_path(found, split=split, labels=labels, reading=reading)
    return _from_object(found, labels, reading)


def load_for_network(
    data: Any,
    channels: int,
    *,
    split: str = "train",
    data_root: str | Path | None = None,
    labels: LabelChoice = "auto",
    min_samples: int = 2,
) -> Source:
    """Load pictures for a network that was trained on pictures with a number of channels.

    Args:
        data: as for `load_source`.
        channels: of the network. To 1 and 3 the pictures are brought where they have others, any other number they
            have to have; 0: the network takes no pictures, and nothing is brought or asked.
        split: as for `load_source`.
        data_root: as for `load_source`.
        labels: as for `load_source`.
        min_samples: as for `load_source`.

    Raises:
        ValueError: as `load_source`, or pictures with another number of channels.
    """
    brought = channels if channels in (1, 3) else 0
    source = load_source(
        data, split=split, data_root=data_root, labels=labels, channels=brought, min_samples=min_samples
    )
    if channels and (has := image_shape(source, LOOKED_AT).channels) != channels:
        raise ValueError(
            f"data: {source.name} has pictures with {has} channel{'s' * (has > 1)}, wanted {channels} as the network "
            "was trained on"
        )
    return source


def fetch(data: Any, data_root: str | Path | None) -> None:
    """Fetch every split of a data set that goes by a name, where it is not there.

    Args:
        data: a name of `NAMED`.
        data_root: folder to hold it.

    Raises:
        ValueError: no such name, no folder given, or a data set that cannot be fetched.
    """
    for split in splits(data):
        load_source(data, split=split, data_root=data_root, labels="none", download=True)


def splits(data: Any) -> tuple[str, ...]:
    """Return the splits that `load_source` can load of `data`.

    Args:
        data: as for `load_source`.

    Returns:
        Names of splits; ("train",) where there is nothing else, and then `split_labelled` can make test data.

    Raises:
        ValueError: nothing of that name.
    """
    found = _resolve(data)
    if isinstance(found, NamedData):
        return found.splits
    if isinstance(found, Path):
        return (tuple(split_folders(found)) or ("train",)) if found.is_dir() else array_splits(found)
    return ("train",)


def place_of(data: Any) -> str:
    """Return what tells data from others of the same name: a name of `NAMED`, or the whole path; "" for an object."""
    if not isinstance(data, (str, Path)):
        return ""
    return data if isinstance(data, str) and data in NAMED else str(Path(data).expanduser().resolve())


def _from_object(data: Any, labels: LabelChoice, reading: Reading) -> Source:
    if isinstance(data, Source):
        if isinstance(labels, str) and labels == "required" and data.labels is None:
            raise ValueError(f"labels: required, but the source {data.name} has none")
        return data
    if isinstance(data, (Tensor, np.ndarray)):
        samples, bad, notes = pictures(data)
        samples = with_channels(samples, reading.channels)
        if len(samples) < reading.min_samples:
            raise ValueError(f"data: got {len(samples)} pictures, wanted at least {reading.min_samples}")
        chosen = choose_labels(labels, UNLABELLED, "an array carries none, give them as labels=", len(samples))
        return ArraySource(samples, labels=chosen, bad=bad, notes=notes)
    if hasattr(data, "__iter__") or (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        return dataset_source(data, labels=labels, reading=reading)
    raise ValueError(
        f"data: got a {type(data).__name__}, wanted a name, a path, a tensor, an array or a map-style dataset"
    )


def _resolve(data: Any) -> Any:
    """Return the row of a name, the path of a file or folder that is there, or `data` itself."""
    if not isinstance(data, (str, Path)):
        return data
    if isinstance(data, str) and data in NAMED:
        return NAMED[data]
    path = Path(data).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix.lower() in (".npy", ".npz")):
        return path
    wanted = "wanted a folder of pictures, a .npy or a .npz file"
    if path.suffix.lower() in SUFFIXES and path.is_file():
        raise ValueError(f"data: {path} is one picture, {wanted}")
    if path.exists():
        raise ValueError(f"data: {path} is a file of another kind, {wanted}")
    near = get_close_matches(str(data).lower().replace("_", "-"), NAMED, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"data: there is no {str(data)!r}, {wanted}, or a name out of {', '.join(NAMED)}{hint}")
