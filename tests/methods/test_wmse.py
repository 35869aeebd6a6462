"""W-MSE against the loops of its paper, its invariances, its exact values, and itself in shards."""

from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from barlow.images.views.published import VIEWS
from barlow.methods.heads import HeadSpec
from barlow.methods.wmse import WMSE, random_sub_batches, whiten_rows, wmse, wmse_loss
from barlow.recipes import Recipe, wmse as recipes
from barlow.seams import Terms
from barlow.training.checkpoint import random_state, restore_random_state
from tests.methods.in_lockstep import AllMean, GatherRows, in_lockstep


def embeddings(num_views: int, n: int, d: int, *, seed: int = 0) -> list[Tensor]:
    """Float64 views of the same samples with different means and scales per feature."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(num_views, n, d, generator=generator, dtype=torch.float64)
    scale = torch.linspace(0.5, 2.0, d, dtype=torch.float64)
    return [((shared + part) * scale + v).requires_grad_() for v, part in enumerate(noise)]


def naive_loss(views: list[Tensor], sub_batches: list[Tensor]) -> Tensor:
    """Pairs of views, sub-batches and samples as loops; whitening by the inverse of the factor."""
    pairs = list(combinations(range(len(views)), 2))
    total, count = torch.zeros((), dtype=views[0].dtype), 0
    for part in sub_batches:
        white = []
        for z in views:
            rows = torch.stack([z[b] for b in part.tolist()])
            centred = rows - rows.sum(0) / len(rows)
            covariance = centred.T @ centred / (len(rows) - 1)
            white.append([torch.linalg.inv(torch.linalg.cholesky(covariance)) @ row for row in centred])
        for b in range(len(part)):
            for i, j in pairs:
                u, v = (white[k][b] / white[k][b].square().sum().sqrt() for k in (i, j))
                total = total + (u - v).square().sum() / len(pairs)
            count += 1
    return total / count


@pytest.mark.parametrize("num_views", [2, 3, 4])
@pytest.mark.parametrize(("n", "w_size", "iterations"), [(8, 8, 1), (12, 6, 3), (13, 6, 2)])
def test_equals_the_loops_of_the_paper_in_value_and_gradient(
    num_views: int, n: int, w_size: int, iterations: int
) -> None:
    views = embeddings(num_views, n, 4)
    parts = random_sub_batches(n, w_size, iterations)
    total = wmse_loss(views, sub_batches=parts).total
    expected = naive_loss(views, parts)
    torch.testing.assert_close(total, expected, rtol=1e-11, atol=1e-12)
    ours = torch.autograd.grad(total, views)
    torch.testing.assert_close(ours, torch.autograd.grad(expected, views), rtol=1e-8, atol=1e-11)


def test_gradcheck() -> None:
    views = embeddings(2, 10, 3)
    parts = random_sub_batches(10, 5, 2)
    assert torch.autograd.gradcheck(lambda *z: wmse_loss(z, sub_batches=parts).total, views)


def test_every_view_gets_the_gradient_of_a_symmetric_loss() -> None:
    """A port that detaches the second view has the same value and half the gradient."""
    z_a, z_b = embeddings(2, 12, 3)
    parts = random_sub_batches(12, 6)
    one = torch.autograd.grad(wmse_loss([z_a, z_b], sub_batches=parts).total, (z_a, z_b))
    other = torch.autograd.grad(wmse_loss([z_b, z_a], sub_batches=parts).total, (z_a, z_b))
    torch.testing.assert_close(one, other)
    assert all(gradient.abs().max() > 1e-3 for gradient in one)


def test_equal_views_cost_nothing_negated_views_four_and_unrelated_views_about_two() -> None:
    z, other = (view.detach() for view in embeddings(2, 4096, 8))
    unrelated = other.flip(0)
    assert abs(wmse_loss([z, z], w_size=512).total.item()) < 1e-10
    assert wmse_loss([z, -z], w_size=512).total.item() == pytest.approx(4.0)
    assert wmse_loss([z, unrelated], w_size=512).total.item() == pytest.approx(2.0, abs=0.05)
    assert 0.1 < wmse_loss([z, other], w_size=512).total.item() < 1.9


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), d=st.integers(2, 6), shift=st.floats(-5, 5))
def test_a_lower_triangular_map_of_one_view_changes_nothing(seed: int, d: int, shift: float) -> None:
    z_a, z_b = (view.detach() for view in embeddings(2, 6 * d, d, seed=seed))
    parts = random_sub_batches(6 * d, 3 * d)
    generator = torch.Generator().manual_seed(seed)
    lower = torch.randn(d, d, generator=generator, dtype=torch.float64).tril(-1) + torch.eye(d, dtype=torch.float64)
    before = wmse_loss([z_a, z_b], sub_batches=parts).total
    after = wmse_loss([z_a, z_b @ lower.T + shift], sub_batches=parts).total
    torch.testing.assert_close(after, before, rtol=1e-7, atol=1e-8)


def test_reordering_the_features_of_one_view_changes_the_loss() -> None:
    """Each view is whitened for itself, and Cholesky depends on the order of the features."""
    z_a, z_b = (view.detach() for view in embeddings(2, 20, 4))
    parts = random_sub_batches(20, 10)
    before = wmse_loss([z_a, z_b], sub_batches=parts).total
    assert abs(wmse_loss([z_a, z_b[:, [1, 0, 2, 3]]], sub_batches=parts).total - before) > 1e-2


def test_more_orders_give_the_mean_of_their_losses_and_follow_the_seed() -> None:
    views = [view.detach() for view in embeddings(2, 24, 4)]
    torch.manual_seed(1)
    both = wmse_loss(views, w_size=8, iterations=2).total
    torch.manual_seed(1)
    one_by_one = [wmse_loss(views, w_size=8).total for _ in range(2)]
    assert one_by_one[0] != one_by_one[1]
    torch.testing.assert_close(both, torch.stack(one_by_one).mean())


@pytest.mark.parametrize("sizes", [(8, 8), (6, 10), (4, 4, 8)])
def test_shards_equal_the_whole_batch_cut_into_the_same_sub_batches(sizes: tuple[int, ...]) -> None:
    views = embeddings(3, 16, 3)
    own = [random_sub_batches(size, 4) for size in sizes]
    starts = [sum(sizes[:rank]) for rank in range(len(sizes))]
    shared = [part + start for parts, start in zip(own, starts, strict=True) for part in parts]
    whole = wmse_loss(views, sub_batches=shared).total

    def work(rank: int, all_mean: AllMean, gather: GatherRows) -> Terms:
        shard = [view.split(sizes)[rank] for view in views]
        return wmse_loss(shard, sub_batches=own[rank], all_mean=all_mean)

    found = in_lockstep(len(sizes), work)
    for terms in found:
        torch.testing.assert_close(terms.total, whole, rtol=1e-12, atol=1e-14)
    ours = torch.autograd.grad(found[-1].total, views)
    torch.testing.assert_close(ours, torch.autograd.grad(whole, views, retain_graph=True), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("collapse", ["one feature", "everything", "zero"])
def test_collapse_gives_finite_values_and_gradients(collapse: str) -> None:
    views = [view.detach().float() for view in embeddings(2, 16, 4)]
    for z in views:
        if collapse == "one feature":
            z[:, 1] = 2.0
        else:
            z[:] = 3.3 if collapse == "everything" else 0.0
    for z in views:
        z.requires_grad_()
    terms = wmse_loss(views, w_size=8)
    assert terms.total.isfinite()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(terms.total, views))
    if collapse == "zero":
        assert terms.total.item() == pytest.approx(2.0)


def test_half_precision_embeddings_are_whitened_in_float32_also_under_autocast() -> None:
    views = [view.detach().to(torch.bfloat16) for view in embeddings(2, 32, 4)]
    parts = random_sub_batches(32, 16)
    expected = wmse_loss([view.float() for view in views], sub_batches=parts).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = wmse_loss(views, sub_batches=parts).total
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, expected, rtol=0, atol=0)


@pytest.mark.parametrize("num_views", [2, 4])
def test_the_module_gives_the_loss_of_its_projections_and_gradients_reach_all_of_it(num_views: int) -> None:
    torch.manual_seed(0)
    method = wmse(nn.Linear(6, 8), HeadSpec("16-4"), 8, w_size=8, iterations=2)
    views = [torch.randn(16, 6) for _ in range(num_views)]
    torch.manual_seed(7)
    terms = method(views)
    z = method.projector(torch.cat([method.backbone(view) for view in views])).chunk(num_views)
    torch.manual_seed(7)
    torch.testing.assert_close(terms.total, wmse_loss(z, w_size=8, iterations=2).total)
    torch.testing.assert_close(terms.parts["distance"], terms.total)
    terms.total.backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
    assert all(module.weight.grad.abs().sum() > 0 for module in method.modules() if isinstance(module, nn.Linear))  # type: ignore[union-attr]
    torch.testing.assert_close(method.represent(views[0]), method.backbone(views[0]))


def test_training_drives_the_distance_down_without_collapse() -> None:
    torch.manual_seed(0)
    method = wmse(nn.Linear(12, 16), HeadSpec("4", norm="none"), 16, w_size=32)
    signal = torch.randn(128, 12) * torch.tensor([3.0] * 4 + [0.1] * 8)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        views = [signal + torch.randn(128, 12) for _ in range(2)]
        loss = method(views).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert torch.linalg.matrix_rank(method.projector(method.backbone(signal)).detach()) == 4


@pytest.mark.parametrize("recipe", [recipes.imagenet, recipes.cifar, recipes.cifar_4, recipes.small_grey])
def test_recipes_have_views_and_options_and_whole_sub_batches(recipe: Callable[[], Recipe]) -> None:
    numbers = recipe()
    assert len(VIEWS[numbers.views]) == (4 if numbers.name.endswith("-4") else 2)
    wmse(nn.Identity(), HeadSpec(numbers.projector), 32, **numbers.options)  # type: ignore[arg-type]
    assert numbers.batch_size % int(numbers.options["w_size"]) == 0


@pytest.mark.usefixtures("as_users_call_it")
def test_mistakes_are_named() -> None:
    z = torch.randn(32, 8)
    with pytest.raises(ValueError, match="w_size: got 8 for embeddings of 8 features, wanted at least 9"):
        wmse_loss([z, z], w_size=8)
    with pytest.raises(ValueError, match="w_size: got 64 for embeddings of 64 features, wanted at least 65"):
        wmse(nn.Identity(), HeadSpec("64"), 8, w_size=64)
    with pytest.raises(ValueError, match="z: got 8 rows of 8 features to whiten, wanted at least 9 rows"):
        wmse_loss([z[:8], z[:8]], w_size=64)
    with pytest.raises(ValueError, match=r"views: got shapes \[\(32, 8\)\], wanted the same \(N, D\) twice or more"):
        wmse_loss([z])
    with pytest.raises(ValueError, match=r"\(32, 8\), \(31, 8\)"):
        wmse_loss([z, z[1:]])
    with pytest.raises(ValueError, match="views: got 1, wanted at least 2 for W-MSE"):
        WMSE(nn.Identity(), nn.Identity())([z])


# --- Whitened rows have covariance I, and sub-batches hold every row once and come back from a saved generator.


def rows(m: int, d: int, *, seed: int = 0, views: int = 1) -> Tensor:
    """Correlated features of different means and scales."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64) + 2 * torch.eye(d, dtype=torch.float64)
    return torch.randn(views, m, d, generator=generator, dtype=torch.float64) @ mix + torch.arange(d)


