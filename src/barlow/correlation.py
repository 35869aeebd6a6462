"""From two views' embeddings to the cross-correlation matrix C, its diagonal and the sum of its other squares.

N samples, D features, z_a and z_b of shape (N, D).  C = z_a^T z_b / N  for embeddings that have been normalised.
All that Barlow Twins needs of C are its diagonal c and sum_{i != j} C_ij^2, and

    sum_ij C_ij^2 = <z_a z_a^T, z_b z_b^T> / N^2,        c_i = sum_n z_a[n, i] z_b[n, i] / N,

so with fewer samples than features the N x N Gram matrices do the work and C (D x D) is never built.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.collectives import AllMean, identity, num_processes

Form = Literal["auto", "direct", "gram"]

EPS = 1e-5
"""Added to variances inside the root, as BatchNorm does in the official code: a constant feature gives C_ii = 0."""

GRAM_BELOW = 0.75
"""Gram costs 8 N^2 D multiply-adds forward and backward, direct 6 N D^2: Gram is cheaper for N < 0.75 D."""


def center(z: Float[Tensor, "n d"], *, all_mean: AllMean = identity) -> Float[Tensor, "n d"]:
    """Subtract the mean of every feature over the samples of all processes."""
    return z - all_mean(z.mean(dim=0), z.shape[0])


def standardize(z: Float[Tensor, "n d"], *, eps: float = EPS, all_mean: AllMean = identity) -> Float[Tensor, "n d"]:
    """Centre every feature and divide it by its standard deviation: (z - mean) / sqrt(var + eps).

    The variance is the biased one (divided by N), so that C_ii of two equal views is var / (var + eps), as in
    the official code; with the unbiased one it would stop at (N-1)/N.

    Args:
        z: embeddings of one view.
        eps: added to the variance inside the root.
        all_mean: mean over all processes.

    Returns:
        Standardised embeddings; a constant feature becomes 0.
    """
    if all_mean is identity and z.shape[0] > 1 and eps > 0:
        # The same formula in one fused kernel: half the time where N is much larger than D.
        return nn.functional.batch_norm(z, None, None, training=True, eps=eps)
    centred = center(z, all_mean=all_mean)
    variance = all_mean(centred.square().mean(dim=0), z.shape[0])
    return centred * torch.rsqrt(variance + eps)


def whiten(z: Float[Tensor, "n d"], *, eps: float = EPS, all_mean: AllMean = identity) -> Float[Tensor, "n d"]:
    """Centre z and multiply it by the inverse Cholesky factor of its covariance, so that the covariance is I.

    (z - mean) L^{-T} with L L^T = S + eps * tr(S)/D * I. Cholesky rather than the symmetric root, because its
    gradient exists where eigenvalues coincide (W-MSE, Ermolov et al. 2021, section 3).

    Raises:
        ValueError: fewer than D + 1 samples, where the covariance cannot have full rank.
    """
    n, d = z.shape
    if n * num_processes() <= d:
        raise ValueError(
            f"normalization='whiten' needs more samples than features: got {n * num_processes()} samples with "
            f"{d} features, wanted at least {d + 1} samples or a narrower projector"
        )
    centred = center(z, all_mean=all_mean)
    covariance = all_mean(centred.T @ centred / n, n)
    ridge = eps * covariance.diagonal().mean()
    factor = torch.linalg.cholesky(covariance + ridge * torch.eye(d, device=z.device, dtype=z.dtype))
    white: Tensor = torch.linalg.solve_triangular(factor, centred.T, upper=False).T
    return white


def cross_correlation(
    z_a: Float[Tensor, "n d"], z_b: Float[Tensor, "n d"], *, all_mean: AllMean = identity
) -> Float[Tensor, "d d"]:
    """C = z_a^T z_b / N over the samples of all processes; the Pearson matrix when both are standardised."""
    n = z_a.shape[0]
    return all_mean((z_a.T @ z_b).div_(n), n)


class _DiagonalAndRest(torch.autograd.Function):
    """C -> (its diagonal c, sum of its off-diagonal squares). One D x D matrix in the backward pass, no mask."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> tuple[Tensor, Tensor]:
        diagonal = matrix.diagonal().clone()
        ctx.save_for_backward(matrix)
        flat = matrix.flatten()
        return diagonal, torch.dot(flat, flat) - torch.dot(diagonal, diagonal)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_diagonal: Tensor, grad_rest: Tensor) -> Tensor:
        (matrix,) = ctx.saved_tensors
        grad: Tensor = matrix * (2 * grad_rest)
        grad.diagonal().copy_(grad_diagonal)
        return grad


