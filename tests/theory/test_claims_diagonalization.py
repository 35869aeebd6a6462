"""The paper's section 2, claim by claim (C2 to C9 of docs/claims.md): what a projector does without normalisation."""

import pytest
import torch
from torch import Tensor, nn

from barlow.methods.barlow_twins import Normalization as OfTheLoss, barlow_twins_loss
from barlow.theory.cross_correlation import Normalization, complete_cross_correlation, two_pipeline_cross_correlation
from barlow.theory.floors import raw_floor
from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.projectors import pearson_projector, raw_projector
from barlow.theory.spectrum import condition_number, numerical_rank
from barlow.theory.symmetry import asymmetry
from tests.theory.claim_views import WIDTH, all_pairs, digit_views, population, random_backbone, weights
from tests.theory.test_floors import loss

LAMBDA = 0.02


def identity(size: int) -> Tensor:
    return torch.eye(size, dtype=torch.float64)


def test_C2_only_the_identity_has_loss_zero_and_a_low_rank_cannot_be_the_identity() -> None:
    assert float(loss(identity(6), LAMBDA)) == 0.0
    assert float(loss(identity(6) + 1e-3 * weights(6, 6), LAMBDA)) > 0.0
    factor = torch.linalg.qr(weights(6, 6)).Q[:, :4]
    assert float(loss(factor @ factor.T, LAMBDA)) > raw_floor(6, 4, LAMBDA) > 0.0 == raw_floor(6, 6, LAMBDA)


def test_C4_without_normalisation_zero_costs_d_and_the_best_constant_less_but_not_nothing() -> None:
    zero = torch.zeros(10, 32, dtype=torch.float64)
    assert barlow_twins_loss(zero, zero, redundancy_weight=LAMBDA, normalization="raw").total.item() == 32.0
    constant = zero + (1 + LAMBDA * 31) ** -0.5
    found = barlow_twins_loss(constant, constant, redundancy_weight=LAMBDA, normalization="raw").total.item()
    assert found == pytest.approx(raw_floor(32, 1, LAMBDA)) == pytest.approx(32 * LAMBDA * 31 / (1 + LAMBDA * 31))
    assert found == pytest.approx(12.247, abs=1e-3)
    one = torch.ones(10, 1, dtype=torch.float64)
    assert barlow_twins_loss(one, one, redundancy_weight=LAMBDA, normalization="raw").total.item() == 0.0


def test_C4b_equation_3_is_the_identity_for_outputs_that_copy_each_other_and_do_not_agree_with_themselves() -> None:
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 4)  # 16 images, whose features are white
    noise = 10.0 * torch.tensor([-1.0, 1.0]).double()[None, :, None]  # 2 augmentations: one number for all outputs
    z = signs[:, None] + noise
    for name in ("raw", "covariance"):
        torch.testing.assert_close(complete_cross_correlation(z, None, name), identity(4), rtol=0, atol=1e-12)
    corresponding = complete_cross_correlation(z, None, "pearson").diagonal()
    assert float(corresponding.max()) == pytest.approx(1 / 101)  # wanted: 1
    within_view = torch.corrcoef(z.flatten(0, 1).T)
    assert float(within_view.min()) == pytest.approx(100 / 101)  # wanted off the diagonal: 0


def test_C5_the_complete_matrix_of_a_random_backbone_is_symmetric_and_psd_and_no_batch_is() -> None:
    h = random_backbone(digit_views())
    pairs = [all_pairs(h)[side] for side in (0, 1)]
    summed = pairs[0].T @ pairs[1] / len(pairs[0])  # every pair of views, multiplied out
    assert asymmetry(summed) < 1e-14
    assert float(torch.linalg.eigvalsh(summed)[0]) > 0.0
    torch.testing.assert_close(summed, complete_cross_correlation(h), rtol=0, atol=1e-13)
    assert asymmetry(two_pipeline_cross_correlation(h[:, :1], h[:, 5:6], None, "pearson")) > 0.05


def test_C5_different_pipelines_leave_a_skew_part() -> None:
    h = random_backbone(digit_views())
    assert asymmetry(two_pipeline_cross_correlation(h[:, :6], h[:, 3:], None, "covariance")) > 0.02
    assert asymmetry(two_pipeline_cross_correlation(h[:, :6], h[:, :6], None, "covariance")) < 1e-14


