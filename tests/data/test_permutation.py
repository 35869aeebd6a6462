"""A keyed permutation is one, for any number; it looks random, and any part of it is computed alone."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from barlow.data.permutation import permuted


@given(st.integers(1, 3000), st.integers(0, 2**40))
def test_every_position_comes_once(number: int, key: int) -> None:
    found = permuted(np.arange(number), number, key)
    assert np.array_equal(np.sort(found), np.arange(number))


def test_a_part_is_computed_alone_and_a_billion_costs_no_more() -> None:
    whole = permuted(np.arange(5000), 5000, 3)
    assert np.array_equal(permuted(np.array([4999, 17]), 5000, 3), whole[[4999, 17]])
    some = permuted(np.arange(1000), 1_000_000_000, 3)
    assert len(set(some.tolist())) == 1000
    assert some.max() > 900_000_000


@pytest.mark.parametrize("number", [1000, 1024, 4097])
def test_places_and_positions_are_unrelated_and_keys_too(number: int) -> None:
    """Means over 200 keys of what is uniform have errors of 1/sqrt(200); five of those never happen by chance."""
    places = np.arange(number)
    orders = np.stack([permuted(places, number, key) for key in range(200)])
    uniform = (number - 1) / 2, np.sqrt((number**2 - 1) / 12)
    assert np.abs((orders.mean(0) - uniform[0]) / uniform[1]).max() < 5 / np.sqrt(200)
    assert abs(np.corrcoef(orders[0], places)[0, 1]) < 5 / np.sqrt(number)
    assert abs(np.corrcoef(orders[0], orders[1])[0, 1]) < 5 / np.sqrt(number)
    neighbours = np.corrcoef(orders[:, :-1].ravel(), orders[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(200 * number)
    assert len({tuple(order) for order in orders.tolist()}) == 200
