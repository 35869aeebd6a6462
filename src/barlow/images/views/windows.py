"""Windows of images for networks that say something of every pixel, and what is done to an image as a whole before.

A window has a size in pixels, wherever the image ends; its mask is warped as it is. What is drawn is kept in params, as
for every view, so that image and mask are warped alike, and again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor
from torch.nn import functional

from barlow.images.views.geometry import Images, image_sizes
from barlow.images.views.pipeline import ImagePipeline
from barlow.seams import Params

STRETCHED_FROM, STRETCHED_TO = 0.01, 0.998
"""Shares of the pixels of a channel that become black and white: dust and burnt-out pixels decide nothing."""


@dataclass(frozen=True)
class WindowPipeline:
    """Draws a square window of each image, the `pipeline` around it: a `View` that also warps masks.

    Attributes:
        pipeline: what else happens; the size of its views is that of the windows. Its own crop is not used.
        zoom: smallest and largest magnification of a window; the image is enlarged where a window would not fit in it.
    """

    pipeline: ImagePipeline
    zoom: tuple[float, float] = (0.8, 1.25)

    def sample(self, batch: Images, generator: torch.Generator) -> Params:
        """Draw the params of one window per image; looks only at their sizes."""
        heights, widths = image_sizes(batch)
        uniform = torch.rand(3, len(heights), generator=generator)
        low, high = self.zoom
        zoom = low * (high / low) ** uniform[0]
        side = torch.minimum((self.pipeline.size / zoom).round().long(), torch.minimum(heights, widths)).clamp(min=1)
        top = torch.minimum((uniform[1] * (heights - side + 1)).long(), heights - side)
        left = torch.minimum((uniform[2] * (widths - side + 1)).long(), widths - side)
        box = {"top": top, "left": left, "height": side, "width": side}
        return {**self.pipeline.sample(batch, generator), "crop": box}

    def apply(self, batch: Images, params: Params) -> Float[Tensor, "n c s s"]:
        """Make the windows that `params` describes, normalised."""
        return self.pipeline.apply(batch, params)

    def apply_to_masks(self, masks: Images, params: Params, *, outside: int) -> Integer[Tensor, "n s s"]:
        """Warp masks by the params of their images, see `ImagePipeline.apply_to_masks`."""
        return self.pipeline.apply_to_masks(masks, params, outside=outside)


def stretched(image: UInt8[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
    """Return an image in [0, 1] with the contrast of each of its channels stretched, whatever light it was taken in.

    x -> (x - a) / (b - a), clipped, a and b the values below which 1% and 99.8% of the channel's pixels are.
    """
    channels = []
    for channel in image:
        below = torch.bincount(channel.flatten().int(), minlength=256).cumsum(0).double() / channel.numel()
        low, high = (int((below < share).sum()) for share in (STRETCHED_FROM, STRETCHED_TO))
        channels.append(((channel.float() - low) / max(high - low, 1)).clamp_(0, 1))
    return torch.stack(channels)


def with_short_side(image: UInt8[Tensor, "c h w"], side: int) -> UInt8[Tensor, "c h2 w2"]:
    """Return an image shrunk, antialiased, so that its short side has `side` pixels; 0, or a smaller one: as it is."""
    size = shrunk_size(image.shape[-2:], side)
    if size == tuple(image.shape[-2:]):
        return image
    return functional.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]


def mask_with_short_side(mask: Integer[Tensor, "h w"], side: int) -> Integer[Tensor, "h2 w2"]:
    """Return a mask shrunk as its image is, each pixel one of the mask."""
    height, width = shrunk_size(mask.shape, side)
    rows = ((torch.arange(height) + 0.5) * mask.shape[0] / height).long()
    columns = ((torch.arange(width) + 0.5) * mask.shape[1] / width).long()
    return mask[rows][:, columns]


def shrunk_size(size: Sequence[int], side: int) -> tuple[int, int]:
    """Return (height, width) with a short side of `side` pixels; 0 and sizes below: as they are."""
    height, width = size
    short = min(height, width)
    if not side or short <= side:
        return height, width
    return max(1, round(height * side / short)), max(1, round(width * side / short))
