"""Views that know where in the image they look: crop box and flip beside the pixels (VICRegL)."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from barlow.views.geometry import Images, centre_square, image_sizes
from barlow.views.pipeline import ImagePipeline
from barlow.views.views import Params, Views


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
        pipeline: crops and flips at will, but neither turns, shifts, zooms nor shears: the place of what an affine
            map shows is no box.
    """

    pipeline: ImagePipeline

    def __post_init__(self) -> None:
        p = self.pipeline
        if p.rotation or p.translation or p.shear or p.zoom != (1.0, 1.0):
            raise ValueError(
                f"pipeline: got rotation {p.rotation}, translation {p.translation}, zoom {p.zoom} and shear {p.shear}; "
                "wanted none of them, because only a crop and a flip have a box"
            )

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
        box = params.get("crop") or centre_square(heights, widths)
        corners = torch.stack([box[key].cpu() for key in ("top", "left", "height", "width")], dim=1)
        boxes = corners / torch.maximum(heights, widths)[:, None]
        flipped = torch.zeros(len(batch), dtype=torch.bool)
        if "flip" in params:
            coin = params["flip"]["coin"]
            flipped = coin < torch.tensor(self.pipeline.flip, device=coin.device)
        return LocatedView(images, boxes.to(images.device), flipped.to(images.device))


def without_place(views: Views) -> Views:
    """Return the same views as images only: for figures that are taken from the backbone alone.

    Args:
        views: of any pipelines; those that are not located stay.
    """
    return replace(views, pipelines=tuple(p.pipeline if isinstance(p, LocatedPipeline) else p for p in views.pipelines))
