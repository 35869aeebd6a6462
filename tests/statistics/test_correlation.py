"""Squares without a sample's pair with itself: against double sums over pairs, in the mean, and in shards."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from barlow.methods.barlow_twins import Normalization, barlow_twins_loss, normalize
from barlow.statistics.collectives import AllMean, MeanOver
from barlow.statistics.correlation import squares_without_own_pairs
from tests.methods.in_lockstep import in_lockstep

LAMBDA = 0.05
SENSIBLE: list[Normalization] = [name for name in get_args(Normalization) if name != "whiten"]


def embeddings(n: int, d: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two float64 views that share a part, with a mean that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    shared, noise_a, noise_b = torch.randn(3, n, d, generator=generator, dtype=torch.float64)
    return (shared + noise_a + 0.3).requires_grad_(), (shared + noise_b - 0.2).requires_grad_()


def naive_squares(z_a: Tensor, z_b: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over pairs of different samples, one pair and one element of C at a time."""
    n, d = z_a.shape
    squares = torch.zeros(d, d, dtype=z_a.dtype)
    for i in range(d):
        for j in range(d):
            pairs = [z_a[k, i] * z_b[k, j] * z_a[m, i] * z_b[m, j] for k in range(n) for m in range(n) if k != m]
            squares[i, j] = torch.stack(pairs).sum() / (n * (n - 1))
    return squares.diagonal(), squares.sum() - squares.diagonal().sum()


