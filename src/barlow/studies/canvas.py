"""A world with room: small pictures on a larger canvas, where the place, the light and the background say nothing.

Every view of a picture is drawn anew, and so is every picture that accuracy is measured on:

    place         the picture lies anywhere on the canvas, each corner equally likely (28 on 40 pixels: 6 to each side)
    gain          its grey values times 2^u, u uniform in [-1, 1]
    background    a smooth field, bilinear between 4 x 4 random greys, times a strength uniform in [0, 1], seen where
                  the picture is dark

An untrained network sees little but these; so there is room between it and what training may reach, which pictures
in the middle of a black square do not leave. Unlike those of `EnumeratedImages` the views are too many to list:
what is measured is estimated from a few of each picture.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from barlow.studies.images import LabelledImages, load_enumerated
from barlow.theory.cross_correlation import Pairs
from barlow.theory.moments import Covariances, Moments

MARGIN = 12
"""Pixels that the canvas is wider and higher than the picture."""
GREYS = 4
"""Random greys across the background, so that it is smooth beside a picture."""
NUM_VIEWS = 8
"""Views of each picture that figures are estimated from; the estimates are unbiased for any number from 2 on."""
AT_ONCE = 256
"""Pictures that go through a network with all of their views."""


@dataclass(frozen=True, eq=False)
class CanvasImages:
    """Pictures whose views are drawn on a canvas: the same parts and functions as `EnumeratedImages`.

    Attributes:
        mean: of the pixels of views, subtracted from them.
        std: of the pixels of views, that they are divided by.
    """

    fit: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    mean: float
    std: float

    pairs: ClassVar[Pairs] = "distinct"
    batch: ClassVar[int] = 128
    """Half of what other studies take, for time: four times D."""

    @property
    def channels(self) -> int:
        """Channels of the pictures."""
        return self.fit.pixels.shape[1]

    @property
    def side(self) -> int:
        """Height and width of the canvas in pixels."""
        return self.fit.pixels.shape[2] + MARGIN

    def draw(self, pixels: UInt8[Tensor, "n c s s"], generator: torch.Generator) -> Float[Tensor, "n c t t"]:
        """Return one view of each picture."""
        return (on_canvas(pixels, generator) - self.mean) / self.std

    def plain(self, pixels: UInt8[Tensor, "n c s s"]) -> Float[Tensor, "n c t t"]:
        """Return each picture as this world has it: at a place of its own, the same whenever it is asked for."""
        return self.draw(pixels, torch.Generator().manual_seed(int(pixels.sum())))

    @torch.inference_mode()
    def features(self, backbone: nn.Module, pixels: UInt8[Tensor, "n c s s"]) -> Float[Tensor, "n k d"]:
        """Return features of a few views of every picture, the same for every network, in float32."""
        generator = torch.Generator().manual_seed(int(pixels.sum()))
        found = [
            torch.stack([backbone(self.draw(part, generator)) for _ in range(NUM_VIEWS)], dim=1)
            for part in pixels.split(AT_ONCE)
        ]
        return torch.cat(found).clone()

    def covariances(self, h: Float[Tensor, "n k d"]) -> Covariances:
        """Return the unbiased estimates of B and W."""
        moments = Moments(h.shape[2], num_blocks=1)
        moments.add(h)
        return moments.covariances()


def on_canvas(pixels: UInt8[Tensor, "n c s s"], generator: torch.Generator) -> Float[Tensor, "n c t t"]:
    """Return each picture somewhere on a canvas, in a light and before a background of its own, in [0, 1]."""
    n, channels, side, _ = pixels.shape
    whole = side + MARGIN
    across, down = torch.randint(MARGIN + 1, (2, n, 1), generator=generator)
    gain = torch.exp2(2 * torch.rand(n, 1, 1, 1, generator=generator) - 1)
    greys = torch.rand(n, channels, GREYS, GREYS, generator=generator)
    strength = torch.rand(n, 1, 1, 1, generator=generator)
    padded = nn.functional.pad(pixels, (MARGIN,) * 4)
    rows, columns = torch.arange(whole) + down, torch.arange(whole) + across
    placed = padded.permute(0, 2, 3, 1)[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    picture = placed.permute(0, 3, 1, 2) / 255
    background = strength * nn.functional.interpolate(greys, whole, mode="bilinear", align_corners=True)
    return (gain * picture).clamp(max=1) + background * (1 - picture)


@lru_cache(maxsize=2)
def load_on_canvas(data: str, data_root: str, *, most_train: int, most_test: int, seed: int) -> CanvasImages:
    """Load labelled images, parted as `load_enumerated` does, to be drawn on canvases."""
    parts = load_enumerated(data, data_root, most_train=most_train, most_test=most_test, seed=seed)
    some = on_canvas(parts.fit.pixels[:1000], torch.Generator().manual_seed(0))
    return CanvasImages(parts.fit, parts.validation, parts.test, float(some.mean()), float(some.std()))
