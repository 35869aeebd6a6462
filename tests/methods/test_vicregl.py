"""VICRegL's loss against loops over samples, positions and features, and its exact values."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.methods.vicreg import vicreg_loss
from barlow.methods.vicregl import (
    Embeddings,
    at,
    matches_by_features,
    matches_by_place,
    nearest_matches,
    position_places,
    vicregl_loss,
)
from tests.methods.vicregl_embeddings import PARTS, WEIGHTS, leaves, some_views


def naive_terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Official s, mean of v and mean of c of two sets of N embeddings, as sums over scalars."""
    n, d = x.shape
    s = ((x - y) ** 2).sum() / (n * d)
    v, c = torch.zeros_like(s), torch.zeros_like(s)
    for z in (x, y):
        for i in range(d):
            for j in range(d):
                cov = ((z[:, i] - z[:, i].sum() / n) * (z[:, j] - z[:, j].sum() / n)).sum() / (n - 1)
                if i == j:
                    v = v + torch.clamp(1 - torch.sqrt(cov + 1e-4), min=0) / d / 2
                else:
                    c = c + cov**2 / d / 2
    return s, v, c


def naive_matches(x: Tensor, y: Tensor, most: int) -> list[tuple[int, int]]:
    """Pairs (own, partner) of one sample by a search over all distances."""
    x, y, best = x.detach(), y.detach(), []
    for p in range(len(x)):
        distances = [float(((x[p] - y[q]) ** 2).sum()) for q in range(len(y))]
        best.append((min(distances), p, distances.index(min(distances))))
    return [(p, q) for _, p, q in sorted(sorted(best)[: most or len(best)], key=lambda found: found[1])]


