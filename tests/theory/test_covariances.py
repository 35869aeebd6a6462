"""Covariances from sums: against formulas written out image by image, and unbiased on known covariances."""

import pytest
import torch
from torch import Tensor

from barlow.theory.covariances import Covariances
from barlow.theory.moments import Moments
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
