import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from barlow.features.groups import find_groups

GENERATOR = torch.Generator().manual_seed(0)
TRUE = torch.arange(700) % 7
H = 5 * torch.randn(7, 12, generator=GENERATOR)[TRUE] + torch.randn(700, 12, generator=GENERATOR)


def test_groups_that_are_there_are_found_with_their_number() -> None:
    found = find_groups(H)
    assert len(found.names) == 7
    assert adjusted_rand_score(TRUE, found.of_each) > 0.95
    assert found.stability[7] > 0.9
    assert found.chosen.startswith("7 groups: the largest number that comes back better than its neighbours")


def test_where_there_are_none_this_is_said() -> None:
    assert "no number gives groups that come back well" in find_groups(torch.randn(400, 30, generator=GENERATOR)).chosen


def test_a_number_that_is_asked_for_is_taken_and_groups_are_the_largest_first() -> None:
    found = find_groups(H, number=3)
    sizes = [len(members) for members in found.typical]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == 700
    assert found.chosen.startswith("3 groups, as asked for")
    assert all(set(found.of_each[list(members)].tolist()) == {number} for number, members in enumerate(found.typical))


def test_groups_are_named_by_the_commonest_class_which_decides_nothing() -> None:
    labels = TRUE.clone()
    labels[::9] = -1
    named = find_groups(H, labels=labels, class_names=tuple("abcdefg"))
    assert torch.equal(named.of_each, find_groups(H).of_each)
    assert {name.split(": ")[1] for name in named.names} == {f"{letter} (100%)" for letter in "abcdefg"}


@pytest.mark.parametrize("number", [1, 351])
def test_a_number_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"number: got {number}, wanted 2 to 350"):
        find_groups(H, number=number)
