from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from barlow.data.arrays import ArraySource
from barlow.images.data.array_files import array_file_source, array_splits
from barlow.images.data.load import load_source
from barlow.images.data.options import LoadOptions
from tests.images.data.making import noise


def opened(path: Path, **options: Any) -> ArraySource:
    return array_file_source(path, LoadOptions(**options))


def test_npy_is_read_in_either_layout(tmp_path: Path) -> None:
    values = noise(5, 8, 9, 3)
    np.save(tmp_path / "last.npy", values)
    np.save(tmp_path / "first.npy", values.transpose(0, 3, 1, 2))
    last, first = (opened(tmp_path / f"{name}.npy") for name in ("last", "first"))
    assert torch.equal(next(last.batches(range(5), 5)).samples, next(first.batches(range(5), 5)).samples)
    assert last.labels is None
    assert last.name == "last"
    assert last.describe(2) == "last.npy, sample 2"
    assert last.notes == ("last.npy: uint8 (5, 8, 9, 3)",)


def test_a_large_npy_is_mapped_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    sparse: Any = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(1 << 20, 1, 256, 256))
    sparse[-1] = 9
    del sparse  # 64 GiB of holes, on a file system that has them
    source = opened(path)
    assert next(source.batches([len(source) - 1], 1)).samples.unique().tolist() == [9]


@pytest.mark.parametrize("images", ["images", "x", "X", "data", "arr_0"])
@pytest.mark.parametrize("labels", ["labels", "y", "targets"])
def test_npz_images_and_labels_are_found_under_their_usual_names(tmp_path: Path, images: str, labels: str) -> None:
    values = noise(4, 8, 8)
    arrays: dict[str, Any] = {images: values, labels: np.array([1, 0, 1, 2]), "other": np.zeros(3)}
    np.savez(tmp_path / "a.npz", **arrays)
    source = opened(tmp_path / "a.npz")
    assert torch.equal(next(source.batches(range(4), 4)).samples[:, 0], torch.from_numpy(values))
    assert source.labels is not None
    assert source.labels.tolist() == [1, 0, 1, 2]
    assert source.notes == (f"a.npz: images are {images!r}, uint8 (4, 8, 8); labels are {labels!r}, 3 classes",)
    assert opened(tmp_path / "a.npz", labels=None).labels is None


def test_npz_without_labels_is_unlabelled_and_says_so_when_they_are_required(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=noise(4, 8, 8))
    source = opened(tmp_path / "a.npz")
    assert source.labels is None
    assert source.notes[0].endswith("no labels")
    with pytest.raises(ValueError, match=r"labels: required, but there are none: .* has no labels or label"):
        opened(tmp_path / "a.npz", labels="required")


@pytest.mark.parametrize("pattern", ["{split}_images {split}_labels", "x_{split} y_{split}"])
def test_npz_splits_share_the_numbers_of_their_classes(tmp_path: Path, pattern: str) -> None:
    arrays: dict[str, Any] = {}
    for split, classes in (("train", ["ant", "bee", "cow"]), ("val", ["cow"] * 3), ("test", ["cow", "bee", "bee"])):
        images, labels = pattern.format(split=split).split()
        arrays |= {images: noise(3, 8, 8), labels: np.array(classes)}
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    assert array_splits(path) == ("train", "val", "test")
    test = opened(path, split="test")
    assert test.labels is not None
    assert test.labels.tolist() == [2, 1, 1]
    assert test.class_names == ("ant", "bee", "cow")


def test_plain_keys_are_the_training_split_beside_those_of_a_test_split(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=noise(3, 8, 8), y=[0, 1, 2], x_test=noise(2, 8, 8), y_test=[0, 1])
    assert array_splits(path) == ("train", "test")
    assert len(opened(path)) == 3
    test = opened(path, split="test")
    assert len(test) == 2
    assert len(test.class_names) == 3