def naive_loss(
    views: list[Embeddings], alpha: float, matches: tuple[int, int], feature_matches: tuple[int, int]
) -> Tensor:
    """Equations of the paper with the official factors, pair by pair and slot by slot."""
    pairs = [(i, j) for i in (0, 1) for j in range(len(views)) if i != j]
    weights = torch.tensor(list(WEIGHTS.values()), dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for i, j in pairs:
        s = naive_terms(views[i].whole, views[j].whole)[0]
        total = total + alpha * weights[0] * s / len(pairs)
    for view in views:
        _, v, c = naive_terms(view.whole, view.whole)
        total = total + alpha * (weights[1] * v + weights[2] * c) / len(views)
    for i, j in pairs:
        for kind, kept in (("positions", feature_matches), ("places", matches)):
            for a, b, most in ((views[i], views[j], kept[0]), (views[j], views[i], kept[1])):
                found = [
                    naive_matches(getattr(a, kind)[sample], getattr(b, kind)[sample], most)
                    for sample in range(len(a.whole))
                ]
                for slot in range(len(found[0])):
                    x = torch.stack([a.positions[sample, row[slot][0]] for sample, row in enumerate(found)])
                    y = torch.stack([b.positions[sample, row[slot][1]] for sample, row in enumerate(found)])
                    terms = torch.stack(naive_terms(x, y))
                    total = total + (1 - alpha) * (weights * terms).sum() / len(found[0]) / len(pairs) / 2
    return total


@pytest.mark.parametrize(
    ("sizes", "matches", "feature_matches"),
    [((4, 4), (3, 2), (0, 0)), ((4, 4), (20, 1), (2, 1)), ((4, 4, 2), (3, 1), (0, 0))],
    ids=["two views", "fewer feature matches", "a small view"],
)
def test_equals_the_loops_of_the_paper_in_value_and_gradient(
    sizes: tuple[int, ...], matches: tuple[int, int], feature_matches: tuple[int, int]
) -> None:
    views = some_views(4, sizes)
    terms = vicregl_loss(views, alpha=0.6, matches=matches, feature_matches=feature_matches, **WEIGHTS)  # type: ignore[arg-type]
    expected = naive_loss(views, 0.6, matches, feature_matches)
    torch.testing.assert_close(terms.total, expected, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(terms.total, leaves(views))
    theirs = torch.autograd.grad(expected, leaves(views))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert list(terms.parts) == PARTS
    torch.testing.assert_close(terms.total, sum(terms.parts.values()))


def test_defaults_are_alpha_three_quarters_20_and_4_by_location_and_all_by_features() -> None:
    views = some_views(4, (25, 25))
    by_name = vicregl_loss(
        views,
        alpha=0.75,
        matches=(20, 4),
        feature_matches=(25, 25),
        invariance_weight=25.0,
        variance_weight=25.0,
        covariance_weight=1.0,
    )
    torch.testing.assert_close(vicregl_loss(views).total, by_name.total, rtol=0, atol=0)


def test_the_global_criterion_of_two_views_is_vicreg_with_half_the_covariance() -> None:
    views = some_views(6)
    ours = vicregl_loss(views, alpha=1.0).parts
    plain = vicreg_loss(views[0].whole, views[1].whole).parts
    torch.testing.assert_close(ours["global_invariance"], plain["invariance"])
    torch.testing.assert_close(ours["global_variance"], plain["variance"])
    torch.testing.assert_close(ours["global_covariance"], plain["covariance"] / 2)
    assert all(ours[name] == 0 for name in PARTS[3:])


def test_alpha_weighs_global_against_local() -> None:
    views = some_views(6)
    totals = [vicregl_loss(views, alpha=alpha).total for alpha in (0.0, 0.3, 1.0)]
    torch.testing.assert_close(totals[1], 0.7 * totals[0] + 0.3 * totals[2])


def test_identical_views_of_the_same_crop_have_no_invariance_loss() -> None:
    view = some_views(5, (9,))[0]
    parts = vicregl_loss([view, view]).parts
    assert parts["global_invariance"] == 0
    assert parts["local_invariance"] == 0


def test_gradcheck() -> None:
    views = some_views(3, (2, 2))

    def total(*tensors: Tensor) -> Tensor:
        pairs = zip(tensors[::2], tensors[1::2], views, strict=True)
        return vicregl_loss([Embeddings(e, m, view.places) for e, m, view in pairs], matches=(2, 1)).total

    assert torch.autograd.gradcheck(total, tuple(leaves(views)))


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_collapse_gives_what_the_hinge_says_and_finite_gradients(value: float) -> None:
    """All hinges at 1 - sqrt(1e-4): 24.75 by global, and twice that by local, once by features, once by location."""
    places = some_views(4)[0].places.float()
    views = [
        Embeddings(torch.full((4, 3), value).requires_grad_(), torch.full((4, 4, 3), value).requires_grad_(), places)
        for _ in range(2)
    ]
    terms = vicregl_loss(views, alpha=0.75)
    torch.testing.assert_close(terms.total, torch.tensor(0.75 * 24.75 + 0.25 * 2 * 24.75))
    assert all(g.isfinite().all() for g in torch.autograd.grad(terms.total, leaves(views)))


def test_half_precision_is_reduced_in_float32_also_under_autocast() -> None:
    halves = [Embeddings(v.whole.bfloat16(), v.positions.bfloat16(), v.places.float()) for v in some_views(8)]
    expected = vicregl_loss([Embeddings(v.whole.float(), v.positions.float(), v.places) for v in halves]).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = vicregl_loss(halves).total
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, expected, rtol=0, atol=0)


# --- Matching of positions against a search one by one, on identical, moved and mirrored crops.


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


def test_positions_find_the_same_partners_where_torch_has_no_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    z_a, z_b = torch.randn(2, 3, 7, 40, generator=generator)
    places = torch.rand(3, 7, 2, generator=generator)
    expected = [matches_by_features(z_a, z_b, 4), matches_by_place(places, places.flip(1), 0)]
    monkeypatch.setattr("barlow.methods.vicregl.WITHOUT_CDIST", ("cpu",))
    monkeypatch.delattr(torch, "cdist")
    found = [matches_by_features(z_a, z_b, 4), matches_by_place(places, places.flip(1), 0)]
    for wanted, got in zip(expected, found, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(wanted, got, strict=True))
