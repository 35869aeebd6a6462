"""The optimal projector against its eigenvalues, under linear maps, in shards, and at the edges of what it can do."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from barlow.methods.barlow_twins import barlow_twins_loss
from barlow.methods.heads import HeadSpec
from barlow.methods.optimal_projector import (
    SHRINKAGE,
    covariances,
    optimal_projector,
    optimal_projector_loss,
    shrunk,
)
from barlow.statistics.collectives import AllMean, MeanOver
from tests.methods.in_lockstep import in_lockstep


def features(n: int, d: int, *, seed: int = 0, noise: float = 0.7) -> tuple[Tensor, Tensor]:
    """Two float64 views with correlated features, a mean, and a shift between the views."""
    generator = torch.Generator().manual_seed(seed)
    shared, noise_a, noise_b = torch.randn(3, n, d, generator=generator, dtype=torch.float64)
    mix = torch.eye(d, dtype=torch.float64) + 0.3 * torch.randn(d, d, generator=generator, dtype=torch.float64)
    h_a, h_b = (shared + noise * noise_a) @ mix + 1.0, (shared + noise * noise_b) @ mix + 1.2
    return h_a.requires_grad_(), h_b.requires_grad_()


def naive_loss(h_a: Tensor, h_b: Tensor, shrinkage: float) -> Tensor:
    """sum_i (1 - rho_i)^2 with covariances as sums over samples and rho from the symmetric root of T."""
    n, d = h_a.shape
    mean = (h_a.sum(dim=0) + h_b.sum(dim=0)) / (2 * n)
    total, between = torch.zeros(d, d, dtype=h_a.dtype), torch.zeros(d, d, dtype=h_a.dtype)
    for k in range(n):
        a, b = h_a[k] - mean, h_b[k] - mean
        total = total + (torch.outer(a, a) + torch.outer(b, b)) / (2 * n)
        between = between + (torch.outer(a, b) + torch.outer(b, a)) / (2 * n)
    target = (total.trace() / d + 1e-5) * torch.eye(d, dtype=h_a.dtype)
    values, vectors = torch.linalg.eigh((1 - shrinkage) * total + shrinkage * target)
    root = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    rho = torch.linalg.eigvalsh(root @ between @ root)
    loss: Tensor = (1 - rho).square().sum()
    return loss


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 0.9])
@pytest.mark.parametrize(("n", "d"), [(9, 4), (40, 6)])
def test_equals_the_sum_over_eigenvalues_in_value_and_gradient(shrinkage: float, n: int, d: int) -> None:
    h_a, h_b = features(n, d)
    terms = optimal_projector_loss(h_a, h_b, shrinkage=shrinkage)
    expected = naive_loss(h_a, h_b, shrinkage)
    torch.testing.assert_close(terms.total, expected, rtol=1e-10, atol=1e-10)
    ours = torch.autograd.grad(terms.total, (h_a, h_b))
    torch.testing.assert_close(ours, torch.autograd.grad(expected, (h_a, h_b)), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
def test_gradcheck(shrinkage: float) -> None:
    def total(a: Tensor, b: Tensor) -> Tensor:
        return optimal_projector_loss(a, b, shrinkage=shrinkage).total

    assert torch.autograd.gradcheck(total, features(7, 3))


def test_the_parts_add_up_and_mean_rho_is_the_mean_share_of_the_image() -> None:
    h_a, h_b = features(40, 5)
    terms = optimal_projector_loss(h_a, h_b, shrinkage=0.0)
    torch.testing.assert_close(terms.parts["invariance"] + terms.parts["spread"], terms.total)
    total, between = covariances(h_a, h_b)
    mean_rho = torch.linalg.solve(total, between).trace() / 5
    torch.testing.assert_close(terms.parts["mean_rho"], mean_rho.detach())
    torch.testing.assert_close(terms.parts["invariance"], 5 * (1 - mean_rho) ** 2)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(10, 40), d=st.integers(1, 6), shift=st.floats(-5, 5))
def test_no_invertible_linear_map_changes_the_loss_without_shrinkage(seed: int, n: int, d: int, shift: float) -> None:
    h_a, h_b = features(n, d, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    turn, _ = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))
    shear = torch.eye(d, dtype=torch.float64) + torch.ones(d, d, dtype=torch.float64) / d
    linear = turn * torch.logspace(-1, 1, d, dtype=torch.float64) @ shear  # its condition squared is what rounding sees
    before = optimal_projector_loss(h_a, h_b, shrinkage=0.0).total
    after = optimal_projector_loss(h_a @ linear + shift, h_b @ linear + shift, shrinkage=0.0).total
    torch.testing.assert_close(after, before, rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), shrinkage=st.floats(0.01, 1.0), scale=st.floats(100.0, 1e4))
def test_rotations_samples_order_and_swapped_views_change_nothing_and_scale_next_to_nothing(
    seed: int, shrinkage: float, scale: float
) -> None:
    h_a, h_b = features(12, 4, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))
    order = torch.randperm(12, generator=generator)
    before = optimal_projector_loss(h_a, h_b, shrinkage=shrinkage).total
    after = optimal_projector_loss(h_b[order] @ turn, h_a[order] @ turn, shrinkage=shrinkage).total
    torch.testing.assert_close(after, before)
    scaled = optimal_projector_loss(h_a * scale, h_b * scale, shrinkage=shrinkage).total
    torch.testing.assert_close(scaled, before, rtol=1e-4, atol=1e-4)  # eps stands beside the mean variance


def test_shrinkage_makes_the_loss_see_a_direction_without_variance() -> None:
    """What holds the spectrum together: an invariant direction that fades costs nothing without shrinkage, 1 with."""
    h = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    faded = h * torch.tensor([1.0, 1e-4], dtype=torch.float64)
    assert optimal_projector_loss(faded, faded, shrinkage=0.0).total < 1e-9
    assert optimal_projector_loss(faded, faded, shrinkage=0.1).total > 0.99
    assert optimal_projector_loss(h, h, shrinkage=0.1).total < 1e-9


def test_full_shrinkage_is_barlow_twins_with_one_scale_and_lambda_1_for_symmetric_c() -> None:
    h, _ = features(20, 4)
    h = h.detach() * 1e3
    ours = optimal_projector_loss(h, h, shrinkage=1.0).total
    theirs = barlow_twins_loss(h, h, redundancy_weight=1.0, normalization="scalar").total
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_equal_views_reach_zero_and_opposite_views_four_per_feature() -> None:
    h, _ = features(20, 4)
    centred = h - h.mean(dim=0)
    assert optimal_projector_loss(h, h, shrinkage=0.0).total < 1e-20
    torch.testing.assert_close(
        optimal_projector_loss(centred, -centred, shrinkage=0.0).total, torch.tensor(16.0, dtype=torch.float64)
    )


def test_is_the_loss_of_barlow_twins_with_lambda_1_behind_any_projector_that_whitens() -> None:
    h_a, h_b = features(30, 4)
    total, between = covariances(h_a, h_b)
    values, vectors = torch.linalg.eigh(total)
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    for projector in (vectors @ torch.diag(values.rsqrt()) @ vectors.T, turn @ torch.diag(values.rsqrt()) @ vectors.T):
        torch.testing.assert_close(projector @ total @ projector.T, torch.eye(4, dtype=torch.float64))
        c = projector @ between @ projector.T
        expected = (1 - c.diagonal()).square().sum() + c.square().sum() - c.diagonal().square().sum()
        torch.testing.assert_close(optimal_projector_loss(h_a, h_b, shrinkage=0.0).total, expected)


def test_with_shrinkage_invariant_features_still_pay_for_not_being_white() -> None:
    """Variances t around a mean of 1 have rho = t / ((1 - s) t + s), below 1 for the weak and above for the strong."""
    h = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    variances = torch.tensor([1.5, 0.5], dtype=torch.float64) * 1e4
    rho = torch.tensor([1.5 / (0.8 * 1.5 + 0.2), 0.5 / (0.8 * 0.5 + 0.2)], dtype=torch.float64)
    paid = optimal_projector_loss(h * variances.sqrt(), h * variances.sqrt(), shrinkage=0.2).total
    torch.testing.assert_close(paid, (1 - rho).square().sum(), rtol=1e-6, atol=0)


def test_noise_of_independent_views_is_about_d_plus_1_over_2_n_of_the_loss() -> None:
    """The figure that the module's page gives, at N = 4d; a batch that is too small reads as more loss."""
    n, d = 64, 16
    losses = [
        optimal_projector_loss(
            *torch.randn(2, n, d, generator=torch.Generator().manual_seed(seed)), shrinkage=0.0
        ).total
        for seed in range(60)
    ]
    assert abs(torch.stack(losses).mean() / d - 1 - (d + 1) / (2 * n)) < 0.02


