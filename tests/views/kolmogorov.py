"""The two-sample test of Kolmogorov and Smirnov, by which drawn views are compared with torchvision's."""

import math

from torch import Tensor, cat, searchsorted


def same_distribution(first: Tensor, second: Tensor) -> bool:
    """Whether two samples may come from one distribution: rejected with probability 0.001 when they do."""
    grid = cat([first, second])
    shares = [searchsorted(x.sort().values, grid, right=True) / len(x) for x in (first, second)]
    gap = float((shares[0] - shares[1]).abs().max())
    return gap < 1.95 * math.sqrt(1 / len(first) + 1 / len(second))
