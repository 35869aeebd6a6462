"""SimSiam (Chen & He 2021, arXiv 2011.10566): each view predicts the other, and the predicted one stands still.

L = -1/2 mean cos(p_a, sg(z_b)) - 1/2 mean cos(p_b, sg(z_a)),    p = predictor(z)    (equations 1 to 4)

Nothing in the loss forbids a constant z; predictor, stop-gradient and BatchNorm keep away from it in practice. So
the journal shows `embedding_std`, the paper's figure for it (figure 2, middle).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from barlow.methods.forward import check_embeddings, pair_of
from barlow.methods.heads import HeadSpec
from barlow.seams import Method, Terms
from barlow.statistics.collectives import AllMean, all_mean_here, identity, mean_for
from barlow.statistics.correlation import exact_dtype


def simsiam_loss(
    p_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    p_b: Float[Tensor, "n d"],
    z_a: Float[Tensor, "n d"],
    *,
    all_mean: AllMean | None = None,
) -> Terms:
    """Let the prediction from each view point where the embedding of the other view points.

        L = -1/2 mean cos(p_a, sg(z_b)) - 1/2 mean cos(p_b, sg(z_a)),      in [-1, 1].

    No gradient goes into z. Products and sums are in float32 (float64 for float64 input), also under autocast.

    Args:
        p_a: predictions from view a.
        z_b: embeddings of view b, what p_a has to meet.
        p_b: predictions from view b.
        z_a: embeddings of view a, what p_b has to meet.
        all_mean: mean over the samples of all processes; None: those of torch.distributed's default group, where there
            is one, and `barlow.identity` for this process alone.

    Returns:
        Terms with parts "a_to_b" and "b_to_a" that add up to the total, and the monitor "embedding_std", which is
        not part of it: see `embedding_std`.

    Raises:
        ValueError: shapes that differ or are not (N, D).

    Source:
        Equations 1 to 4 and algorithm 1 of the paper.
    """
    all_mean = mean_for(p_a, all_mean)
    a_to_b, b_to_a = -mean_cosines(p_a, z_b, p_b, z_a, all_mean=all_mean) / 2
    spread = embedding_std(z_a, z_b, all_mean=all_mean)
    return Terms(a_to_b + b_to_a, {"a_to_b": a_to_b, "b_to_a": b_to_a, "embedding_std": spread})


def mean_cosines(
    p_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    p_b: Float[Tensor, "n d"],
    z_a: Float[Tensor, "n d"],
    *,
    all_mean: AllMean = identity,
) -> Float[Tensor, "2"]:
    """Return mean cos(p_a, sg(z_b)) and mean cos(p_b, sg(z_a)), in [-1, 1]; no gradient goes into z."""
    check_embeddings(p_a=p_a, z_b=z_b, p_b=p_b, z_a=z_a)
    with torch.autocast(device_type=p_a.device.type, enabled=False):
        p, z = torch.stack([p_a, p_b]), torch.stack([z_b, z_a]).detach()
        p, z = p.to(exact_dtype(p)), z.to(exact_dtype(z))
        cosines = F.cosine_similarity(p, z, dim=2)  # eps 1e-8, as the official code has it
        return all_mean(cosines.mean(dim=1), len(p_a))


def embedding_std(
    z_a: Float[Tensor, "n d"], z_b: Float[Tensor, "n d"], *, all_mean: AllMean = identity
) -> Float[Tensor, ""]:
    """Return how far the embeddings are from being constant: 1 when spread over the sphere, 0 when collapsed.

        sqrt(D) * mean over features of the standard deviation over samples of z / |z|,      in [0, 1].

    The paper draws it without the factor, against 1/sqrt(D). It sees complete collapse; embeddings on a plane of a few
    of the D dimensions score well. Variances are biased (divided by N); the two views are averaged; there is no
    gradient.

    Source: section 4.1 and figure 2 of the paper.
    """
    n, d = z_a.shape
    with torch.no_grad(), torch.autocast(device_type=z_a.device.type, enabled=False):
        u = F.normalize(torch.stack([z_a.to(exact_dtype(z_a)), z_b.to(exact_dtype(z_b))], dim=1), dim=2)
        centred = u - all_mean(u.mean(dim=0), n)
        std = all_mean(centred.square().mean(dim=0), n).sqrt()
        return std.mean() * math.sqrt(d)


class SimSiam(Method):
    """Backbone (batch -> h), projector (h -> z), predictor (z -> p) and the loss: views -> Terms."""

    def __init__(self, backbone: nn.Module, projector: nn.Module, predictor: nn.Module) -> None:
        super().__init__(backbone, projector)
        self.predictor = predictor

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of two views of one batch."""
        # One pass per view, not one over both: BatchNorm statistics are per view, as in the official code.
        z_a, z_b = (self.projector(self.represent(view)) for view in pair_of(views))
        p_a, p_b = self.predictor(z_a), self.predictor(z_b)
        return simsiam_loss(p_a, z_b, p_b, z_a, all_mean=all_mean_here())


def simsiam(backbone: nn.Module, head: HeadSpec, num_features: int, *, bottleneck: int = 0) -> SimSiam:
    """Build the method with the numbers of a recipe.

    The projector ends with a BatchNorm without scale and offset. Its last layer has no bias, which the official code
    has but freezes: that BatchNorm would take it out again. `bottleneck` is the width of the predictor's hidden layer;
    0: a quarter of D, as in the paper (section 4.1).
    """
    if bottleneck < 0:
        raise ValueError(f"bottleneck: got {bottleneck}, wanted a width, or 0 for a quarter of the embedding's")
    width = head.num_outputs(num_features)
    inner = bottleneck or max(1, width // 4)
    projector = head.build(num_features, last_norm="plain", last_bias=False)
    predictor = replace(head, widths=f"{inner}-{width}", bias=False).build(width, last_bias=True)
    return SimSiam(backbone, projector, predictor)
