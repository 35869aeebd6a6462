"""Covariances between images (B) and within images (W, augmentation), from streaming sums over images and views.

An image is any sample x_i; it has K_i views h_i1 .. h_iK with mean ybar_i; n images, N = sum K_i views, mean m over all
views. The sums are n, N, sum K_i^2, sum h and two d x d matrices, in float64:

    sum_i K_i (ybar_i - c)(ybar_i - c)^T       c a fixed reference near the mean, against cancellation
    sum_ik (h_ik - ybar_i)(h_ik - ybar_i)^T    does not depend on c

The first, less N (m - c)(m - c)^T, is SS_B, and the second SS_W of a one-way analysis of variance with the image as the
group: MS_B = SS_B / (n - 1), MS_W = SS_W / (N - n), n0 = (N - sum K_i^2 / N) / (n - 1), and E MS_B = W + n0 B, hence

    sampled views      W = MS_W        B = (MS_B - MS_W) / n0    unbiased; B may be indefinite
    enumerated views   W = SS_W / N    B = SS_B / N              exact for these images: B = Cov_x(ybar), no correction

Images may come in any order, in batches of any size, in any number of processes; memory does not depend on how many.
Sums are kept for G blocks of images, so that error bars (leave one block out) and cross-fits (halves) need no second
pass. Sums of disjoint images add up: with another reference c', h - c' = (h - c) + s with s = c - c' turns one sum into
the other exactly.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

ROWS = 8192
"""Views per float64 chunk: the copy is small beside the features, and the products are large enough for BLAS."""

NUM_BLOCKS = 20
"""Standard errors from 20 blocks are themselves right to about 16% (1/sqrt(2 * 19)); memory is 16 G d^2 bytes."""


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
        """Return the covariances P m, P B P^T and P W P^T of z = P h, for a (D, d) matrix P.

        Raises:
            ValueError: a projector of another width.
        """
        if projector.ndim != 2 or projector.shape[1] != len(self.mean):
            raise ValueError(f"projector: got shape {tuple(projector.shape)}, wanted (D, {len(self.mean)})")
        matrix = projector.detach().to("cpu", torch.float64)
        between, within = (_symmetric(matrix @ part @ matrix.T) for part in (self.between, self.within))
        return Covariances(matrix @ self.mean, between, within, self.num_images, self.num_views)


class Moments:
    """Sums over images and their views, in G blocks of images, from which `Covariances` come.

    Args:
        num_features: d.
        num_blocks: G; memory is 16 G d^2 bytes (84 MB at d = 512 and G = 20, 1.3 GB at d = 2048).

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, num_features: int, *, num_blocks: int = NUM_BLOCKS) -> None:
        for name, value in (("num_features", num_features), ("num_blocks", num_blocks)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, wanted at least 1")
        self.num_features = num_features
        self.num_blocks = num_blocks
        self._reference: Tensor | None = None
        self._sums = _BlockSums.zeros(num_blocks, num_features)

    @property
    def num_images(self) -> int:
        """Number of images added, n."""
        return int(self._sums.images.sum())

    @property
    def block_sizes(self) -> list[int]:
        """Number of images in each block."""
        return [int(size) for size in self._sums.images]

    def add(self, h: Float[Tensor, "n k d"], image_ids: Int[Tensor, " n"] | None = None) -> None:
        """Add images, each with all of its views. What is refused leaves the sums as they were.

        Args:
            h: (n, K, d) features of K >= 2 views of n images; K may differ from call to call.
            image_ids: (n,) image i goes to block id_i mod G; default: a running count. With ids, workers that share
                the images in any way end up with the same blocks.

        Raises:
            ValueError: a wrong shape, fewer than 2 views, ids that are not n whole numbers, or values that are not
                finite (the message says where).
        """
        ids = self._checked_ids(h, image_ids)
        if not len(h):
            return
        chunk = max(1, ROWS // h.shape[1])
        _check_finite(h, ids, chunk)
        if self._reference is None:
            self._reference = h[:chunk].detach().to("cpu", torch.float64).mean(dim=(0, 1))
        block = ids % self.num_blocks
        for part in block.argsort(stable=True).split(chunk):  # by block: few large products, not many small ones
            rows = h[part.to(h.device)].detach().to("cpu", torch.float64)
            self._sums.add(block[part], rows.sub_(self._reference))

    def merge(self, other: "Moments") -> "Moments":
        """Return the sums of both, block by block, as if one had seen the images of both; both stay as they are.

        Raises:
            ValueError: another number of features or blocks.
        """
        for name in ("num_features", "num_blocks"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"other: got {name} {getattr(other, name)}, wanted {getattr(self, name)}")
        merged = Moments(self.num_features, num_blocks=self.num_blocks)
        for moments in (self, other):
            if moments._reference is None:
                continue
            if merged._reference is None:
                merged._reference = moments._reference
            merged._sums.add_sums(moments._sums, moments._reference - merged._reference)
        return merged

    def projected(self, projector: Float[Tensor, "p d"]) -> "Moments":
        """Return the sums of z = P h, block by block, as if z had been added; these stay as they are.

        What is computed of them many times costs D^2 instead of d^2 each.

        Raises:
            ValueError: a projector of another width, or no images.
        """
        if projector.ndim != 2 or projector.shape[1] != self.num_features:
            raise ValueError(f"projector: got shape {tuple(projector.shape)}, wanted (D, {self.num_features})")
        if self._reference is None:
            raise ValueError("moments: got no samples")
        matrix = projector.detach().to("cpu", torch.float64)
        found = Moments(len(matrix), num_blocks=self.num_blocks)
        found._reference, found._sums = matrix @ self._reference, self._sums.projected(matrix)
        return found

    def covariances(self) -> Covariances:
        """Return the unbiased estimates from sampled views: W = MS_W, B = (MS_B - MS_W) / n0.

        They are of the population of images and augmentations. B is not clipped and may be indefinite.

        Raises:
            ValueError: fewer than 2 images.
        """
        return self._estimate(torch.ones(self.num_blocks), enumerated=False)

    def population(self) -> Covariances:
        """Return the exact B and W of these images when their views are all augmentations there are, each once.

        B = (1/n) sum_i (ybar_i - m)(ybar_i - m)^T and W = (1/(n K)) sum_ik (h_ik - ybar_i)(h_ik - ybar_i)^T: those of
        the complete cross-correlation, equations 4 to 7 of the paper. B + m m^T = S / |T|^2 of equation 6. Of sampled
        views they are the biased plug-in: E B is then larger by W / K.

        Raises:
            ValueError: no images, or images with unequal numbers of views.
        """
        return self._estimate(torch.ones(self.num_blocks), enumerated=True)

    def without_block(self, g: int, *, enumerated: bool = False) -> Covariances:
        """Return `covariances` (or `population` if `enumerated`) of all blocks but g: a jackknife replicate.

        Raises:
            ValueError: no such block, or too few images in the others.
        """
        return self._estimate(self._all_but(g), enumerated)

    def only_block(self, g: int) -> Covariances:
        """Return `covariances` of block g alone: the images on which a replicate without it is judged.

        Raises:
            ValueError: no such block, or fewer than 2 images in it.
        """
        return self._estimate(1.0 - self._all_but(g), enumerated=False)

    def halves(self, *, without: int | None = None, enumerated: bool = False) -> tuple[Covariances, Covariances]:
        """Return `covariances` (or `population` if `enumerated`) of the even and of the odd blocks, for cross-fits.

        No image is in both. The block `without` is in neither: a jackknife replicate of the cross-fit.

        Raises:
            ValueError: no such block, or too few images in one of the halves.
        """
        kept = torch.ones(self.num_blocks) if without is None else self._all_but(without)
        odd = torch.arange(self.num_blocks) % 2
        return self._estimate((1 - odd) * kept, enumerated), self._estimate(odd * kept, enumerated)

    def _all_but(self, g: int) -> Tensor:
        """(G,) 1 for the blocks that count, 0 for block g."""
        if not 0 <= g < self.num_blocks:
            raise ValueError(f"g: got {g}, wanted a block from 0 to {self.num_blocks - 1}")
        return (torch.arange(self.num_blocks) != g).double()

    def _estimate(self, kept: Tensor, enumerated: bool) -> Covariances:
        if self._reference is None:
            raise ValueError("moments: got no samples")
        return self._sums.covariances(kept.double(), self._reference, enumerated=enumerated)

    def _checked_ids(self, h: Tensor, image_ids: Tensor | None) -> Tensor:
        if h.ndim != 3 or h.shape[1] < 2 or h.shape[2] != self.num_features:
            raise ValueError(f"h: got shape {tuple(h.shape)}, wanted (n, K, {self.num_features}) with K at least 2")
        if image_ids is None:
            return torch.arange(len(h)) + self.num_images
        if image_ids.shape != h.shape[:1] or image_ids.is_floating_point():
            raise ValueError(
                f"image_ids: got {image_ids.dtype} of shape {tuple(image_ids.shape)}, wanted {len(h)} whole numbers"
            )
        return image_ids.to("cpu", torch.int64)


def population_covariances(h: Float[Tensor, "n k d"]) -> Covariances:
    """Return `Moments.population` of the (n, K, d) features of n images at once."""
    moments = Moments(h.shape[2], num_blocks=1)
    moments.add(h)
    return moments.population()


@dataclass
class _BlockSums:
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
    def zeros(cls, num_blocks: int, num_features: int) -> "_BlockSums":
        """The sums of no images."""
        shapes = [(num_blocks,)] * 3 + [(num_blocks, num_features)] + [(num_blocks, num_features, num_features)] * 2
        return cls(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    def add(self, block: Int[Tensor, " n"], rows: Float64[Tensor, "n k d"]) -> None:
        """Add images to their blocks, which ascend: images of one block make one product. `rows`, h - c, are spent."""
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

    def projected(self, matrix: Float64[Tensor, "p d"]) -> "_BlockSums":
        """The sums of z = P h."""
        squares = [torch.stack([matrix @ one @ matrix.T for one in sums]) for sums in (self.between, self.within)]
        return _BlockSums(self.images, self.views, self.squared_views, self.shifted @ matrix.T, *squares)

    def add_sums(self, other: "_BlockSums", shift: Float64[Tensor, " d"]) -> None:
        """Add the sums of other images, block by block: s = c - c', theirs are relative to c, these to c'."""
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
        """Covariances over the blocks where `kept` is 1 and not 0, exact for enumerated views, unbiased for sampled."""
        n, num_views, squares = (int(kept @ count) for count in (self.images, self.views, self.squared_views))
        if n < (1 if enumerated else 2):
            raise ValueError(f"moments: got {n} samples, wanted at least {1 if enumerated else 2}")
        if enumerated and n * squares != num_views**2:
            raise ValueError("moments: got unequal numbers of views, wanted the same enumerated views of every sample")
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


def _check_finite(h: Tensor, ids: Tensor, chunk: int) -> None:
    for start in range(0, len(h), chunk):
        finite = h[start : start + chunk].isfinite()
        if not finite.all():
            sample, view, feature = (~finite).nonzero()[0].tolist()
            raise ValueError(
                f"h: view {view} of sample {start + sample} (id {int(ids[start + sample])}) has values that are not "
                f"finite, the first in feature {feature}"
            )
