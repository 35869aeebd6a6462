"""VICReg (Bardes et al. 2022, arXiv 2105.04906): invariance, variance and covariance, each a function of embeddings.

    s(z, z') = mean_n |z_n - z'_n|^2 / D,   v(z) = mean_j max(0, 1 - sqrt(Var z_j + eps)),
    c(z) = sum_{i != j} C_ij^2 / D

with C = (z - mean)^T (z - mean) / (N - 1) of one view (section 4.1), and the same per position where embeddings
have positions (VICRegL). With fewer samples than features C is never built: see `batch_covariance.py`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.choices import unknown
from barlow.collectives import AllMean, all_mean as mean_over_processes, identity, num_processes
from barlow.correlation import Form, center
from barlow.methods.batch_covariance import bessel, off_diagonal_squares
from barlow.methods.method import Method
from barlow.methods.terms import Terms
from barlow.networks.heads import HeadSpec

Convention = Literal["official", "paper"]

INVARIANCE_WEIGHT, VARIANCE_WEIGHT, COVARIANCE_WEIGHT = 25.0, 25.0, 1.0
"""lambda, mu and nu of the paper (section 4.2) and of the official code."""
EPS = 1e-4
"""Added to variances inside the root (section 4.1): the gradient stays finite at collapse."""


def vicreg_loss(
    z_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    *,
    invariance_weight: float = INVARIANCE_WEIGHT,
    variance_weight: float = VARIANCE_WEIGHT,
    covariance_weight: float = COVARIANCE_WEIGHT,
    convention: Convention = "official",
    form: Form = "auto",
    all_mean: AllMean = identity,
) -> Terms:
    """Keep two views alike, every feature's spread at 1 or more, and features uncorrelated within a view.

        L = lambda s(z_a, z_b) + mu [v(z_a) + v(z_b)] / 2 + nu [c(z_a) + c(z_b)]        (official)

    The paper prints equation 6 without the 1/2, and s (equation 5) as a mean over samples of the *sum* over
    features, so D times as large. Its figures come from the code, which is therefore the default.

    Args:
        z_a: embeddings of view a.
        z_b: embeddings of view b, row by row of the same samples.
        invariance_weight: lambda.
        variance_weight: mu.
        covariance_weight: nu.
        convention: "official" (main_vicreg.py, VICReg.forward) or "paper" (equations 1 to 6).
        form: "direct" (D x D), "gram" (N x N) or "auto", the cheaper; value and gradient are the same.
        all_mean: mean over all processes, `barlow.collectives.all_mean` in a distributed run; one of your own has to
            tell N: `barlow.collectives.MeanOver`.

    Returns:
        Terms with parts "invariance", "variance" and "covariance", weighted, that add up to the total.

    Raises:
        ValueError: shapes that differ or are not (N, D), fewer than 2 samples, unknown names, negative weights, a bare
            `all_mean` of one's own.
    """
    _check(z_a, z_b, (invariance_weight, variance_weight, covariance_weight), convention, form)
    s = invariance(z_a, z_b, all_mean=all_mean)
    v = variance(z_a, all_mean=all_mean) + variance(z_b, all_mean=all_mean)
    c = covariance(z_a, form=form, all_mean=all_mean) + covariance(z_b, form=form, all_mean=all_mean)
    s, v = (s, v / 2) if convention == "official" else (s * z_a.shape[1], v)
    s, v, c = invariance_weight * s, variance_weight * v, covariance_weight * c
    return Terms(s + v + c, {"invariance": s, "variance": v, "covariance": c})


def invariance(
    z_a: Float[Tensor, "n *slots d"], z_b: Float[Tensor, "n *slots d"], *, all_mean: AllMean = identity
) -> Float[Tensor, ""]:
    """Return the mean square difference of two views, over samples, positions and features.

        s = sum_n |z_a[n] - z_b[n]|^2 / (N D)        (equation 5, divided by D as in the official code)

    Args:
        z_a: embeddings of view a.
        z_b: embeddings of view b, of the same shape.
        all_mean: mean over all processes.

    Returns:
        s, in float32 or the precision of the input if that is higher.
    """
    return all_mean((_precise(z_a) - _precise(z_b)).square().mean(), z_a.shape[0])


def variance(
    z: Float[Tensor, "n *slots d"], *, target: float = 1.0, eps: float = EPS, all_mean: AllMean = identity
) -> Float[Tensor, ""]:
    """Return how far the standard deviations of the features fall short of `target`, on average.

        v = mean_j max(0, target - sqrt(Var z_j + eps)),   Var unbiased (divided by N - 1)       (equations 1 and 2)

    Args:
        z: embeddings of one view; with positions, each position has its own variances.
        target: gamma, 1 in the paper.
        eps: added to the variance inside the root.
        all_mean: mean over all processes; the variance is that of all their samples. One of your own has to tell N:
            `collectives.MeanOver`.

    Returns:
        v, in float32 or the precision of the input if that is higher.

    Raises:
        ValueError: a single sample; a bare `all_mean` of one's own.
    """
    n = z.shape[0]
    centred = center(_precise(z).flatten(1), all_mean=all_mean)
    biased = all_mean(centred.square().mean(dim=0), n)
    deviation = torch.sqrt(biased * bessel(n, z.device, all_mean) + eps)
    return torch.relu(target - deviation).mean()


def covariance(
    z: Float[Tensor, "n *slots d"], *, form: Form = "auto", all_mean: AllMean = identity
) -> Float[Tensor, ""]:
    """Return the squared covariances between different features of one view, per feature.

        c = sum_{i != j} C_ij^2 / D,   C unbiased (divided by N - 1)                             (equations 3 and 4)

    Args:
        z: embeddings of one view; with positions, c is the mean over theirs.
        form: "direct" builds C (D x D), "gram" a Gram matrix (own samples x all samples), "auto" the cheaper: Gram
            for N < D. Value and gradient are the same.
        all_mean: mean over all processes. One of your own has to tell N (`collectives.MeanOver`) and allows the direct
            form only.

    Returns:
        c, in float32 or the precision of the input if that is higher.

    Raises:
        ValueError: form="gram" with an `all_mean` of one's own, or a bare one; a single sample.
    """
    d = z.shape[-1]
    with torch.autocast(device_type=z.device.type, enabled=False):
        centred = center(_precise(z).flatten(1), all_mean=all_mean)
        per_position = centred.unflatten(1, (-1, d)).transpose(0, 1)
        return off_diagonal_squares(per_position, form=form, all_mean=all_mean).mean() / d


class VICReg(Method):
    """Backbone, expander and the loss: views -> Terms.

    Args:
        backbone: batch -> h of shape (N, d).
        projector: h -> z of shape (N, D), the paper's expander.
        loss: (z_a, z_b, all_mean=...) -> Terms; `vicreg_loss` with the run's weights.
    """

    def __init__(self, backbone: nn.Module, projector: nn.Module, loss: Callable[..., Terms] = vicreg_loss) -> None:
        super().__init__(backbone, projector)
        self.loss = loss

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of two views of one batch.

        Raises:
            ValueError: not exactly two views.
        """
        if len(views) != 2:
            raise ValueError(f"views: got {len(views)}, wanted 2 for VICReg")
        # One pass per view, not one over both: BatchNorm statistics are per view, as in the official code.
        z_a, z_b = (self.projector(self.represent(view)) for view in views)
        return self.loss(z_a, z_b, all_mean=mean_over_processes if num_processes() > 1 else identity)


