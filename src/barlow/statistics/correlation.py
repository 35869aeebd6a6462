"""The cross-correlation matrix C of two views: its diagonal and the sum of its other squares, which is the loss.

N samples, D features, z_a and z_b of shape (N, D).  C = z_a^T z_b / N  for embeddings that have been normalised, and

    L(C) = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2                                       (equation 2)

needs of C its diagonal and the sum of all squares only, which has two forms:

    direct    C (D x D)                                              6 N D^2 operations, forward and backward
    gram      sum_ij C_ij^2 = <z_a z_a^T, z_b z_b^T> / N^2           8 N^2 D: C is never built

Over W processes with N/W samples each both are exact; each process sends about, in numbers,

    direct    reduces C (a ring adds, then spreads the sums)         2 D^2 (W-1)/W
    gram      gathers z_a and z_b, keeps own rows of both matrices   2 N D (W-1)/W

forward, and D + 1 numbers backward in either: what a process needs for its own rows it has by then.

C is an unbiased estimate of the matrix that all samples together would give, but C_ij^2 is not one of its square: it is
a sum over pairs of samples (n, m), and the pairs n = m add Var(C_ij), about 1/N. Without them (a U-statistic), with
p_n = z_a[n, i] z_b[n, j],

    U_ij = (1/(N(N-1))) sum_{n != m} p_n p_m = ((sum_n p_n)^2 - sum_n p_n^2) / (N(N-1)),        E U_ij = (E C_ij)^2.

An estimate of a square that may be negative: good for gradients and for comparing batch sizes, no bound from below.
"""

from functools import reduce
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.statistics.collectives import (
    ALONE,
    AllMean,
    Exchange,
    count_samples,
    counted,
    exchange_of,
    identity,
    known_samples,
)
from barlow.statistics.triangular import cholesky, solve_lower

Form = Literal["auto", "direct", "gram"]
FORMS: tuple[str, ...] = get_args(Form)
"""Taken apart once, here: torch.compile of torch 2.5 cannot trace get_args."""

EPS = 1e-5
"""Added to variances inside the root, as BatchNorm does in the official code: a constant feature gives C_ii = 0."""

GRAM_BELOW = 0.75
"""Gram takes fewer operations than direct for N < 0.75 D (a multiply-add is two)."""

NO_FLOAT64 = ("mps",)
"""Devices that have no float64 (Apple's GPUs): there, sums of very many terms stay in float32."""


def wide(x: Tensor) -> Tensor:
    """Return x in float64, for sums of very many terms, where the device has it."""
    return x.float() if x.device.type in NO_FLOAT64 else x.double()


def exact_dtype(*z: Tensor) -> torch.dtype:
    """Return what losses compute in: float32, or float64 where one of the tensors has it."""
    return reduce(torch.promote_types, (one.dtype for one in z), torch.float32)


def center(z: Float[Tensor, "n d"], *, all_mean: AllMean = identity) -> Float[Tensor, "n d"]:
    """Subtract the mean of every feature over the samples of all processes."""
    return z - all_mean(z.mean(dim=0), z.shape[0])


def standardize(z: Float[Tensor, "n d"], *, eps: float = EPS, all_mean: AllMean = identity) -> Float[Tensor, "n d"]:
    """Centre every feature and divide it by its standard deviation: (z - mean) / sqrt(var + eps).

    The variance is the biased one (divided by N), so that C_ii of two equal views is var / (var + eps), as in
    the official code; with the unbiased one it would stop at (N-1)/N. A constant feature becomes 0.
    """
    if all_mean is identity and z.shape[0] > 1 and eps > 0:
        # The same formula in one fused kernel: half the time where N is much larger than D.
        return nn.functional.batch_norm(z, None, None, training=True, eps=eps)
    centred = center(z, all_mean=all_mean)
    variance = all_mean(centred.square().mean(dim=0), z.shape[0])
    return centred * torch.rsqrt(variance + eps)


