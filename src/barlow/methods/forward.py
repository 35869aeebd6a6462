"""How views go through the networks of a method, one by one or together, and what their embeddings have to be."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.seams import Method, Terms
from barlow.statistics.collectives import all_mean_here


class TwoViews(Method):
    """Backbone, projector and a loss of two views, (z_a, z_b, all_mean=...) -> Terms, with the numbers of the run.

    One pass per view, not one over both: BatchNorm statistics are per view, as in the official code of Barlow Twins and
    VICReg.
    """

    def __init__(self, backbone: nn.Module, projector: nn.Module, loss: Callable[..., Terms]) -> None:
        super().__init__(backbone, projector)
        self.loss = loss

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of two views of one batch."""
        z_a, z_b = (self.projector(self.represent(view)) for view in pair_of(views))
        return self.loss(z_a, z_b, all_mean=all_mean_here())


def pair_of(views: Sequence[Any]) -> Sequence[Any]:
    """Return the views of a batch, after seeing that they are two."""
    if len(views) != 2:
        raise ValueError(f"views: got {len(views)}, wanted 2: this method compares a pair of views")
    return views


def represent_together(method: Method, views: Sequence[Any]) -> Float[Tensor, "m d"]:
    """Return h of all views, one below the other.

    Neighbours of one size go through the backbone at once, so that its BatchNorms see them together, as in the
    official code of SimCLR and SwAV.
    """
    groups: list[list[Any]] = []
    for view in views:
        before = groups[-1][0] if groups else None
        if isinstance(view, Tensor) and isinstance(before, Tensor) and view.shape == before.shape:
            groups[-1].append(view)
        else:
            groups.append([view])
    return torch.cat([method.represent(torch.cat(group) if len(group) > 1 else group[0]) for group in groups])


def check_embeddings(**z: Tensor) -> None:
    """Refuse embeddings that are not (N, D), or not of one shape; they come by the names of the arguments."""
    shapes = [str(tuple(one.shape)) for one in z.values()]
    if len(set(shapes)) > 1 or any(one.ndim != 2 for one in z.values()):
        shown = (" and " if len(shapes) == 2 else ", ").join(shapes)
        raise ValueError(f"{', '.join(z)}: got shapes {shown}, wanted (N, D), the same for all")
