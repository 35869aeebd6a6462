"""The loss of a matrix: L(C) = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2 (equation 2)."""

from jaxtyping import Float
from torch import Tensor


def matrix_loss(c: Float[Tensor, "d d"], redundancy_weight: float) -> Float[Tensor, ""]:
    """Return L(C).

    Args:
        c: (D, D) cross-correlation, of a batch or complete.
        redundancy_weight: lambda.
    """
    diagonal = c.diagonal()
    loss: Tensor = (1.0 - diagonal).square().sum()
    return loss + redundancy_weight * (c.square().sum() - diagonal.square().sum())