def test_an_archive_without_images_says_what_it_has(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", weights=np.zeros(3), bias=np.zeros(3))
    with pytest.raises(ValueError, match=r"data: .*a\.npz has weights, bias; wanted images .* images"):
        opened(tmp_path / "a.npz")
    assert array_splits(tmp_path / "a.npz") == ("train",)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_damaged_files_and_pickles_are_clear_errors(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 nothing that an array file starts with")
    with pytest.raises(ValueError, match=rf"data: .*{name} cannot be read"):
        opened(tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"data: .*{name} cannot be read"):
        opened(tmp_path / name)
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "o.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"data: 'x' in .* cannot be read"):
        opened(tmp_path / "o.npz")
    np.savez(tmp_path / "cut.npz", x=noise(4, 8, 8))
    damaged = bytearray((tmp_path / "cut.npz").read_bytes())
    damaged[200] ^= 255
    (tmp_path / "cut.npz").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"data: 'x' in .* cannot be read: Bad CRC"):
        opened(tmp_path / "cut.npz")
    with pytest.raises(ValueError, match="Python objects"):
        opened(tmp_path / "o.npy")


def test_too_few_images_other_splits_and_other_channels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(1, 8, 8))
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\), wanted at least 2 images"):
        opened(tmp_path / "a.npy")
    source = opened(tmp_path / "a.npy", min_samples=1, channels=3)
    assert next(source.batches([0], 1)).samples.shape == (1, 3, 8, 8)
    with pytest.raises(ValueError, match="split: got 'test', wanted one of train"):
        load_source(tmp_path / "a.npy", split="test")


def test_splits_of_an_archive_share_one_scale(tmp_path: Path) -> None:
    train, test = (np.full((3, 4, 4), top, dtype=np.uint16) for top in (4000, 1000))
    np.savez(tmp_path / "a.npz", x_train=train, x_test=test)
    for split, top in (("train", 249), ("test", 62)):
        source = opened(tmp_path / "a.npz", split=split)
        assert next(source.batches([0], 1)).samples.unique().tolist() == [top]
        assert "read as 12 bits" in source.notes[1]
        assert "4000 is the largest value of all" in source.notes[1]


def test_a_split_whose_values_are_no_pixels_does_not_spoil_the_others(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=np.full((3, 4, 4), 1000), x_test=np.full((3, 4, 4), 70_000))
    assert "read as 10 bits" in opened(tmp_path / "a.npz").notes[1]
    with pytest.raises(ValueError, match="pixel values from 70000 to 70000"):
        opened(tmp_path / "a.npz", split="test")


def test_a_deep_npy_says_how_it_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((3, 4, 4), 3000, dtype=np.uint16))
    source = opened(tmp_path / "a.npy")
    assert len(source.notes) == 2
    assert "read as 12 bits" in source.notes[1]


def test_fractions_of_all_splits_share_one_white_and_clipped_values_are_counted(tmp_path: Path) -> None:
    fractions = np.random.default_rng(0).uniform(0.1, 0.9, (20, 8, 8)).astype(np.float32)
    bright = fractions.copy()
    bright[3, 0, 0] = 1.2
    np.savez(tmp_path / "a.npz", x_train=fractions, x_test=bright)
    train, test = (opened(tmp_path / "a.npz", split=split) for split in ("train", "test"))
    assert train.reading == test.reading == {"white_level": {"floating": 1}}
    assert (train.lost, test.lost) == ({}, {"pixel values above 1, which became white": {3: 1}})
    assert "read with 1 as white" in train.notes[1]
    np.savez(tmp_path / "b.npz", x_train=fractions * 255, x_test=fractions / 2)
    assert opened(tmp_path / "b.npz", split="test").reading == {"white_level": {"floating": 255}}


def test_a_file_with_one_picture_says_that_it_is_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(20, 20, 3))
    with pytest.raises(ValueError, match=r"has 1 images, wanted at least 2; \(20, 20, 3\) is read as one picture"):
        opened(tmp_path / "a.npy")
    assert len(opened(tmp_path / "a.npy", min_samples=1)) == 1