def naive_whitening(z: Tensor) -> Tensor:
    """Row by row, with the factor by forward substitution, entry by entry."""
    m, d = z.shape
    mean = sum((z[b] for b in range(m)), torch.zeros(d, dtype=z.dtype)) / m
    cov = sum(((z[b] - mean)[:, None] * (z[b] - mean)[None] for b in range(m)), torch.zeros(d, d, dtype=z.dtype))
    cov = cov / (m - 1)
    factor: list[list[Tensor]] = [[torch.zeros((), dtype=z.dtype)] * d for _ in range(d)]
    for i in range(d):
        for j in range(i + 1):
            rest = cov[i, j] - sum((factor[i][k] * factor[j][k] for k in range(j)), torch.zeros((), dtype=z.dtype))
            factor[i][j] = rest.sqrt() if i == j else rest / factor[j][j]
    white = []
    for b in range(m):
        y: list[Tensor] = []
        for i in range(d):
            known = sum((factor[i][k] * y[k] for k in range(i)), torch.zeros((), dtype=z.dtype))
            y.append((z[b, i] - mean[i] - known) / factor[i][i])
        white.append(torch.stack(y))
    return torch.stack(white)


def test_equals_cholesky_written_out_in_value_and_gradient() -> None:
    z = rows(7, 4)[0].requires_grad_()
    weight = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    ours, theirs = whiten_rows(z), naive_whitening(z)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    gradients = [torch.autograd.grad((y * weight).sum(), z)[0] for y in (ours, theirs)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("m", "d"), [(128, 64), (256, 128), (65, 16)])
