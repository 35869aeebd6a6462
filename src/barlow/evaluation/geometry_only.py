"""The augmentation of the papers' supervised protocols: crop and flip, and nothing that changes colours."""

from dataclasses import dataclass
from typing import Any

import torch

from barlow.views.views import Params, View

GEOMETRY = ("crop", "flip", "affine")
"""Transforms by name that move pixels; the official protocols use a random resized crop and a flip."""


@dataclass(frozen=True)
class GeometryOnly:
    """The geometry of a pipeline of images: what its run called the same picture, without changes of colour.

    Of the published pipelines that leaves exactly the crop and the flip of the official evaluations; where a run did
    not crop, because that loses what a small picture shows, neither does this.

    Attributes:
        view: a pipeline that leaves out the transforms which are not among its params.
    """

    view: View

    def sample(self, batch: Any, generator: torch.Generator) -> Params:
        """Draw the parameters of the geometry alone."""
        drawn = self.view.sample(batch, generator)
        return {name: values for name, values in drawn.items() if name in GEOMETRY}

    def apply(self, batch: Any, params: Params) -> Any:
        """Make the view that `params` describes."""
        return self.view.apply(batch, params)