def test_C5_batchnorm_in_training_mode_keeps_the_symmetry_one_pass_per_view_but_not_both_views_at_once() -> None:
    h, batch_norm = random_backbone(digit_views(3)[:, :2], width=3), nn.BatchNorm1d(3, eps=1e-12, affine=False).double()
    draws = torch.cartesian_prod(*[torch.arange(2)] * 3)  # all 8 ways to draw one of two views of each of 3 images
    z = torch.stack([batch_norm(h[torch.arange(3), draw]) for draw in draws])
    complete = torch.einsum("ani,bnj->ij", z, z) / (3 * 8 * 8)
    assert asymmetry(complete) < 1e-14
    assert float(torch.linalg.eigvalsh(complete)[0]) > -1e-14
    alone = nn.BatchNorm1d(1, eps=1e-12, affine=False).double()(h[0, :, :1])  # two views of one image in one pass
    assert float(alone[0] * alone[1]) == pytest.approx(-1.0, abs=1e-6)  # opposite: C < 0


def test_C5b_equation_4_as_printed_is_a_sum_and_rescales_the_projector_and_nothing_else() -> None:
    h = random_backbone(digit_views())
    y = h.sum(dim=1)  # the paper's y(x), a sum over T
    printed, ours = (raw_projector(s, 4, LAMBDA) for s in (y.T @ y / len(y), complete_cross_correlation(h)))
    assert printed.loss < 1e-20
    torch.testing.assert_close((9.0 * printed.weight).abs(), ours.weight.abs(), rtol=1e-8, atol=1e-8)


def test_C5c_without_centring_a_constant_is_a_perfect_feature_of_a_backbone_that_knows_nothing() -> None:
    noise = torch.tensor([-1.0, 1.0]).double().expand(50, 2)  # the same two values for every image
    h = torch.stack([torch.ones_like(noise), noise], dim=-1)
    assert raw_projector(complete_cross_correlation(h), 1, LAMBDA).loss < 1e-20
    with pytest.raises(ValueError, match="no direction with positive variance"):
        raw_projector(population(h).between, 1, LAMBDA)


def test_C5d_augmentations_drawn_with_unequal_chances_leave_s_a_second_moment_of_other_means() -> None:
    h = random_backbone(digit_views())
    chances = torch.tensor([8.0] + [1.0] * 8, dtype=torch.float64) / 16.0  # independent, from one set, not uniform
    pairs = chances[:, None] * chances
    assert float(pairs.max() / pairs.min()) == 64.0  # "each pair with equal probability" does not follow
    summed = torch.einsum("ab,nai,nbj->ij", pairs, h, h) / len(h)
    means = torch.einsum("a,nai->ni", chances, h)
    torch.testing.assert_close(summed, means.T @ means / len(h), rtol=0, atol=1e-13)
    assert float((summed - complete_cross_correlation(h)).abs().max()) > 1e-3


@pytest.mark.parametrize("centred", [True, False])
def test_C6_a_linear_projector_makes_c_the_identity_if_and_only_if_d_is_at_most_the_rank(centred: bool) -> None:
    h = random_backbone(digit_views(), width=8)
    h = torch.cat([h, h[..., :4] - h[..., 4:]], dim=-1)  # 12 features of rank 8
    name: Normalization = "covariance" if centred else "raw"
    s = complete_cross_correlation(h, None, name)
    for num_features, least in ((3, 0.0), (8, 0.0), (12, raw_floor(12, 8, LAMBDA))):
        c = complete_cross_correlation(h, raw_projector(s, num_features, LAMBDA).weight, name)
        assert float(loss(c, LAMBDA)) == pytest.approx(least, abs=1e-12)
        assert (float((c - identity(num_features)).abs().max()) < 1e-6) == (num_features <= 8)
    diagonal = complete_cross_correlation(h, torch.linalg.eigh(s).eigenvectors.T, name)
    assert float((diagonal - torch.diag(diagonal.diagonal())).abs().max()) < 1e-12  # diagonal it always becomes


