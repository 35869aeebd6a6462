"""The losses of the methods as modules, for loops of one's own: the functions, with their numbers kept beside them.

    loss = barlow.BarlowTwinsLoss(redundancy_weight=0.005)
    loss(z_a, z_b).backward()

A module has no parameters and computes nothing itself; its numbers are the keywords of the function, which says what
they mean. Over processes all hold what `barlow.all_mean` promises: see `all_mean` of each function.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.methods.barlow_twins import REDUNDANCY_WEIGHT, Bias, Normalization, barlow_twins_loss
from barlow.methods.byol import byol_loss
from barlow.methods.cca_ssg import DECORRELATION_WEIGHT, cca_ssg_loss
from barlow.methods.optimal_projector import SHRINKAGE, optimal_projector_loss
from barlow.methods.sigreg import NUM_DIRECTIONS, SIGREG_WEIGHT, random_directions, sigreg_loss
from barlow.methods.simclr import TEMPERATURE as SIMCLR_TEMPERATURE, simclr_loss
from barlow.methods.simsiam import simsiam_loss
from barlow.methods.swav import EPSILON, NUM_CODED, TEMPERATURE as SWAV_TEMPERATURE, sinkhorn, swav_loss
from barlow.methods.vicreg import COVARIANCE_WEIGHT, INVARIANCE_WEIGHT, VARIANCE_WEIGHT, Convention, vicreg_loss
from barlow.methods.vicregl import ALPHA, FEATURE_MATCHES, MATCHES, Embeddings, vicregl_loss
from barlow.methods.wmse import W_SIZE, wmse_loss
from barlow.seams import Terms
from barlow.statistics.collectives import AllMean, Gather, gather_for, mean_for
from barlow.statistics.correlation import Form


class Loss(nn.Module):
    """A loss function and its numbers; `forward` of each class below says what it takes, and its function the rest."""

    def __init__(self, function: Callable[..., Terms], numbers: dict[str, Any]) -> None:
        super().__init__()
        self.function = function
        self.numbers = {name: value for name, value in numbers.items() if name not in ("self", "__class__")}

    def extra_repr(self) -> str:
        """Return the numbers, for printing."""
        return ", ".join(f"{name}={value!r}" for name, value in self.numbers.items() if value is not None)


class _OfTwoViews(Loss):
    def forward(self, z_a: Float[Tensor, "n d"], z_b: Float[Tensor, "n d"]) -> Terms:
        """Return the loss of the embeddings of two views, row by row of the same samples."""
        return self.function(z_a, z_b, **self.numbers)


class _OfPredictions(Loss):
    def forward(
        self,
        p_a: Float[Tensor, "n d"],
        z_b: Float[Tensor, "n d"],
        p_b: Float[Tensor, "n d"],
        z_a: Float[Tensor, "n d"],
    ) -> Terms:
        """Return the loss of the predictions from each view and of what they have to meet of the other."""
        return self.function(p_a, z_b, p_b, z_a, **self.numbers)


class BarlowTwinsLoss(_OfTwoViews):
    """`barlow.barlow_twins_loss` as a module: (z_a, z_b) -> Terms."""

    def __init__(
        self,
        *,
        redundancy_weight: float = REDUNDANCY_WEIGHT,
        normalization: Normalization = "pearson",
        form: Form = "auto",
        bias: Bias = "kept",
        all_mean: AllMean | None = None,
    ) -> None:
        super().__init__(barlow_twins_loss, dict(locals()))


class CCASSGLoss(_OfTwoViews):
    """`barlow.cca_ssg_loss` as a module: (z_a, z_b) -> Terms."""

    def __init__(
        self,
        *,
        decorrelation_weight: float = DECORRELATION_WEIGHT,
        form: Form = "auto",
        all_mean: AllMean | None = None,
    ) -> None:
        super().__init__(cca_ssg_loss, dict(locals()))


class OptimalProjectorLoss(_OfTwoViews):
    """`barlow.optimal_projector_loss` as a module: (h_a, h_b) -> Terms, features straight from the backbone."""

    def __init__(self, *, shrinkage: float = SHRINKAGE, all_mean: AllMean | None = None) -> None:
        super().__init__(optimal_projector_loss, dict(locals()))


class SimCLRLoss(_OfTwoViews):
    """`barlow.simclr_loss` as a module: (z_a, z_b) -> Terms."""

    def __init__(
        self,
        *,
        temperature: float = SIMCLR_TEMPERATURE,
        rank: int | None = None,
        gather: Gather | None = None,
        all_mean: AllMean | None = None,
    ) -> None:
        super().__init__(simclr_loss, dict(locals()))


class VICRegLoss(_OfTwoViews):
    """`barlow.vicreg_loss` as a module: (z_a, z_b) -> Terms."""

    def __init__(
        self,
        *,
        invariance_weight: float = INVARIANCE_WEIGHT,
        variance_weight: float = VARIANCE_WEIGHT,
        covariance_weight: float = COVARIANCE_WEIGHT,
        convention: Convention = "official",
        form: Form = "auto",
        all_mean: AllMean | None = None,
    ) -> None:
        super().__init__(vicreg_loss, dict(locals()))


class BYOLLoss(_OfPredictions):
    """`barlow.byol_loss` as a module: (p_a, z_b, p_b, z_a) -> Terms, z of the target network."""

    def __init__(self, *, all_mean: AllMean | None = None) -> None:
        super().__init__(byol_loss, dict(locals()))


class SimSiamLoss(_OfPredictions):
    """`barlow.simsiam_loss` as a module: (p_a, z_b, p_b, z_a) -> Terms."""

    def __init__(self, *, all_mean: AllMean | None = None) -> None:
        super().__init__(simsiam_loss, dict(locals()))


class VICRegLLoss(Loss):
    """`barlow.vicregl_loss` as a module: a list of views, each with `whole`, `positions` and `places` -> Terms."""

    def __init__(
        self,
        *,
        alpha: float = ALPHA,
        matches: tuple[int, int] = MATCHES,
        feature_matches: tuple[int, int] = FEATURE_MATCHES,
        invariance_weight: float = INVARIANCE_WEIGHT,
        variance_weight: float = VARIANCE_WEIGHT,
        covariance_weight: float = COVARIANCE_WEIGHT,
        all_mean: AllMean | None = None,
    ) -> None:
        super().__init__(vicregl_loss, dict(locals()))

    def forward(self, views: Sequence[Embeddings]) -> Terms:
        """Return the loss of two or more views, the first two of them large."""
        return self.function(views, **self.numbers)


class WMSELoss(Loss):
    """`barlow.wmse_loss` as a module: (z_a, z_b, ...) -> Terms; random sub-batches are drawn in every call."""

    def __init__(
        self,
        *,
        w_size: int = W_SIZE,
        iterations: int = 1,
        shrinkage: float = 0.0,
        all_mean: AllMean | None = None,
    ) -> None:
        super().__init__(wmse_loss, dict(locals()))

    def forward(self, *views: Float[Tensor, "n d"]) -> Terms:
        """Return the loss of the embeddings of two or more views."""
        return self.function(views, **self.numbers)


class SIGRegLoss(Loss):
    """`barlow.sigreg_loss` as a module: (z_a, z_b, ...) -> Terms; directions are drawn in every call."""

    def __init__(
        self,
        *,
        sigreg_weight: float = SIGREG_WEIGHT,
        num_directions: int = NUM_DIRECTIONS,
        all_mean: AllMean | None = None,
    ) -> None:
        super().__init__(sigreg_loss, {"sigreg_weight": sigreg_weight, "all_mean": all_mean})
        self.num_directions = num_directions

    def forward(self, *views: Float[Tensor, "n d"]) -> Terms:
        """Return the loss of the embeddings of two or more views."""
        z = torch.stack(views)
        all_mean = mean_for(z, self.numbers["all_mean"])
        directions = random_directions(z.shape[2], self.num_directions, device=z.device, all_mean=all_mean)
        return self.function(z, directions, **{**self.numbers, "all_mean": all_mean})


class SwAVLoss(Loss):
    """`barlow.swav_loss` as a module: scores (V, N, K) -> Terms; the codes of the first views are found here.

    Scores are products of embeddings and prototypes, both of length 1. A queue is the method's: `method="swav"`.
    """

    def __init__(
        self,
        *,
        temperature: float = SWAV_TEMPERATURE,
        epsilon: float = EPSILON,
        num_iterations: int = 3,
        num_coded: int = NUM_CODED,
        gather: Gather | None = None,
        all_mean: AllMean | None = None,
    ) -> None:
        super().__init__(swav_loss, {"temperature": temperature, "all_mean": all_mean})
        self.epsilon, self.num_iterations, self.num_coded, self.gather = epsilon, num_iterations, num_coded, gather

    def forward(self, scores: Float[Tensor, "v n k"]) -> Terms:
        """Return the loss of the scores of two or more views, those that get codes first."""
        gather = gather_for(scores, self.gather, self.numbers["all_mean"])
        codes = [
            sinkhorn(rows, epsilon=self.epsilon, num_iterations=self.num_iterations, gather=gather)
            for rows in scores[: self.num_coded].detach()
        ]
        return self.function(scores, torch.stack(codes), **self.numbers)
