"""A split of the data's own: each sample in one part, and test labels out of sight."""

import pytest
import torch

from barlow.data.labels import UNKNOWN, as_labels
from barlow.data.parts import OwnSplit, Parts, folds_of, of_masks, random_parts


def test_random_splits_are_disjoint_of_the_sizes_said_and_others_each_time() -> None:
    labels = as_labels([k % 3 for k in range(98)] + [UNKNOWN] * 2, 100)
    parts = random_parts(labels)
    assert parts is not None
    assert len(parts.splits) == 20
    for split in parts.splits:
        sizes = [len(part) for part in (split.train, split.validation, split.test)]
        assert sizes == [10, 10, 78]
        together = torch.cat([split.train, split.validation, split.test])
        assert sorted(together.tolist()) == list(range(98))
    assert not torch.equal(parts.splits[0].train, parts.splits[1].train)
    again = random_parts(labels)
    assert again is not None
    assert torch.equal(again.splits[3].test, parts.splits[3].test)


def test_labels_of_samples_that_any_split_tests_on_are_not_shown() -> None:
    labels = as_labels([0, 1, 0, 1, 0, 1], 6)
    split = OwnSplit(torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([3, 4]))
    parts = Parts("own", labels, [split])
    assert parts.shown().values is not None
    assert parts.shown().values.tolist() == [0, 1, 0, UNKNOWN, UNKNOWN, 1]  # type: ignore[union-attr]
    assert parts.fitting_labels(split).tolist() == [0, 1, 0, UNKNOWN, UNKNOWN, UNKNOWN]
    every = random_parts(as_labels([k % 2 for k in range(40)], 40))
    assert every is not None
    assert every.shown().values is None


def test_folds_test_on_each_sample_once_with_every_class_in_each() -> None:
    labels = as_labels([0] * 20 + [1] * 20, 40)
    parts = folds_of(labels)
    assert parts is not None
    assert sorted(torch.cat([split.test for split in parts.splits]).tolist()) == list(range(40))
    assert all({0, 1} == set((split.test >= 20).long().tolist()) for split in parts.splits)


def test_masks_of_several_columns_are_several_splits_and_unlabelled_samples_fall_out() -> None:
    labels = as_labels([0, 1, 0, 1, UNKNOWN], 5)
    train = torch.tensor([[1, 0], [0, 1], [0, 0], [0, 0], [1, 1]]).bool()
    parts = of_masks("own", labels, train, torch.tensor([0, 0, 1, 0, 0]), torch.tensor([0, 0, 0, 1, 0]))
    assert parts is not None
    assert [split.train.tolist() for split in parts.splits] == [[0], [1]]
    assert [split.test.tolist() for split in parts.splits] == [[3], [3]]


def test_a_split_that_cannot_be_is_refused() -> None:
    labels = as_labels([0, 1, 0], 3)
    one, two = torch.tensor([0]), torch.tensor([1])
    with pytest.raises(ValueError, match="some samples are in two parts of the own"):
        Parts("own", labels, [OwnSplit(one, two, one)])
    with pytest.raises(ValueError, match="the test part of the own is empty"):
        Parts("own", labels, [OwnSplit(one, two, one[:0])])
    with pytest.raises(ValueError, match="positions outside 3 samples"):
        Parts("own", labels, [OwnSplit(one, two, torch.tensor([3]))])
