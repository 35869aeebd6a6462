"""What features say of which view it is: a mean or a scale that the k-th view of every sample has and others have not.

Views of a sample are to be draws from one distribution. Where the k-th has a mean m_k of its own, part of what looks
like augmentation is the index of the view, and no training on pairs in a fixed order is about the sample alone.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.theory.moments import NUM_BLOCKS
from barlow.theory.standard_errors import Jackknifed, over_images


def index_share(h: Float[Tensor, "n k d"], num_blocks: int = NUM_BLOCKS) -> Jackknifed:
    """Return the share of the variance within samples that is the index of the view, with its replicates.

    With e_ik = h_ik - ybar_i, m_k its mean over samples and w the variance around m_k, the share is V / (V + w),
    V = sum_k |m_k|^2 / (K - 1) - w / n: 0 on average for exchangeable views, 1 where views differ in nothing else. It
    is 0 where views do not differ at all.
    """

    def share(rows: Tensor) -> float:
        inside = deviations[rows]
        n, k, _ = inside.shape
        means = inside.mean(dim=0)
        left = float((inside - means).square().sum()) / max(1, (n - 1) * (k - 1))
        between = float(means.square().sum()) / (k - 1) - left / n
        return between / (between + left) if between + left > 0 else 0.0

    deviations = h.double() - h.double().mean(dim=1, keepdim=True)
    return over_images(share, len(h), num_blocks)


def scale_ratio(h: Float[Tensor, "n k d"], num_blocks: int = NUM_BLOCKS) -> tuple[float, float]:
    """Return how many times as much one view varies as another, typically, and the error of that.

    exp(sqrt(2 max(0, V))), V the variance over views of the log standard deviation, less what chance makes of it: for
    two views the ratio of their deviations. 1 for exchangeable views, and where a view does not vary at all. The square
    has an error that means something where it is about 0; two errors reach the farther end of its interval.
    """

    def logs(rows: Tensor) -> Tensor:
        part = h[rows].double()
        spread = (part - part.mean(dim=0)).square().sum(dim=(0, 2)).sqrt()
        found: Tensor = spread.log() - spread.log().mean() if spread.min() > 0 else torch.zeros_like(spread)
        return found

    found, others = over_images(logs, len(h), num_blocks), h.shape[1] - 1
    squares = found.map(lambda scales: scales.square().sum() / others)
    excess = 2 * float(squares.value - found.standard_error.square().sum() / others)
    reach = 4 * float(squares.standard_error)
    low, value, high = (math.exp(max(0.0, excess + side * reach) ** 0.5) for side in (-1, 0, 1))
    return value, max(value - low, high - value) / 2
