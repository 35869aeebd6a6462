"""Covariances between images (B) and within images (W, augmentation), from sums over images and views.

Image x_i has K_i views h_i1 .. h_iK with mean ybar_i; n images, N = sum K_i views, mean m over all views. The sums are
n, N, sum K_i^2, sum h and two d x d matrices, in float64:

    sum_i K_i (ybar_i - c)(ybar_i - c)^T       c a fixed reference near the mean, against cancellation
    sum_ik (h_ik - ybar_i)(h_ik - ybar_i)^T    does not depend on c

The first, less N (m - c)(m - c)^T, is SS_B, and the second SS_W of a one-way analysis of variance with the image as the
group: MS_B = SS_B / (n - 1), MS_W = SS_W / (N - n), n0 = (N - sum K_i^2 / N) / (n - 1), and E MS_B = W + n0 B, hence

    sampled views      W = MS_W        B = (MS_B - MS_W) / n0    unbiased; B may be indefinite
    enumerated views   W = SS_W / N    B = SS_B / N              exact for these images: B = Cov_x(ybar), no correction

Sums of disjoint images add up. With another reference c', h - c' = (h - c) + s with s = c - c' turns one sum into the
other exactly.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Covariances:
    """Mean and covariances of features over images x and augmentations t, with the counts they rest on.

    Attributes:
        mean: (d,) m = E h.
        between: (d, d) B = Cov_x(E_t h), of the image. Estimated from sampled views it is unbiased and not clipped: in
            directions without an image effect its eigenvalues scatter around 0. From enumerated views it is PSD.
        within: (d, d) W = E_x Cov_t(h), of the augmentation; PSD.
        num_images: n.
        num_views: K, views per image; for unequal K the effective number n0 of the analysis of variance.
    """

    mean: Float64[Tensor, " d"]
    between: Float64[Tensor, "d d"]
    within: Float64[Tensor, "d d"]
    num_images: int
    num_views: float

    def __post_init__(self) -> None:
        for name in ("mean", "between", "within"):
            if not getattr(self, name).isfinite().all():
                raise ValueError(f"{name}: has values that are not finite (features too large for their squares?)")

    @property
    def total(self) -> Float64[Tensor, "d d"]:
        """T = B + W, the covariance of one view of one image."""
        return self.between + self.within

    def projected(self, projector: Float[Tensor, "p d"]) -> "Covariances":
        """Return the covariances of z = P h:  P m, P B P^T, P W P^T.

        Args:
            projector: (D, d) matrix P.

        Returns:
            Covariances in D features, of the same images and views.

        Raises:
            ValueError: a projector of another width.
        """
        if projector.ndim != 2 or projector.shape[1] != len(self.mean):
            raise ValueError(f"projector: got shape {tuple(projector.shape)}, wanted (D, {len(self.mean)})")
        matrix = projector.detach().to("cpu", torch.float64)
        between, within = (_symmetric(matrix @ part @ matrix.T) for part in (self.between, self.within))
        return Covariances(matrix @ self.mean, between, within, self.num_images, self.num_views)


@dataclass
class BlockSums:
    """Sums over the images of each of G blocks, relative to a reference c that its owner keeps.

    Counts are float64 tensors too (exact below 2^53), so that one product sums any of the blocks.

    Attributes:
        images: (G,) n.
        views: (G,) N = sum K_i.
        squared_views: (G,) sum K_i^2.
        shifted: (G, d) sum_ik (h_ik - c).
        between: (G, d, d) sum_i K_i (ybar_i - c)(ybar_i - c)^T.
        within: (G, d, d) sum_ik (h_ik - ybar_i)(h_ik - ybar_i)^T.
    """

    images: Float64[Tensor, " g"]
    views: Float64[Tensor, " g"]
    squared_views: Float64[Tensor, " g"]
    shifted: Float64[Tensor, "g d"]
    between: Float64[Tensor, "g d d"]
    within: Float64[Tensor, "g d d"]

    @classmethod
    def zeros(cls, num_blocks: int, num_features: int) -> "BlockSums":
        """Return the sums of no images."""
        shapes = [(num_blocks,)] * 3 + [(num_blocks, num_features)] + [(num_blocks, num_features, num_features)] * 2
        return cls(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    def add(self, block: Int[Tensor, " n"], rows: Float64[Tensor, "n k d"]) -> None:
        """Add images to their blocks.

        Args:
            block: (n,) the block of each image, in ascending order: images of one block make one product.
            rows: (n, k, d) features less the reference c; overwritten.
        """
        num_views = rows.shape[1]
        means = rows.mean(dim=1)
        deviations = rows.sub_(means[:, None])
        ones = torch.ones(len(block), dtype=torch.float64)
        for counts, per_image in ((self.images, 1), (self.views, num_views), (self.squared_views, num_views**2)):
            counts.index_add_(0, block, ones, alpha=per_image)
        self.shifted.index_add_(0, block, means, alpha=num_views)
        start = 0
        for g, size in zip(*(column.tolist() for column in block.unique_consecutive(return_counts=True)), strict=True):
            own, own_views = means[start : start + size], deviations[start : start + size].flatten(0, 1)
            self.between[g].addmm_(own.T, own, alpha=num_views)
            self.within[g].addmm_(own_views.T, own_views)
            start += size

    def add_sums(self, other: "BlockSums", shift: Float64[Tensor, " d"]) -> None:
        """Add the sums of other images, block by block.

        Args:
            other: sums relative to a reference c; this one's is c'.
            shift: (d,) s = c - c'.
        """
        self.images += other.images
        self.views += other.views
        self.squared_views += other.squared_views
        self.shifted += other.shifted + other.views[:, None] * shift
        for g in range(len(self.between)):  # sum K (y + s)(y + s)^T, one block at a time for the memory's sake
            half = torch.outer(other.shifted[g] + 0.5 * other.views[g] * shift, shift)
            self.between[g] += other.between[g] + half + half.T
        self.within += other.within

    def covariances(
        self, kept: Float64[Tensor, " g"], reference: Float64[Tensor, " d"], *, enumerated: bool
    ) -> Covariances:
        """Return the covariances over some of the blocks.

        Args:
            kept: (G,) 1 for blocks that count, 0 for the others.
            reference: (d,) c.
            enumerated: the views are all that there are; nothing is estimated.

        Returns:
            As above: unbiased for sampled views, exact for enumerated ones.

        Raises:
            ValueError: too few images; `enumerated` with unequal numbers of views.
        """
        n, num_views, squares = (int(kept @ count) for count in (self.images, self.views, self.squared_views))
        if n < (1 if enumerated else 2):
            raise ValueError(f"moments: got {n} images, wanted at least {1 if enumerated else 2}")
        if enumerated and n * squares != num_views**2:
            raise ValueError("moments: got unequal numbers of views, wanted the same enumerated views of every image")
        offset = kept @ self.shifted / num_views  # m - c
        between = (kept @ self.between.flatten(1)).unflatten(0, self.between.shape[1:])
        within = (kept @ self.within.flatten(1)).unflatten(0, self.within.shape[1:])
        between = between - num_views * torch.outer(offset, offset)
        effective_views = num_views / n
        if enumerated:
            between, within = between / num_views, within / num_views
        else:
            effective_views = (num_views - squares / num_views) / (n - 1)
            within = within / (num_views - n)
            between = (between / (n - 1) - within) / effective_views
        return Covariances(reference + offset, _symmetric(between), _symmetric(within), n, effective_views)


def _symmetric(matrix: Tensor) -> Tensor:
    """Without the asymmetry that rounding leaves."""
    return (matrix + matrix.T) / 2
