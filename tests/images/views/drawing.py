"""Batches to be seen, and whether two samples of draws may come from one distribution."""

import math

import torch
from torch import Tensor


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(num_samples: int = 40, channels: int = 3, side: int = 24) -> Tensor:
    """Return uint8 noise, always the same."""
    shape = (num_samples, channels, side, side)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(11))


def same_distribution(first: Tensor, second: Tensor) -> bool:
    """The test of Kolmogorov and Smirnov: rejects samples of one distribution with probability 0.001."""
    grid = torch.cat([first, second])
    shares = [torch.searchsorted(x.sort().values, grid, right=True) / len(x) for x in (first, second)]
    gap = float((shares[0] - shares[1]).abs().max())
    return gap < 1.95 * math.sqrt(1 / len(first) + 1 / len(second))
