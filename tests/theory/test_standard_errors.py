"""The jackknife of a mean is its textbook error, that of covariances the one done by hand, and ratios keep theirs."""

import math

import pytest
import torch

from barlow.theory.moments import Covariances, Moments
from barlow.theory.standard_errors import Jackknifed, image_mean, jackknife, over_images, replicate_error
from tests.theory.image_views import D, summed, views


def test_one_image_per_block_gives_the_standard_error_of_a_mean() -> None:
    values = torch.randn(15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = image_mean(values, num_blocks=100)
    assert float(found.value) == pytest.approx(float(values.mean()), rel=1e-12)
    assert float(found.standard_error) == pytest.approx(float(values.std() / 15**0.5), rel=1e-12)


def test_replicates_are_the_means_without_every_g_th_image() -> None:
    values = torch.randn(11, 2, 3, generator=torch.Generator().manual_seed(1))
    found = image_mean(values, num_blocks=4)
    for g in range(4):
        torch.testing.assert_close(found.left_out[g], values[torch.arange(11) % 4 != g].double().mean(dim=0))


def test_the_error_of_a_ratio_of_the_same_images_is_smaller_than_that_of_independent_ones() -> None:
    generator = torch.Generator().manual_seed(2)
    size = 1.0 + torch.rand(400, generator=generator, dtype=torch.float64)
    part = image_mean(0.3 * size + 0.001 * torch.randn(400, generator=generator, dtype=torch.float64))
    whole = image_mean(size)
    assert float((part / whole).value) == pytest.approx(0.3, abs=1e-3)
    assert float((part / whole).standard_error) < 0.05 * float((part / float(whole.value)).standard_error)


def test_sums_differences_and_functions_act_on_value_and_replicates() -> None:
    a = Jackknifed(torch.tensor([3.0]).double(), torch.tensor([[1.0], [5.0]]).double())
    b = Jackknifed(torch.tensor([2.0]).double(), torch.tensor([[2.0], [4.0]]).double())
    assert (a + b).left_out.tolist() == [[3.0], [9.0]]
    assert (a - b).value.tolist() == [1.0]
    assert (a / 2.0).left_out.tolist() == [[0.5], [2.5]]
    assert float(a.map(torch.sum).value) == 3.0
    assert a.map(lambda part: part.sum(dim=-1)).left_out.tolist() == [1.0, 5.0]


def test_any_statistic_of_images_has_the_replicates_of_its_closed_form() -> None:
    values = torch.randn(50, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found, expected = over_images(lambda rows: values[rows].mean(dim=0), 50, 7), image_mean(values, 7)
    torch.testing.assert_close(found.value, expected.value)
    torch.testing.assert_close(found.left_out, expected.left_out)
    assert over_images(lambda rows: float(len(rows)), 5).left_out.tolist() == [4.0] * 5


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


def test_too_few_images_or_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="num_blocks: got 1"):
        image_mean(torch.ones(5), num_blocks=1)
    with pytest.raises(ValueError, match="values: got 1 samples"):
        image_mean(torch.ones(1))
    with pytest.raises(ValueError, match="left_out: got 1 blocks"):
        replicate_error(torch.ones(1, 3))
    with pytest.raises(ValueError, match="moments: got 1 blocks with samples"):
        jackknife(summed(views(9, 2), num_blocks=1), top_share)
