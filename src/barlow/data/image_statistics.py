"""What a source of pictures looks like: sizes, and mean and spread of each channel."""

from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from barlow.data.order import evenly_spaced
from barlow.data.source import Source

_BATCH = 64


@dataclass(frozen=True)
class ImageShape:
    """Sizes of the pictures of a source.

    Attributes:
        channels: C of the first picture looked at.
        height: H of the first picture looked at, in pixels.
        width: W of the first picture looked at, in pixels.
        uniform: whether all pictures looked at have that shape.
        short_side: median of the shorter sides of the pictures looked at, in pixels.
    """

    channels: int
    height: int
    width: int
    uniform: bool
    short_side: int


def image_shape(source: Source, max_samples: int = 64) -> ImageShape:
    """Look at some pictures, evenly spread over the source.

    Args:
        source: pictures (C, H, W).
        max_samples: how many to look at.

    Returns:
        Their sizes.

    Raises:
        ValueError: samples that are no pictures, or none that could be read.
    """
    shapes = [tuple(picture.shape) for picture in _pictures(source, max_samples)]
    channels, height, width = shapes[0]
    short_side = round(median(min(shape[1:]) for shape in shapes))
    return ImageShape(channels, height, width, len(set(shapes)) == 1, short_side)


def channel_statistics(source: Source, max_samples: int = 512) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Estimate mean and standard deviation of each channel.

    mean_c = E[x_c], std_c = sqrt(E[x_c^2] - mean_c^2), the expectation over pixels and then over pictures, so
    that large pictures weigh no more than small ones; uint8 pixels count in [0, 1], fractions as they are.

    Args:
        source: pictures (C, H, W) with equal numbers of channels.
        max_samples: how many to look at, evenly spread over the source.

    Returns:
        (mean, std), C numbers each; std is at least 1/255, so that one can divide by it.

    Raises:
        ValueError: samples that are no pictures, or none that could be read.
    """
    moments = []
    for picture in _pictures(source, max_samples):
        top = 1.0 if picture.is_floating_point() else 255.0
        pixels = picture.flatten(1).double() / top
        moments.append(torch.stack([pixels.mean(1), pixels.square().mean(1)]))
    mean, square = torch.stack(moments).mean(0)
    std = (square - mean.square()).clamp(min=0).sqrt().clamp(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())


def _pictures(source: Source, max_samples: int) -> list[Tensor]:
    found: list[Tensor] = []
    for batch in source.batches(evenly_spaced(len(source), max_samples), _BATCH):
        found.extend(batch.samples)
    if not found:
        raise ValueError(f"source: none of the samples looked at in {source.name} could be read")
    if any(picture.ndim != 3 for picture in found):
        raise ValueError(f"source: {source.name} has samples of shape {tuple(found[0].shape)}, wanted (C, H, W)")
    return found
