"""Images with a finite set of augmentations: every view can be enumerated, so complete losses are exact.

    T = {-15, 0, 15 degrees} x {-1/8, 0, 1/8 of the side}^2 x {contrast as it is, halved}      54 views

Training draws t uniformly from the same set that the measurement enumerates, so that the views are i.i.d. given the
image, as the theory has them, and nothing is sampled where a figure is taken. The labelled training part is divided
into images to train on and images to choose a learning rate on; the test part is for measuring alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from barlow.data.image_statistics import channel_statistics, image_shape
from barlow.data.source import Source
from barlow.evaluation.splits import validation_split
from barlow.scores import labelled_parts
from barlow.views.pipeline import ImagePipeline
from barlow.views.views import Params

ANGLES = (0.0, -15.0, 15.0)
SHIFTS = (0.0, -0.125, 0.125)
GAINS = (1.0, 0.5)
TRANSFORMS = tuple(product(ANGLES, SHIFTS, SHIFTS, GAINS))
"""All augmentations; the first changes nothing."""

LARGEST_SIDE = 32
"""Larger pictures are scaled down: a grid of runs has to end."""
VALIDATION_SHARE = 1 / 6
"""Of the labelled training images; learning rates are chosen there, never on the test images."""
MOST_VALIDATION = 500
"""Enough to tell three learning rates apart, each image with all of its views."""
IMAGES_AT_ONCE = 64
"""So many images go through the network with all of their views: a few thousand pictures."""


@dataclass(frozen=True)
class Pictures:
    """Images of one part with their classes.

    Attributes:
        pixels: (n, c, s, s).
        labels: (n,).
    """

    pixels: UInt8[Tensor, "n c s s"]
    labels: Int64[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class Enumerated:
    """Data with enumerable views.

    Attributes:
        fit: to train on.
        validation: to choose learning rates on.
        test: to measure on.
        pipeline: what makes a view of given parameters.
    """

    fit: Pictures
    validation: Pictures
    test: Pictures
    pipeline: ImagePipeline

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.fit.pixels.shape[1]

    def draw(self, pixels: UInt8[Tensor, "n c s s"], generator: torch.Generator) -> Float[Tensor, "n c s s"]:
        """Return one view of each image, its augmentation uniform among all.

        Args:
            pixels: images.
            generator: of the choice.
        """
        return self._view(pixels, torch.randint(len(TRANSFORMS), (len(pixels),), generator=generator))

    def plain(self, pixels: UInt8[Tensor, "n c s s"]) -> Float[Tensor, "n c s s"]:
        """Return the images without augmentation."""
        return self._view(pixels, torch.zeros(len(pixels), dtype=torch.int64))

    def every(self, pixels: UInt8[Tensor, "n c s s"]) -> Iterator[Float[Tensor, "m k c s s"]]:
        """Yield all views of all images, some images at a time.

        Args:
            pixels: images.
        """
        numbers = torch.arange(len(TRANSFORMS))
        for part in pixels.split(IMAGES_AT_ONCE):
            views = self._view(part.repeat_interleave(len(numbers), dim=0), numbers.repeat(len(part)))
            yield views.unflatten(0, (len(part), len(numbers)))

    def _view(self, pixels: Tensor, numbers: Tensor) -> Tensor:
        return self.pipeline.apply(pixels, _parameters(numbers))


@lru_cache(maxsize=2)
def load_enumerated(data: str, data_root: str, *, most_train: int, most_test: int, seed: int) -> Enumerated:
    """Load labelled images for a study with enumerated views; the last two are kept, for all arms of a seed.

    Args:
        data: a name or a path, as for `barlow pretrain`.
        data_root: where named data sets live; empty: nowhere in particular.
        most_train: images to train on and to choose on, at most; drawn by the seed.
        most_test: images to measure on, at most; the same for every seed.
        seed: of the draw.

    Raises:
        ValueError: images without labels: accuracy is one of the figures.
    """
    parts = labelled_parts(data, data_root=data_root or None)
    if parts is None:
        raise ValueError(f"data: {data!r} has no labels, wanted labelled images: accuracy is one of the figures")
    shape = image_shape(parts.train)
    side = min(shape.short_side, LARGEST_SIDE)
    square = ImagePipeline(side, (0.0,) * shape.channels, (1.0,) * shape.channels)
    mean, std = channel_statistics(parts.train)
    known = _pictures(parts.train, square, most_train, seed)
    split = validation_split(known.labels, fraction=VALIDATION_SHARE, most=MOST_VALIDATION, seed=seed)
    fit, validation = (Pictures(known.pixels[rows], known.labels[rows]) for rows in (split.fit, split.validation))
    test = _pictures(parts.test, square, most_test, 0)
    return Enumerated(fit, validation, test, ImagePipeline(side, mean, std))


def _pictures(source: Source, square: ImagePipeline, most: int, seed: int) -> Pictures:
    """At most so many images of a labelled source as squares of one size."""
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed))[:most].sort().values.tolist()
    pixels, rows = [], []
    for batch in source.batches(order, 256):
        pixels.append((square.apply(batch.samples, {}) * 255).round().clamp(0, 255).to(torch.uint8))
        rows.append(batch.indices)
    assert source.labels is not None  # both parts of labelled data have labels
    return Pictures(torch.cat(pixels), source.labels[torch.cat(rows)])


def _parameters(numbers: Tensor) -> Params:
    """What the pipeline has to do for these members of TRANSFORMS."""
    angle, across, down, gain = torch.tensor(TRANSFORMS)[numbers].unbind(1)
    ones = torch.ones(len(numbers))
    return {
        "affine": {"angle": angle, "shift": torch.stack([across, down], 1), "zoom": ones, "shear": 0 * ones},
        "contrast": {"gain": gain, "shift": 0 * ones},
    }
