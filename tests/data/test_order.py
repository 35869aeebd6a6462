import pytest
from hypothesis import given, strategies as st

from barlow.data.order import batches_of, evenly_spaced


def test_batches_cover_the_order_and_only_the_last_is_shorter() -> None:
    assert batches_of([4, 0, 0, 3, 1], 2, 5) == [[4, 0], [0, 3], [1]]
    assert batches_of([], 2, 5) == []


@pytest.mark.parametrize("wrong", [-1, 5])
def test_positions_outside_the_source_are_refused_by_number(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"order: position {wrong} is not in a source of 5"):
        batches_of([0, wrong], 2, 5)


def test_a_batch_size_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size: got 0"):
        batches_of([0], 0, 5)


@given(num_samples=st.integers(0, 1000), most=st.integers(1, 1000))
def test_evenly_spaced_positions_differ_and_reach_both_ends(num_samples: int, most: int) -> None:
    places = evenly_spaced(num_samples, most)
    assert len(places) == len(set(places)) == min(num_samples, most)
    assert places == sorted(places)
    assert all(0 <= place < num_samples for place in places)
    if places:
        gap = num_samples / len(places)
        assert places[0] <= gap / 2
        assert num_samples - 1 - places[-1] <= gap / 2
