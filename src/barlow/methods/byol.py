"""BYOL (Grill et al. 2020, arXiv 2006.07733): each view predicts the other as a slow copy of the network sees it.

L = mean |p_a - z'_b|^2 + mean |p_b - z'_a|^2    with p, z' of length 1: 2 - 2 cos each    (equation 2, both ways)
xi <- tau xi + (1 - tau) theta    after every step,    tau = 1 - (1 - tau_0) (cos(pi k/K) + 1) / 2

Target: xi, z'; online network: theta, p. SimSiam is the same with tau = 0.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.methods.forward import pair_of
from barlow.methods.heads import HeadSpec
from barlow.methods.simsiam import embedding_std, mean_cosines
from barlow.seams import Method, Terms
from barlow.statistics.collectives import AllMean, all_mean_here, mean_for

MOMENTUM = 0.996
"""tau_0 for 1000 epochs; 0.99 for 100 and 300, 0.97 for 40 (official code, configs/byol.py)."""
PREDICTOR_WIDTH = 4096
"""Hidden layer of the predictor (paper, section 3.3)."""


def byol_loss(
    p_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    p_b: Float[Tensor, "n d"],
    z_a: Float[Tensor, "n d"],
    *,
    all_mean: AllMean | None = None,
) -> Terms:
    """Let the prediction from each view point where the target network's projection of the other view points.

        L = mean (2 - 2 cos(p_a, sg(z'_b))) + mean (2 - 2 cos(p_b, sg(z'_a))),      in [0, 8].

    No gradient goes into z'. Products and sums are in float32 (float64 for float64 input), also under autocast.

    Args:
        p_a: predictions of the online network from view a.
        z_b: projections of the target network of view b, what p_a has to meet.
        p_b: predictions of the online network from view b.
        z_a: projections of the target network of view a, what p_b has to meet.
        all_mean: mean over the samples of all processes; None: those of torch.distributed's default group, where there
            is one, and `barlow.identity` for this process alone.

    Returns:
        Terms with parts "a_to_b" and "b_to_a" that add up to the total, and the monitor "embedding_std" of z', which
        is not part of it: 1 when spread over the sphere, 0 when collapsed (see `simsiam.embedding_std`).

    Raises:
        ValueError: shapes that differ or are not (N, D).

    Source:
        Equation 2 of the paper, both directions added up as in the official code.
    """
    all_mean = mean_for(p_a, all_mean)
    a_to_b, b_to_a = 2 - 2 * mean_cosines(p_a, z_b, p_b, z_a, all_mean=all_mean)
    spread = embedding_std(z_a, z_b, all_mean=all_mean)
    return Terms(a_to_b + b_to_a, {"a_to_b": a_to_b, "b_to_a": b_to_a, "embedding_std": spread})


def momentum_at(done: float, momentum: float = MOMENTUM) -> float:
    """Return tau, the share of itself that the target keeps in a step; `done` = k/K is the fraction of the run behind.

        tau = 1 - (1 - tau_0) (cos(pi k/K) + 1) / 2,      from tau_0 up to 1.

    Source: section 3.3 of the paper; the official code takes the k before the step, as here.
    """
    return 1 - (1 - momentum) * (math.cos(math.pi * done) + 1) / 2


class BYOL(Method):
    """Online network, predictor (z -> p), target network and the loss: views -> Terms; `momentum` is tau_0, in [0, 1].

    The target starts as a copy of backbone and projector (the official code draws it anew and saw no difference). Its
    weights follow those of the online network; its BatchNorms count their own statistics, in training by the batch. It
    is part of the state, so a resumed run goes on with it, and takes no gradient, so no optimizer has it.
    """

    def __init__(
        self, backbone: nn.Module, projector: nn.Module, predictor: nn.Module, *, momentum: float = MOMENTUM
    ) -> None:
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum: got {momentum}, wanted a number in [0, 1]")
        super().__init__(backbone, projector)
        self.predictor = predictor
        self.target = copy.deepcopy(nn.ModuleDict({"backbone": backbone, "projector": projector})).requires_grad_(False)
        self.momentum = momentum
        self.tau = momentum  # of the step at hand

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of two views of one batch."""
        # One pass per view, not one over both: BatchNorm statistics are per view, as in the official code.
        p_a, p_b = (self.predictor(self.projector(self.represent(view))) for view in pair_of(views))
        with torch.no_grad():
            z_a, z_b = (self.target["projector"](self.target["backbone"](view)) for view in views)
        return byol_loss(p_a, z_b, p_b, z_a, all_mean=all_mean_here())

    def start_step(self, epoch: float, epochs: int | float) -> None:
        """Set the tau of this step."""
        self.tau = momentum_at(epoch / epochs, self.momentum)

    @torch.no_grad()
    def after_step(self) -> None:
        """Let the target follow: parameters only, after the optimizer's step, as in the official code."""
        for online, target in ((self.backbone, self.target["backbone"]), (self.projector, self.target["projector"])):
            for theta, xi in zip(online.parameters(), target.parameters(), strict=True):
                xi.lerp_(theta, 1 - self.tau)


def byol(
    backbone: nn.Module,
    head: HeadSpec,
    num_features: int,
    *,
    momentum: float = MOMENTUM,
    predictor_width: int = PREDICTOR_WIDTH,
) -> BYOL:
    """Build the method with the numbers of a recipe; the last layers of both heads have no bias (official code)."""
    if predictor_width < 1:
        raise ValueError(f"predictor_width: got {predictor_width}, wanted at least 1")
    width = head.num_outputs(num_features)
    predictor = replace(head, widths=f"{predictor_width}-{width}").build(width, last_bias=False)
    return BYOL(backbone, head.build(num_features, last_bias=False), predictor, momentum=momentum)
