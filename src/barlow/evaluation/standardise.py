"""Features on a common scale: centred and divided by their spread, both taken from training data only."""

from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

CONSTANT = 1e-6
"""Spread relative to the mean below which a feature counts as constant: float32 rounds at 1e-7 of the mean."""
ROWS = 8192
"""Rows per float64 block."""


@dataclass(frozen=True)
class Standardiser:
    """Mean and spread of training features.

    Attributes:
        mean: (d,).
        spread: (d,) standard deviation; 1 for a constant feature, which then becomes (nearly) 0.
    """

    mean: Float32[Tensor, " d"]
    spread: Float32[Tensor, " d"]

    def __call__(self, h: Float32[Tensor, "n d"]) -> Float32[Tensor, "n d"]:
        """Return (h - mean) / spread, for training and test features alike."""
        return (h - self.mean).div_(self.spread)


def fit_standardiser(train_h: Float32[Tensor, "n d"]) -> Standardiser:
    """Measure mean and standard deviation (divided by n) of each feature.

    Args:
        train_h: (n, d) training features.

    Returns:
        The Standardiser to apply to training and test features.

    Raises:
        ValueError: no samples.
    """
    if len(train_h) == 0:
        raise ValueError("train_h: no samples to measure features on")
    # Sums of differences from the first sample: exactly 0 for a constant feature, and no cancellation where
    # the mean is large beside the spread.
    first = train_h[0].double()
    total, squares = torch.zeros_like(first), torch.zeros_like(first)
    for rows in torch.split(train_h, ROWS):
        difference = rows.double() - first
        total += difference.sum(dim=0)
        squares += difference.square_().sum(dim=0)
    shift = total / len(train_h)
    spread = (squares / len(train_h) - shift.square()).clamp(min=0).sqrt()
    mean = first + shift
    constant = spread <= CONSTANT * mean.abs()
    return Standardiser(mean.float(), torch.where(constant, 1.0, spread).float())
