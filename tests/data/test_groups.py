"""Groups are on one side of a split, always; what is held out is named, and refused where it cannot be."""

import pytest
import torch

from barlow.data.arrays import ArraySource
from barlow.data.groups import (
    as_groups,
    choose_groups,
    groups_of,
    held_out,
    held_out_groups,
    known_groups,
)
from barlow.data.labels import as_labels
from barlow.data.subsets import SubsetSource, relabelled, split_labelled, subset, without_held_out

SPEAKERS = ["ann", "bob", "cem", "dan", "eva"]


def source(num: int = 100) -> SubsetSource:
    samples = ArraySource(torch.arange(num, dtype=torch.float32)[:, None])
    labels = as_labels([k % 4 for k in range(num)], num)
    return relabelled(samples, labels, as_groups([SPEAKERS[k % 7 % 5] for k in range(num)]))


def test_a_split_keeps_every_group_together() -> None:
    train, test = split_labelled(source(), 0.2, seed=0)
    assert len(train) + len(test) == 100
    assert train.groups is not None
    assert test.groups is not None
    assert not set(train.groups.tolist()) & set(test.groups.tolist())
    assert 0.1 <= len(test) / 100 <= 0.3


def test_groups_that_are_the_classes_do_not_hinder_a_split() -> None:
    samples = ArraySource(torch.zeros(20, 1))
    labels = as_labels([k % 2 for k in range(20)], 20)
    train, test = split_labelled(relabelled(samples, labels, as_groups(["ab"[k % 2] for k in range(20)])), 0.2, 0)
    assert set(train.groups.tolist()) == set(test.groups.tolist()) == {0, 1}  # type: ignore[union-attr]


def test_what_is_held_out_are_the_groups_named_and_a_subset_keeps_its_groups() -> None:
    away = held_out(source(), "group=ann,eva")
    groups = groups_of(source())
    assert groups is not None
    assert {groups.names[k] for k in groups.values[away].tolist()} == {"ann", "eva"}
    rest = without_held_out(source(), "group=ann,eva")
    assert known_groups(rest) == ("bob", "cem", "dan")
    assert known_groups(subset(rest, range(40))) == ("bob", "cem", "dan")
    assert held_out_groups("group") == ()


@pytest.mark.parametrize(
    ("hold_out", "said"),
    [
        ("speaker=ann", "hold_out: got 'speaker=ann', wanted group="),
        ("group=", "wanted group="),
        ("group=anne", "there is no group 'anne'.*did you mean 'ann'"),
        ("group=ann,bob,cem,dan,eva", "leaves nothing"),
    ],
)
def test_what_cannot_be_held_out_is_refused(hold_out: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        held_out(source(), hold_out)
    with pytest.raises(ValueError, match="have no groups"):
        held_out(ArraySource(torch.zeros(4, 1), name="x"), "group=ann")


def test_groups_are_chosen_by_the_seed_and_never_all() -> None:
    groups = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    for seed in range(10):
        chosen = choose_groups(groups, fraction=0.2, seed=seed)
        assert 0 < int(chosen.sum()) < 100
        assert len(groups[chosen].unique()) + len(groups[~chosen].unique()) == 3
        assert torch.equal(chosen, choose_groups(groups, fraction=0.2, seed=seed))
    with pytest.raises(ValueError, match="groups: got 1"):
        choose_groups(torch.zeros(5, dtype=torch.int64), fraction=0.2, seed=0)
