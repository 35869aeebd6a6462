from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from barlow.data.arrays import ArraySource
from barlow.images.data.load import load_source, splits
from tests.images.data.making import noise, write_folder, write_image


def test_a_folder_is_loaded_by_its_path_as_text_or_path(tmp_path: Path) -> None:
    write_folder(tmp_path, 3)
    assert len(load_source(tmp_path)) == len(load_source(str(tmp_path))) == len(load_source(f"{tmp_path}/")) == 3
    assert splits(tmp_path) == ("train",)


def test_array_files_are_loaded_by_their_path(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(3, 8, 8))
    np.savez(tmp_path / "b.npz", x_train=noise(4, 8, 8), x_test=noise(5, 8, 8))
    assert len(load_source(tmp_path / "a.npy")) == 3
    assert len(load_source(tmp_path / "b.npz", split="test")) == 5
    assert splits(tmp_path / "b.npz") == ("train", "test")


def test_splits_of_a_folder_are_loaded_by_name(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 3)
    write_folder(tmp_path / "test", 2)
    assert splits(tmp_path) == ("train", "test")
    assert [len(load_source(tmp_path, split=split)) for split in ("train", "test", "labelled")] == [3, 2, 3]


def test_tensors_and_arrays_take_labels_from_the_user() -> None:
    values = noise(4, 8, 8, 3)
    for data in (values, torch.from_numpy(values).permute(0, 3, 1, 2)):
        source = load_source(data, labels=np.array([0, 1, 1, 0]))
        assert isinstance(source, ArraySource)
        assert next(source.batches([2], 1)).samples.shape == (1, 3, 8, 8)
        assert source.labels is not None
        assert source.labels.tolist() == [0, 1, 1, 0]
        assert load_source(data).labels is None
        assert next(load_source(data, channels=1).batches([2], 1)).samples.shape == (1, 1, 8, 8)
    with pytest.raises(ValueError, match="give them as labels="):
        load_source(values, labels="required")
    with pytest.raises(ValueError, match="data: got 1 images, wanted at least 2"):
        load_source(values[:1])


def test_an_array_of_more_than_8_bits_says_how_it_is_read() -> None:
    source = load_source(np.array([[[0, 4000]], [[200, 300]]]))
    assert next(source.batches([0, 1], 2)).samples.flatten().tolist() == [0, 249, 12, 19]
    assert isinstance(source, ArraySource)
    assert "read as 12 bits" in source.notes[0]


def test_a_list_of_images_is_a_map_style_dataset() -> None:
    source = load_source([Image.fromarray(noise(8, 9, 3)), noise(8, 9, 3)], num_workers=0)
    (batch,) = source.batches([0, 1], 2)
    assert torch.equal(batch.samples[0], batch.samples[1])


def test_a_source_is_returned_as_it_is() -> None:
    source = ArraySource(torch.zeros(3, 5))
    assert load_source(source) is source
    with pytest.raises(ValueError, match="labels: required, but the source array has none"):
        load_source(source, labels="required")


def test_an_unknown_name_gets_the_nearest_one() -> None:
    for typed, meant in (("fashon-mnist", "fashion-mnist"), ("Digits", "digits"), ("CIFAR_10", "cifar10")):
        with pytest.raises(ValueError, match=f"data: there is no '{typed}', .* did you mean '{meant}'"):
            load_source(typed)


def test_a_path_that_is_not_there_or_of_another_kind_says_what_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data: there is no '.*nowhere', wanted a folder of images"):
        load_source(tmp_path / "nowhere")
    write_image(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is one image, wanted a folder"):
        load_source(tmp_path / "a.png")
    (tmp_path / "a.zip").touch()
    with pytest.raises(ValueError, match=r"a\.zip is a file of another kind, wanted a folder"):
        load_source(tmp_path / "a.zip")
    with pytest.raises(ValueError, match="data: got a int, wanted a name, a path, a tensor"):
        load_source(3)


def test_an_unknown_split_gets_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split: got 'tset', wanted one of train, test; did you mean 'test'"):
        load_source("digits", split="tset")
    write_folder(tmp_path, 2)
    with pytest.raises(ValueError, match="split: got 'test', wanted one of train"):
        load_source(tmp_path, split="test")


def test_a_folder_with_the_name_of_a_set_is_reached_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "digits", 3)
    monkeypatch.chdir(tmp_path)
    assert len(load_source("digits")) == 1200
    assert len(load_source("./digits")) == 3


def test_wrong_numbers_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="channels: got 2"):
        load_source("digits", channels=2)
    with pytest.raises(ValueError, match="decode_size: got -1"):
        load_source("digits", decode_size=-1)
