"""Numbers from the eigenvalues of a covariance: how many directions features really use. It never trains."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def covariance_eigenvalues(h: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """Return the eigenvalues of the covariance of h, largest first, in float64.

    Through singular values of the centred h, s^2 / (n - 1): no precision is lost to squaring, and with fewer
    samples than features only n of them have to be found; the rest are 0.

    Args:
        h: features, one row per sample, n >= 2.

    Returns:
        d eigenvalues in units of h squared.

    Raises:
        ValueError: fewer than 2 samples.
    """
    n, d = h.shape
    if n < 2:
        raise ValueError(f"h: got {n} sample, wanted at least 2 for a covariance")
    centred = h.double() - h.double().mean(dim=0)
    values = torch.linalg.svdvals(centred).square() / (n - 1)
    return torch.nn.functional.pad(values, (0, d - len(values)))


def effective_rank(eigenvalues: Float[Tensor, " d"]) -> float:
    """Return exp of the entropy of the eigenvalues as shares: exp(-sum p log p), p = eigenvalue / sum.

    d for equal eigenvalues, 1 for a single direction, 0 for constant features.

    Args:
        eigenvalues: of a covariance, not negative.

    Returns:
        Between 0 and d.

    Source: Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality".
    """
    total = float(eigenvalues.sum())
    if total <= 0:
        return 0.0
    shares = eigenvalues.double() / total
    return math.exp(-float(torch.special.xlogy(shares, shares).sum()))


def participation_ratio(eigenvalues: Float[Tensor, " d"]) -> float:
    """Return (sum of eigenvalues)^2 / sum of their squares: as the effective rank, less moved by small ones.

    Args:
        eigenvalues: of a covariance, not negative.

    Returns:
        Between 1 and d, 0 for constant features.
    """
    squares = float(eigenvalues.double().square().sum())
    return float(eigenvalues.double().sum()) ** 2 / squares if squares > 0 else 0.0
