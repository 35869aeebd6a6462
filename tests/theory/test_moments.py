"""Sums over images and views: the same however the images come, and error bars that are the jackknife done by hand."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.theory.covariances import Covariances
from barlow.theory.moments import Moments, jackknife
from tests.theory.image_views import D, assert_same, summed, views


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
    # Raw second moments would be about 1e18 with a resolution of 128.


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


def top_share(covariances: Covariances) -> float:
    return float(torch.linalg.eigvalsh(covariances.between)[-1] / covariances.total.trace())


@pytest.mark.parametrize("n", [40, 43])
def test_the_jackknife_is_the_one_done_by_hand(n: int) -> None:
    h, block = views(n, 3), torch.arange(n) % 5
    value, error = jackknife(summed(h), top_share)
    assert value == pytest.approx(top_share(summed(h).covariances()), rel=1e-12)
    squares, pseudo, inverse = [], [], []
    for g in range(5):
        inverse.append(int((block == g).sum()) / n)
        left_out = top_share(summed(h[block != g]).covariances())
        pseudo.append((value - (1 - inverse[-1]) * left_out) / inverse[-1])
    centre = sum(p * share for p, share in zip(pseudo, inverse, strict=True))
    squares = [(p - centre) ** 2 / (1 / share - 1) for p, share in zip(pseudo, inverse, strict=True)]
    assert error == pytest.approx(math.sqrt(sum(squares) / 5), rel=1e-9)


def test_with_equal_blocks_it_is_the_textbook_formula_and_tensors_work_alike() -> None:
    moments = summed(views(40, 3))
    value, error = jackknife(moments, lambda c: c.within.diagonal())
    left_out = torch.stack([moments.without_block(g).within.diagonal() for g in range(5)])
    wanted = (4 / 5 * (left_out - left_out.mean(dim=0)).square().sum(dim=0)).sqrt()
    torch.testing.assert_close(error, wanted, rtol=1e-9, atol=0)
    assert value.shape == error.shape == (D,)


@pytest.mark.parametrize("sizes", [[15] * 10, [3, 27] * 5])
def test_the_standard_error_is_the_spread_over_repetitions_also_with_unequal_blocks(sizes: list[int]) -> None:
    ids = torch.arange(10).repeat_interleave(torch.tensor(sizes))
    values, squares = [], []
    for seed in range(150):
        g = torch.Generator().manual_seed(seed)
        moments = Moments(1, num_blocks=10)
        moments.add(torch.randn(150, 1, 1, generator=g) + torch.randn(150, 2, 1, generator=g), ids)
        value, error = jackknife(moments, lambda c: float(c.between.trace() / c.total.trace()))
        values.append(value)
        squares.append(error**2)
    spread = torch.tensor(values).std()
    assert math.sqrt(sum(squares) / 150) == pytest.approx(float(spread), rel=0.2)


def test_the_jackknife_of_enumerated_views_leaves_out_images_only() -> None:
    moments = summed(views(30, 4))
    value, error = jackknife(moments, lambda c: float(c.between.trace()), enumerated=True)
    left_out = torch.tensor([float(moments.without_block(g, enumerated=True).between.trace()) for g in range(5)])
    assert value == pytest.approx(float(moments.population().between.trace()))
    assert error == pytest.approx(2 * float(left_out.std(correction=0)), rel=1e-5)


def test_empty_blocks_do_not_count() -> None:
    h, ids = views(30, 2), torch.arange(30) % 3
    sparse, dense = Moments(D, num_blocks=20), Moments(D, num_blocks=3)
    sparse.add(h, ids)
    dense.add(h, ids)
    assert jackknife(sparse, top_share) == pytest.approx(jackknife(dense, top_share), rel=1e-9)


def with_a(value: float) -> Tensor:
    h = views(9, 3)
    h[4, 2, 1] = value
    return h


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_located_and_nothing_is_added(value: float) -> None:
    moments = summed(views(9, 3))
    before = moments.covariances()
    with pytest.raises(ValueError, match=r"h: view 2 of image 4 \(id 104\) .* feature 1"):
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
        (lambda: Moments(D).covariances(), "moments: got no images"),
        (lambda: summed(views(1, 3)).covariances(), "moments: got 1 images, wanted at least 2"),
        (lambda: summed(views(9, 2)).without_block(5), "g: got 5, wanted a block from 0 to 4"),
        (lambda: jackknife(summed(views(9, 2), num_blocks=1), top_share), "moments: got 1 blocks with images"),
        (lambda: summed(views(9, 2)).covariances().projected(torch.zeros(2, 3)), r"projector: got shape \(2, 3\)"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_an_empty_batch_adds_nothing() -> None:
    moments = summed(views(0, 2), views(6, 2))
    assert_same(moments.covariances(), summed(views(6, 2)).covariances(), rel=0)
