"""From a folder of images and masks to masks, a model and a page; killed and gone on with, the same to the bit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import barlow
from barlow.applications.segmentation import bars, segment as module
from barlow.applications.segmentation.cells import draw_labelled, split_images
from barlow.applications.segmentation.model import open_model
from barlow.applications.segmentation.pictures import open_pairs
from barlow.applications.segmentation.segment import Segmented, segment
from barlow.applications.segmentation.settings import SegmentSettings
from barlow.files import read_json
from barlow.studies import cells as kept
from tests.applications.segmentation.discs import write_discs

TINY = SegmentSettings(labels=("2", "all"), seeds=2, steps=6, batch_size=2, window=16, test_share=0.25)


def run_on(data: Path, out: Path) -> Path:
    small: dict[str, Any] = {"image_size": 16, "batch_size": 4, "epochs": 1, "projector": "8", "views": "from-above"}
    machine = barlow.Machine(devices="1", accelerator="cpu", quiet=True)
    barlow.pretrain(data, backbone="unet:2", out=out, machine=machine, **small)
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Segmented]:
    place = tmp_path_factory.mktemp("segment")
    data = write_discs(place / "discs", 12)
    run = run_on(data, place / "run")
    with pytest.MonkeyPatch.context() as quicker:
        quicker.setattr(bars, "TREES", 3)
        return data, run, segment(run, data, settings=TINY, accelerator="cpu")


def test_everything_is_left_in_its_place(made: tuple[Path, Path, Segmented]) -> None:
    _, run, found = made
    assert found.folder == run / "segmentation" / "discs"
    assert read_json(found.folder / "segmentation.json")["rows"] == json.loads(json.dumps(found.summary["rows"]))
    rows = {(row["arm"], row["labels"]): row for row in found.summary["rows"]}
    assert set(rows) == {(arm, n) for arm in ("pretrained", "scratch", "frozen", "pixels") for n in ("2", "all")}
    assert all(0 <= row["dice"]["mean"] <= 1 and len(row["values"]["dice"]) == 2 for row in rows.values())
    assert rows["pretrained", "all"]["num_labels"] == 9
    assert set(found.summary["bars"]) == {"Otsu", "all foreground"}
    assert any("the test images among them, without any mask" in note for note in found.summary["notes"])
    page = found.page.read_text()
    assert "How many masks it takes" in page
    assert page.count("<img") == 3 * (2 + 3)


def test_predicted_masks_have_the_size_of_their_images_and_the_values_of_the_masks(
    made: tuple[Path, Path, Segmented],
) -> None:
    data, _, found = made
    masks = sorted(found.masks.rglob("*.png"))
    assert len(masks) == 3
    for path in masks:
        with Image.open(path) as predicted, Image.open(data / "images" / path.name) as image:
            assert predicted.size == image.size
            assert set(np.unique(np.asarray(predicted))) <= {0, 255}


def test_the_model_makes_the_masks_that_were_kept(made: tuple[Path, Path, Segmented], tmp_path: Path) -> None:
    data, _, found = made
    paths = [data / path.relative_to(found.masks).with_suffix(".png") for path in sorted(found.masks.rglob("*.png"))]
    model = found.model
    assert model.classes == ("background", "foreground")
    predicted = model.predict(paths, accelerator="cpu")
    for path, mask in zip(sorted(found.masks.rglob("*.png")), predicted, strict=True):
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image) // 255, mask.numpy())
    assert model.write_masks(paths, tmp_path / "masks", accelerator="cpu") == []
    assert len(list((tmp_path / "masks").glob("*.png"))) == 3


def test_a_call_that_was_killed_goes_on_and_gives_the_same_to_the_bit(
    made: tuple[Path, Path, Segmented], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run, found = made
    computed: list[str] = []
    whole = kept._compute

    def killed(folder: Path, cell: kept.Cell) -> None:
        if len(computed) == 3:
            raise KeyboardInterrupt
        computed.append(cell.name)
        whole(folder, cell)

    monkeypatch.setattr(bars, "TREES", 3)
    monkeypatch.setattr(kept, "_compute", killed)
    some = TINY.__class__(**{**vars(TINY), "seeds": 1})
    with pytest.raises(KeyboardInterrupt):
        segment(run, data, settings=some, out=tmp_path / "out", accelerator="cpu")
    assert not (tmp_path / "out" / "segmentation.json").exists()

    def counted(folder: Path, cell: kept.Cell) -> None:
        computed.append(cell.name)
        whole(folder, cell)

    monkeypatch.setattr(kept, "_compute", counted)
    again = segment(run, data, settings=some, out=tmp_path / "out", accelerator="cpu")
    assert len(computed) == len(set(computed)) == 9
    for row, first in zip(again.summary["rows"], found.summary["rows"], strict=True):
        assert row["values"]["dice"] == first["values"]["dice"][:1]
    weights = "segmenter.safetensors"
    assert (again.model_folder / weights).read_bytes() == (found.model_folder / weights).read_bytes()


def test_more_seeds_may_be_asked_for_and_other_numbers_not(made: tuple[Path, Path, Segmented]) -> None:
    data, run, _ = made
    with pytest.raises(ValueError, match=r"was started with other settings: steps was 6, now 7"):
        segment(run, data, settings=TINY, steps=7, accelerator="cpu")


def test_arms_differ_in_what_they_should(made: tuple[Path, Path, Segmented]) -> None:
    _, run, found = made
    before = barlow.open_run(run).backbone.network.state_dict()  # type: ignore[union-attr]
    same = {}
    for arm in ("pretrained", "frozen"):
        encoder = open_model(found.folder / "work" / f"{arm}-all-seed0" / "model").network.encoder.network
        weights = {name: value for name, value in encoder.state_dict().items() if name.endswith("weight")}
        same[arm] = [torch.equal(before[name], value) for name, value in weights.items()]
    assert all(same["frozen"])
    assert not any(same["pretrained"])
    cells = (found.folder / "cells" / f"{arm}-2-seed0.json" for arm in ("pretrained", "scratch", "frozen"))
    losses = [read_json(path)["figures"]["loss"] for path in cells]
    assert losses[0] != losses[1]
    assert losses[0] != losses[2]


def test_labelled_images_are_nested_and_the_split_is_always_the_same(tmp_path: Path) -> None:
    pairs = open_pairs(write_discs(tmp_path, 12), TINY)
    train, test = split_images(pairs, 0.25)
    assert (train, test) == split_images(pairs, 0.25)
    assert sorted(train + test) == list(range(12))
    five, all_of = draw_labelled(train, 5, 1), draw_labelled(train, 0, 1)
    assert all_of[:5] == five
    assert sorted(all_of) == train
    assert draw_labelled(train, 5, 2) != five
    with pytest.raises(ValueError, match=r"labels: got 10, but there are 9 training images with masks"):
        draw_labelled(train, 10, 0)


def test_many_classes_unlabelled_pixels_and_a_resnet(tmp_path: Path) -> None:
    data = write_discs(tmp_path / "discs", 8, classes=3)
    machine = barlow.Machine(devices="1", accelerator="cpu", quiet=True)
    small: dict[str, Any] = {"image_size": 16, "batch_size": 4, "epochs": 1, "projector": "8"}
    small |= {"width": 2, "stem": "imagenet"}
    barlow.pretrain(data, backbone="resnet10", out=tmp_path / "run", machine=machine, **small)
    found = segment(
        tmp_path / "run", data, labels=[3], seeds=1, arms=["scratch"], steps=2, batch_size=2, window=32, short_side=24,
        normalise="dataset", unlabelled=[10], accelerator="cpu",
    )  # fmt: skip
    assert found.summary["classes"] == ["background", "foreground"]
    assert "without a label: 10" in found.summary["notes"][0]
    (row, _) = found.summary["rows"]
    assert row["arm"] == "scratch"
    assert found.summary["model"]["arm"] == "scratch"


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"labels": "few"}, r"labels: got 'few', wanted numbers of images such as 5 10 20, or all"),
        ({"labels": 50}, r"labels: got 50, but there are 9 training images"),
        ({"arms": ["pretrainde"]}, r"arms: got 'pretrainde', wanted one of pretrained, scratch, frozen; did you mean"),
        ({"step": 3}, r"segment: got 'step', wanted one of .*; did you mean 'steps'"),
        ({"window": 8}, r"window: got 8, wanted at least 16"),
        ({"steps": 0}, r"steps: got 0, wanted at least 1"),
        ({"test_share": 1.0}, r"test_share: got 1\.0, wanted a share between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_computed(
    made: tuple[Path, Path, Segmented], tmp_path: Path, numbers: dict[str, Any], message: str
) -> None:
    data, run, _ = made
    with pytest.raises(ValueError, match=message):
        segment(run, data, settings=TINY, out=tmp_path / "out", **numbers)
    assert not (tmp_path / "out").exists()


def test_runs_and_folders_that_are_none_are_refused(made: tuple[Path, Path, Segmented], tmp_path: Path) -> None:
    data, run, _ = made
    with pytest.raises(ValueError, match=r"folder: got .*nowhere', wanted a run folder"):
        segment(tmp_path / "nowhere", data)
    with pytest.raises(ValueError, match=r"data: there is no folder .*nowhere', wanted one with images/ and masks/"):
        segment(run, tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"model: got .*wanted a folder with segmenter\.json"):
        open_model(run)
    (tmp_path / "segmenter.json").write_text('{"recipe": {"backbone": "hf-hub:somebody/unet"}}')
    (tmp_path / "segmenter.safetensors").touch()
    with pytest.raises(ValueError, match=r"is not what barlow segment writes"):
        open_model(tmp_path)


def test_the_module_is_the_public_one() -> None:
    assert barlow.segment is module.segment
