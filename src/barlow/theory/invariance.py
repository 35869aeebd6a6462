"""How much of the variance of features is augmentation, and how much is the image.

Several views of each of n images give a one-way analysis of variance, with the image as the group. Its mean squares
give unbiased estimates of W, the covariance within an image (augmentation), and of B, between images; T = B + W.
Which transform the augmentation's part comes from is in `effects.py`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from barlow.theory.moments import NUM_BLOCKS
from barlow.theory.spectrum import rounding_variance
from barlow.theory.standard_errors import Jackknifed, block_of_each


def augmentation_share(h_views: Float[Tensor, "n k d"]) -> float:
    """Return tr W / tr T: the share of the variance of h that is augmentation.

    With K views, MS_W = sum |h_ik - mean_i|^2 / (n (K - 1)) and MS_B = K sum |mean_i - mean|^2 / (n - 1):
    tr W = MS_W, tr B = (MS_B - MS_W) / K. Numerator and denominator are unbiased.

    Args:
        h_views: (n, k, d) features of k >= 2 views of n >= 2 images. Views are taken as draws of one pipeline; what
            separates two different pipelines counts as augmentation.

    Returns:
        The share. 0: h ignores augmentation; 1: h says nothing about the image (noise in B may then push the
        estimate a little above 1, at most to k / (k - 1)); NaN: h has no variance at all.

    Raises:
        ValueError: fewer than 2 views or images, or values that are not finite.
    """
    sums, noise = _sums(h_views, torch.zeros(len(h_views), dtype=torch.int64))
    between, within = _components(sums, h_views.shape[1])
    return float(within.sum() / _above(noise.sum(), (between + within).sum()))


def invariance_share(h_views: Float[Tensor, "n k d"]) -> float:
    """Return tr B / tr T = 1 - `augmentation_share`: the share of the variance of h that is the image.

    Args:
        h_views: (n, k, d) features of k >= 2 views of n >= 2 images.

    Returns:
        The share. 1: h ignores augmentation; 0: h says nothing about the image; NaN: h has no variance at all.

    Raises:
        ValueError: fewer than 2 views or images, or values that are not finite.
    """
    return 1.0 - augmentation_share(h_views)


def share_standard_error(h_views: Float[Tensor, "n k d"], num_blocks: int = NUM_BLOCKS) -> float:
    """Return the standard error of `invariance_share` and `augmentation_share` over images.

    NaN without any variance.
    """
    found = variance_components(h_views, num_blocks)
    return float((found.within_trace / found.total_trace).standard_error)


@dataclass(frozen=True)
class VarianceComponents:
    """Variance of every feature between images and within them, and their traces.

    Attributes:
        between: (d,) diagonal of B, unbiased, so that it may come out below 0 where there is little.
        within: (d,) diagonal of W.
        noise: (d,) variance that rounding of the features alone can leave.
    """

    between: Jackknifed
    within: Jackknifed
    noise: Float64[Tensor, " d"]

    @property
    def between_trace(self) -> Jackknifed:
        """The trace of B, or NaN where it is not above rounding noise."""
        return self.between.map(lambda part: _above(self.noise.sum(), part.sum(dim=-1)))

    @property
    def within_trace(self) -> Jackknifed:
        """The trace of W."""
        return self.within.map(lambda part: part.sum(dim=-1))

    @property
    def total(self) -> Jackknifed:
        """(d,) diagonal of T = B + W."""
        return self.between + self.within

    @property
    def total_trace(self) -> Jackknifed:
        """The trace of T, or NaN where it is not above rounding noise."""
        return self.total.map(lambda part: _above(self.noise.sum(), part.sum(dim=-1)))

    @property
    def correlations(self) -> Jackknifed:
        """B_ii / T_ii, the intraclass correlation of every feature (d,); NaN for those without variance."""
        return self.between / self.total.map(lambda part: _above(self.noise, part))


def variance_components(h_views: Float[Tensor, "n k d"], num_blocks: int = NUM_BLOCKS) -> VarianceComponents:
    """Return the diagonals of B and W with their jackknife replicates over images.

    `total_trace` and `between_trace` of the result are the denominators that `effects.py` asks for; what comes from
    the same images then has one common error.

    Args:
        h_views: (n, k, d) features of k >= 2 views of n >= 3 images.
        num_blocks: G, at least 2; with fewer images, as many as those.

    Returns:
        Both diagonals; of directions u instead of features, if h_views is h_views @ u.

    Raises:
        ValueError: fewer than 2 views, 3 images or 2 blocks, or values that are not finite.
    """
    if len(h_views) < 3:
        raise ValueError(f"h_views: got {len(h_views)} samples, wanted at least 3 to leave one out")
    block = block_of_each(len(h_views), num_blocks)
    sums, noise = _sums(h_views, block)
    whole = _components([each.sum(dim=0) for each in sums], h_views.shape[1])
    without = _components([each.sum(dim=0) - each for each in sums], h_views.shape[1])
    between, within = (Jackknifed(value, left_out) for value, left_out in zip(whole, without, strict=True))
    return VarianceComponents(between, within, noise)


def _sums(h_views: Tensor, block: Tensor) -> tuple[list[Tensor], Tensor]:
    """Sums over the images of each block, and (d,) the variance that rounding leaves.

    (G, 1) of ones, and (G, d) of the mean over views, of its square, both relative to the mean of everything, and of
    squares around the mean over views.
    """
    num_images, num_views, num_features = h_views.shape
    if num_views < 2 or num_images < 2:
        raise ValueError(f"h_views: got {num_views} views of {num_images} samples, wanted at least 2 of 2")
    values = h_views.double()
    mean = values.mean(dim=(0, 1))
    if not mean.isfinite().all():
        raise ValueError("h_views: has values that are not finite")
    values = values - mean
    means = values.mean(dim=1)
    per_image = (means, means.square(), (values - means[:, None]).square().sum(dim=1))
    count = torch.bincount(block).double()[:, None]
    zeros = torch.zeros(len(count), num_features, dtype=torch.float64)
    noise = rounding_variance(h_views.dtype, torch.ones(1, dtype=torch.float64)) * mean.square()
    return [count, *(zeros.index_add(0, block, each) for each in per_image)], noise


def _components(sums: list[Tensor], num_views: int) -> tuple[Tensor, Tensor]:
    """Diagonals of B and W from sums over the images of one block, or of each of several."""
    count, means, squares, within = sums
    within = within / (count * (num_views - 1))
    between_means = (squares - means.square() / count) / (count - 1)  # MS_B / K
    return between_means - within / num_views, within


def _above(noise: Tensor, variance: Tensor) -> Tensor:
    """The variance, or NaN where rounding alone could have made it."""
    return torch.where(variance > noise, variance, torch.nan)