def test_C6b_of_two_pipelines_one_projector_keeps_the_skew_part_and_two_projectors_do_not() -> None:
    h = random_backbone(digit_views(), width=6)
    m = two_pipeline_cross_correlation(h[:, :8], h[:, 1:], None, "covariance")
    p = raw_projector((m + m.T) / 2, 6, LAMBDA).weight
    c = p @ m @ p.T
    torch.testing.assert_close((c + c.T) / 2, identity(6), rtol=0, atol=1e-10)
    assert float(loss(c, LAMBDA)) == pytest.approx(LAMBDA * float(((c - c.T) / 2).square().sum()))
    assert float(loss(c, LAMBDA)) > 1e-5
    left, values, right = torch.linalg.svd(m)
    both = (left / values.sqrt()).T @ m @ (right / values.sqrt()[:, None]).T
    assert float(loss(both, LAMBDA)) < 1e-20


def test_C6c_the_pearson_matrix_can_be_diagonalised_as_well_but_not_scaled_to_the_identity() -> None:
    h = random_backbone(digit_views())
    found = population(h)
    spectrum = intraclass_correlations(found.between, found.total)
    c = complete_cross_correlation(h, spectrum.directions, "pearson")
    torch.testing.assert_close(c, torch.diag(spectrum.correlations), rtol=0, atol=1e-10)
    assert float(c.diagonal().max()) < 0.99
    scaled = complete_cross_correlation(h, 1e3 * spectrum.directions, "pearson")
    torch.testing.assert_close(scaled, c, rtol=0, atol=1e-10)  # scaling, which made C = I, has no effect


def test_C7_random_features_span_the_space_but_adam_does_not_find_the_projector_in_many_steps() -> None:
    s = population(random_backbone(digit_views())).between
    values = torch.linalg.eigvalsh(s)
    assert numerical_rank(values) == WIDTH
    assert condition_number(values) > 100
    assert raw_projector(s, WIDTH, LAMBDA).loss < 1e-18
    reached = {name: after_adam(matrix) for name, matrix in (("random", s), ("white", identity(WIDTH)))}
    assert reached["random"] > 0.05
    assert reached["white"] < 1e-8


def after_adam(s: Tensor, steps: int = 300) -> float:
    """Raw loss after so many steps on P, whose start gives C a mean diagonal of 1."""
    p = weights(WIDTH, WIDTH, seed=5)
    p = (p / (p @ s @ p.T).diagonal().mean().sqrt()).requires_grad_()
    optimizer = torch.optim.Adam([p], lr=0.1 * float(p.detach().square().mean().sqrt()))
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(loss(p @ s @ p.T, LAMBDA))
        optimizer.step()
    return float(loss(p @ s @ p.T, LAMBDA).detach())


def test_C7b_behind_an_mlp_a_backbone_of_one_dimension_reaches_the_identity_too() -> None:
    h = random_backbone(digit_views(), width=1)
    hidden = torch.relu(h @ weights(1, 30) + weights(1, 30, seed=1))
    s = complete_cross_correlation(hidden, None, "covariance")
    c = complete_cross_correlation(hidden, raw_projector(s, 3, LAMBDA).weight, "covariance")
    torch.testing.assert_close(c, identity(3), rtol=0, atol=1e-8)


def second_moment(h: Tensor) -> tuple[Tensor, Tensor]:
    """S of equation 6 as a mean, and its eigenvalues without what rounding leaves below zero."""
    s = complete_cross_correlation(h, None, "raw")
    return s, torch.linalg.eigvalsh(s).clamp(min=0.0)


def test_C7c_positive_eigenvalues_rule_out_a_constant_backbone_but_neither_a_constant_feature_nor_a_near_one() -> None:
    white = torch.linalg.qr(weights(60, 3) - weights(60, 3).mean(0)).Q * 60**0.5  # centred, uncorrelated, variance 1
    h = white[:, None].expand(60, 9, 3)
    constant = torch.ones_like(h)
    for width, rank in ((1, 1), (3, 1)):  # all outputs constant: full rank for d = 1 alone
        assert numerical_rank(second_moment(constant[..., :width])[1]) == rank
    assert float(second_moment(torch.zeros_like(h))[1].max()) == 0.0
    one_constant = torch.cat([constant[..., :1], h[..., :2]], dim=-1)
    torch.testing.assert_close(second_moment(one_constant)[0], identity(3), rtol=0, atol=1e-12)
    s, values = second_moment(constant + 0.01 * h)  # outputs that vary by a hundredth around a constant
    assert numerical_rank(values) == 3
    assert float(values[-1] / values.sum()) > 0.9999
    assert raw_projector(s, 3, LAMBDA).loss < 1e-12


