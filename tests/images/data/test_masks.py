"""Images meet their masks by name, and values of any kind become classes; what has no partner is named."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from barlow.images.data.load import load_source
from barlow.images.data.masks import (
    IGNORED,
    MaskedSource,
    MaskTable,
    check_sizes,
    pair_masks,
    parse_value,
    read_table,
    tell_table,
)
from barlow.seams import TargetSource


def picture(path: Path, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(path)


def mask(path: Path, values: object = ((0, 1), (2, 255)), mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(values, dtype=np.uint8)
    image = Image.fromarray(array)
    if mode == "P":
        image = Image.fromarray(array, "L").convert("P")
        image.putdata(array.ravel().tolist())
    image.save(path)
    return path


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["images/a.jpg", "images/b.jpg"], ["masks/a.png", "masks/b.png"]),
        (["t1/images/a.png", "t2/images/a.png"], ["t1/masks/a.png", "t2/masks/a.png"]),
        (["images/x/a.png", "images/y/a.png"], ["labels/x/a.png", "labels/y/a.png"]),
        (["images/train/a.png", "images/test/b.png"], ["masks/train/a.png", "masks/test/b.png"]),
        (["train/a.jpg", "train/b.jpg"], ["train_masks/a_mask.gif", "train_masks/b_mask.gif"]),
        (["a.jpg", "b.jpg"], ["a_mask.png", "b_mask.png"]),
    ],
)
def test_images_and_masks_are_paired_by_name(tmp_path: Path, images: list[str], masks: list[str]) -> None:
    for path in images:
        picture(tmp_path / path)
    for path in masks:
        mask(tmp_path / path)
    pairs = pair_masks(tmp_path)
    assert dict(zip(pairs.images, pairs.masks, strict=True)) == dict(zip(images, masks, strict=True))
    assert not pairs.notes()


def test_what_has_no_partner_is_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / "images" / f"{name}.png")
    for name in ("b", "z"):
        mask(tmp_path / "masks" / f"{name}.png")
    pairs = pair_masks(tmp_path)
    assert pairs.images == ("images/b.png",)
    assert pairs.notes() == [
        "2 images have no mask of the same name: images/a.png, images/c.png",
        "1 mask has no image of the same name: masks/z.png",
    ]


def test_folders_that_cannot_be_paired_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    with pytest.raises(ValueError, match=r"has no masks, wanted images/ and masks/ side by side"):
        pair_masks(tmp_path)
    mask(tmp_path / "masks" / "other.png")
    with pytest.raises(ValueError, match=r"no mask in .* has the name of an image: masks are masks/other\.png"):
        pair_masks(tmp_path)
    mask(tmp_path / "masks" / "a.png")
    mask(tmp_path / "masks" / "a.gif")
    with pytest.raises(ValueError, match=r"masks/a\.gif and masks/a\.png in .* are masks of one image"):
        pair_masks(tmp_path)


def test_of_two_kinds_of_masks_one_has_to_be_named(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages" / "a.jpg")
    mask(tmp_path / "SegmentationClass" / "a.png")
    mask(tmp_path / "SegmentationObject" / "a.png")
    with pytest.raises(
        ValueError, match=r"several kinds, SegmentationClass, SegmentationObject: say which with --masks"
    ):
        pair_masks(tmp_path)
    assert pair_masks(tmp_path, "SegmentationClass").masks == ("SegmentationClass/a.png",)
    with pytest.raises(ValueError, match=r"masks: got 'Segmentation', wanted one of.*did you mean"):
        pair_masks(tmp_path, "Segmentation")


def test_splits_are_those_of_the_folder(tmp_path: Path) -> None:
    for split in ("train", "test"):
        picture(tmp_path / split / "images" / f"{split}.png")
        mask(tmp_path / split / "masks" / f"{split}.png")
    pairs = pair_masks(tmp_path)
    assert [pairs.images[place] for place in pairs.positions("test")] == ["test/images/test.png"]
    with pytest.raises(ValueError, match=r"split: got 'val'"):
        pairs.positions("val")


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png", (6, 4))
    mask(tmp_path / "masks" / "a.png", np.zeros((6, 5)))
    with pytest.raises(ValueError, match=r"masks/a\.png is 5 x 6, its image images/a\.png 4 x 6; wanted one size"):
        check_sizes(pair_masks(tmp_path))


@pytest.mark.parametrize("mode", ["L", "P"])
def test_numbers_are_classes_in_their_order_and_255_beside_many_is_no_label(tmp_path: Path, mode: str) -> None:
    path = mask(tmp_path / "a.png", [[0, 3], [7, 255]], mode)
    table = tell_table([path])
    assert (table.colours, table.values, table.names) == (False, (0, 3, 7, 255), ("0", "3", "7"))
    assert table.read(path).tolist() == [[0, 1], [2, IGNORED]]
    assert table.notes == (
        "classes of the masks: 0 is 0, 3 is 3, 7 is 7; without a label: 255",
        "255 is taken for pixels without a label, as usual",
    )


def test_two_values_are_background_and_foreground(tmp_path: Path) -> None:
    table = tell_table([mask(tmp_path / "a.png", [[0, 255]])])
    assert (table.names, table.classes) == (("background", "foreground"), (0, 1))


def test_colours_are_classes_and_come_back_as_colours(tmp_path: Path) -> None:
    path = mask(tmp_path / "a.png", [[[60, 16, 152], [132, 41, 246]], [[60, 16, 152], [155, 155, 155]]])
    lines = tmp_path / "classes.csv"
    lines.write_text("colour,name\n#3c1098,building\n132,41,246,land\n#9b9b9b,unlabeled\n110,193,228,road\n")
    table = tell_table([path], table=read_table(lines))
    assert table.names == ("building", "road", "land")
    found = table.read(path)
    assert found.tolist() == [[0, 2], [0, IGNORED]]
    again = np.asarray(table.picture(torch.tensor([[2, 0], [1, 1]], dtype=torch.uint8)))
    assert again.tolist() == [[[132, 41, 246], [60, 16, 152]], [[110, 193, 228], [110, 193, 228]]]
    assert MaskTable.from_json(json.loads(json.dumps(table.as_json()))) == table
    as_json = tmp_path / "classes.json"
    as_json.write_text(json.dumps({"building": "#3c1098", "land": [132, 41, 246], "void": "#9b9b9b", "road": 7258596}))
    assert read_table(as_json) == {0x3C1098: "building", 0x8429F6: "land", 0x9B9B9B: "void", 0x6EC1E4: "road"}


def test_values_without_a_label_can_be_said(tmp_path: Path) -> None:
    path = mask(tmp_path / "a.png", [[0, 1], [2, 1]])
    table = tell_table([path], unlabelled=(0,))
    assert table.names == ("1", "2")
    assert table.read(path).tolist() == [[IGNORED, 0], [1, 0]]
    assert (parse_value("0"), parse_value("#00000a")) == (0, 10)
    with pytest.raises(ValueError, match=r"unlabelled: got 'land', wanted a number or a colour"):
        parse_value("land")


def test_what_cannot_be_classes_is_refused(tmp_path: Path) -> None:
    grey, colour = mask(tmp_path / "g.png", [[0, 1]]), mask(tmp_path / "c.png", [[[0, 0, 1], [0, 0, 2]]])
    with pytest.raises(ValueError, match=r"c\.png holds colours, others numbers; wanted one kind"):
        tell_table([grey, colour])
    with pytest.raises(ValueError, match=r"table: has no 1, which masks have"):
        tell_table([grey], table={0: "land"})
    with pytest.raises(ValueError, match=r"masks: 1 class in 2 pixels, wanted at least two"):
        tell_table([mask(tmp_path / "one.png", [[5, 5]])])
    with pytest.raises(ValueError, match=r"masks: 256 different values .* kept as JPEG"):
        tell_table([mask(tmp_path / "ramp.png", np.arange(256).reshape(16, 16))])
    with pytest.raises(ValueError, match=r"other\.png has the value 9, not in the table"):
        tell_table([grey]).read(mask(tmp_path / "other.png", [[9, 0]]))
    empty = tmp_path / "t.csv"
    empty.write_text("name\n")
    with pytest.raises(ValueError, match=r"table: .* has no line such as 3,building"):
        read_table(empty)


def test_masks_are_the_targets_of_their_images(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    path = mask(tmp_path / "masks" / "a.png", np.tile([[0, 1]], (6, 2)))
    source = MaskedSource(load_source([tmp_path / "images" / "a.png"], min_samples=1), [path], tell_table([path]))
    assert isinstance(source, TargetSource)
    assert (len(source), source.target_names) == (1, ("background", "foreground"))
    assert source.targets([0])[0].shape == next(source.batches([0], 1)).samples[0].shape[1:] == (6, 4)


def test_a_folder_of_masks_is_left_for_later_by_pretraining(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.png")
        mask(tmp_path / "masks" / f"{name}.png")
    source = load_source(tmp_path)
    assert (len(source), source.labels) == (2, None)
    assert "masks/ left for later: barlow segment learns from masks" in source.notes[-1]  # type: ignore[attr-defined]
