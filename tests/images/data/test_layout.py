"""What the names of folders say: splits, classes, masks beside images, and what programs leave behind."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from barlow.data.arrays import ArraySource
from barlow.data.memory import FillingSource
from barlow.data.streaming import StreamSource
from barlow.images.data.folder import folder_source
from barlow.images.data.layout import about_pictures, beside_pictures, layout_of, split_of
from barlow.images.data.options import LoadOptions
from tests.images.data.making import write_folder


def opened(root: Path, split: str = "train") -> ArraySource | FillingSource | StreamSource:
    return folder_source(root, LoadOptions(split=split))


def structure(root: Path, split: str = "train") -> str:
    """Return the line that says how a folder was read."""
    (line,) = [note for note in opened(root, split).notes if note.startswith(f"how {root.name} is read: ")]
    return line


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train2017", "train"), ("Training_Set", "train"), ("val2014", "val"), ("valid", "val"),
        ("test-images", "test"),
        ("trains", ""), ("training wheels", ""), ("value", ""), ("testament", ""), ("2017", ""),
    ],
)  # fmt: skip
def test_splits_are_known_with_a_year_or_a_word_behind_them(name: str, split: str) -> None:
    assert split_of(name) == split


def test_the_splits_of_coco_are_no_classes(tmp_path: Path) -> None:
    write_folder(tmp_path / "train2017", 5)
    write_folder(tmp_path / "val2017", 3)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").touch()
    source = opened(tmp_path)
    assert len(source) == 5
    assert source.labels is None
    assert len(opened(tmp_path, "test")) == 3
    line = structure(tmp_path)
    assert "train2017/ is train; val2017/ is val and test; no classes: 5 images lie in" in line
    assert line.endswith("left out: masks, labels or the like in annotations/ (1 files)")


def test_of_several_training_folders_the_plain_one_or_the_last_is_taken_and_the_others_are_named(
    tmp_path: Path,
) -> None:
    for name in ("train2014", "train2017", "val2014", "val2017"):
        write_folder(tmp_path / name, 2)
    layout = layout_of(tmp_path)
    assert layout.splits == {"train": "train2017", "val": "val2017", "test": "val2017"}
    assert "folders beside the splits are left out: train2014, val2014" in opened(tmp_path).notes
    write_folder(tmp_path / "train", 2)
    assert layout_of(tmp_path).splits["train"] == "train"


@pytest.mark.parametrize("masks", ["masks", "labels", "Annotations", "ground-truth"])
def test_masks_beside_images_are_neither_classes_nor_images(tmp_path: Path, masks: str) -> None:
    write_folder(tmp_path / "images", 4)
    write_folder(tmp_path / masks, 4, grey=True)
    source = opened(tmp_path)
    assert len(source) == 4
    assert source.labels is None
    assert [Path(source.describe(place)).parent.name for place in range(4)] == ["images"] * 4
    line = structure(tmp_path)
    assert "the images are those of images/; no classes" in line
    assert line.endswith(f"left out: masks, labels or the like in {masks}/ (4 files)")


def test_masks_in_every_folder_are_left_out_and_the_folders_stay_classes(tmp_path: Path) -> None:
    for tile in ("tile1", "tile2"):
        write_folder(tmp_path / tile / "images", 2)
        write_folder(tmp_path / tile / "masks", 2, grey=True)
    source = opened(tmp_path)
    assert len(source) == 4
    assert list(source.class_names) == ["tile1", "tile2"]
    assert "2 classes by folder: tile1, tile2" in structure(tmp_path)
    assert "in tile1/masks/ (2 files), tile2/masks/ (2 files)" in structure(tmp_path)


def test_class_folders_within_images_beside_masks_are_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_folder(tmp_path / "images" / name, 2)
        write_folder(tmp_path / "masks" / name, 2)
    source = opened(tmp_path)
    assert len(source) == 4
    assert list(source.class_names) == ["cat", "dog"]


@pytest.mark.parametrize("order", ["images/train", "train/images"])
def test_both_layouts_of_detectors_have_splits_and_no_classes(tmp_path: Path, order: str) -> None:
    for split, count in (("train", 4), ("val", 2)):
        write_folder(tmp_path / order.replace("train", split), count)
        labels = tmp_path / order.replace("train", split).replace("images", "labels")
        labels.mkdir(parents=True)
        (labels / "0000.txt").touch()
    assert layout_of(tmp_path).splits["train"] == order
    source = opened(tmp_path)
    assert (len(source), len(opened(tmp_path, "test"))) == (4, 2)
    assert source.labels is None


def test_classes_that_are_named_like_masks_or_a_split_stay_classes(tmp_path: Path) -> None:
    assert beside_pictures(["with_mask", "without_mask", "mask"]) == set()
    for name in ("train", "car"):
        write_folder(tmp_path / name, 2)
    assert list(opened(tmp_path).class_names) == ["car", "train"]


def test_splits_without_a_training_folder_are_no_classes(tmp_path: Path) -> None:
    for name in ("test", "val"):
        write_folder(tmp_path / name, 2)
    source = opened(tmp_path)
    assert len(source) == 4
    assert source.labels is None
    assert "no classes: test, val are splits by their names" in structure(tmp_path)


def test_masks_beside_each_image_in_one_folder_are_left_out_and_counted(tmp_path: Path) -> None:
    assert about_pictures(["a", "a_mask", "a_mask_1", "b_mask", "c_thumb"]) == {"a_mask", "a_mask_1"}
    write_folder(tmp_path, 3)
    for number in range(2):
        Image.new("L", (8, 8)).save(tmp_path / f"000{number}_mask.png")
    assert len(opened(tmp_path)) == 3
    assert structure(tmp_path).endswith("left out: 2 masks or thumbnails of images beside them")


def test_what_programs_leave_behind_is_no_class_and_no_image(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_folder(tmp_path / name, 2)
        (tmp_path / name / "Thumbs.db").touch()
        (tmp_path / name / ".DS_Store").touch()
    write_folder(tmp_path / "__MACOSX" / "cat", 2)
    write_folder(tmp_path / "thumbnails", 4)
    source = opened(tmp_path)
    assert len(source) == 4
    assert list(source.class_names) == ["cat", "dog"]
    assert structure(tmp_path).endswith(
        "left out: 2 files that programs leave behind, 2 folders that programs leave behind, 2 hidden files and folders"
    )


def test_junk_in_a_split_is_no_class_of_the_others(tmp_path: Path) -> None:
    for folder in ("train/a", "train/b", "test/a", "test/__MACOSX"):
        write_folder(tmp_path / folder, 2)
    assert list(opened(tmp_path).class_names) == ["a", "b"]


@pytest.mark.parametrize("test", ["test", "test/unknown"])
def test_a_test_folder_without_the_classes_of_the_training_folder_has_no_labels(tmp_path: Path, test: str) -> None:
    for name in ("train/a", "train/b", test):
        write_folder(tmp_path / name, 3)
    source = opened(tmp_path)
    assert list(source.class_names) == ["a", "b"]
    assert opened(tmp_path, "test").labels is None
    assert "2 classes by folder: a, b; test has no folders of these classes, so its images have no labels" in structure(
        tmp_path
    )


def test_a_link_to_itself_is_no_folder_and_stops_nothing(tmp_path: Path) -> None:
    write_folder(tmp_path, 200, size=(3, 3))
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert len(opened(tmp_path)) == 200


@pytest.mark.parametrize("ending", ["tif", "gif", "webp"])
def test_pages_and_frames_behind_the_first_are_counted(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 3, 12, 12, 3), dtype=np.uint8)
    for number, pages in enumerate(noise):
        first, *others = map(Image.fromarray, pages)
        first.save(tmp_path / f"{number}.{ending}", save_all=True, append_images=others)
    first.save(tmp_path / "single.png")
    (note,) = opened(tmp_path).notes
    assert note.startswith(
        "4 of 5 files looked at have several pages or frames, up to 3: the first of each is read, and "
    )
    assert "and 8 are left out" in note


def test_a_plain_folder_needs_no_words(tmp_path: Path) -> None:
    write_folder(tmp_path, 3)
    assert opened(tmp_path).notes == ()