def test_with_as_many_features_as_samples_some_rho_are_minus_one_whatever_the_features() -> None:
    h_a, h_b = features(8, 10, noise=0.01)
    total, between = covariances(h_a, h_b)
    rho = torch.linalg.eigvals(torch.linalg.solve(total, between)).real
    assert int((rho < -1 + 1e-6).sum()) == 10 - 8 + 1


@pytest.mark.parametrize("shrinkage", [0.0, SHRINKAGE])
@pytest.mark.parametrize("sizes", [(10, 10), (6, 14), (1, 19)])
def test_shards_equal_the_whole_batch_in_value_and_gradient(shrinkage: float, sizes: tuple[int, int]) -> None:
    h_a, h_b = features(20, 5)
    whole = optimal_projector_loss(h_a, h_b, shrinkage=shrinkage).total
    expected = torch.autograd.grad(whole, (h_a, h_b))
    shards = list(zip(h_a.split(list(sizes)), h_b.split(list(sizes)), strict=True))

    def loss(rank: int, mean: AllMean, _: object) -> Tensor:
        return optimal_projector_loss(*shards[rank], shrinkage=shrinkage, all_mean=MeanOver(mean, sum(sizes))).total

    totals = in_lockstep(2, loss)
    for total in totals:
        torch.testing.assert_close(total, whole, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.autograd.grad(totals[0], (h_a, h_b)), expected, rtol=1e-9, atol=1e-11)
    # and a process that kept to its own statistics would be seen
    alone = optimal_projector_loss(*shards[1], shrinkage=SHRINKAGE).total
    assert abs(alone - whole) > 1e-3


