"""Sums over images and views: the same however the images come, and covariances written out image by image."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.theory.moments import Covariances, Moments
from barlow.theory.null_edge import SignFlips
from tests.theory.image_views import D, assert_same, summed, views


def naive(images: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, float]:
    """(m, B, W, n0) of one-way random effects with unequal groups, image by image."""
    images = [h.double() for h in images]
    n, sizes = len(images), [len(h) for h in images]
    total = sum(sizes)
    mean = torch.cat(images).mean(dim=0)
    ss_b, ss_w = torch.zeros(D, D, dtype=torch.float64), torch.zeros(D, D, dtype=torch.float64)
    for h in images:
        ybar = h.mean(dim=0)
        ss_b += len(h) * torch.outer(ybar - mean, ybar - mean)
        for row in h:
            ss_w += torch.outer(row - ybar, row - ybar)
    n0 = (total - sum(k * k for k in sizes) / total) / (n - 1)
    within = ss_w / (total - n)
    return mean, (ss_b / (n - 1) - within) / n0, within, n0


@pytest.mark.parametrize("sizes", [[(30, 2)], [(12, 5), (9, 5)], [(10, 2), (1, 7), (8, 3), (5, 2)]])
def test_covariances_are_those_of_the_analysis_of_variance_also_with_unequal_views(
    sizes: list[tuple[int, int]],
) -> None:
    calls = [views(n, k, seed=k) for n, k in sizes]
    found = summed(*calls).covariances()
    mean, between, within, n0 = naive([image for h in calls for image in h])
    assert_same(found, Covariances(mean, between, within, sum(n for n, _ in sizes), n0))
    torch.testing.assert_close(found.total, between + within, rtol=1e-12, atol=1e-12)


def test_equal_views_give_back_their_number() -> None:
    assert summed(views(7, 6)).covariances().num_views == pytest.approx(6, abs=1e-12)


def test_unequal_views_count_as_fewer_than_their_mean() -> None:
    found = summed(views(10, 2), views(10, 8)).covariances()
    assert found.num_views == pytest.approx((100 - 680 / 100) / 19)
    assert found.num_views < 5


def test_worked_numbers_come_out_exactly() -> None:
    # Views (0, 2) and (10, 12): MS_W = 2, MS_B = 2 * 50 = 100, W = 2, B = 49; population: B = 25, W = 1.
    moments = Moments(1, num_blocks=2)
    moments.add(torch.tensor([[[0.0], [2.0]], [[10.0], [12.0]]]))
    found, exact = moments.covariances(), moments.population()
    assert (found.mean.item(), found.between.item(), found.within.item()) == (6, 49, 2)
    assert (exact.mean.item(), exact.between.item(), exact.within.item()) == (6, 25, 1)


def test_population_is_the_law_of_total_covariance_over_enumerated_views() -> None:
    h = views(11, 6).double()
    ybar, rows = h.mean(dim=1), h.flatten(0, 1)
    found = summed(h).population()
    torch.testing.assert_close(found.between, torch.cov(ybar.T, correction=0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.total, torch.cov(rows.T, correction=0), rtol=1e-12, atol=1e-12)
    within = torch.stack([torch.cov(image.T, correction=0) for image in h]).mean(dim=0)
    torch.testing.assert_close(found.within, within, rtol=1e-12, atol=1e-12)
    assert (found.num_images, found.num_views) == (11, 6)


def test_population_refuses_views_that_cannot_all_be_enumerated() -> None:
    with pytest.raises(ValueError, match="unequal numbers of views"):
        summed(views(4, 2), views(4, 3)).population()


def test_estimates_are_unbiased_and_the_plug_in_is_not() -> None:
    reps, g = 1500, torch.Generator().manual_seed(0)
    variance_b, variance_w = torch.tensor([2.0, 1.0, 0.5, 0.0]), torch.tensor([0.5, 1.0, 2.0, 1.0])
    found: dict[str, list[Tensor]] = {"between": [], "within": [], "plug_in": []}
    for _ in range(reps):
        image = torch.randn(6, 1, D, generator=g) * variance_b.sqrt()
        moments = Moments(D, num_blocks=1)
        moments.add(image[:5] + torch.randn(5, 2, D, generator=g) * variance_w.sqrt())
        found["plug_in"].append(moments.population().between)
        moments.add(image[5:] + torch.randn(1, 12, D, generator=g) * variance_w.sqrt())
        found["between"].append(moments.covariances().between)
        found["within"].append(moments.covariances().within)
    expected = {"between": variance_b, "within": variance_w, "plug_in": 4 / 5 * (variance_b + variance_w / 2)}
    for name, diagonal in expected.items():
        values = torch.stack(found[name])
        error = (values.mean(dim=0) - torch.diag(diagonal)) / (values.std(dim=0) / reps**0.5)
        assert float(error.abs().max()) < 4, name  # standard errors; with 22/6, the mean of K, for n0 = 2.91 it is 10


def test_between_is_not_clipped() -> None:
    noise = torch.randn(40, 2, D, generator=torch.Generator().manual_seed(1))
    assert float(torch.linalg.eigvalsh(summed(noise).covariances().between)[0]) < -0.05


def test_projected_covariances_are_those_of_projected_features() -> None:
    h, projector = views(30, 3), torch.randn(2, D, generator=torch.Generator().manual_seed(0))
    found = summed(h).covariances().projected(projector)
    moments = Moments(2)
    moments.add(h.double() @ projector.double().T)
    assert_same(found, moments.covariances())


def test_squares_that_overflow_are_named() -> None:
    with pytest.raises(ValueError, match="between: has values that are not finite"):
        summed(views(9, 3).double() * 1e200).covariances()


@pytest.mark.parametrize("enumerated", [False, True])
def test_four_workers_equal_one_also_from_different_references(enumerated: bool) -> None:
    h = views(203, 3)
    h = h[h[:, 0, 0].argsort()]  # sorted: the first batch of each worker, its reference, is far from the others'
    ids = torch.arange(203)
    one = Moments(D, num_blocks=7)
    one.add(h, ids)
    merged = Moments(D, num_blocks=7)
    for rank in range(4):
        worker = Moments(D, num_blocks=7)
        share = slice(50 * rank, 50 * rank + 53 if rank == 3 else 50 * (rank + 1))
        for h_part, ids_part in zip(h[share].split(16), ids[share].split(16), strict=True):
            worker.add(h_part, ids_part)
        merged = merged.merge(worker)
    estimate: Callable[[Moments], Covariances] = Moments.population if enumerated else Moments.covariances
    assert_same(estimate(merged), estimate(one))
    assert merged.block_sizes == one.block_sizes
    for g in range(7):
        assert_same(merged.without_block(g, enumerated=enumerated), one.without_block(g, enumerated=enumerated))
    for found, wanted in zip(merged.halves(enumerated=enumerated), one.halves(enumerated=enumerated), strict=True):
        assert_same(found, wanted)


def test_merging_leaves_both_sides_as_they_were_and_nothing_adds_nothing() -> None:
    a, b = summed(views(9, 2, seed=1)), summed(views(8, 3, seed=2))
    before_a, before_b = a.covariances(), b.covariances()
    merged = a.merge(b)
    merged.add(views(5, 2, seed=3))
    assert_same(a.covariances(), before_a, rel=0)
    assert_same(b.covariances(), before_b, rel=0)
    assert merged.num_images == 22
    assert_same(Moments(D, num_blocks=5).merge(a).merge(Moments(D, num_blocks=5)).covariances(), before_a, rel=0)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 39), max_size=4), seed=st.integers(0, 5))
def test_neither_batches_nor_their_order_matter(cuts: list[int], seed: int) -> None:
    h, ids = views(40, 3, seed=seed), torch.arange(40)
    once, parts = summed(h), Moments(D, num_blocks=5)
    edges = sorted({0, 40, *cuts})
    for start, stop in reversed(list(pairwise(edges))):
        parts.add(h[start:stop], ids[start:stop])
    assert_same(parts.covariances(), once.covariances())
    for g in range(5):
        assert_same(parts.without_block(g), once.without_block(g))


def test_features_far_from_the_origin_lose_no_digits() -> None:
    h = views(300, 2, offset=0.0).double()
    assert_same(summed(h + 2.0**30).covariances(), summed_shifted(summed(h).covariances(), 2.0**30), rel=1e-6)


def summed_shifted(covariances: Covariances, by: float) -> Covariances:
    return Covariances(
        covariances.mean + by, covariances.between, covariances.within, covariances.num_images, covariances.num_views
    )


def test_constant_features_have_no_variance_at_all() -> None:
    found = summed(torch.full((30, 3, D), 0.1), torch.full((11, 2, D), 0.1)).covariances()
    assert float(found.total.abs().max()) < 1e-30


def test_more_views_than_fit_a_chunk_are_summed_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    h = views(21, 5)
    wanted = summed(h).covariances()
    for rows in (1, 5, 12):
        monkeypatch.setattr("barlow.theory.moments.ROWS", rows)
        assert_same(summed(h).covariances(), wanted)


def test_half_precision_and_gradients_are_taken_as_values() -> None:
    h = views(20, 2).bfloat16()
    assert_same(summed(h.requires_grad_()).covariances(), summed(h.detach().double()).covariances())


def test_halves_without_a_block_are_those_of_the_other_images() -> None:
    h = views(24, 3)
    without = summed(h, num_blocks=4).halves(without=1)
    kept = torch.arange(24) % 4 != 1
    for half, parity in zip(without, (0, 1), strict=True):
        alone = summed(h[kept & (torch.arange(24) % 2 == parity)], num_blocks=1).covariances()
        assert_same(half, alone)
    with pytest.raises(ValueError, match="g: got 4"):
        summed(h, num_blocks=4).halves(without=4)


def test_halves_share_no_image() -> None:
    h = views(40, 2)
    even, odd = summed(h, num_blocks=4).halves()
    of_block = torch.arange(40) % 4
    assert_same(even, summed(h[of_block % 2 == 0]).covariances())
    assert_same(odd, summed(h[of_block % 2 == 1]).covariances())


def test_images_keep_their_block_and_count_on_from_call_to_call() -> None:
    moments = summed(views(3, 2), views(6, 2), num_blocks=4)
    assert moments.block_sizes == [3, 2, 2, 2]
    moments.add(views(2, 2), torch.tensor([7, 1000003]))
    assert moments.block_sizes == [3, 2, 2, 4]


def with_a(value: float) -> Tensor:
    h = views(9, 3)
    h[4, 2, 1] = value
    return h


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_located_and_nothing_is_added(value: float) -> None:
    moments = summed(views(9, 3))
    before = moments.covariances()
    with pytest.raises(ValueError, match=r"h: view 2 of sample 4 \(id 104\) .* feature 1"):
        moments.add(with_a(value), torch.arange(100, 109))
    assert_same(moments.covariances(), before, rel=0)


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Moments(0), "num_features: got 0"),
        (lambda: Moments(3, num_blocks=0), "num_blocks: got 0"),
        (lambda: summed(views(9, 1)), r"h: got shape \(9, 1, 4\), wanted \(n, K, 4\) with K at least 2"),
        (lambda: summed(torch.zeros(9, 2, 5)), r"h: got shape \(9, 2, 5\)"),
        (lambda: summed(torch.zeros(9, 4)), r"h: got shape \(9, 4\)"),
        (lambda: Moments(D).add(views(3, 2), torch.arange(4)), r"image_ids: got torch.int64 of shape \(4,\), wanted 3"),
        (lambda: Moments(D).add(views(3, 2), torch.zeros(3)), "image_ids: got torch.float32"),
        (lambda: Moments(D).merge(Moments(5)), "other: got num_features 5, wanted 4"),
        (lambda: Moments(D).merge(Moments(D, num_blocks=3)), "other: got num_blocks 3, wanted 20"),
        (lambda: Moments(D).covariances(), "moments: got no samples"),
        (lambda: summed(views(1, 3)).covariances(), "moments: got 1 samples, wanted at least 2"),
        (lambda: summed(views(9, 2)).without_block(5), "g: got 5, wanted a block from 0 to 4"),
        (lambda: summed(views(9, 2)).covariances().projected(torch.zeros(2, 3)), r"projector: got shape \(2, 3\)"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_an_empty_batch_adds_nothing() -> None:
    moments = summed(views(0, 2), views(6, 2))
    assert_same(moments.covariances(), summed(views(6, 2)).covariances(), rel=0)


def test_sums_in_other_coordinates_are_those_of_projected_features() -> None:
    generator = torch.Generator().manual_seed(0)
    h, basis = torch.randn(40, 3, 12, generator=generator), torch.randn(5, 12, generator=generator).double()
    h += torch.randn(40, 1, 12, generator=generator)
    whole, own = Moments(12, num_blocks=4), Moments(5, num_blocks=4)
    flips, own_flips = SignFlips(12, num_draws=2), SignFlips(5, num_draws=2)
    for sums in (whole, flips):
        sums.add(h)
    for sums in (own, own_flips):
        sums.add(h.double() @ basis.T)
    inside = whole.projected(basis)
    for found, wanted in ((inside.without_block(g), own.without_block(g)) for g in range(4)):
        torch.testing.assert_close(
            (found.mean, found.between, found.within), (wanted.mean, wanted.between, wanted.within)
        )
    pairs = zip(flips.projected(basis).covariances(), own_flips.covariances(), strict=True)
    assert all(torch.allclose(one.between, other.between) for one, other in pairs)
    with pytest.raises(ValueError, match=r"wanted \(D, 12\)"):
        whole.projected(basis[:, :3])