def whiten(z: Float[Tensor, "n d"], *, eps: float = EPS, all_mean: AllMean = identity) -> Float[Tensor, "n d"]:
    """Centre z and multiply it by the inverse Cholesky factor of its covariance, so that the covariance is I.

    (z - mean) L^{-T} with L L^T = S + eps * tr(S)/D * I. Cholesky rather than the symmetric root, because its gradient
    exists where eigenvalues coincide (W-MSE, Ermolov et al. 2021, section 3). Needs D + 1 samples: with fewer the
    covariance cannot have full rank.
    """
    n, d = z.shape
    total = known_samples(n, all_mean) or n  # where N is not told, the own ones have to do
    if total <= d:
        raise ValueError(
            f"normalization='whiten' needs more samples than features: got {total} samples with "
            f"{d} features, wanted at least {d + 1} samples or a narrower projector"
        )
    centred = center(z, all_mean=all_mean)
    covariance = all_mean(centred.T @ centred / n, n)
    ridge = eps * covariance.diagonal().mean()
    ridge = ridge + torch.finfo(z.dtype).tiny ** 0.5  # absolute, for features that are all constant
    factor, _ = cholesky(covariance + ridge * torch.eye(d, device=z.device, dtype=z.dtype))
    return solve_lower(factor, centred.T).T


def cross_correlation(
    z_a: Float[Tensor, "n d"], z_b: Float[Tensor, "n d"], *, all_mean: AllMean = identity
) -> Float[Tensor, "d d"]:
    """C = z_a^T z_b / N over the samples of all processes; the Pearson matrix when both are standardised."""
    n = z_a.shape[0]
    return all_mean((z_a.T @ z_b).div_(n), n)


def chosen_form(
    form: Form, num_samples: int, num_features: int, *, over_processes: bool = False
) -> Literal["direct", "gram"]:
    """Return the form that `form` stands for: "auto" is Gram for N < 0.75 D, where it needs fewer operations.

    Over processes for N < D, where it moves fewer bytes.
    """
    if form == "auto":
        return "gram" if num_samples < (1.0 if over_processes else GRAM_BELOW) * num_features else "direct"
    return form


def diagonal_and_rest(
    z_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    *,
    form: Form = "auto",
    all_mean: AllMean = identity,
) -> tuple[Float[Tensor, " d"], Float[Tensor, ""]]:
    """Return the diagonal of C = z_a^T z_b / N and sum_{i != j} C_ij^2, with exact gradients.

    The embeddings are normalised. The forms "direct" and "gram" are equal to rounding; "auto" takes the one with fewer
    operations, over processes the one with fewer bytes: at N = 2048, D = 8192, W = 32 in float32 124 MiB (gram) instead
    of 496. With an `all_mean` of your own, only the direct form is possible.
    """
    exchange = exchange_of(all_mean)
    if exchange is None:
        if form == "gram":
            raise ValueError("form='gram' gathers rows: got an all_mean of your own, wanted barlow.all_mean")
        matrix = cross_correlation(z_a, z_b, all_mean=all_mean)
        diagonal, rest = _DiagonalAndRest.apply(matrix, ALONE)
        return diagonal, rest
    own, d = z_a.shape
    n = count_samples(own, all_mean)
    if chosen_form(form, n, d, over_processes=exchange is not ALONE) == "gram":
        diagonal, rest = _DiagonalAndRestByGram.apply(z_a, z_b, exchange)
    else:
        diagonal, rest = _DiagonalAndRest.apply((z_a.T @ z_b).div_(n), exchange)
    return diagonal, rest


