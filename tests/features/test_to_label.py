import pytest
import torch

from barlow.features.to_label import choose_to_label

GENERATOR = torch.Generator().manual_seed(0)
TRUE = torch.cat([torch.zeros(300), torch.ones(60), torch.full((20,), 2)]).long()
H = 6 * torch.eye(6)[:3][TRUE] + torch.randn(380, 6, generator=GENERATOR)


def test_rare_kinds_are_among_the_first_and_no_sample_is_chosen_twice() -> None:
    chosen = choose_to_label(H, 6)
    assert {int(TRUE[one]) for one in chosen} == {0, 1, 2}
    many = choose_to_label(H, 100)
    assert len(set(many)) == 100


def test_the_choice_goes_on_from_labels_that_there_are() -> None:
    """Of three kinds of one size two are labelled: the third is asked for, and nothing that has a label."""
    kinds = torch.arange(300) % 3
    h = 8 * torch.eye(6)[:3][kinds] + torch.randn(300, 6, generator=GENERATOR)
    (chosen,) = choose_to_label(h, 1, labelled=(0, 1))
    assert int(kinds[chosen]) == 2
    first = choose_to_label(H, 5)
    assert not set(first) & set(choose_to_label(H, 5, labelled=first))


def test_labelled_samples_are_not_chosen_again() -> None:
    labelled = set(range(370))
    assert set(choose_to_label(H, 10, labelled=labelled)) == set(range(370, 380))


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="number: got 11, wanted 1 to 10"):
        choose_to_label(H, 11, labelled=range(370))
