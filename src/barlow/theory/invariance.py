"""How much of the variance of features is augmentation, and how much is the image.

Several views of each of n images give a one-way analysis of variance, with the image as the group. Its mean squares
give unbiased estimates of W, the covariance within an image (augmentation), and of B, between images; T = B + W.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.theory.spectrum import rounding_variance


def augmentation_share(h_views: Float[Tensor, "v n d"]) -> float:
    """Return tr W / tr T: the share of the variance of h that is augmentation.

    With V views, MS_W = sum |h_vi - mean_i|^2 / (n (V - 1)) and MS_B = V sum |mean_i - mean|^2 / (n - 1):
    tr W = MS_W, tr B = (MS_B - MS_W) / V. Numerator and denominator are unbiased.

    Args:
        h_views: (v, n, d) features of v >= 2 views of n >= 2 images. Views are taken as draws of one pipeline; what
            separates two different pipelines counts as augmentation.

    Returns:
        The share. 0: h ignores augmentation; 1: h says nothing about the image (noise in B may then push the
        estimate a little above 1, at most to v / (v - 1)); NaN: h has no variance at all.

    Raises:
        ValueError: fewer than 2 views or images, or values that are not finite.
    """
    return float(_analyse(h_views, 1).shares())


def invariance_share(h_views: Float[Tensor, "v n d"]) -> float:
    """Return tr B / tr T = 1 - `augmentation_share`: the share of the variance of h that is the image.

    Args:
        h_views: (v, n, d) features of v >= 2 views of n >= 2 images.

    Returns:
        The share. 1: h ignores augmentation; 0: h says nothing about the image; NaN: h has no variance at all.

    Raises:
        ValueError: fewer than 2 views or images, or values that are not finite.
    """
    return 1.0 - augmentation_share(h_views)


def share_standard_error(h_views: Float[Tensor, "v n d"], num_blocks: int = 20) -> float:
    """Return the standard error of `invariance_share`, and as well of `augmentation_share`, over images.

    A jackknife that leaves out one block of images at a time: with G blocks and shares s_g,
    sqrt((G - 1)/G sum_g (s_g - mean s)^2). Image i is in block i mod G, so that data sorted by class do no harm.

    Args:
        h_views: (v, n, d) features of v >= 2 views of n >= 3 images.
        num_blocks: G, at least 2; with fewer images, as many as those.

    Returns:
        The standard error for images as independent draws; NaN: h has no variance at all.

    Raises:
        ValueError: fewer than 2 views, 3 images or 2 blocks, or values that are not finite.
    """
    if num_blocks < 2:
        raise ValueError(f"num_blocks: got {num_blocks}, wanted at least 2")
    if h_views.shape[1] < 3:
        raise ValueError(f"h_views: got {h_views.shape[1]} images, wanted at least 3 to leave one out")
    blocks = _analyse(h_views, min(num_blocks, h_views.shape[1]))
    left_out = blocks.without_each().shares()
    spread = (left_out - left_out.mean()).square().mean()
    return float(((len(left_out) - 1) * spread).sqrt())


@dataclass(frozen=True)
class _Sums:
    """Sums over the images of each block, of which shares are made; the first axis is the block.

    `means` (g, d) and `squares` (g,) are sums over images of the mean over views and of its square, both relative
    to the mean of everything; `within` (g,) is the sum of squares around the means; `count` (g,) the images.
    """

    num_views: int
    count: Tensor
    means: Tensor
    squares: Tensor
    within: Tensor
    noise: float

    def shares(self) -> Tensor:
        """Share of augmentation of each block."""
        within = self.within / (self.count * (self.num_views - 1))
        between = (self.squares - self.means.square().sum(dim=1) / self.count) / (self.count - 1)
        total = between + within * (1.0 - 1.0 / self.num_views)  # (MS_B - MS_W) / V + MS_W
        return torch.where(total > self.noise, within / total, torch.nan)

    def without_each(self) -> "_Sums":
        """The whole without one block, for each block."""
        return replace(
            self,
            count=self.count.sum() - self.count,
            means=self.means.sum(dim=0) - self.means,
            squares=self.squares.sum() - self.squares,
            within=self.within.sum() - self.within,
        )


def _analyse(h_views: Tensor, num_blocks: int) -> _Sums:
    num_views, num_images, num_features = h_views.shape
    if num_views < 2 or num_images < 2:
        raise ValueError(f"h_views: got {num_views} views of {num_images} images, wanted at least 2 of 2")
    values = h_views.double()
    mean = values.mean(dim=(0, 1))
    if not mean.isfinite().all():
        raise ValueError("h_views: has values that are not finite")
    values = values - mean
    image_means = values.mean(dim=0)
    block = torch.arange(num_images) % num_blocks
    zeros = torch.zeros(num_blocks, dtype=torch.float64)
    return _Sums(
        num_views=num_views,
        count=zeros.index_add(0, block, torch.ones(num_images, dtype=torch.float64)),
        means=zeros[:, None].repeat(1, num_features).index_add(0, block, image_means),
        squares=zeros.index_add(0, block, image_means.square().sum(dim=1)),
        within=zeros.index_add(0, block, (values - image_means).square().sum(dim=(0, 2))),
        noise=rounding_variance(h_views.dtype, mean),
    )
