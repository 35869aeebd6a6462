"""What docs/related-work.md proves: how the functionals of one spectrum, found under many names, hang together."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.methods.optimal_projector import covariances, optimal_projector_loss
from barlow.theory.floors import pearson_floor, raw_floor, welch_bound
from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.projectors import pearson_projector
from barlow.theory.water_filling import water_filling
from tests.theory.claim_views import all_pairs, digit_views, population, random_backbone, weights
from tests.theory.test_floors import descended, loss as matrix_loss, spectrum
from tests.theory.test_symmetry import RHO, two_views


def eckart_young(u: Tensor, between: Tensor, total: Tensor) -> Tensor:
    """Of Chapman et al., both views by one linear map: C sums the two cross-covariances, V the two covariances."""
    c, v = 2.0 * u @ between @ u.T, 2.0 * u @ total @ u.T
    return -2.0 * c.trace() + v.square().sum()


def spectral_contrastive(u: Tensor, between: Tensor, total: Tensor) -> Tensor:
    """Of HaoChen et al., for centred linear features: the mean square of all similarities is |T_z|_F^2."""
    return -2.0 * (u @ between @ u.T).trace() + (u @ total @ u.T).square().sum()


def singular_values(between: Tensor, total: Tensor) -> Tensor:
    """Those of T^-1/2 B T^-1/2, which VAMP-r sums to the power r and deep CCA sums."""
    values, vectors = torch.linalg.eigh(total)
    root = vectors / values.sqrt() @ vectors.T
    found: Tensor = torch.linalg.svdvals(root @ between @ root)
    return found


def test_the_loss_of_the_optimal_projector_is_d_minus_twice_vamp_1_plus_vamp_2() -> None:
    h_a, h_b = two_views(2000, RHO)
    h_a, h_b = (h @ weights(len(RHO), len(RHO), seed=3) for h in (h_a, h_b))  # in any basis
    total, between = covariances(h_a, h_b)
    assert float(torch.linalg.eigvalsh(between)[0]) > 0.0
    values = singular_values(between, total)
    found = optimal_projector_loss(h_a, h_b, shrinkage=0.0).total.item()
    assert found == pytest.approx(float(len(RHO) - 2.0 * values.sum() + values.square().sum()))


@pytest.mark.parametrize("loss", [eckart_young, spectral_contrastive])
@pytest.mark.parametrize("num_features", [2, 5])
def test_eckart_young_and_the_spectral_contrastive_loss_end_at_minus_vamp_2_of_the_d_most_invariant_directions(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor], num_features: int
) -> None:
    found = population(random_backbone(digit_views(), width=4))
    rho = intraclass_correlations(found.between, found.total).correlations
    scale = float(found.total.diagonal().mean())
    least = descended(lambda u: loss(u, found.between / scale, found.total / scale), num_features, 4, starts=1)
    assert least == pytest.approx(-float(rho[:num_features].square().sum()), rel=1e-6)


def test_the_spectral_contrastive_loss_of_pairs_is_the_one_of_the_covariances() -> None:
    z = random_backbone(digit_views(20), width=3)
    z = z - z.mean((0, 1))
    z_a, z_b = all_pairs(z)
    rows = z.flatten(0, 1)
    of_pairs = -2.0 * (z_a * z_b).sum(1).mean() + (rows @ rows.T).square().mean()  # x' independent of x
    found = population(z)
    identity = torch.eye(3, dtype=z.dtype)
    torch.testing.assert_close(of_pairs, spectral_contrastive(identity, found.between, found.total))


def test_vamp_2_and_the_spectral_contrastive_loss_leave_outputs_unused_where_the_pearson_loss_copies() -> None:
    rho = torch.tensor([0.9, 0.6], dtype=torch.float64)
    best = torch.zeros(4, 2, dtype=torch.float64)
    best[:2] = torch.diag(rho.sqrt())  # U U^T = R, two outputs unused: the bound -sum rho^2 is met
    identity = torch.eye(2, dtype=torch.float64)
    assert float(spectral_contrastive(best, rho.diag(), identity)) == pytest.approx(-float(rho.square().sum()))
    standardised = pearson_projector(rho.diag(), identity, 4, 0.0051).weight
    torch.testing.assert_close(standardised.norm(dim=1), torch.ones(4, dtype=torch.float64))
    within_view = standardised @ standardised.T
    assert float((within_view - torch.eye(4).double()).abs().max()) > 0.99


def augmentation_graph() -> tuple[Tensor, Tensor]:
    """(40, 40) chances of pairs of views, w of HaoChen et al., and (40,) those of single views."""
    chances = torch.rand(15, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 8
    chances /= chances.sum(1, keepdim=True)  # of the 40 views given one of 15 images
    pairs = chances.T @ chances / 15
    return pairs, pairs.sum(0)


def correlations_of(h: Tensor, pairs: Tensor, single: Tensor) -> Tensor:
    """The rho of features h (one row for each view) in that graph."""
    centred = h - single @ h
    return intraclass_correlations(centred.T @ pairs @ centred, (centred.T * single) @ centred).correlations


def test_no_features_have_larger_correlations_than_the_augmentations_have_and_its_eigenfunctions_have_them_all() -> (
    None
):
    pairs, single = augmentation_graph()
    adjacency = pairs / (single[:, None] * single).sqrt()
    values, vectors = torch.linalg.eigh(adjacency)
    values, vectors = values.flip(0), vectors.flip(1)
    assert float(values[0]) == pytest.approx(1.0)  # the constant function, which centring takes away
    for seed in range(10):
        rho = correlations_of(weights(40, 6, seed=seed), pairs, single)
        assert bool((rho <= values[1:7] + 1e-12).all())
        assert float((values[1:7] - rho).min()) > 1e-3
    eigenfunctions = vectors[:, 1:7] / single[:, None].sqrt() @ weights(6, 6, seed=1)
    torch.testing.assert_close(correlations_of(eigenfunctions, pairs, single), values[1:7], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("weight", [0.2, 1.0])
def test_no_network_at_all_goes_below_the_floor_of_the_augmentations_spectrum_and_free_embeddings_reach_it(
    weight: float,
) -> None:
    pairs, single = augmentation_graph()
    values = torch.linalg.eigvalsh(pairs / (single[:, None] * single).sqrt()).flip(0)[1:].clamp(0.0, 1.0)
    floor = pearson_floor(values, 4, weight)

    def complete_loss(z: Tensor) -> Tensor:
        centred = z - single @ z
        standardised = centred / (single @ centred.square()).sqrt()
        return matrix_loss(standardised.T @ pairs @ standardised, weight)

    for seed in range(10):
        assert float(complete_loss(weights(40, 4, seed=seed))) > floor
    assert descended(complete_loss, 40, 4, starts=1) == pytest.approx(floor, rel=1e-4)


@pytest.mark.parametrize("weight", [0.0051, 0.2, 1.0])
def test_more_invariance_never_costs_where_there_are_as_many_directions_as_outputs(weight: float) -> None:
    for seed in range(30):
        rho = spectrum(6, seed=seed)
        least = pearson_floor(rho, 4, weight)
        for k in range(6):
            raised = rho.clone()
            raised[k] += 0.5 * (1.0 - rho[k])
            assert pearson_floor(raised, 4, weight) <= least + 1e-12


def test_more_invariance_does_cost_where_outputs_outnumber_directions() -> None:
    assert pearson_floor([0.5], 2, 1.0) == pytest.approx(1.0)  # noise keeps the two outputs apart
    assert pearson_floor([1.0], 2, 1.0) == pytest.approx(2.0)  # and without it they are copies


def test_the_waterline_is_no_comparison_of_augmentation_with_image_in_one_direction() -> None:
    mild = water_filling([0.95, 0.8, 0.6, 0.4, 0.2, 0.1], 4, 0.0051)
    assert mild.num_active == 2  # not 0.6, which is more image than augmentation
    assert mild.waterline > 0.6
    assert water_filling([0.9, 0.3], 2, 1.0).num_active == 2  # more than twice as much: used


def test_theorem_1_is_eckart_young_at_lambda_1_and_between_it_and_the_welch_bound_below() -> None:
    assert raw_floor(20, 7, 1.0) == pytest.approx(20 - 7)  # |I - C|_F^2 over matrices of rank 7
    for weight in (0.001, 0.1, 1.0):
        assert raw_floor(20, 7, weight) < welch_bound(20, 7, weight)


def test_the_squares_of_centred_features_are_the_hsic_with_linear_kernels() -> None:
    z_a, z_b = (z + 5.0 for z in two_views(50, RHO[:4]))
    centre = torch.eye(50, dtype=torch.float64) - 1.0 / 50
    hsic = (z_a @ z_a.T @ centre @ z_b @ z_b.T @ centre).trace() / 50**2
    parts = barlow_twins_loss(z_a, z_b, redundancy_weight=1.0, normalization="covariance").parts
    diagonal = ((z_a - z_a.mean(0)) * (z_b - z_b.mean(0))).mean(0)
    torch.testing.assert_close(parts["off_diagonal"] + diagonal.square().sum(), hsic)