def test_C7c_zero_eigenvalues_are_no_sign_of_a_degenerate_backbone() -> None:
    h = random_backbone(digit_views(), width=8)
    repeated = torch.cat([h, h, torch.zeros_like(h)], dim=-1)  # 24 features: 8 said twice and 8 dead ones
    s, values = second_moment(repeated)
    assert numerical_rank(values) == 8
    assert raw_projector(s, 8, LAMBDA).loss < 1e-18
    few = random_backbone(digit_views(10), width=16)  # fewer images than features: so for every network
    assert numerical_rank(second_moment(few)[1]) == 10


def test_C8_a_relu_layer_of_twice_the_width_contains_every_linear_projector() -> None:
    h = random_backbone(digit_views())
    p = raw_projector(complete_cross_correlation(h), WIDTH, LAMBDA).weight
    mlp = torch.relu(h @ torch.cat([identity(WIDTH), -identity(WIDTH)], dim=1)) @ torch.cat([p, -p], dim=1).T
    torch.testing.assert_close(complete_cross_correlation(mlp), identity(WIDTH), rtol=0, atol=1e-8)


def gradient_of_backbone(normalization: OfTheLoss, num_features: int, *, solved: bool) -> float:
    """Norm of the gradient of the complete loss on the backbone's last layer, with P at its optimum or random."""
    first = torch.tanh(2.0 * digit_views(60) @ weights(100, 20))
    layer = weights(20, 8, seed=1).requires_grad_()
    h = torch.tanh(first @ layer)
    found = population(h)
    if normalization == "pearson":
        p = pearson_projector(found.between, found.total, num_features, LAMBDA).weight
    else:
        p = raw_projector(found.between, num_features, LAMBDA).weight
    if not solved:
        p = p.roll(1, dims=1)
    z = h @ p.T
    centred = (z - z.mean(dim=(0, 1))) if normalization == "raw" else 1e3 * z  # far above the eps of the loss
    total = barlow_twins_loss(*all_pairs(centred), redundancy_weight=LAMBDA, normalization=normalization).total
    return float(torch.autograd.grad(total, layer)[0].norm())


def test_C9_with_the_projector_solved_exactly_the_raw_loss_has_no_gradient_on_the_backbone() -> None:
    for num_features in (4, 8, 12):  # above the rank as well, where the loss is not zero but the same for all backbones
        solved = gradient_of_backbone("raw", num_features, solved=True)
        assert solved < 1e-8 * gradient_of_backbone("raw", num_features, solved=False)
    assert gradient_of_backbone("pearson", 8, solved=True) > 0.01


def learnt(normalization: OfTheLoss) -> Tensor:
    """Direction of one output trained from a small start on u (B = 4, W = 4) and v (B = 1, W = 0.01)."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 2)
    scale, spread = torch.tensor([2.0, 1.0]).double(), torch.tensor([2.0, 0.1]).double()
    x = (signs * scale)[:, None] + (signs * spread)[None]  # 4 images, 4 views
    p = torch.full((1, 2), 0.03, dtype=torch.float64, requires_grad=True)
    for _ in range(400):
        total = barlow_twins_loss(*all_pairs(x @ p.T), normalization=normalization).total
        (gradient,) = torch.autograd.grad(total, p)
        with torch.no_grad():
            p -= 0.02 * gradient / max(1.0, float(gradient.norm()))
    direction: Tensor = torch.nn.functional.normalize(p.detach().abs(), dim=1)[0]
    return direction


def test_C9b_raw_training_does_learn_but_what_varies_most_between_images_not_what_is_invariant() -> None:
    assert float(learnt("covariance")[0]) > 0.95  # u, half of which is augmentation
    assert float(learnt("pearson")[1]) > 0.95  # v, of which 1% is
