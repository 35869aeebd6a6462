"""Datasets by name: scikit-learn's digits, ImageNet, and those of torchvision where the user has them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from barlow.data.arrays import ArraySource
from barlow.data.labels import as_labels, choose_labels
from barlow.data.subsets import stratified_choice
from barlow.images.data.folder import folder_source
from barlow.images.data.options import LoadOptions
from barlow.images.data.pixels import to_images, with_channels
from barlow.images.data.torch_dataset import dataset_source
from barlow.seams import Source

NUM_DIGITS_TEST = 597
"""Test samples of the digits, one third; 1,200 are left for training."""
DIGITS_SEED = 0
"""Seed of the fixed split of the digits."""
TRAIN_FLAG = {"train": {"train": True}, "test": {"train": False}}
"""Arguments of the torchvision classes with a flag for the training split."""


@dataclass(frozen=True)
class NamedDataset:
    """A row of the table in `load.py`: what makes the source, and its splits.

    Among these, "labelled" is there where "train" has no labels.
    """

    load: Callable[[LoadOptions], Source]
    splits: tuple[str, ...] = ("train", "test")


def digits(options: LoadOptions) -> Source:
    """Load scikit-learn's handwritten digits: 1,797 grey images of 8 x 8, 16 levels scaled to 0 ... 255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    chosen = np.full(len(images), options.split == "train")
    test = stratified_choice(torch.as_tensor(bunch.target, dtype=torch.int64), NUM_DIGITS_TEST, DIGITS_SEED)
    chosen[test.numpy()] = options.split == "test"
    tensor = with_channels(to_images(images[chosen])[0], options.channels)
    labels = choose_labels(options.labels, as_labels(bunch.target[chosen], len(tensor)), "", len(tensor))
    return ArraySource(tensor, name="digits", labels=labels)


def torchvision_dataset(name: str, marker: str, splits: Mapping[str, Mapping[str, Any]]) -> NamedDataset:
    """Describe a dataset of torchvision: its class, a file that has to lie under the data root, arguments by split."""
    advice = (
        f"give --data-root, the folder that holds {marker} ({name} of torchvision); `barlow pretrain` with --download "
        "fetches it into that folder"
    )

    def load(options: LoadOptions) -> Source:
        import torchvision.datasets

        root = _data_root(options, name, advice)
        if not options.download and not (root / marker).exists():
            raise ValueError(f"data_root: no {marker} in {root}; {advice}")
        arguments = splits[options.split]
        try:
            dataset = getattr(torchvision.datasets, name)(root=str(root), download=options.download, **arguments)
        except RuntimeError as error:
            raise ValueError(f"data_root: {name} in {root} is damaged or incomplete: {error}") from error
        return dataset_source(dataset, options, name=name)

    return NamedDataset(load, tuple(splits))


def imagenet(options: LoadOptions) -> Source:
    """Load ImageNet (ILSVRC 2012) from its usual folders; the validation set is the test split."""
    advice = (
        "give --data-root, the folder that holds imagenet/train/<class>/*.JPEG and imagenet/val/<class>/*.JPEG (its "
        "licence forbids a download)"
    )
    root = _data_root(options, "ImageNet", advice)
    places = [place for place in (root / "imagenet", root / "ImageNet", root) if (place / "train").is_dir()]
    if not places:
        raise ValueError(f"data_root: no imagenet/train in {root}; {advice}")
    return folder_source(places[0], options)


def _data_root(options: LoadOptions, name: str, advice: str) -> Path:
    if options.data_root is None:
        raise ValueError(f"data_root: needed for {name}; {advice}")
    return options.data_root