@pytest.mark.parametrize("collapse", ["one feature", "everything", "zero", "two equal features"])
def test_collapse_gives_finite_values_and_gradients(collapse: str) -> None:
    h_a, h_b = (h.detach().float() for h in features(20, 4))
    for h in (h_a, h_b):
        if collapse == "one feature":
            h[:, 1] = 2.0
        elif collapse == "two equal features":
            h[:, 1] = h[:, 2]
        else:
            h[:] = 3.0 if collapse == "everything" else 0.0
    h_a.requires_grad_(), h_b.requires_grad_()
    total = optimal_projector_loss(h_a, h_b).total
    assert torch.isfinite(total)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(total, (h_a, h_b)))
    if collapse in ("everything", "zero"):
        torch.testing.assert_close(total, torch.tensor(4.0))


def test_features_that_are_not_finite_give_a_loss_that_is_not_finite_for_the_loop_to_name() -> None:
    h_a, h_b = (h.detach() for h in features(20, 4))
    h_a[3, 2] = torch.nan
    assert torch.isnan(optimal_projector_loss(h_a, h_b).total)


def test_the_last_bits_of_float32_and_autocast_do_not_matter() -> None:
    h_a, h_b = (h.detach() for h in features(200, 20))
    exact = optimal_projector_loss(h_a, h_b).total
    torch.testing.assert_close(
        optimal_projector_loss(h_a.float(), h_b.float()).total.double(), exact, rtol=1e-4, atol=0
    )
    half_a, half_b = h_a.bfloat16(), h_b.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = optimal_projector_loss(half_a, half_b).total
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, optimal_projector_loss(half_a.float(), half_b.float()).total, rtol=0, atol=0)


