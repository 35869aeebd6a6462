"""What the images of a source look like: their sizes, and mean and standard deviation of each channel."""

from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from barlow.data.order import evenly_spaced
from barlow.seams import Source

_BATCH = 64


@dataclass(frozen=True)
class ImageShape:
    """Sizes of the images of a source, in pixels: channels, height and width of the first one looked at.

    `uniform` says whether all that were looked at have that shape; `short_side` is the median of their shorter sides.
    """

    channels: int
    height: int
    width: int
    uniform: bool
    short_side: int


def image_shape(source: Source, max_samples: int = 64) -> ImageShape:
    """Measure at most `max_samples` images, evenly spread over the source."""
    shapes = [tuple(image.shape) for image in _images(source, max_samples)]
    channels, height, width = shapes[0]
    short_side = round(median(min(shape[1:]) for shape in shapes))
    return ImageShape(channels, height, width, len(set(shapes)) == 1, short_side)


def image_sizes(source: Source, max_samples: int = 64) -> list[tuple[int, int]]:
    """Return (height, width) of at most `max_samples` images, evenly spread over the source."""
    return [(image.shape[1], image.shape[2]) for image in _images(source, max_samples)]


def channel_statistics(source: Source, max_samples: int = 512) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Estimate mean and standard deviation of each channel from at most `max_samples` images, evenly spread.

    mean_c = E[x_c], std_c = sqrt(E[x_c^2] - mean_c^2), the expectation over pixels and then over images, so that large
    images weigh no more than small ones; uint8 pixels count in [0, 1], floats as they are. Std is at least 1/255, so
    that one can divide by it.
    """
    moments = []
    for image in _images(source, max_samples):
        top = 1.0 if image.is_floating_point() else 255.0
        pixels = image.flatten(1).double() / top
        moments.append(torch.stack([pixels.mean(1), pixels.square().mean(1)]))
    mean, square = torch.stack(moments).mean(0)
    std = (square - mean.square()).clamp(min=0).sqrt().clamp(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())


def _images(source: Source, max_samples: int) -> list[Tensor]:
    found: list[Tensor] = []
    for batch in source.batches(evenly_spaced(len(source), max_samples), _BATCH):
        found.extend(batch.samples)
    if not found:
        raise ValueError(f"source: none of the samples looked at in {source.name} could be read")
    if any(image.ndim != 3 for image in found):
        raise ValueError(f"source: {source.name} has samples of shape {tuple(found[0].shape)}, wanted (C, H, W)")
    return found
