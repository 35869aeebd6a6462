"""What stands beside the trained features is fair to the network before training; labels are used as far as they go."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from barlow.data.arrays import ArraySource
from barlow.data.labels import as_labels
from barlow.evaluation.scores import CALIBRATION_SAMPLES, LabelledParts, calibrate, labelled_parts, split_parts
from barlow.images.modality import IMAGES
from barlow.seams import Modality, Source
from tests.images.data.making import write_folder


@pytest.mark.parametrize("labelled", ["train", "test"])
def test_where_one_part_has_no_class_folders_the_other_is_split_and_it_is_said(tmp_path: Path, labelled: str) -> None:
    bare = {"train": "test", "test": "train"}[labelled]
    for name in ("a", "b"):
        write_folder(tmp_path / labelled / name, 10, size=(4, 4))
    write_folder(tmp_path / bare, 6, size=(4, 4))
    parts = labelled_parts(IMAGES, tmp_path)
    assert parts is not None
    assert (len(parts.train), len(parts.test)) == (16, 4)
    assert parts.seen_in_pretraining == (labelled == "train")
    names = {"train": "training", "test": "test"}
    (note,) = parts.notes
    assert f"The {names[bare]} part of {tmp_path.name} has no labels" in note
    assert f"(6 samples: {tmp_path}/{bare}/0000.png, ...)" in note
    assert f"Its {names[labelled]} part has: 20 samples of 2 classes" in note


def test_parts_that_both_have_labels_need_no_words_and_without_any_there_are_none(tmp_path: Path) -> None:
    for name in ("both/train/a", "both/train/b", "both/test/a", "both/test/b", "none/train", "none/test"):
        write_folder(tmp_path / name, 2, size=(4, 4))
    parts = labelled_parts(IMAGES, tmp_path / "both")
    assert parts is not None
    assert not parts.notes
    assert labelled_parts(IMAGES, tmp_path / "none") is None


def normalised() -> nn.BatchNorm1d:
    return nn.BatchNorm1d(1)


def as_it_is(samples: Tensor) -> Tensor:
    return samples


def sorted_by_class(num_samples: int) -> ArraySource:
    """Ten classes one after another, whose numbers are 0 to 9 with a little noise."""
    noise = 0.1 * torch.randn(num_samples, 1, generator=torch.Generator().manual_seed(0))
    return ArraySource((torch.arange(num_samples) * 10 // num_samples)[:, None] + noise)


def test_statistics_of_the_untrained_network_are_those_of_all_classes_of_sorted_data() -> None:
    source = sorted_by_class(4 * CALIBRATION_SAMPLES)
    norm = normalised()
    calibrate(norm, source, as_it_is)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert abs(float(norm.running_mean) - 4.5) < 0.2
    assert abs(float(norm.running_var) / 8.25 - 1) < 0.1
    again = normalised()
    calibrate(again, source, as_it_is)
    assert again.running_mean is not None
    assert torch.equal(norm.running_mean, again.running_mean)


def test_statistics_come_from_batches_of_one_size() -> None:
    """One sample has no variance: 257 samples are one batch of 256, and a torch network refuses a batch of one."""
    sizes = []

    def plain(samples: Tensor) -> Tensor:
        sizes.append(len(samples))
        return samples

    for number in (257, 700, 40, 5000):
        calibrate(normalised(), sorted_by_class(number), plain)
    assert sizes == [256, 256, 256, 40, *[256] * (CALIBRATION_SAMPLES // 256)]


def parts_of(train: Sequence[int], test: Sequence[int], *names: Sequence[str]) -> LabelledParts | None:
    """Labelled data of a modality of two splits, whose samples are their own numbers."""
    given = dict(zip(("train", "test"), (train, test), strict=True))
    called = dict(zip(("train", "test"), names, strict=False))

    def load(data: object, *, split: str, **_: object) -> Source:
        split = "train" if split == "labelled" else split
        labels = as_labels(given[split], len(given[split]), called.get(split, ()))
        return ArraySource(torch.arange(len(given[split])), name=split, labels=labels)

    return labelled_parts(Modality("own", "number", load, splits=lambda data: ("train", "test")), "data")


def labels_of(source: Source) -> list[str]:
    assert source.labels is not None
    return [source.class_names[label] for label in source.labels.tolist()]


def test_samples_without_a_label_are_left_out_and_counted() -> None:
    parts = parts_of([0, -1, 1, 0], [-1, 1])
    assert parts is not None
    assert (labels_of(parts.train), labels_of(parts.test)) == (["0", "1", "0"], ["1"])
    assert [parts.train.describe(place) for place in range(3)] == ["sample 0", "sample 2", "sample 3"]
    assert parts.notes == ("2 of 6 samples have no label and are left out of the evaluation",)
    one = split_parts(ArraySource(torch.arange(30), labels=[0, 1, -1] * 10))
    assert one is not None
    assert len(one.train) + len(one.test) == 20
    assert one.notes == ("10 of 30 samples have no label and are left out of the evaluation",)
    assert parts_of([-1, -1], [-1, -1]) is None
    of_test = parts_of([-1, -1], [0, 1] * 10)
    assert of_test is not None
    assert (len(of_test.train), len(of_test.test), of_test.seen_in_pretraining) == (16, 4, False)
    assert "The training part of train has no labels" in of_test.notes[0]


def test_a_class_that_only_the_test_part_has_is_named_and_its_samples_are_left_out() -> None:
    parts = parts_of([0, 0, 1, 1], [0, 2, 1, 2], ("a", "b", "c"), ("a", "b", "c"))
    assert parts is not None
    assert labels_of(parts.test) == ["a", "b"]
    assert parts.notes == ("class 'c' is in the test part only: its samples (2) are left out of the evaluation",)
    with pytest.raises(ValueError, match=r"the test part has none to use: class '1' is in the test part only"):
        parts_of([0, 0], [1, 1])


def test_classes_of_both_parts_are_matched_by_their_names() -> None:
    parts = parts_of([3, 17, 90, 90], [17, 90, -1])
    assert parts is not None
    assert labels_of(parts.test) == ["17", "90"]
    assert parts.test.labels is not None
    assert parts.test.labels.tolist() == [1, 2]
    parts = parts_of([0, 1, 2], [0, 1], ("ant", "cat", "dog"), ("dog", "cat"))
    assert parts is not None
    assert labels_of(parts.test) == ["dog", "cat"]
    assert parts.test.labels is not None
    assert parts.test.labels.tolist() == [2, 1]


def test_fully_labelled_parts_are_used_as_they_are() -> None:
    parts = parts_of([0, 1], [1, 0])
    assert parts is not None
    assert isinstance(parts.train, ArraySource)
    assert isinstance(parts.test, ArraySource)
    assert parts.notes == ()