def squares_without_own_pairs(
    z_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    *,
    form: Form = "auto",
    all_mean: AllMean = identity,
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"], Float[Tensor, ""]]:
    """Return the diagonal of C, unbiased estimates of its squares, and of the sum of the other squares of C.

        C_ii = mean_n p_ni,   U_ii = (N C_ii^2 - mean_n p_ni^2) / (N - 1),   p = z_a * z_b,
        sum_{i != j} U_ij = (N sum_{i != j} C_ij^2 - mean_n [|a_n|^2 |b_n|^2 - |p_n|^2]) / (N - 1).

    So the two forms of `diagonal_and_rest` serve here too, and what is subtracted costs N x D. Unbiased when the rows
    are independent of one another, which a normalisation by statistics of the batch makes true only up to O(1/N). An
    `all_mean` of your own has to tell N (`MeanOver`). At least 2 samples over all processes make a pair.

    Source: Hoeffding, "A class of statistics with asymptotically normal distribution" (1948).
    """
    num_local = z_a.shape[0]
    all_mean = counted(num_local, all_mean)
    n = count_samples(num_local, all_mean)
    if n < 2:
        raise ValueError(f"z_a, z_b: got {n} sample, wanted at least 2: bias='removed' compares different samples")
    diagonal, rest = diagonal_and_rest(z_a, z_b, form=form, all_mean=all_mean)
    own_ii = all_mean((z_a * z_b).square().mean(dim=0), num_local)
    own = all_mean((z_a.square().sum(dim=1) * z_b.square().sum(dim=1)).mean(), num_local)
    diagonal_squares = (n * diagonal.square() - own_ii) / (n - 1)
    rest_squares = (n * rest - (own - own_ii.sum())) / (n - 1)
    return diagonal, diagonal_squares, rest_squares


def matrix_loss(c: Float[Tensor, "d d"], redundancy_weight: float) -> Float[Tensor, ""]:
    """Return L(C) of a matrix, of a batch or complete, with lambda the `redundancy_weight`."""
    diagonal = c.diagonal()
    loss: Tensor = (1.0 - diagonal).square().sum()
    return loss + redundancy_weight * (c.square().sum() - diagonal.square().sum())


class _DiagonalAndRest(torch.autograd.Function):
    """Own part of C -> diagonal c of C, sum of its off-diagonal squares. Backward one D x D matrix, no mask.

    C is the sum of the parts, so that the gradient of each part is that of C. It needs no exchange but that of the
    two incoming gradients, which are added over processes as everywhere (`collectives.py`).
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor, exchange: Exchange) -> tuple[Tensor, Tensor]:
        matrix = exchange.add(part)
        diagonal = matrix.diagonal().clone()
        ctx.save_for_backward(matrix)
        ctx.exchange = exchange
        # D^2 squares: rows in z's precision, their sum in float64. One float32 sum is 6e-5 off at D=2048.
        squares = wide(torch.linalg.vecdot(matrix, matrix)).sum() - wide(diagonal).square().sum()
        return diagonal, squares.to(matrix.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (matrix,) = ctx.saved_tensors
        grad_diagonal, grad_rest = _added(grad_outputs, ctx.exchange)
        grad: Tensor = matrix * (2 * grad_rest)
        grad.diagonal().copy_(grad_diagonal)
        return grad, None


class _DiagonalAndRestByGram(torch.autograd.Function):
    """The same two numbers from own rows of z_a and z_b through own rows of K = z z^T (n x N), kept for backward.

    With F = sum_{i != j} C_ij^2 = <K_a, K_b>/N^2 - |c|^2, and K_b z_a meaning own rows of K_b times all rows of z_a:
        dF/dz_a = (2/N^2) K_b z_a - (2/N) z_b diag(c),    dc_i/dz_a[n, i] = z_b[n, i]/N,    and a <-> b.
    """

    @staticmethod
    def forward(ctx: Any, z_a: Tensor, z_b: Tensor, exchange: Exchange) -> tuple[Tensor, Tensor]:
        all_a, all_b = z_a, z_b
        if exchange is not ALONE:  # both in one exchange
            all_a, all_b = exchange.gather(torch.stack([z_a, z_b], dim=1)).unbind(1)
        n = all_a.shape[0]
        gram_a, gram_b = z_a @ all_a.T, z_b @ all_b.T
        # K_nn is about D, K_nm about sqrt(D), and there are N^2 terms: rows in z's precision, their sum in float64.
        squares = wide(torch.einsum("nm,nm->n", gram_a, gram_b)).sum()
        sums = exchange.add(torch.cat([wide(torch.einsum("ni,ni->i", z_a, z_b)), squares.view(1)]))
        diagonal, squares = sums[:-1] / n, sums[-1] / n**2
        ctx.save_for_backward(z_a, z_b, all_a, all_b, gram_a, gram_b, diagonal.to(z_a.dtype))
        ctx.exchange = exchange
        return diagonal.to(z_a.dtype), (squares - torch.dot(diagonal, diagonal)).to(z_a.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        z_a, z_b, all_a, all_b, gram_a, gram_b, diagonal = ctx.saved_tensors
        grad_diagonal, grad_rest = _added(grad_outputs, ctx.exchange)
        n = all_a.shape[0]
        column = (grad_diagonal - 2 * grad_rest * diagonal) / n
        scale = 2 * grad_rest / n**2
        grad_a = torch.addcmul((gram_b * scale) @ all_a, z_b, column)
        grad_b = torch.addcmul((gram_a * scale) @ all_b, z_a, column)
        return grad_a, grad_b, None


def _added(gradients: tuple[Tensor, ...], exchange: Exchange) -> tuple[Tensor, Tensor]:
    """Add the gradients of the diagonal and of the rest over processes, in one exchange of D + 1 numbers."""
    grad_diagonal, grad_rest = gradients
    sums = exchange.add(torch.cat([grad_diagonal, grad_rest.view(1)]))
    return sums[:-1], sums[-1]
