"""Spectrum of features: the eigenvalues of their covariance, and how many dimensions those amount to."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

ROWS = 8192
"""Rows per float64 block."""
ROUNDING = 8.0
"""Rounding of features, in units of the resolution of their number format at their mean."""


def covariance_eigenvalues(h: Float[Tensor, "n d"]) -> Float64[Tensor, " d"]:
    """Return the eigenvalues of the unbiased covariance (1/(n-1)) sum_i (h_i - mean)(h_i - mean)^T.

    Args:
        h: (n, d) features, n at least 2.

    Returns:
        (d,) eigenvalues in descending order, never negative; at most n - 1 of them are positive. Those that
        rounding of h alone would give are 0, so that a collapsed network does not show a spectrum of noise.

    Raises:
        ValueError: fewer than 2 samples, or values that are not finite.
    """
    num_samples, num_features = h.shape
    if num_samples < 2:
        raise ValueError(f"h: got {num_samples} samples, wanted at least 2")
    mean = h.mean(dim=0, dtype=torch.float64)
    if not mean.isfinite().all():
        raise ValueError("h: has values that are not finite")
    if num_samples < num_features:
        rows = h.double() - mean  # the Gram matrix has the same eigenvalues, and is the smaller one
        product = rows @ rows.T
    else:
        product = torch.zeros(num_features, num_features, dtype=torch.float64)
        for block in torch.split(h, ROWS):
            rows = block.double() - mean
            product += rows.T @ rows
    found = torch.linalg.eigvalsh(product).flip(0)[: num_samples - 1] / (num_samples - 1)
    eigenvalues = torch.zeros(num_features, dtype=torch.float64)
    eigenvalues[: len(found)] = torch.where(found > rounding_variance(h.dtype, mean), found, 0.0)
    return eigenvalues


def rounding_variance(dtype: torch.dtype, mean: Float64[Tensor, " d"]) -> float:
    """Return the variance that rounding to `dtype` can leave in features of that mean, summed over features.

    Args:
        dtype: number format that the features came in.
        mean: (d,) their mean.

    Returns:
        (`ROUNDING` times the resolution of the format)^2 |mean|^2.
    """
    return float((ROUNDING * torch.finfo(dtype).eps) ** 2 * mean.square().sum())


def effective_rank(eigenvalues: Float[Tensor, " d"]) -> float:
    """Return exp(-sum_k p_k log p_k) with p_k = eigenvalue_k / sum of eigenvalues: 1 to d, 0 for no variance.

    Roy and Vetterli define it for the singular values of a matrix; of the covariance matrix, which is symmetric
    and positive, the eigenvalues are the singular values.

    Args:
        eigenvalues: (d,) eigenvalues of a covariance, in any order.

    Returns:
        The number of equally strong directions with the same entropy.

    Raises:
        ValueError: negative eigenvalues.

    Source:
        Roy and Vetterli, "The effective rank: a measure of effective dimensionality" (EUSIPCO 2007),
        definition 1.
    """
    shares = _shares(eigenvalues)
    return float(torch.special.entr(shares).sum().exp()) if shares.any() else 0.0


def participation_ratio(eigenvalues: Float[Tensor, " d"]) -> float:
    """Return (sum_k eigenvalue_k)^2 / sum_k eigenvalue_k^2: 1 to d, 0 for no variance.

    It counts directions as `effective_rank` does and gives weak ones less weight; it is never larger.

    Args:
        eigenvalues: (d,) eigenvalues of a covariance, in any order.

    Returns:
        The number of equally strong directions with the same sum of squares.

    Raises:
        ValueError: negative eigenvalues.
    """
    shares = _shares(eigenvalues)
    return float(1.0 / shares.square().sum()) if shares.any() else 0.0


def _shares(eigenvalues: Tensor) -> Tensor:
    """Eigenvalues as parts of their sum, in float64; zeros where the sum is zero."""
    values = eigenvalues.double()
    if (values < 0).any():
        raise ValueError(f"eigenvalues: the smallest is {float(values.min())}, wanted none below 0")
    total = values.sum()
    return values / total if total > 0 else torch.zeros_like(values)
