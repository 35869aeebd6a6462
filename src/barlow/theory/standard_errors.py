"""Standard errors over images by the delete-a-block jackknife, also of ratios of statistics.

With G blocks and replicates s_g, the statistic without block g, the standard error is
sqrt((G - 1)/G sum_g (s_g - mean)^2). The block of image i is i mod G, so that data sorted by class do no harm. The
independent unit is the image (any sample), never the view: all views of an image are in one block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Union, overload

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from barlow.theory.moments import NUM_BLOCKS, Covariances, Moments


@dataclass(frozen=True)
class Jackknifed:
    """A statistic of any shape and its replicates; sums, differences and ratios of several keep their covariance.

    Attributes:
        value: (...) the statistic of all images.
        left_out: (G, ...) the same without block g.
    """

    value: Float64[Tensor, "*shape"]
    left_out: Float64[Tensor, "g *shape"]

    @property
    def standard_error(self) -> Float64[Tensor, "*shape"]:
        """Standard error of `value` for images as independent draws."""
        return replicate_error(self.left_out)

    @property
    def bias(self) -> Float64[Tensor, "*shape"]:
        """The bias that falls as 1/n, (G - 1)(mean_g s_g - s): eigenvalues of few samples are too far apart."""
        return (len(self.left_out) - 1) * (self.left_out.mean(dim=0) - self.value)

    @property
    def corrected(self) -> Float64[Tensor, "*shape"]:
        """`value` less `bias`."""
        return self.value - self.bias

    @property
    def corrected_error(self) -> Float64[Tensor, "*shape"]:
        """Error of `corrected`: the standard error and all of the bias that was removed, as if independent.

        Where the bias falls as 1/n, little of it is left; at ties of eigenvalues it falls as 1/sqrt(n), and as much is
        left as was removed. Which of the two it is the samples do not tell, so that the error has room for both.
        """
        return (self.standard_error.square() + self.bias.square()).sqrt()

    def __add__(self, other: "Jackknifed") -> "Jackknifed":
        return Jackknifed(self.value + other.value, self.left_out + other.left_out)

    def __sub__(self, other: "Jackknifed") -> "Jackknifed":
        return Jackknifed(self.value - other.value, self.left_out - other.left_out)

    def __truediv__(self, other: Union["Jackknifed", Tensor, float]) -> "Jackknifed":
        """Divide by a statistic of the same blocks, or by what is taken as known."""
        if isinstance(other, Jackknifed):
            return Jackknifed(self.value / other.value, self.left_out / other.left_out)
        return Jackknifed(self.value / other, self.left_out / other)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Jackknifed":
        """Apply a function that works along trailing axes to the value and to every replicate."""
        return Jackknifed(function(self.value), torch.stack([function(row) for row in self.left_out]))


def replicate_error(left_out: Float[Tensor, "g *shape"]) -> Float64[Tensor, "*shape"]:
    """Return sqrt((G - 1)/G sum_g (s_g - mean s)^2) of G >= 2 replicates, the jackknife standard error.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 11.
    """
    num_blocks = len(left_out)
    if num_blocks < 2:
        raise ValueError(f"left_out: got {num_blocks} blocks, wanted at least 2")
    values = left_out.double()
    return ((num_blocks - 1) * (values - values.mean(dim=0)).square().mean(dim=0)).sqrt()


def over_images(
    statistic: Callable[[Tensor], float | Tensor], num_images: int, num_blocks: int = NUM_BLOCKS
) -> Jackknifed:
    """Return any statistic of images with its replicates, by computing it anew without each block of images.

    `statistic` takes the (m,) places of the images that count, ascending, and returns a number, or a tensor of one
    shape. There are as many blocks as images at most.
    """
    block = block_of_each(num_images, num_blocks)
    places = torch.arange(num_images)
    left_out = [
        torch.as_tensor(statistic(places[block != g]), dtype=torch.float64) for g in range(int(block.max()) + 1)
    ]
    return Jackknifed(torch.as_tensor(statistic(places), dtype=torch.float64), torch.stack(left_out))


def image_mean(values: Float[Tensor, "n *shape"], num_blocks: int = NUM_BLOCKS) -> Jackknifed:
    """Return the mean over images of one number or array per image, (1/n) sum_i v_i, with its replicates."""
    block = block_of_each(len(values), num_blocks)
    count = torch.bincount(block).double()
    sums = torch.zeros(len(count), *values.shape[1:], dtype=torch.float64).index_add(0, block, values.double())
    whole = sums.sum(dim=0)
    left = (count.sum() - count).reshape(-1, *(1,) * (values.ndim - 1))
    return Jackknifed(whole / count.sum(), (whole - sums) / left)


def block_of_each(num_images: int, num_blocks: int) -> Tensor:
    """Return the block of every image, i mod G, with as many blocks as images at most."""
    if num_blocks < 2:
        raise ValueError(f"num_blocks: got {num_blocks}, wanted at least 2")
    if num_images < 2:
        raise ValueError(f"values: got {num_images} samples, wanted at least 2")
    return torch.arange(num_images) % min(num_blocks, num_images)


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
    replicates = jackknifed(moments, statistic, enumerated=enumerated)
    whole, left_out = replicates.value, replicates.left_out
    h = (sizes.sum() / sizes[occupied]).view(-1, *[1] * whole.ndim)
    pseudo = h * whole - (h - 1) * left_out
    centre = (pseudo / h).sum(dim=0)
    error = ((pseudo - centre).square() / (h - 1)).mean(dim=0).sqrt()
    return (whole, error) if replicates.left_out.ndim > 1 else (float(whole), float(error))


def jackknifed(
    moments: Moments, statistic: Callable[[Covariances], float | Tensor], *, enumerated: bool = False
) -> Jackknifed:
    """Return a statistic of the covariances with its replicates, one without each block that has images.

    Raises:
        ValueError: fewer than 2 blocks with images, or too few images.
    """
    occupied = [g for g, size in enumerate(moments.block_sizes) if size]
    if len(occupied) < 2:
        raise ValueError(f"moments: got {len(occupied)} blocks with samples, wanted at least 2 to leave one out")
    whole = moments.population() if enumerated else moments.covariances()
    left_out = [statistic(moments.without_block(g, enumerated=enumerated)) for g in occupied]
    return Jackknifed(
        torch.as_tensor(statistic(whole), dtype=torch.float64),
        torch.stack([torch.as_tensor(one, dtype=torch.float64) for one in left_out]),
    )
