"""Data sets by name: scikit-learn's digits, and those of torchvision where the user has them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from barlow.data.arrays import ArraySource
from barlow.data.folder import folder_source
from barlow.data.labels import LabelChoice, as_labels, choose_labels
from barlow.data.pixels import pictures, with_channels
from barlow.data.reading import Reading
from barlow.data.source import Source
from barlow.data.subsets import stratified_choice
from barlow.data.torch_dataset import dataset_source

NUM_DIGITS_TEST = 597
"""Test samples of the digits, one third; 1,200 are left for training."""

DIGITS_SEED = 0
"""Seed of the fixed split of the digits."""


@dataclass(frozen=True)
class Request:
    """What `load_source` was asked for.

    Attributes:
        split: one of the splits of the data set.
        data_root: folder that holds it.
        download: whether it may be fetched.
        labels: "auto", "required", "none", or the labels.
        reading: how pictures are read.
    """

    split: str
    data_root: Path | None
    download: bool
    labels: LabelChoice
    reading: Reading


@dataclass(frozen=True)
class NamedData:
    """One row of the table in `sources.py`.

    Attributes:
        load: makes the source.
        splits: names of the splits; "labelled" is there where "train" has no labels.
    """

    load: Callable[[Request], Source]
    splits: tuple[str, ...] = ("train", "test")


def digits(request: Request) -> Source:
    """Load scikit-learn's handwritten digits: 1,797 grey pictures of 8 x 8, 16 levels scaled to 0 ... 255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    samples = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    chosen = np.full(len(samples), request.split == "train")
    test = stratified_choice(torch.as_tensor(bunch.target, dtype=torch.int64), NUM_DIGITS_TEST, DIGITS_SEED)
    chosen[test.numpy()] = request.split == "test"
    tensor = with_channels(pictures(samples[chosen])[0], request.reading.channels)
    labels = choose_labels(request.labels, as_labels(bunch.target[chosen], len(tensor)), "", len(tensor))
    return ArraySource(tensor, name="digits", labels=labels)


def from_torchvision(name: str, marker: str, splits: Mapping[str, Mapping[str, Any]]) -> NamedData:
    """Describe a data set of torchvision.

    Args:
        name: class in `torchvision.datasets`.
        marker: a file that has to lie under the data root.
        splits: arguments of the class for each split.

    Returns:
        A row of the table.
    """

    def load(request: Request) -> Source:
        import torchvision.datasets

        root = _needs_root(request, name, marker)
        if not request.download and not (root / marker).exists():
            raise ValueError(f"data_root: no {marker} in {root}; {_how_to_get(name, marker)}")
        try:
            dataset = getattr(torchvision.datasets, name)(
                root=str(root), download=request.download, **splits[request.split]
            )
        except RuntimeError as error:
            raise ValueError(f"data_root: {name} in {root} is damaged or incomplete: {error}") from error
        return dataset_source(dataset, name=name, labels=request.labels, reading=request.reading)

    return NamedData(load, tuple(splits))


def imagenet(request: Request) -> Source:
    """Load ImageNet (ILSVRC 2012) from its usual folders; the validation set is the test split."""
    marker = "imagenet/train/<class>/*.JPEG and imagenet/val/<class>/*.JPEG"
    root = _needs_root(request, "ImageNet", marker)
    places = [place for place in (root / "imagenet", root / "ImageNet", root) if (place / "train").is_dir()]
    if not places:
        raise ValueError(f"data_root: no imagenet/train in {root}, wanted {marker} (its licence forbids a download)")
    return folder_source(places[0], split=request.split, labels=request.labels, reading=request.reading)


def _needs_root(request: Request, name: str, marker: str) -> Path:
    if request.data_root is None:
        raise ValueError(f"data_root: needed for {name}; {_how_to_get(name, marker)}")
    return request.data_root


def _how_to_get(name: str, marker: str) -> str:
    return (
        f"give --data-root, the folder that holds {marker} ({name} of torchvision); "
        "`barlow pretrain` with --download fetches it into that folder"
    )


TRAIN_FLAG = {"train": {"train": True}, "test": {"train": False}}
"""Arguments of the torchvision classes with a flag for the training split."""
