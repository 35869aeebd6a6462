import pytest
import torch

from barlow.features.space import fit_space
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
    """What is chosen next is less like what is labelled already than samples are on average."""
    rows = fit_space(H).rows(H)
    first = choose_to_label(H, 5)
    more = choose_to_label(H, 5, labelled=first)
    assert not set(first) & set(more)
    nearest = (rows @ rows[first].T).amax(dim=1)
    assert nearest[more].mean() < nearest.mean()


def test_labelled_samples_are_not_chosen_again() -> None:
    labelled = set(range(370))
    assert set(choose_to_label(H, 10, labelled=labelled)) == set(range(370, 380))


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="number: got 11, wanted 1 to 10"):
        choose_to_label(H, 11, labelled=range(370))
