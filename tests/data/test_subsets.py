import pytest
import torch
from hypothesis import given, strategies as st

from barlow.data.arrays import ArraySource
from barlow.data.subsets import split_labelled, stratified_choice, subset
from barlow.seams import Source

ROWS = torch.arange(10, dtype=torch.uint8).view(10, 1)


def test_a_subset_counts_its_own_positions() -> None:
    whole = ArraySource(ROWS, name="rows", labels=range(10), bad={6: "broken", 1: "broken"}, notes=["a note"])
    part = subset(whole, [8, 6, 2, 4])
    assert isinstance(part, Source)
    assert len(part) == 4
    assert part.labels is not None
    assert part.labels.tolist() == [8, 6, 2, 4]
    assert part.describe(2) == "sample 2"
    assert part.bad == {1: "broken"}
    assert part.notes == ("a note",)
    first, second = part.batches([3, 1, 0, 2], 2)
    assert first.indices.tolist() == [3]
    assert first.samples.flatten().tolist() == [4]
    assert second.indices.tolist() == [0, 2]
    assert second.samples.flatten().tolist() == [8, 2]


def test_what_turns_out_bad_while_reading_is_known_to_the_subset() -> None:
    whole = ArraySource(ROWS)
    part = subset(whole, torch.tensor([5, 7]))
    whole.bad[7] = "found later"
    assert list(part.batches([1], 1)) == []
    assert part.bad == {1: "found later"}


def test_positions_outside_or_twice_are_refused() -> None:
    whole = ArraySource(ROWS)
    with pytest.raises(ValueError, match="indices: wanted each position once"):
        subset(whole, [3, 3])
    with pytest.raises(ValueError, match="indices: from 3 to 10 in 10 samples"):
        subset(whole, [3, 10])
    with pytest.raises(ValueError, match="position 2 is not in a source of 2"):
        subset(whole, [3, 4]).batches([2], 1)


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_every_class_gives_its_share_and_keeps_one(counts: list[int], share: float, seed: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    wanted = int(share * (len(labels) - len(counts)))
    chosen = stratified_choice(labels, wanted, seed)
    assert len(chosen) == len(set(chosen.tolist())) == wanted
    assert torch.equal(chosen, chosen.sort().values)
    taken = labels[chosen].bincount(minlength=len(counts))
    for count, number in zip(counts, taken.tolist(), strict=True):
        assert number <= count - 1
        exact = count * wanted / len(labels)
        assert number >= min(int(exact), count - 1)
    assert torch.equal(chosen, stratified_choice(labels, wanted, seed))


def test_the_choice_depends_on_the_seed_and_keeps_shares_to_one_sample() -> None:
    labels = torch.arange(1000) % 7
    first, second = stratified_choice(labels, 300, 0), stratified_choice(labels, 300, 1)
    assert not torch.equal(first, second)
    shares = labels[first].bincount() / labels.bincount()
    assert (shares - 0.3).abs().max() < 1 / 140


def test_more_than_can_be_had_is_refused() -> None:
    with pytest.raises(ValueError, match="num_chosen: 4 of 5 samples, wanted at most 3"):
        stratified_choice(torch.tensor([0, 0, 0, 2, 2]), 4, 0)


def test_a_labelled_source_is_split_without_overlap_and_in_order() -> None:
    whole = ArraySource(ROWS, labels=[0] * 5 + [1] * 5)
    train, test = split_labelled(whole, 0.4, seed=3)
    assert sorted([*train.indices.tolist(), *test.indices.tolist()]) == list(range(10))
    assert train.indices.tolist() == sorted(train.indices.tolist())
    assert test.labels is not None
    assert test.labels.tolist() == [0, 0, 1, 1]


def test_splitting_needs_labels_and_a_share_that_leaves_something() -> None:
    with pytest.raises(ValueError, match="source: array has no labels"):
        split_labelled(ArraySource(ROWS), 0.5, 0)
    for fraction in (0.0, 0.01, 1.0):
        with pytest.raises(ValueError, match="leaves a part empty"):
            split_labelled(ArraySource(ROWS, labels=[0] * 10), fraction, 0)