def test_whitened_rows_have_mean_zero_and_unbiased_covariance_one(
    dtype: torch.dtype, tolerance: float, m: int, d: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    z = (torch.randn(2, m, d, generator=generator, dtype=torch.float64) * torch.linspace(0.5, 2, d) + 1).to(dtype)
    for y in whiten_rows(z):
        centred = y.double() - y.double().mean(0)
        covariance = centred.T @ centred / (m - 1)
        torch.testing.assert_close(covariance, torch.eye(d, dtype=torch.float64), rtol=0, atol=tolerance)
        assert y.mean(0).abs().max() < tolerance * 10


def test_gradcheck_through_mean_covariance_and_factor() -> None:
    z = rows(6, 3, views=2).requires_grad_()
    assert torch.autograd.gradcheck(whiten_rows, (z,))
    assert torch.autograd.gradcheck(lambda x: whiten_rows(x, shrinkage=0.2), (z,))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), d=st.integers(1, 8), shift=st.floats(-5, 5))
def test_a_lower_triangular_map_with_positive_diagonal_changes_nothing(seed: int, d: int, shift: float) -> None:
    z = rows(3 * d + 2, d, seed=seed)[0]
    generator = torch.Generator().manual_seed(seed)
    lower = torch.randn(d, d, generator=generator, dtype=torch.float64).tril(-1)
    lower = lower + torch.diag(0.5 + torch.rand(d, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(whiten_rows(z @ lower.T + shift), whiten_rows(z), rtol=1e-6, atol=1e-7)


def test_any_other_linear_map_only_turns_the_result() -> None:
    z = rows(40, 5)[0]
    before, after = whiten_rows(z), whiten_rows(z @ rows(5, 5, seed=4)[0])
    assert (before - after).abs().max() > 0.1
    turn = torch.linalg.lstsq(before, after).solution
    torch.testing.assert_close(turn @ turn.T, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(before @ turn, after)


def test_shrinkage_mixes_the_covariance_with_the_identity() -> None:
    z = rows(30, 4)[0]
    centred = z - z.mean(0)
    torch.testing.assert_close(whiten_rows(z, shrinkage=1.0), centred)
    factor = torch.linalg.cholesky(0.7 * torch.cov(z.T) + 0.3 * torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(whiten_rows(z, shrinkage=0.3), centred @ torch.linalg.inv(factor).T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("collapse", ["one feature", "two equal features", "everything", "zero"])
def test_collapse_gives_finite_values_and_gradients_and_leaves_other_slices_alone(
    collapse: str, dtype: torch.dtype
) -> None:
    z = rows(12, 4, views=2).to(dtype)
    healthy = whiten_rows(z)[1]  # of the same batch: kernels for one slice round in another way
    match collapse:
        case "one feature":
            z[0, :, 1] = 3.0
        case "two equal features":
            z[0, :, 1] = z[0, :, 0]
        case "everything":
            z[0] = 3.3
        case "zero":
            z[0] = 0.0
    z.requires_grad_()
    y = whiten_rows(z)
    (gradient,) = torch.autograd.grad(y.square().sum(), z)
    assert y.isfinite().all()
    assert gradient.isfinite().all()
    torch.testing.assert_close(y[1], healthy, rtol=0, atol=0)


@settings(deadline=None, max_examples=30)
@given(w_size=st.integers(1, 20), extra=st.integers(0, 60), iterations=st.integers(1, 4))
def test_every_order_holds_every_row_once_in_parts_of_at_least_the_size_asked_for(
    w_size: int, extra: int, iterations: int
) -> None:
    n = w_size + extra
    parts = random_sub_batches(n, w_size, iterations)
    assert len(parts) == iterations * (n // w_size)
    assert all(len(part) >= w_size for part in parts)
    for k in range(iterations):
        order = torch.cat(parts[k * (n // w_size) : (k + 1) * (n // w_size)])
        assert order.sort().values.tolist() == list(range(n))
    if n % w_size == 0:
        assert {len(part) for part in parts} == {w_size}


def test_a_batch_with_a_sample_missing_is_one_sub_batch() -> None:
    parts = random_sub_batches(31, 32, 2)
    assert [sorted(part.tolist()) for part in parts] == [list(range(31))] * 2


def test_orders_follow_torchs_generator_and_come_back_from_a_checkpoint() -> None:
    torch.manual_seed(5)
    random_sub_batches(64, 16)
    state = random_state()
    after = torch.cat(random_sub_batches(64, 16, 2))
    assert not torch.equal(after[:64], after[64:])
    torch.manual_seed(99)
    restore_random_state(state)
    assert torch.equal(torch.cat(random_sub_batches(64, 16, 2)), after)
    torch.manual_seed(5)
    random_sub_batches(64, 16)
    assert torch.equal(torch.cat(random_sub_batches(64, 16, 2)), after)


@pytest.mark.usefixtures("as_users_call_it")
def test_mistakes_are_named_sub_batch_whitening() -> None:
    with pytest.raises(ValueError, match="z: got 4 rows of 4 features to whiten, wanted at least 5 rows"):
        whiten_rows(torch.randn(4, 4))
    with pytest.raises(ValueError, match=r"shrinkage: got 1.5, wanted a number in \[0, 1\]"):
        whiten_rows(torch.randn(8, 4), shrinkage=1.5)
    with pytest.raises(ValueError, match="iterations: got 0, wanted at least 1"):
        random_sub_batches(64, 32, 0)
