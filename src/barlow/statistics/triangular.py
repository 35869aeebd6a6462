"""Cholesky factors and what is solved with them, also on devices that have neither: there, on the CPU and back."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

WITHOUT = ("mps",)
"""Devices without these two functions in some release of torch that we allow (Apple's GPUs)."""


def cholesky(matrix: Float[Tensor, "*b d d"]) -> tuple[Float[Tensor, "*b d d"], Int[Tensor, "*b"]]:
    """Return L with L L^T = matrix, and where there is none a number above 0.

    Not the function that raises: it makes the host wait for the device, and what is not finite shows in the loss, where
    the loop names it.
    """
    factor, failed = torch.linalg.cholesky_ex(_where_it_can_be_done(matrix))
    return factor.to(matrix.device), failed.to(matrix.device)


def solve_lower(factor: Float[Tensor, "*b d d"], right: Float[Tensor, "*b d n"]) -> Float[Tensor, "*b d n"]:
    """Return L^-1 right for a lower triangular L."""
    left, right_there = _where_it_can_be_done(factor), _where_it_can_be_done(right)
    solved: Tensor = torch.linalg.solve_triangular(left, right_there, upper=False).to(right.device)
    return solved


def _where_it_can_be_done(matrix: Tensor) -> Tensor:
    return matrix.cpu() if matrix.device.type in WITHOUT else matrix
