"""The paper's section 3 and conclusion (C12 to C16 of docs/claims.md): what the normalised loss enforces, and where."""

import pytest
import torch
from torch import Tensor

from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.methods.vicreg import vicreg_loss
from barlow.theory.cross_correlation import (
    complete_cross_correlation,
    sampled_cross_correlation,
    two_pipeline_cross_correlation,
)
from barlow.theory.projectors import pearson_projector
from barlow.theory.water_filling import water_filling
from tests.theory.claim_views import all_pairs, digit_views, population, random_backbone, share, weights
from tests.theory.test_floors import loss
from tests.theory.test_symmetry import RHO, two_views

LAMBDA = 0.02


def eye(size: int) -> Tensor:
    return torch.eye(size, dtype=torch.float64)


def test_C12_one_minus_the_diagonal_is_the_squared_distance_of_two_views_so_one_means_invariance() -> None:
    z = random_backbone(digit_views())
    z_a, z_b = all_pairs(z)
    distance = (z_a - z_b).square().mean(0) / (2.0 * population(z).total.diagonal())
    torch.testing.assert_close(1.0 - complete_cross_correlation(z, None, "pearson").diagonal(), distance)


def test_C12_with_different_pipelines_one_does_not_mean_invariance() -> None:
    h = random_backbone(digit_views())[:, :1]
    c = two_pipeline_cross_correlation(h, 2.0 * h + 3.0, None, "pearson").diagonal()
    torch.testing.assert_close(c, torch.ones_like(c))
    assert float((h - (2.0 * h + 3.0)).square().mean()) > 1.0


def test_C13_equation_8_alone_is_minimised_by_constants_which_cost_the_pearson_loss_d() -> None:
    constant = torch.full((20, 4), 7.0, dtype=torch.float64)
    assert float((constant - constant).square().sum()) == 0.0  # equation 8
    assert barlow_twins_loss(constant, constant, redundancy_weight=LAMBDA).total.item() == pytest.approx(4.0)


def test_C13_where_zero_is_out_of_reach_the_minimiser_is_not_invariant_though_an_invariant_one_exists() -> None:
    rho = torch.tensor([1.0, 0.5], dtype=torch.float64)
    found = pearson_projector(torch.diag(rho), eye(2), 2, 1.0)
    assert found.loss == pytest.approx(0.2)
    c = found.weight @ torch.diag(rho) @ found.weight.T
    assert float(c.trace()) < 1.9  # equation 8 on standardised z is 2 (D - tr C) > 0
    copies = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)  # minimises equation 8: it is 0
    assert float(loss(copies @ torch.diag(rho) @ copies.T, 1.0)) == 2.0


def test_C13b_near_invariance_the_gradient_falls_with_the_cube_of_the_distance_and_that_of_equation_8_linearly() -> (
    None
):
    image, noise_a, noise_b = (1e4 * weights(200, 3, seed=seed) * 200**0.5 for seed in range(3))

    def gradients(eps: float) -> tuple[float, float, float]:
        z_a = (image + eps * noise_a).requires_grad_()
        z_b = image + eps * noise_b
        squared = barlow_twins_loss(z_a, z_b, redundancy_weight=0.0).total
        distance = (z_a - z_b).square().mean()
        (of_loss,), (of_distance,) = torch.autograd.grad(squared, z_a), torch.autograd.grad(distance, z_a)
        return float(of_loss.norm()), float(of_distance.norm()), float(squared.detach())

    far, near = gradients(0.02), gradients(0.01)
    assert far[0] / near[0] == pytest.approx(8.0, rel=0.05)
    assert far[1] / near[1] == pytest.approx(2.0, rel=1e-6)
    assert far[2] / near[2] == pytest.approx(16.0, rel=0.05)


def test_C13c_the_squares_of_c_are_products_of_similarities_of_samples() -> None:
    z_a, z_b = two_views(30, RHO[:5])
    c = sampled_cross_correlation(z_a, z_b, None, "raw")
    similarities = (z_a @ z_a.T) * (z_b @ z_b.T) / 30**2
    assert float(c.square().sum()) == pytest.approx(float(similarities.sum()))
    found = barlow_twins_loss(z_a, z_b, redundancy_weight=1.0, normalization="raw", bias="removed").total.item()
    repulsion = float(similarities.sum() - similarities.trace()) * 30 / 29  # all pairs of different samples
    assert found == pytest.approx(5.0 - 2.0 * float(c.trace()) + repulsion)


def test_C14_loss_zero_while_the_backbone_is_nearly_all_augmentation() -> None:
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 2)
    s, noise = signs[:, None].expand(4, 4, 2), signs[None].expand(4, 4, 2)
    h = torch.cat([s, 100.0 * noise], dim=-1)
    projector = torch.cat([eye(2), 0.0 * eye(2)], dim=1)
    c = complete_cross_correlation(h, projector, "pearson")
    assert float(loss(c, 1.0)) == 0.0
    assert share(h) == pytest.approx(0.9999, abs=1e-6)


