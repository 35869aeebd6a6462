"""The most invariant directions of h, chosen on half of the images, scored on the others, and what each still follows.

That takes no pass through the network of its own: the views behind the bars are looked at along the directions as well.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.auditing.augmentations import TransformEffect
from barlow.theory.intraclass import intraclass_correlations
from barlow.theory.moments import Moments

NUM_DIRECTIONS = 5
"""So many are told apart by their correlations on a few thousand images; the page has room for them."""


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions of h.

    Attributes:
        vectors: (m, d) one per row, the most invariant first.
        correlations: (m,) of each, on images that it was not chosen on, within [0, 1].
    """

    vectors: Float[Tensor, "m d"]
    correlations: Float[Tensor, " m"]


def top_directions(moments: Moments, basis: Float[Tensor, "r d"]) -> Directions:
    """Return the leading directions of one half of the images, with their correlations in the other.

    Args:
        moments: sums over images and views of h.
        basis: directions to choose among, the rows orthonormal.
    """
    first, second = (half.projected(basis) for half in moments.halves())
    vectors = intraclass_correlations(first.between, first.total).directions[:NUM_DIRECTIONS]
    between, total = (
        torch.einsum("md,de,me->m", vectors, matrix.double(), vectors) for matrix in (second.between, second.total)
    )
    correlations = torch.where(total > 0, between / total, torch.zeros_like(total)).clamp(0, 1)
    return Directions(vectors @ basis.double(), correlations)


def followed(directions: Directions, effects: Mapping[str, TransformEffect]) -> list[dict[str, Any]]:
    """Return for each direction its correlation and the transform with the largest share of its variance.

    Args:
        directions: those that the effects were measured along.
        effects: by the name of the bar.
    """
    rows = []
    for place, correlation in enumerate(directions.correlations.tolist()):
        shares = {name: effect.along[place] for name, effect in effects.items() if math.isfinite(effect.along[place])}
        if shares:
            most = max(shares, key=lambda name: shares[name])
            error = effects[most].along_error[place]
            rows.append({"correlation": correlation, "transform": most, "share": shares[most], "error": error})
    return rows