class _DiagonalAndRestByGram(torch.autograd.Function):
    """The same two numbers from z_a and z_b through K = z z^T (N x N), with K_a and K_b kept for the backward pass.

    With F = sum_{i != j} C_ij^2 = <K_a, K_b>/N^2 - |c|^2:
        dF/dz_a = (2/N^2) K_b z_a - (2/N) z_b diag(c),    dc_i/dz_a[n, i] = z_b[n, i]/N,    and a <-> b.
    """

    @staticmethod
    def forward(ctx: Any, z_a: Tensor, z_b: Tensor) -> tuple[Tensor, Tensor]:
        n = z_a.shape[0]
        diagonal = torch.einsum("ni,ni->i", z_a, z_b) / n
        gram_a, gram_b = z_a @ z_a.T, z_b @ z_b.T
        ctx.save_for_backward(z_a, z_b, gram_a, gram_b, diagonal)
        # K_nn is about D, K_nm about sqrt(D), and there are N^2 terms: rows in z's precision, their sum in float64.
        squares = torch.einsum("nm,nm->n", gram_a, gram_b).double().sum().div(n**2)
        return diagonal, (squares - torch.dot(diagonal, diagonal)).to(z_a.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_diagonal: Tensor, grad_rest: Tensor) -> tuple[Tensor, Tensor]:
        z_a, z_b, gram_a, gram_b, diagonal = ctx.saved_tensors
        n = z_a.shape[0]
        column = (grad_diagonal - 2 * grad_rest * diagonal) / n
        scale = 2 * grad_rest / n**2
        grad_a = torch.addcmul((gram_b * scale) @ z_a, z_b, column)
        grad_b = torch.addcmul((gram_a * scale) @ z_b, z_a, column)
        return grad_a, grad_b


def chosen_form(form: Form, num_samples: int, num_features: int) -> Literal["direct", "gram"]:
    """Return the form that `form` stands for: "auto" is Gram for N < 0.75 D, where it needs fewer operations."""
    if form == "auto":
        return "gram" if num_samples < GRAM_BELOW * num_features else "direct"
    return form


def diagonal_and_rest(
    z_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    *,
    form: Form = "auto",
    all_mean: AllMean = identity,
) -> tuple[Float[Tensor, " d"], Float[Tensor, ""]]:
    """Return the diagonal of C = z_a^T z_b / N and sum_{i != j} C_ij^2, with exact gradients.

    Args:
        z_a: normalised embeddings of view a.
        z_b: normalised embeddings of view b.
        form: "direct" builds C (D x D), "gram" two N x N matrices, "auto" the cheaper. Equal to rounding.
        all_mean: mean over all processes; C is reduced, so "auto" is "direct" unless it is `identity`.

    Returns:
        (diagonal of C, sum of its off-diagonal squares).

    Raises:
        ValueError: form="gram" with samples spread over processes.
    """
    if all_mean is identity:
        if chosen_form(form, *z_a.shape) == "gram":
            diagonal, rest = _DiagonalAndRestByGram.apply(z_a, z_b)
            return diagonal, rest
    elif form == "gram":
        raise ValueError("form='gram' needs the whole batch on one process; wanted form='auto' or 'direct' here")
    diagonal, rest = _DiagonalAndRest.apply(cross_correlation(z_a, z_b, all_mean=all_mean))
    return diagonal, rest
