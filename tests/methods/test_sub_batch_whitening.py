"""Whitened rows have covariance I, and sub-batches hold every row once and come back from a saved generator."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from barlow.methods.sub_batch_whitening import random_sub_batches, whiten_rows
from barlow.training.checkpoint import random_state, restore_random_state


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
    healthy = whiten_rows(z[1])
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
    torch.testing.assert_close(y[1], healthy)


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
def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="z: got 4 rows of 4 features to whiten, wanted at least 5 rows"):
        whiten_rows(torch.randn(4, 4))
    with pytest.raises(ValueError, match=r"shrinkage: got 1.5, wanted a number in \[0, 1\]"):
        whiten_rows(torch.randn(8, 4), shrinkage=1.5)
    with pytest.raises(ValueError, match="iterations: got 0, wanted at least 1"):
        random_sub_batches(64, 32, 0)
