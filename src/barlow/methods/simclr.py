"""SimCLR (Chen et al. 2020, arXiv 2002.05709): each view has to find its partner among all other embeddings.

l_i = -s_{i,p(i)} + log sum_{j != i} exp(s_ij),    s_ij = cos(z_i, z_j) / tau    over the 2N views (equation 1)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from barlow.methods.forward import check_embeddings, pair_of, represent_together
from barlow.methods.heads import HeadSpec
from barlow.seams import Method, Terms
from barlow.statistics.collectives import (
    AllMean,
    Gather,
    all_mean as mean_over_processes,
    gather_for,
    gather_with_grad,
    mean_for,
    num_processes,
)
from barlow.statistics.correlation import exact_dtype

TEMPERATURE = 0.1
"""tau on ImageNet (official code, default and README); on CIFAR-10 its README has 0.5."""

# Shortest length that is divided by, as in the official code (1e-12 under the root): finite gradients at zero.
_EPS = 1e-6


def simclr_loss(
    z_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    *,
    temperature: float = TEMPERATURE,
    rank: int | None = None,
    gather: Gather | None = None,
    all_mean: AllMean | None = None,
) -> Terms:
    """Tell the partner of each view from the other 2N - 2 views of the batch: NT-Xent.

        L = 1/(2N) sum_i [ -s_{i,p(i)} + log sum_{j != i} exp(s_ij) ],      s_ij = cos(z_i, z_j) / tau.

    The partner stays among the j of the sum. Products and sums are in float32 (float64 for float64 input), also
    under autocast. Each process holds its own rows of s, so 2n x 2N numbers.

    Args:
        z_a: embeddings of view a.
        z_b: embeddings of view b, row by row of the same samples.
        temperature: tau.
        rank: number of this process; the rows of those before it come before its own. None: as torch.distributed counts
            where rows come by `barlow.gather_with_grad`, else 0.
        gather: rows of all processes, with gradient; None: `barlow.gather_with_grad` where the means are over the
            processes of torch.distributed's default group.
        all_mean: mean over the samples of all processes; None: those of torch.distributed's default group, where there
            is one, and `barlow.identity` for this process alone.

    Returns:
        Terms with parts "alignment", the first summand, and "uniformity", the second, that add up to the total.

    Raises:
        ValueError: shapes that differ or are not (N, D), fewer than 2 samples, a temperature that is not positive.

    Source:
        Equation 1 and algorithm 1 of the paper. The official code (objective.py) adds up the means over the two
        halves of the 2N anchors, which is twice this value; LARS undoes the factor for weights.
    """
    _check(z_a, z_b, temperature)
    gather, all_mean = gather_for(z_a, gather, all_mean, gradient=True), mean_for(z_a, all_mean)
    if rank is None:
        rank = dist.get_rank() if gather is gather_with_grad and num_processes() > 1 else 0
    n = z_a.shape[0]
    with torch.autocast(device_type=z_a.device.type, enabled=False):
        u_a, u_b = (F.normalize(z.to(exact_dtype(z_a, z_b)), dim=1, eps=_EPS) for z in (z_a, z_b))
        # Both views in one exchange, and whose rows they are: processes may hold different numbers of samples.
        u_all, owner = gather(torch.cat([u_a, u_b, u_a.new_full((n, 1), rank)], dim=1)).tensor_split([-1], dim=1)
        similarity = torch.cat([u_a, u_b]) / temperature @ torch.cat(u_all.chunk(2, dim=1)).T
        own = torch.arange(n, device=u_a.device) + (owner < rank).sum()
        itself = torch.cat([own, own + len(u_all)]).unsqueeze(1)
        # Minus infinity and not the official -1e9, which float16 does not have.
        others = similarity.scatter(1, itself, -torch.inf)
        positive = (u_a * u_b).sum(dim=1).mean() / temperature
        alignment, uniformity = all_mean(torch.stack([-positive, others.logsumexp(dim=1).mean()]), n)
    return Terms(alignment + uniformity, {"alignment": alignment, "uniformity": uniformity})


class SimCLR(Method):
    """Backbone, projector and the loss, (z_a, z_b, rank=..., gather=..., all_mean=...) -> Terms."""

    def __init__(self, backbone: nn.Module, projector: nn.Module, loss: Callable[..., Terms] = simclr_loss) -> None:
        super().__init__(backbone, projector)
        self.loss = loss

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of two views of one batch."""
        # The head sees both views at once, as in the official code: one BatchNorm statistic over 2N rows.
        z_a, z_b = self.projector(represent_together(self, pair_of(views))).chunk(2)
        if num_processes() > 1:
            rank = torch.distributed.get_rank()
            return self.loss(z_a, z_b, rank=rank, gather=gather_with_grad, all_mean=mean_over_processes)
        return self.loss(z_a, z_b)


def simclr(backbone: nn.Module, head: HeadSpec, num_features: int, *, temperature: float = TEMPERATURE) -> SimCLR:
    """Build the method with the numbers of a recipe; the head ends with a BatchNorm without offset (official code)."""
    projector = head.build(num_features, last_norm="scale")
    return SimCLR(backbone, projector, partial(simclr_loss, temperature=temperature))


def _check(z_a: Tensor, z_b: Tensor, temperature: float) -> None:
    check_embeddings(z_a=z_a, z_b=z_b)
    if z_a.shape[0] * num_processes() < 2:
        raise ValueError(f"z_a, z_b: got {z_a.shape[0]} sample, wanted at least 2: others are what it is told from")
    if not temperature > 0:
        raise ValueError(f"temperature: got {temperature}, wanted a positive number")
