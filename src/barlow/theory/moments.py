"""Streaming, mergeable sums over images and views, from which the covariances between and within images come.

Images may come in any order, in batches of any size, in any number of processes; memory does not depend on how many.
Sums are kept for G blocks of images, so that error bars (leave one block out) and cross-fits (halves) need no second
pass. What is summed, and what the sums give, is in `covariances.py`.
"""

from collections.abc import Callable
from typing import overload

import torch
from jaxtyping import Float, Int
from torch import Tensor

from barlow.theory.covariances import BlockSums, Covariances

ROWS = 8192
"""Views per float64 chunk: the copy is small beside the features, and the products are large enough for BLAS."""

NUM_BLOCKS = 20
"""Standard errors from 20 blocks are themselves right to about 16% (1/sqrt(2 * 19)); memory is 16 G d^2 bytes."""


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
        self._sums = BlockSums.zeros(num_blocks, num_features)

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
        """Return the sums of both, block by block, as if one had seen the images of both.

        Args:
            other: sums over other images, with the same number of features and of blocks.

        Returns:
            New sums; these and `other` stay as they are.

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

    def covariances(self) -> Covariances:
        """Return the unbiased estimates from sampled views: W = MS_W, B = (MS_B - MS_W) / n0.

        Returns:
            Covariances of the population of images and augmentations. B is not clipped and may be indefinite.

        Raises:
            ValueError: fewer than 2 images.
        """
        return self._estimate(torch.ones(self.num_blocks), enumerated=False)

    def population(self) -> Covariances:
        """Return the exact B and W of these images when their views are all augmentations there are, each once.

        B = (1/n) sum_i (ybar_i - m)(ybar_i - m)^T and W = (1/(n K)) sum_ik (h_ik - ybar_i)(h_ik - ybar_i)^T: those of
        the complete cross-correlation, theory of equations 4 to 7 of the paper. B + m m^T = S / |T|^2 of equation 6.

        Returns:
            Covariances with nothing estimated; of sampled views, the biased plug-in (E B is then larger by W / K).

        Raises:
            ValueError: no images, or images with unequal numbers of views.
        """
        return self._estimate(torch.ones(self.num_blocks), enumerated=True)

    def without_block(self, g: int, *, enumerated: bool = False) -> Covariances:
        """Return `covariances` (or `population` if `enumerated`) of all blocks but one: a jackknife replicate.

        Args:
            g: the block left out.
            enumerated: the views are all augmentations there are.

        Returns:
            Covariances over the other blocks.

        Raises:
            ValueError: no such block, or too few images in the others.
        """
        return self._estimate(self._all_but(g), enumerated)

    def halves(self, *, without: int | None = None, enumerated: bool = False) -> tuple[Covariances, Covariances]:
        """Return `covariances` (or `population` if `enumerated`) of the even and of the odd blocks, for cross-fits.

        Args:
            without: a block that neither has: a jackknife replicate of the cross-fit.
            enumerated: the views are all augmentations there are.

        Returns:
            Two independent estimates: no image is in both.

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
            raise ValueError("moments: got no images")
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


@overload
def jackknife(
    moments: Moments, statistic: Callable[[Covariances], float], *, enumerated: bool = False
) -> tuple[float, float]: ...
@overload
def jackknife(
    moments: Moments, statistic: Callable[[Covariances], Tensor], *, enumerated: bool = False
) -> tuple[Tensor, Tensor]: ...
def jackknife(
    moments: Moments, statistic: Callable[[Covariances], float | Tensor], *, enumerated: bool = False
) -> tuple[float | Tensor, float | Tensor]:
    """Return a statistic of the covariances and its standard error over images, by leaving out one block at a time.

    With s of all images, s_g without the m_g images of block g, h_g = n / m_g and the pseudo-values
    p_g = h_g s - (h_g - 1) s_g, the squared error is  (1/G) sum_g (p_g - p)^2 / (h_g - 1)  around their weighted mean
    p = sum_g p_g / h_g. For equal blocks that is (G - 1)/G sum_g (s_g - mean s)^2. Empty blocks do not count.
    The unit is the image: views of one image are not independent.

    Args:
        moments: sums with at least 2 blocks that have images.
        statistic: covariances -> a number, or a tensor whose shape does not depend on them.
        enumerated: the views are all augmentations there are; the error is then that of the images alone.

    Returns:
        (statistic of all images, not corrected for bias; its standard error), numbers or tensors as the statistic.

    Raises:
        ValueError: fewer than 2 blocks with images, or too few images.

    Source:
        Busing, Meijer and Van der Leeden, "Delete-m jackknife for unequal m" (Statistics and Computing 9, 1999).
    """
    sizes = torch.tensor(moments.block_sizes, dtype=torch.float64)
    occupied = [g for g, size in enumerate(moments.block_sizes) if size]
    if len(occupied) < 2:
        raise ValueError(f"moments: got {len(occupied)} blocks with images, wanted at least 2 to leave one out")
    found = statistic(moments.population() if enumerated else moments.covariances())
    whole = torch.as_tensor(found, dtype=torch.float64)
    left_out = torch.stack(
        [
            torch.as_tensor(statistic(moments.without_block(g, enumerated=enumerated)), dtype=torch.float64)
            for g in occupied
        ]
    )
    h = (sizes.sum() / sizes[occupied]).view(-1, *[1] * whole.ndim)
    pseudo = h * whole - (h - 1) * left_out
    centre = (pseudo / h).sum(dim=0)
    error = ((pseudo - centre).square() / (h - 1)).mean(dim=0).sqrt()
    return (found, error) if isinstance(found, Tensor) else (float(found), float(error))


def _check_finite(h: Tensor, ids: Tensor, chunk: int) -> None:
    for start in range(0, len(h), chunk):
        finite = h[start : start + chunk].isfinite()
        if not finite.all():
            image, view, feature = (~finite).nonzero()[0].tolist()
            raise ValueError(
                f"h: view {view} of image {start + image} (id {int(ids[start + image])}) has values that are not "
                f"finite, the first in feature {feature}"
            )
