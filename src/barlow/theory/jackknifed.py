"""A statistic together with what it becomes without each block of images, so that ratios of statistics keep an error.

Delete-a-block jackknife: with G blocks and replicates s_g the standard error is sqrt((G - 1)/G sum_g (s_g - mean)^2).
The block of image i is i mod G, so that data sorted by class do no harm. The independent unit is the image, never the
view: all views of an image are in one block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from barlow.theory.moments import NUM_BLOCKS


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
    """Return sqrt((G - 1)/G sum_g (s_g - mean s)^2), the jackknife standard error.

    Args:
        left_out: (G, ...) statistics without one block each.

    Returns:
        (...) standard errors.

    Raises:
        ValueError: fewer than 2 blocks.

    Source:
        Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 11.
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

    Args:
        statistic: (m,) places of the images that count, ascending -> a number, or a tensor of one shape.
        num_images: n, at least 2.
        num_blocks: G, at least 2; with fewer images, as many as those.

    Returns:
        The statistic of all images, in float64, and the statistics without each block.

    Raises:
        ValueError: fewer than 2 images or blocks.
    """
    block = block_of_each(num_images, num_blocks)
    places = torch.arange(num_images)
    left_out = [
        torch.as_tensor(statistic(places[block != g]), dtype=torch.float64) for g in range(int(block.max()) + 1)
    ]
    return Jackknifed(torch.as_tensor(statistic(places), dtype=torch.float64), torch.stack(left_out))


def image_mean(values: Float[Tensor, "n *shape"], num_blocks: int = NUM_BLOCKS) -> Jackknifed:
    """Return the mean over images of one value per image, (1/n) sum_i v_i, with its replicates.

    Args:
        values: (n, ...) one number or array per image, n >= 2.
        num_blocks: G, at least 2; with fewer images, as many as those.

    Returns:
        The mean, in float64, and the means without each block.

    Raises:
        ValueError: fewer than 2 images or blocks.
    """
    block = block_of_each(len(values), num_blocks)
    count = torch.bincount(block).double()
    sums = torch.zeros(len(count), *values.shape[1:], dtype=torch.float64).index_add(0, block, values.double())
    whole = sums.sum(dim=0)
    left = (count.sum() - count).reshape(-1, *(1,) * (values.ndim - 1))
    return Jackknifed(whole / count.sum(), (whole - sums) / left)


def block_of_each(num_images: int, num_blocks: int) -> Tensor:
    """Return the block of every image, i mod G, with as many blocks as images at most.

    Raises:
        ValueError: fewer than 2 images or blocks.
    """
    if num_blocks < 2:
        raise ValueError(f"num_blocks: got {num_blocks}, wanted at least 2")
    if num_images < 2:
        raise ValueError(f"values: got {num_images} images, wanted at least 2")
    return torch.arange(num_images) % min(num_blocks, num_images)