def test_C14_a_linear_projector_hands_invariance_on_to_the_backbone_if_and_only_if_it_loses_no_direction() -> None:
    h = random_backbone(digit_views(), width=6)
    injective = weights(8, 6, seed=3)
    torch.testing.assert_close(h @ injective.T @ torch.linalg.pinv(injective).T, h)  # h follows from z
    lossy = weights(5, 6, seed=3)
    unseen = torch.linalg.svd(lossy).Vh[-1]
    invariant_but_for_one = h.mean(dim=1, keepdim=True) + (h @ unseen)[..., None] * unseen
    assert share(invariant_but_for_one @ lossy.T) < 1e-12
    assert share(invariant_but_for_one) > 0.1


def test_C14b_behind_an_mlp_the_pearson_loss_of_a_random_backbone_is_zero_as_well() -> None:
    h = random_backbone(digit_views(20))
    rows = h.flatten(0, 1)  # 180 views, all different
    hidden = torch.relu(rows @ weights(rows.shape[1], 800, seed=3) * 3.0 + weights(1, 800, seed=4))
    wanted = torch.linalg.qr(weights(20, 4) - weights(20, 4).mean(0)).Q.repeat_interleave(9, dim=0)
    layer = torch.linalg.lstsq(hidden, wanted, driver="gelsd").solution
    z = (hidden @ layer).unflatten(0, (20, 9))
    assert float(loss(complete_cross_correlation(z, None, "pearson"), 1.0)) < 1e-12
    assert share(h) > 0.2  # and the backbone is as it was


def test_C15_without_the_redundancy_term_all_outputs_copy_one_feature_and_with_a_small_one_nearly() -> None:
    rho = torch.tensor([0.95, 0.8, 0.6, 0.4, 0.2, 0.1], dtype=torch.float64)
    assert water_filling(rho, 4, 0.0).num_active == 1
    found = pearson_projector(torch.diag(rho), eye(6), 4, 0.0051)
    within_view = found.weight @ found.weight.T  # correlations of outputs in one view, T = I
    assert float((within_view - eye(4)).abs().max()) > 0.9
    assert found.loss < float((1.0 - rho[:4]).square().sum()) / 5  # a fifth of the loss of decorrelated outputs


def after_the_diagonal_term_alone(start: Tensor, rho: Tensor) -> Tensor:
    """Unit rows V after gradient steps on sum_i (1 - C_ii)^2, C = V diag(rho) V^T, with V back on the sphere."""
    v = start
    for _ in range(150):
        c = (v.square() @ rho)[:, None]
        v = torch.nn.functional.normalize(v + 8.0 * (1.0 - c) * v * rho, dim=1)
    return v


def test_C15_the_diagonal_term_alone_copies_the_most_invariant_direction_only_where_none_ties_with_it() -> None:
    start = torch.nn.functional.normalize(weights(3, 5), dim=1)
    unique, tied = (torch.tensor(rho).double() for rho in ([0.9, 0.5, 0.3, 0.1, 0.1], [0.9, 0.9, 0.9, 0.1, 0.1]))
    copies = after_the_diagonal_term_alone(start, unique)
    assert float(torch.linalg.svdvals(copies)[1]) < 1e-6
    kept = after_the_diagonal_term_alone(start, tied)
    wanted = torch.nn.functional.normalize(start * (tied > 0.5), dim=1)  # each row keeps its place among the tied
    torch.testing.assert_close(kept, wanted, rtol=0, atol=1e-6)
    assert float(torch.linalg.svdvals(kept)[2]) > 0.01  # so that three outputs say three things


@pytest.mark.parametrize("num_samples", [32, 128])
def test_C16_a_batch_adds_a_known_amount_to_the_complete_loss(num_samples: int) -> None:
    weight, d = 0.05, len(RHO)
    complete = float((1 - RHO).square().sum())
    variance = (1 - RHO.square()).square().sum() / num_samples
    small = (
        RHO * (1 - RHO) * (1 - RHO.square())
    ).sum() / num_samples  # a correlation of a sample is a little too small
    predicted = complete + float(variance + small) + weight * d * (d - 1) / (num_samples - 1)
    found = [
        barlow_twins_loss(*(100 * z for z in two_views(num_samples, seed=seed)), redundancy_weight=weight).total
        for seed in range(300)
    ]
    assert float(torch.stack(found).mean()) == pytest.approx(predicted, rel=0.01)
    assert predicted > complete * (1 + 8 / num_samples)


def test_C19_vicreg_needs_its_variance_and_invariance_terms_as_its_hinge_bounds_variance_from_below() -> None:
    z_a, z_b = (3.0 * z for z in two_views(4000, RHO[-4:]))
    large, constant = vicreg_loss(z_a, z_b).parts, vicreg_loss(0 * z_a, 0 * z_b).parts
    assert float(large["variance"]) == 0.0 < float(large["invariance"])
    assert float(constant["invariance"]) == 0.0 < float(constant["variance"])
