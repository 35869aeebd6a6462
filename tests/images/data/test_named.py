import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torchvision.datasets
from sklearn.datasets import load_digits

from barlow.data.arrays import ArraySource
from barlow.images.data.image_statistics import image_shape
from barlow.images.data.load import NAMED, load_source, splits
from barlow.images.modality import IMAGES
from barlow.modalities import fetch
from tests.images.data.making import noise, write_folder


def all_pixels(source: Any) -> torch.Tensor:
    assert isinstance(source, ArraySource)
    assert isinstance(source.samples, torch.Tensor)
    return source.samples


def test_digits_are_split_once_and_for_all_without_overlap() -> None:
    train, test = load_source("digits"), load_source("digits", split="test")
    assert len(train) == 1200
    assert len(test) == 597
    pixels = torch.cat([all_pixels(train), all_pixels(test)])
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (1797, 1, 8, 8)
    assert sorted(set(pixels.flatten().tolist())) == np.rint(np.arange(17) * 255 / 16).tolist()
    original = torch.from_numpy(np.rint(load_digits().images * 255 / 16)).flatten(1)
    assert sorted(pixels.flatten(1).tolist()) == sorted(original.tolist())
    assert torch.equal(all_pixels(train), all_pixels(load_source("digits")))


def test_every_digit_has_its_share_in_the_test_part() -> None:
    train, test = load_source("digits"), load_source("digits", split="test")
    assert train.labels is not None
    assert test.labels is not None
    counts = train.labels.bincount() + test.labels.bincount()
    assert counts.tolist() == np.bincount(load_digits().target).tolist()
    assert (test.labels.bincount() - counts * 597 / 1797).abs().max() <= 1
    assert list(train.class_names) == [str(digit) for digit in range(10)]


def test_fetching_asks_torchvision_for_every_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Pictures:
        def __init__(self, root: str, download: bool, split: str) -> None:
            asked.append((root, download, split))

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return torch.zeros(3, 8, 8, dtype=torch.uint8), 0

    monkeypatch.setattr(torchvision.datasets, "SVHN", Pictures)
    fetch(IMAGES, "svhn", tmp_path)
    assert asked == [(str(tmp_path), True, "train"), (str(tmp_path), True, "test")]
    with pytest.raises(ValueError, match="data_root: needed"):
        fetch(IMAGES, "svhn", None)


def test_digits_come_without_labels_or_in_colour_when_asked() -> None:
    source = load_source("digits", labels="none", channels=3)
    assert source.labels is None
    assert next(source.batches([0], 1)).samples.shape == (1, 3, 8, 8)


def write_idx(path: Path, values: np.ndarray[Any, Any]) -> None:
    header = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_the_mnist_family_is_read_where_the_user_has_it(tmp_path: Path, name: str, folder: str) -> None:
    raw = tmp_path / folder / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 5), ("t10k", 3)):
        write_idx(raw / f"{part}-images-idx3-ubyte", noise(count, 28, 28, seed=count))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(count))
    train, test = load_source(name, data_root=tmp_path), load_source(name, data_root=str(tmp_path), split="test")
    assert torch.equal(all_pixels(train)[:, 0], torch.from_numpy(noise(5, 28, 28, seed=5)))
    assert test.labels is not None
    assert test.labels.tolist() == [0, 1, 2]
    assert len(test.class_names) == 10


@pytest.mark.data
def test_fashion_mnist_of_the_shared_data(shared_data: Path) -> None:
    if not (shared_data / "FashionMNIST" / "raw").is_dir():
        pytest.skip(f"no FashionMNIST in {shared_data.name}")
    train = load_source("fashion-mnist", data_root=shared_data)
    test = load_source("fashion-mnist", data_root=shared_data, split="test")
    assert [len(train), len(test)] == [60_000, 10_000]
    assert image_shape(train).uniform
    assert all_pixels(train).shape[1:] == (1, 28, 28)
    assert train.labels is not None
    assert train.labels.bincount().tolist() == [6000] * 10
    assert train.class_names[9] == "Ankle boot"


class Recorder:
    """Stands in for a class of torchvision: keeps its arguments, holds four images."""

    calls: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, **arguments: Any) -> None:
        Recorder.calls.append(arguments)
        self.data = noise(4, 3, 8, 8)
        self.labels = [-1] * 4 if arguments.get("split") == "unlabeled" else [0, 1, 1, 0]
        self.transforms = None

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(self.data[index]), 0


Recorder.__module__ = "torchvision.datasets.recorder"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    for name in ("STL10", "SVHN", "CIFAR10", "CIFAR100"):
        monkeypatch.setattr(torchvision.datasets, name, Recorder)
    monkeypatch.setattr(Recorder, "calls", [])
    return Recorder.calls


def test_stl10_trains_on_its_unlabelled_part_and_fits_probes_on_the_labelled_one(
    tmp_path: Path, recorded: list[dict[str, Any]]
) -> None:
    (tmp_path / "stl10_binary").mkdir()
    (tmp_path / "stl10_binary" / "unlabeled_X.bin").touch()
    assert splits("stl10") == ("train", "labelled", "test")
    assert load_source("stl10", data_root=tmp_path).labels is None
    assert load_source("stl10", data_root=tmp_path, split="labelled").labels is not None
    load_source("stl10", data_root=tmp_path, split="test")
    assert [call["split"] for call in recorded] == ["unlabeled", "train", "test"]
    assert all(call["root"] == str(tmp_path) for call in recorded)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_nothing_is_fetched_unless_asked_for(tmp_path: Path, recorded: list[dict[str, Any]], name: str) -> None:
    with pytest.raises(ValueError, match=r"data_root: no .* in .*; give --data-root, .* --download"):
        load_source(name, data_root=tmp_path)
    with pytest.raises(ValueError, match=r"data_root: needed for .*; give --data-root"):
        load_source(name)
    assert recorded == []
    source = load_source(name, data_root=tmp_path, download=True)
    assert recorded[0]["download"] is True
    assert torch.equal(all_pixels(source), torch.from_numpy(noise(4, 3, 8, 8)))


def test_a_damaged_set_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").touch()
    with pytest.raises(ValueError, match=r"data_root: CIFAR10 in .* is damaged or incomplete"):
        load_source("cifar10", data_root=tmp_path)


@pytest.mark.parametrize("place", ["imagenet", "ImageNet", "."])
def test_imagenet_is_its_usual_folders_with_the_validation_set_as_test(tmp_path: Path, place: str) -> None:
    for part in ("train/n01", "train/n02", "val/n01", "val/n02"):
        write_folder(tmp_path / place / part, 2)
    assert splits("imagenet") == ("train", "test")
    train, test = load_source("imagenet", data_root=tmp_path), load_source("imagenet", data_root=tmp_path, split="test")
    assert [len(train), len(test)] == [4, 4]
    assert list(test.class_names) == ["n01", "n02"]


def test_a_missing_imagenet_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"data_root: no imagenet/train in .*; give --data-root.*imagenet/train/<class>"
    ):
        load_source("imagenet", data_root=tmp_path)
    with pytest.raises(ValueError, match=r"data_root: needed for ImageNet; give .* licence forbids a download\)$"):
        load_source("imagenet")


def test_every_name_of_the_table_has_a_training_and_a_test_split() -> None:
    for name, row in NAMED.items():
        assert {"train", "test"} <= set(row.splits), name
