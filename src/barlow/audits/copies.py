"""Samples that are there more than once: their features are the same, and errors over samples do not know it."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ALIKE = 1e-5
"""Of the spread of the features: rounding makes the features of one image in two batches differ by less."""


@dataclass(frozen=True)
class Copies:
    """How many of n samples are copies of others.

    Attributes:
        share: of the samples that would go if each stood once.
        error_factor: how many times too small errors over samples are, sqrt(sum_j m_j^2 / n) of m_j copies each.
    """

    share: float
    error_factor: float


def copies(features: Float[Tensor, "n d"]) -> Copies:
    """Find samples with the same features; of features that do not vary, none are called copies."""
    rows = features.double()
    rows = rows - rows.mean(dim=0)
    spread = float(rows.square().mean().sqrt())
    n, width = rows.shape
    if spread == 0:
        return Copies(0.0, 1.0)
    line = torch.randn(width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = (rows @ line).argsort()
    sizes, size = [], 1
    for start in range(0, n - 1, 4096):  # neighbours on a random line, compared in full
        places = order[start : start + 4097]
        apart = (rows[places[1:]] - rows[places[:-1]]).abs().amax(dim=1)
        for same in (apart <= ALIKE * spread).tolist():
            if not same:
                sizes.append(size)
                size = 0
            size += 1
    sizes.append(size)
    return Copies(1 - len(sizes) / n, math.sqrt(sum(one**2 for one in sizes) / n))
