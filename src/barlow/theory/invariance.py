"""How much of the variance of features is augmentation, and how much is the image.

Several views of each of n images give a one-way analysis of variance, with the image as the group. Its mean squares
give unbiased estimates of W, the covariance within an image (augmentation), and of B, between images; T = B + W.
Which transform the augmentation's part comes from is in `effects.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from barlow.theory.jackknifed import Jackknifed, block_of_each
from barlow.theory.moments import NUM_BLOCKS
from barlow.theory.spectrum import rounding_variance


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
    sums = _analyse(h_views, torch.zeros(len(h_views), dtype=torch.int64), 1)
    between, within = sums.components()
    return float((within.sum(dim=-1) / _above(sums.noise.sum(), (between + within).sum(dim=-1)))[0])


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
    """Return the standard error of `invariance_share`, and as well of `augmentation_share`, over images.

    A jackknife that leaves out one block of images at a time (`jackknifed.py`).

    Args:
        h_views: (n, k, d) features of k >= 2 views of n >= 3 images.
        num_blocks: G, at least 2; with fewer images, as many as those.

    Returns:
        The standard error for images as independent draws; NaN: h has no variance at all.

    Raises:
        ValueError: fewer than 2 views, 3 images or 2 blocks, or values that are not finite.
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
        raise ValueError(f"h_views: got {len(h_views)} images, wanted at least 3 to leave one out")
    block = block_of_each(len(h_views), num_blocks)
    sums = _analyse(h_views, block, int(block.max()) + 1)
    between, within = sums.whole().components()
    between_without, within_without = sums.without_each().components()
    return VarianceComponents(
        Jackknifed(between[0], between_without), Jackknifed(within[0], within_without), sums.noise
    )


@dataclass(frozen=True)
class _Sums:
    """Sums over the images of each block, per feature; the first axis is the block.

    `means` and `squares` (g, d) are sums over images of the mean over views and of its square, both relative to the
    mean of everything; `within` (g, d) is the sum of squares around the means; `count` (g, 1) the images.
    """

    num_views: int
    count: Tensor
    means: Tensor
    squares: Tensor
    within: Tensor
    noise: Tensor

    def components(self) -> tuple[Tensor, Tensor]:
        """Diagonals of B and W, from each row of sums."""
        within = self.within / (self.count * (self.num_views - 1))
        spread = (self.squares - self.means.square() / self.count) / (self.count - 1)  # MS_B / K
        return spread - within / self.num_views, within

    def whole(self) -> "_Sums":
        """All blocks together, as one row."""
        return self._of(lambda sums: sums.sum(dim=0, keepdim=True))

    def without_each(self) -> "_Sums":
        """The whole without one block, for each block."""
        return self._of(lambda sums: sums.sum(dim=0) - sums)

    def _of(self, rows: Callable[[Tensor], Tensor]) -> "_Sums":
        return replace(
            self,
            count=rows(self.count),
            means=rows(self.means),
            squares=rows(self.squares),
            within=rows(self.within),
        )


def _analyse(h_views: Tensor, block: Tensor, num_blocks: int) -> _Sums:
    num_images, num_views, num_features = h_views.shape
    if num_views < 2 or num_images < 2:
        raise ValueError(f"h_views: got {num_views} views of {num_images} images, wanted at least 2 of 2")
    values = h_views.double()
    mean = values.mean(dim=(0, 1))
    if not mean.isfinite().all():
        raise ValueError("h_views: has values that are not finite")
    values = values - mean
    image_means = values.mean(dim=1)
    zeros = torch.zeros(num_blocks, num_features, dtype=torch.float64)
    return _Sums(
        num_views=num_views,
        count=torch.bincount(block, minlength=num_blocks).double()[:, None],
        means=zeros.index_add(0, block, image_means),
        squares=zeros.index_add(0, block, image_means.square()),
        within=zeros.index_add(0, block, (values - image_means[:, None]).square().sum(dim=1)),
        noise=rounding_variance(h_views.dtype, torch.ones(1, dtype=torch.float64)) * mean.square(),
    )


def _above(noise: Tensor, variance: Tensor) -> Tensor:
    """The variance, or NaN where rounding alone could have made it."""
    return torch.where(variance > noise, variance, torch.nan)
