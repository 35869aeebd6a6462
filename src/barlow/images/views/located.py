"""Views that know where in the image they look: crop box and flip beside the pixels (VICRegL)."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from barlow.images.views.geometry import Images, image_sizes, plain_box
from barlow.images.views.pipeline import ImagePipeline
from barlow.seams import Params, View, to_device


class LocatedView(NamedTuple):
    """One view of each sample and its place.

    A named tuple, so that engines that move or convert tensors find those inside it.

    Attributes:
        images: (N, C, S, S), what the network sees.
        boxes: (N, 4) top, left, height and width of the crop, from 0 to 1 in units of the longer side of its
            image: in one unit for both axes distances compare as they do in pixels.
        flipped: (N,) whether the crop is mirrored left to right.
    """

    images: Float[Tensor, "n c s s"]
    boxes: Float[Tensor, "n 4"]
    flipped: Bool[Tensor, " n"]


@dataclass(frozen=True)
class LocatedPipeline:
    """An image pipeline whose views carry their place: a `View`, with the parameters of the pipeline inside.

    Attributes:
        pipeline: may crop and flip, but neither rotate, shift, zoom nor shear: the place of what an affine map shows
            is no box.
    """

    pipeline: ImagePipeline

    def __post_init__(self) -> None:
        p = self.pipeline
        if p.rotation or p.translation or p.shear or p.zoom != (1.0, 1.0):
            raise ValueError(
                f"pipeline: got rotation {p.rotation}, translation {p.translation}, zoom {p.zoom} and shear {p.shear}; "
                "wanted none of them, because only a crop and a flip have a box"
            )
        if p.vertical_flip or p.quarter_turns:
            raise ValueError(
                f"pipeline: got vertical_flip {p.vertical_flip} and quarter_turns {p.quarter_turns}; wanted neither, "
                "because a place says only whether it is mirrored left to right"
            )

    @property
    def bare(self) -> ImagePipeline:
        """The same view as images only: for figures that are taken from the backbone alone."""
        return self.pipeline

    def sample(self, batch: Images, generator: torch.Generator) -> Params:
        """Draw the parameters of one view of each sample, the same that the pipeline inside draws.

        Args:
            batch: (N, C, H, W) tensor or N tensors (C, H_i, W_i).
            generator: on the CPU.
        """
        return self.pipeline.sample(batch, generator)

    def apply(self, batch: Images, params: Params) -> LocatedView:
        """Make the views that `params` describes, and say where they are.

        Args:
            batch: (N, C, H, W) tensor or N tensors (C, H_i, W_i); uint8, or floating in [0, 1].
            params: as `sample` returns them, whole, or with transforms replaced or left out.

        Returns:
            Images, boxes and flips, on the device of the batch.
        """
        images = self.pipeline.apply(batch, params)
        heights, widths = image_sizes(batch)
        box = params.get("crop") or plain_box(heights, widths, self.pipeline.fit)
        corners = torch.stack([box[key].cpu() for key in ("top", "left", "height", "width")], dim=1)
        boxes = corners / torch.maximum(heights, widths)[:, None]
        flipped = torch.zeros(len(batch), dtype=torch.bool)
        if "flip" in params:
            flipped = params["flip"]["coin"].cpu() < torch.tensor(self.pipeline.flip)
        return LocatedView(images, *to_device((boxes, flipped), images.device))


# --- The augmentation of the papers' supervised protocols: crop and flip, and nothing that changes colours.


GEOMETRY = ("crop", "flip", "vertical_flip", "quarter_turns", "affine")
"""Transforms by name that move pixels; the official protocols use a random resized crop and a flip."""


@dataclass(frozen=True)
class GeometryOnly:
    """The transforms of a pipeline that move pixels, without those that change colours.

    Of the published pipelines that leaves exactly the crop and the flip of the official evaluations; where a run did
    not crop, because that loses what a small image shows, neither does this. `view` is a pipeline that leaves out the
    transforms which are not among its params.
    """

    view: View

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        """Draw the parameters of the geometry alone."""
        drawn = self.view.sample(batch, generator)
        return {name: values for name, values in drawn.items() if name in GEOMETRY}

    def apply(self, batch: Any, params: Params) -> Any:
        """Make the view that `params` describes."""
        return self.view.apply(batch, params)