def vicreg(
    backbone: nn.Module,
    head: HeadSpec,
    num_features: int,
    *,
    invariance_weight: float = INVARIANCE_WEIGHT,
    variance_weight: float = VARIANCE_WEIGHT,
    covariance_weight: float = COVARIANCE_WEIGHT,
    convention: Convention = "official",
) -> VICReg:
    """Build the method with the numbers of a recipe.

    The last layer has no bias, as in the official expander: all three terms would cancel it.
    """
    loss = partial(
        vicreg_loss,
        invariance_weight=invariance_weight,
        variance_weight=variance_weight,
        covariance_weight=covariance_weight,
        convention=convention,
    )
    return VICReg(backbone, head.build(num_features, last_bias=False), loss)


def _precise(z: Tensor) -> Tensor:
    """Half precision becomes float32: differences and squares of embeddings need it."""
    return z.to(torch.promote_types(z.dtype, torch.float32))


def _check(z_a: Tensor, z_b: Tensor, weights: tuple[float, float, float], convention: str, form: str) -> None:
    if z_a.ndim != 2 or z_a.shape != z_b.shape:
        raise ValueError(
            f"z_a, z_b: got shapes {tuple(z_a.shape)} and {tuple(z_b.shape)}, wanted the same (N, D) twice"
        )
    for name, weight in zip(("invariance", "variance", "covariance"), weights, strict=True):
        if weight < 0:
            raise ValueError(f"{name}_weight: got {weight}, wanted 0 or more")
    for argument, got, choices in (("convention", convention, get_args(Convention)), ("form", form, get_args(Form))):
        if got not in choices:
            raise unknown(argument, got, choices)