@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize(("n", "d"), [(6, 3), (4, 7), (2, 3)])
def test_squares_equal_the_sum_over_pairs_of_different_samples(form: str, n: int, d: int) -> None:
    z_a, z_b = embeddings(n, d)
    diagonal, squares, rest = squares_without_own_pairs(z_a, z_b, form=form)  # type: ignore[arg-type]
    expected_squares, expected_rest = naive_squares(z_a, z_b)
    torch.testing.assert_close(diagonal, (z_a * z_b).mean(dim=0))
    torch.testing.assert_close(squares, expected_squares, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rest, expected_rest, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize("normalization", SENSIBLE)
def test_the_loss_equals_equation_2_with_naive_squares_in_value_and_gradient(
    normalization: Normalization, form: str
) -> None:
    z_a, z_b = embeddings(5, 4)
    terms = barlow_twins_loss(
        z_a,
        z_b,
        redundancy_weight=LAMBDA,
        normalization=normalization,
        bias="removed",
        form=form,  # type: ignore[arg-type]
    )
    n_a, n_b = normalize(z_a, normalization), normalize(z_b, normalization)
    squares, rest = naive_squares(n_a, n_b)
    c = (n_a * n_b).mean(dim=0)
    if normalization in ("pearson", "feature_cosine"):  # C_ii has no noise at the optimum: it stays as it is
        squares = c * c
    expected = sum((1 - 2 * c + squares), torch.zeros((), dtype=torch.float64)) + LAMBDA * rest
    torch.testing.assert_close(terms.total, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(terms.total, sum(terms.parts.values()))
    ours = torch.autograd.grad(terms.total, (z_a, z_b))
    torch.testing.assert_close(ours, torch.autograd.grad(expected, (z_a, z_b)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form", ["direct", "gram"])
@pytest.mark.parametrize("normalization", SENSIBLE)
def test_gradcheck(normalization: Normalization, form: str) -> None:
    z_a, z_b = embeddings(6, 4)

    def total(a: Tensor, b: Tensor) -> Tensor:
        return barlow_twins_loss(a, b, normalization=normalization, bias="removed", form=form).total  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(total, (z_a, z_b))


def mean_over_batches(
    bias: str, normalization: Normalization, *, noise: float, batches: int = 800
) -> tuple[float, float]:
    """Mean and standard error of the loss over batches of 32 Gaussian samples, D = 8, lambda = 0.1, B = I."""
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(batches):
        shared, noise_a, noise_b = torch.randn(3, 32, 8, generator=generator)
        loss = barlow_twins_loss(
            shared + noise * noise_a,
            shared + noise * noise_b,
            redundancy_weight=0.1,
            normalization=normalization,
            bias=bias,  # type: ignore[arg-type]
        )
        losses.append(loss.total)
    values = torch.stack(losses)
    return float(values.mean()), float(values.std()) / batches**0.5


def test_the_raw_loss_at_its_optimum_is_zero_in_the_mean_where_the_papers_is_1_95() -> None:
    """Section 9.5 of the notes: (1/N) [sum_i (tau_i^2 + 1) + lambda sum_{i != j} tau_i tau_j], tau = 1 + noise = 2."""
    predicted = (8 * (2**2 + 1) + 0.1 * 8 * 7 * 2**2) / 32
    assert predicted == pytest.approx(1.95)
    kept, kept_error = mean_over_batches("kept", "raw", noise=1.0)
    removed, removed_error = mean_over_batches("removed", "raw", noise=1.0)
    assert abs(kept - predicted) < 4 * kept_error < 0.2
    assert abs(removed) < 4 * removed_error < 0.12


@pytest.mark.parametrize("normalization", ["sample_cosine", "pearson", "feature_cosine"])
def test_equal_white_views_cost_nothing_in_the_mean(normalization: Normalization) -> None:
    """To 1/N^2 of the off-diagonal part where a mean is taken from the batch, with pearson."""
    kept, _ = mean_over_batches("kept", normalization, noise=0.0, batches=400)
    removed, error = mean_over_batches("removed", normalization, noise=0.0, batches=400)
    assert kept > 0.15
    assert abs(removed) < 4 * error + 0.1 * 8 * 7 / 31**2


def test_the_mean_of_the_loss_does_not_depend_on_the_number_of_samples() -> None:
    """Half batches have the mean of the whole one exactly, over all ways to halve it: what a U-statistic is."""
    z_a, z_b = (z.detach() for z in embeddings(6, 3))
    whole = barlow_twins_loss(z_a, z_b, normalization="raw", bias="removed").total
    triples = torch.combinations(torch.arange(6), 3)
    parts = [barlow_twins_loss(z_a[t], z_b[t], normalization="raw", bias="removed").total for t in triples]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
    kept = [barlow_twins_loss(z_a[t], z_b[t], normalization="raw").total for t in triples]
    assert torch.stack(kept).mean() > 1.05 * barlow_twins_loss(z_a, z_b, normalization="raw").total


@pytest.mark.parametrize("normalization", SENSIBLE)
@pytest.mark.parametrize("sizes", [(4, 4), (3, 5)])
def test_shards_equal_the_whole_batch_in_value_and_gradient(
    normalization: Normalization, sizes: tuple[int, int]
) -> None:
    z_a, z_b = embeddings(8, 3)
    whole = barlow_twins_loss(z_a, z_b, normalization=normalization, bias="removed").total
    expected = torch.autograd.grad(whole, (z_a, z_b))
    shards = list(zip(z_a.split(list(sizes)), z_b.split(list(sizes)), strict=True))

    def loss(rank: int, mean: AllMean, _: object) -> Tensor:
        over_all = MeanOver(mean, sum(sizes))
        return barlow_twins_loss(*shards[rank], normalization=normalization, bias="removed", all_mean=over_all).total

    totals = in_lockstep(2, loss)
    for total in totals:
        torch.testing.assert_close(total, whole, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.autograd.grad(totals[0], (z_a, z_b)), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("normalization", SENSIBLE)
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_collapse_gives_finite_values_and_gradients(normalization: Normalization, value: float) -> None:
    z = torch.full((6, 5), value, requires_grad=True)
    total = barlow_twins_loss(z, z, normalization=normalization, bias="removed").total
    assert torch.isfinite(total)
    assert torch.isfinite(torch.autograd.grad(total, z)[0]).all()