def test_shrunk_keeps_the_mean_variance() -> None:
    total, _ = covariances(*features(20, 5))
    for shrinkage in (0.0, 0.3, 1.0):
        expected = total.trace() + shrinkage * 5e-5
        torch.testing.assert_close(shrunk(total, shrinkage).trace(), expected)


def test_the_module_has_no_projector_and_its_gradient_reaches_the_backbone() -> None:
    torch.manual_seed(0)
    method = optimal_projector(nn.Linear(6, 4), HeadSpec("none"), 4, shrinkage=0.2)
    assert list(method.projector.parameters()) == []
    views = [torch.randn(12, 6), torch.randn(12, 6)]
    terms = method(views)
    expected = optimal_projector_loss(method.backbone(views[0]), method.backbone(views[1]), shrinkage=0.2).total
    torch.testing.assert_close(terms.total, expected)
    terms.total.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for n, p in method.named_parameters() if "bias" not in n)


def test_a_projector_is_allowed_and_its_output_is_what_counts() -> None:
    torch.manual_seed(0)
    method = optimal_projector(nn.Linear(6, 4), HeadSpec("linear-2"), 4)
    views = [torch.randn(12, 6), torch.randn(12, 6)]
    z_a, z_b = (method.projector(method.backbone(view)) for view in views)
    torch.testing.assert_close(method(views).total, optimal_projector_loss(z_a, z_b).total)


def test_a_few_steps_make_the_features_of_a_linear_backbone_invariant() -> None:
    """Two inputs are the image, six are noise: two features end on the image, and of equal variance."""
    torch.manual_seed(0)
    backbone = nn.Linear(8, 2, bias=False)
    method = optimal_projector(backbone, HeadSpec("none"), 2)
    optimizer = torch.optim.Adam(method.parameters(), lr=0.1)
    for _ in range(40):
        image = torch.randn(64, 2)
        views = [torch.cat([image, torch.randn(64, 6)], dim=1) for _ in range(2)]
        optimizer.zero_grad()
        method(views).total.backward()
        optimizer.step()
    weight = backbone.weight.detach()
    assert weight[:, 2:].square().sum() < 0.05 * weight.square().sum()
    assert torch.linalg.cond(weight[:, :2]) < 1.5


def test_the_module_wants_two_views() -> None:
    method = optimal_projector(nn.Identity(), HeadSpec("none"), 2)
    with pytest.raises(ValueError, match="views: got 3, wanted 2"):
        method([torch.zeros(4, 2)] * 3)


@pytest.mark.parametrize(
    ("h_a", "h_b", "shrinkage", "message"),
    [
        (torch.randn(4, 4), torch.randn(5, 4), 0.1, r"h_a, h_b: got shapes \(4, 4\) and \(5, 4\)"),
        (torch.randn(1, 4), torch.randn(1, 4), 0.1, "h_a, h_b: got 1 sample, wanted at least 2"),
        (torch.randn(8, 4), torch.randn(8, 4), 1.5, "shrinkage: got 1.5, wanted a number from 0 to 1"),
        (torch.randn(4, 4), torch.randn(4, 4), 0.0, "shrinkage: got 0 with 4 samples of 4 features.*at least 5"),
        (torch.zeros(8, 4), torch.zeros(8, 4), 0.0, "shrinkage: got too little for these features"),
    ],
)
@pytest.mark.usefixtures("as_users_call_it")
def test_errors_name_the_argument_what_came_and_what_was_wanted(
    h_a: Tensor, h_b: Tensor, shrinkage: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        optimal_projector_loss(h_a, h_b, shrinkage=shrinkage)
