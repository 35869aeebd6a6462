"""Matching of positions against a search one by one, on identical, moved and mirrored crops."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.methods.matching import at, matches_by_features, matches_by_place, nearest_matches, position_places

UPRIGHT = torch.tensor([False])


def places(top: float, left: float, height: float, width: float, *, cells: int, flipped: bool = False) -> Tensor:
    box = torch.tensor([[top, left, height, width]])
    return position_places(box, torch.tensor([flipped]), cells, cells)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), p=st.integers(1, 6), q=st.integers(1, 6), most=st.integers(0, 8))
def test_keeps_the_nearest_matches_in_the_order_of_the_positions(seed: int, p: int, q: int, most: int) -> None:
    distances = torch.rand(3, p, q, generator=torch.Generator().manual_seed(seed))
    kept, partner = nearest_matches(distances, most)
    for sample in range(3):
        rows = distances[sample].tolist()
        partners = [min(range(q), key=lambda other, row=row: row[other]) for row in rows]  # type: ignore[misc]
        ranked = sorted(range(p), key=lambda own: rows[own][partners[own]])
        expected = sorted(ranked[: most or p])
        assert kept[sample].tolist() == expected
        assert partner[sample].tolist() == [partners[own] for own in expected]


def test_equal_distances_keep_the_first_positions() -> None:
    kept, _ = nearest_matches(torch.zeros(1, 9, 9), 4)
    assert kept.tolist() == [[0, 1, 2, 3]]


def test_places_are_the_centres_of_the_cells_row_by_row() -> None:
    found = position_places(torch.tensor([[0.1, 0.2, 0.4, 0.6]]), UPRIGHT, 2, 3)
    expected = [[y, x] for y in (0.2, 0.4) for x in (0.3, 0.5, 0.7)]
    torch.testing.assert_close(found[0], torch.tensor(expected))


def test_a_flip_reverses_the_columns_and_leaves_the_rows() -> None:
    upright, mirrored = places(0.1, 0.2, 0.4, 0.6, cells=3), places(0.1, 0.2, 0.4, 0.6, cells=3, flipped=True)
    torch.testing.assert_close(mirrored.view(3, 3, 2), upright.view(3, 3, 2).flip(1), rtol=0, atol=0)


@pytest.mark.parametrize("cells", [3, 7])
def test_the_same_crop_matches_every_position_with_itself(cells: int) -> None:
    grid = places(0.13, 0.27, 0.51, 0.33, cells=cells)
    kept, partner = matches_by_place(grid, grid, 0)
    assert torch.equal(kept, partner)
    assert kept.tolist() == [list(range(cells**2))]


def test_a_crop_moved_by_one_cell_matches_the_neighbours() -> None:
    """The second crop lies one cell lower and two to the right: position (k, m) of it is (k+1, m+2) of the first."""
    first = places(0.0, 0.0, 0.7, 0.7, cells=7)
    second = places(0.1, 0.2, 0.7, 0.7, cells=7)
    kept, partner = matches_by_place(first, second, 6 * 5)
    shared = [(k, m) for k in range(1, 7) for m in range(2, 7)]
    assert kept.tolist() == [[7 * k + m for k, m in shared]]
    assert partner.tolist() == [[7 * (k - 1) + m - 2 for k, m in shared]]


def test_a_mirrored_view_of_the_same_crop_matches_the_mirrored_positions() -> None:
    upright, mirrored = places(0.0, 0.0, 1.0, 1.0, cells=4), places(0.0, 0.0, 1.0, 1.0, cells=4, flipped=True)
    _, partner = matches_by_place(upright, mirrored, 0)
    assert partner.tolist() == [[4 * k + 3 - m for k in range(4) for m in range(4)]]


def test_crops_that_do_not_overlap_are_matched_along_the_nearest_edge() -> None:
    kept, partner = matches_by_place(places(0.0, 0.0, 0.3, 0.3, cells=3), places(0.0, 0.7, 0.3, 0.3, cells=3), 3)
    assert kept.tolist() == [[2, 5, 8]]
    assert partner.tolist() == [[0, 3, 6]]


def test_maps_of_two_sizes_match_the_cell_that_is_nearest() -> None:
    _, partner = matches_by_place(places(0.0, 0.0, 1.0, 1.0, cells=3), places(0.0, 0.0, 1.0, 1.0, cells=7), 0)
    assert partner.tolist() == [[8, 10, 12, 22, 24, 26, 36, 38, 40]]


def test_features_find_their_permuted_selves_also_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 30, 16, generator=generator) + 100  # so far out that bfloat16 sees all of them alike
    order = torch.randperm(30, generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kept, partner = matches_by_features(z, z[:, order], 0)
    assert kept.tolist() == [list(range(30))] * 2
    assert torch.equal(order[partner], kept)


def test_chosen_positions_carry_gradient_to_where_they_came_from() -> None:
    z = torch.randn(2, 4, 3, requires_grad=True)
    chosen = at(z, torch.tensor([[0, 3], [2, 2]]))
    torch.testing.assert_close(chosen[1], torch.stack([z[1, 2], z[1, 2]]))
    chosen.sum().backward()
    assert z.grad is not None
    assert z.grad[:, :, 0].tolist() == [[1, 0, 0, 1], [0, 0, 2, 0]]
