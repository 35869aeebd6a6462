"""Invariance spectrum: it is what canonical correlations and discriminant analysis find, and errs as theory says."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.theory.floors import pearson_floor
from barlow.theory.intraclass import (
    bracket,
    cross_fit_correlations,
    intraclass_correlations,
    lidar,
    num_above_edge,
    view_information,
    wachter_edge,
)
from barlow.theory.moments import Covariances, Moments
from barlow.theory.spectrum import effective_rank
from barlow.theory.standard_errors import jackknife

RHO = torch.tensor([0.95, 0.7, 0.4, 0.1, 0.0], dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def views(rho: Tensor, num_images: int, num_views: int, seed: int = 0) -> Tensor:
    """(n, K, d) Gaussian features whose k-th has variance 1 and intraclass correlation rho_k."""
    noise = normal(num_images, num_views + 1, len(rho), seed=seed)
    return rho.sqrt() * noise[:, :1] + (1 - rho).sqrt() * noise[:, 1:]


def moments_of(h: Tensor) -> Moments:
    moments = Moments(h.shape[2])
    moments.add(h)
    return moments


def mixed(rho: Tensor, mixing: Tensor) -> tuple[Tensor, Tensor]:
    """B and T of features h M^T, where those of h are diag(rho) and I."""
    return mixing @ rho.diag() @ mixing.T, mixing @ mixing.T


def known(rho: Tensor) -> Covariances:
    return Covariances(torch.zeros(len(rho)).double(), rho.diag(), (1 - rho).diag(), 100, 2.0)


def test_known_covariances_give_their_spectrum_and_directions() -> None:
    between, total = mixed(RHO, normal(5, 5, seed=3))
    found = intraclass_correlations(between, total)
    torch.testing.assert_close(found.correlations, RHO, rtol=0, atol=1e-10)
    assert found.rank == 5
    v = found.directions
    torch.testing.assert_close(v @ total @ v.T, torch.eye(5).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(v @ between @ v.T, RHO.diag(), rtol=0, atol=1e-9)


def test_correlations_are_the_canonical_correlations_of_two_views() -> None:
    h = views(RHO, 200, 2) @ normal(5, 5, seed=1).T + 4.0
    pair = torch.cat([h, h.flip(1)])  # exchangeable in the sample as well: both orders of each pair
    a, b = (view - view.mean(dim=0) for view in pair.unbind(1))
    canonical = torch.linalg.svdvals(torch.linalg.qr(a).Q.T @ torch.linalg.qr(b).Q)
    cross = a.T @ b / len(a)  # the cross-covariance of two views is B, that of one with itself T
    found = intraclass_correlations((cross + cross.T) / 2, a.T @ a / len(a))
    torch.testing.assert_close(found.correlations.abs().sort(descending=True).values, canonical, rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_views", [2, 5])
def test_odds_are_the_eigenvalues_of_a_discriminant_analysis_with_one_class_per_image(num_views: int) -> None:
    h = views(RHO, 80, num_views, seed=2)
    covariances = moments_of(h).covariances()
    means = h.mean(dim=1)
    deviation, rest = means - means.mean(dim=0), (h - means[:, None]).reshape(-1, 5)
    square_between, square_within = num_views * deviation.T @ deviation / 79, rest.T @ rest / (80 * (num_views - 1))
    f_ratios = torch.linalg.eigvals(torch.linalg.solve(square_within, square_between)).real.sort(descending=True).values
    rho = intraclass_correlations(covariances.between, covariances.total).correlations
    torch.testing.assert_close(rho / (1 - rho), (f_ratios - 1) / num_views, rtol=1e-8, atol=1e-10)
    odds = torch.linalg.eigvals(torch.linalg.solve(covariances.within, covariances.between)).real
    torch.testing.assert_close(rho / (1 - rho), odds.sort(descending=True).values, rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.1, 10.0), st.floats(-0.05, 0.05))
def test_no_invertible_linear_map_changes_the_spectrum(seed: int, scale: float, dip: float) -> None:
    rho = RHO + torch.tensor([0, 0, 0, 0, dip]).double()  # an estimate of B may be indefinite
    mixing = scale * (torch.linalg.qr(normal(5, 5, seed=seed)).Q * torch.linspace(0.05, 1.0, 5)) @ normal(5, 5).triu()
    found = intraclass_correlations(*mixed(rho, mixing))
    wanted = rho.sort(descending=True).values
    torch.testing.assert_close(found.correlations, wanted, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.clipped, wanted.clamp(0, 1), rtol=0, atol=1e-7)
    assert found.clipped.min() >= 0


def test_repeated_dead_and_dependent_features_add_nothing() -> None:
    h = views(RHO, 60, 3)
    alone = moments_of(h).covariances()
    dead = torch.full_like(h[..., :1], 2.5)
    more = moments_of(torch.cat([h, h[..., :2], dead, h.sum(dim=2, keepdim=True)], dim=2).float()).covariances()
    found = intraclass_correlations(more.between, more.total)
    assert found.rank == 5
    assert found.directions.shape == (5, 9)
    wanted = intraclass_correlations(alone.between, alone.total).correlations
    torch.testing.assert_close(found.correlations, wanted, rtol=0, atol=1e-5)


def test_no_variance_is_an_empty_spectrum() -> None:
    found = intraclass_correlations(torch.zeros(3, 3), torch.zeros(3, 3))
    assert found.rank == 0
    assert found.directions.shape == (0, 3)
    assert view_information(found.correlations, 10) == 0.0
    assert num_above_edge(found.correlations, 10, 2) == 0


@pytest.mark.parametrize(
    ("n", "k", "edge", "top"), [(200, 2, 0.733, 0.721), (1000, 2, 0.352, 0.346), (1000, 8, 0.074, 0.067)]
)
def test_the_edge_is_where_features_without_invariance_end(n: int, k: int, edge: float, top: float) -> None:
    assert wachter_edge(64, n, k) == pytest.approx(edge, abs=5e-4)
    tops = []
    for seed in range(10):
        covariances = moments_of(views(torch.zeros(64).double(), n, k, seed=seed)).covariances()
        rho = intraclass_correlations(covariances.between, covariances.total).correlations
        tops.append(float(rho[0]))
        assert num_above_edge(rho, n, k) <= 2
    assert min(tops) > 0.85 * edge
    assert max(tops) < 1.08 * edge
    assert sum(tops) / 10 == pytest.approx(top, abs=0.025 * math.sqrt(edge))


def test_only_directions_of_the_image_are_above_the_edge() -> None:
    rho = torch.zeros(30).double()
    rho[:3] = torch.tensor([0.95, 0.9, 0.8])
    covariances = moments_of(views(rho, 400, 4)).covariances()
    assert num_above_edge(intraclass_correlations(covariances.between, covariances.total).correlations, 400, 4) == 3


def test_the_edge_falls_with_images_and_views_and_is_one_where_w_is_singular() -> None:
    edges = [wachter_edge(64, n, 4) for n in (50, 100, 1000, 100_000)]
    assert edges == sorted(edges, reverse=True)
    assert edges[-1] < 0.02
    assert wachter_edge(64, 500, 2) > wachter_edge(64, 500, 2.5) > wachter_edge(64, 500, 3)
    assert wachter_edge(64, 64, 2) == wachter_edge(64, 32, 3) == 1.0
    assert wachter_edge(64, 66, 2) < 1.0


def test_nothing_is_evidence_where_views_are_too_few_to_see_augmentation_in_all_directions() -> None:
    covariances = moments_of(views(torch.zeros(64).double(), 20, 2)).covariances()
    found = intraclass_correlations(covariances.between, covariances.total)
    assert found.rank == 39  # 40 views less their mean
    assert (found.correlations > 1 - 1e-9).sum() >= 19  # W has rank 20: the other directions look invariant
    assert num_above_edge(found.correlations + 1e-12, 20, 2) == 0


def floor(rho: Tensor) -> float:
    return pearson_floor(rho, 16, 0.05)


@pytest.mark.parametrize(("n", "k", "width"), [(300, 2, 0.921), (1000, 2, 0.226), (1000, 8, 0.029), (4000, 4, 0.018)])
@pytest.mark.parametrize("seed", [0, 1])
def test_plug_in_is_optimistic_and_cross_fit_pessimistic(n: int, k: int, width: float, seed: int) -> None:
    rho = 0.95 * torch.linspace(1, 0, 64).double() ** 2.1217
    assert floor(rho) == pytest.approx(0.837, abs=1e-4)
    moments = moments_of(views(rho, n, k, seed=seed))
    optimistic, pessimistic = bracket(floor, moments.covariances(), moments.halves())
    assert optimistic < floor(rho) < pessimistic
    assert 0.6 * width < pessimistic - optimistic < 1.8 * width  # of another spectrum with the same floor


def test_cross_fit_scores_directions_on_images_that_did_not_choose_them() -> None:
    null = moments_of(views(torch.zeros(64).double(), 300, 2))
    covariances = null.covariances()
    assert intraclass_correlations(covariances.between, covariances.total).correlations[0] > 0.5
    assert cross_fit_correlations(*null.halves()).abs().mean() < 0.1
    torch.testing.assert_close(cross_fit_correlations(known(RHO), known(RHO)), RHO)
    # Directions of one half are axes in another order; what they score on the other is read off its diagonal.
    other = torch.tensor([0.0, 0.2, 0.6, 0.4, 0.8], dtype=torch.float64)
    by_first, by_second = other, RHO[other.argsort(descending=True)]
    torch.testing.assert_close(cross_fit_correlations(known(RHO), known(other)), (by_first + by_second) / 2)


def test_directions_without_variance_in_the_other_half_score_zero() -> None:
    still = Covariances(torch.zeros(2).double(), torch.tensor([[0.5, 0], [0, 0]]).double(),
                        torch.tensor([[0.5, 0], [0, 0]]).double(), 10, 2.0)  # fmt: skip
    full = known(torch.tensor([0.3, 0.9]).double())
    torch.testing.assert_close(cross_fit_correlations(still, full), torch.tensor([0.15]).double())


def test_view_information_is_that_of_gaussian_views() -> None:
    assert view_information(torch.tensor([0.6]), 100) == pytest.approx(-0.5 * math.log(1 - 0.36))
    joint = torch.cat([torch.cat([torch.eye(5), RHO.diag()], 1), torch.cat([RHO.diag(), torch.eye(5)], 1)]).double()
    assert view_information(RHO, 1000) == pytest.approx(-0.5 * float(torch.logdet(joint)))  # marginals have log det 0
    assert view_information(torch.tensor([-0.5, 0.0]), 10) == 0.0
    assert view_information(torch.tensor([1.0]), 10) == pytest.approx(-0.5 * math.log(1 - 0.81))


def test_lidar_without_ridge_is_the_effective_rank_of_the_odds() -> None:
    between, total = mixed(RHO, normal(5, 5, seed=4))
    assert lidar(between, total - between, 0.0) == pytest.approx(effective_rank(RHO / (1 - RHO)), rel=1e-6)
    ridge = torch.linalg.solve(total - between + 0.3 * torch.eye(5), between)
    wanted = effective_rank(torch.linalg.eigvals(ridge).real.clamp(min=0))
    assert lidar(between, total - between, 0.3) == pytest.approx(wanted, rel=1e-6)
    assert lidar(torch.eye(4), torch.eye(4)) == pytest.approx(4.0)
    assert lidar(torch.eye(4), torch.zeros(4, 4)) == pytest.approx(4.0)
    assert lidar(-torch.eye(4), torch.eye(4)) == 0.0


@pytest.mark.parametrize("num_views", [2, 6])
def test_lidar_of_the_means_of_views_is_that_of_its_paper(num_views: int) -> None:
    h = views(RHO, 60, num_views) @ normal(5, 5, seed=1)
    means = h.mean(dim=1)
    rest = (h - means[:, None]).reshape(-1, 5)
    paper = torch.linalg.eigvals(torch.linalg.solve(rest.T @ rest, (means - means.mean(0)).T @ (means - means.mean(0))))
    covariances = moments_of(h).covariances()
    of_means = covariances.between + covariances.within / num_views
    assert lidar(of_means, covariances.within, 0.0) == pytest.approx(effective_rank(paper.real))
    assert lidar(of_means, covariances.within, 0.0) > 1.1 * lidar(covariances.between, covariances.within, 0.0)


def test_functions_of_covariances_have_jackknife_errors_over_images() -> None:
    def mean_correlation(covariances: Covariances) -> Tensor:
        return intraclass_correlations(covariances.between, covariances.total).correlations.mean()

    found = [jackknife(moments_of(views(RHO, 200, 2, seed=seed)), mean_correlation) for seed in range(40)]
    spread = float(torch.tensor([float(value) for value, _ in found]).std())
    error = sum(float(error) for _, error in found) / 40
    assert error == pytest.approx(spread, rel=0.35)


@pytest.mark.usefixtures("as_users_call_it")
def test_wrong_arguments_are_named() -> None:
    eye = torch.eye(3)
    with pytest.raises(ValueError, match=r"between: got shape \(2, 3\)"):
        intraclass_correlations(eye[:2], eye)
    with pytest.raises(ValueError, match="total: got 4 features, wanted 3"):
        intraclass_correlations(eye, torch.eye(4))
    with pytest.raises(ValueError, match="total: has values that are not finite"):
        intraclass_correlations(eye, eye * float("nan"))
    with pytest.raises(ValueError, match="half_2: got 3 features, wanted 5"):
        cross_fit_correlations(known(RHO), known(RHO[:3]))
    with pytest.raises(ValueError, match="delta: got -1"):
        lidar(eye, eye, -1.0)
    with pytest.raises(ValueError, match="delta: got 0"):
        lidar(eye, eye[:1].T @ eye[:1], 0.0)
    with pytest.raises(ValueError, match="num_images: got 1"):
        view_information(RHO, 1)
    for arguments, message in (((0, 9, 2), "num_features: got 0"), ((3, 1, 2), "num_images: got 1"),
                               ((3, 9, 1), "num_views: got 1")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            wachter_edge(*arguments)
