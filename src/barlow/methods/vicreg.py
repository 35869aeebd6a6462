"""VICReg (Bardes et al. 2022, arXiv 2105.04906): invariance, variance and covariance, each a function of embeddings.

    s(z, z') = mean_n |z_n - z'_n|^2 / D,   v(z) = mean_j max(0, 1 - sqrt(Var z_j + eps)),
    c(z) = sum_{i != j} C_ij^2 / D

with C = (z - mean)^T (z - mean) / (N - 1) of one view (section 4.1), and the same per position where embeddings
have positions (VICRegL). With fewer samples than features C is never built: see `statistics/covariance.py`.
"""

from functools import partial
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.errors import unknown
from barlow.methods.forward import TwoViews, check_embeddings
from barlow.methods.heads import HeadSpec
from barlow.seams import Terms
from barlow.statistics.collectives import AllMean, counted, identity, mean_for
from barlow.statistics.correlation import FORMS, Form, center, exact_dtype
from barlow.statistics.covariance import bessel, off_diagonal_squares

Convention = Literal["official", "paper"]
CONVENTIONS: tuple[str, ...] = get_args(Convention)

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
    all_mean: AllMean | None = None,
) -> Terms:
    """Keep two views alike, every feature's spread at 1 or more, and features uncorrelated within a view.

        L = lambda s(z_a, z_b) + mu [v(z_a) + v(z_b)] / 2 + nu [c(z_a) + c(z_b)]        (official)
        s = mean_n |z_a,n - z_b,n|^2 / D,   v = mean_j max(0, 1 - sqrt(Var z_j + eps)),   c = sum_{i != j} Cov_ij^2 / D

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
        all_mean: mean over the samples of all processes; None: those of torch.distributed's default group, where there
            is one, and `barlow.identity` for this process alone; one of your own has to
            tell N: `barlow.MeanOver`.

    Returns:
        Terms with parts "invariance", "variance" and "covariance", weighted, that add up to the total.

    Raises:
        ValueError: shapes that differ or are not (N, D), fewer than 2 samples, unknown names, negative weights, a bare
            `all_mean` of one's own.
    """
    _check(z_a, z_b, (invariance_weight, variance_weight, covariance_weight), convention, form)
    all_mean = counted(len(z_a), mean_for(z_a, all_mean))
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

    In float32, or the precision of the input if that is higher.
    """
    return all_mean((z_a.to(exact_dtype(z_a)) - z_b.to(exact_dtype(z_b))).square().mean(), z_a.shape[0])


def variance(
    z: Float[Tensor, "n *slots d"], *, target: float = 1.0, eps: float = EPS, all_mean: AllMean = identity
) -> Float[Tensor, ""]:
    """Return how far the standard deviations of the features fall short of `target` (the paper's gamma), on average.

        v = mean_j max(0, target - sqrt(Var z_j + eps)),   Var unbiased (divided by N - 1)       (equations 1 and 2)

    Each position has its own variances, over the samples of all processes; an `all_mean` of one's own has to tell N:
    `barlow.MeanOver`. In float32, or the precision of the input if that is higher. ValueError: a single sample.
    """
    n = z.shape[0]
    centred = center(z.to(exact_dtype(z)).flatten(1), all_mean=all_mean)
    biased = all_mean(centred.square().mean(dim=0), n)
    deviation = torch.sqrt(biased * bessel(n, all_mean) + eps)
    return torch.relu(target - deviation).mean()


def covariance(
    z: Float[Tensor, "n *slots d"], *, form: Form = "auto", all_mean: AllMean = identity
) -> Float[Tensor, ""]:
    """Return the squared covariances between different features of one view, per feature.

        c = sum_{i != j} C_ij^2 / D,   C unbiased (divided by N - 1)                             (equations 3 and 4)

    With positions, c is the mean over theirs. "direct" builds C (D x D), "gram" a Gram matrix (own samples x all
    samples), "auto" the cheaper: Gram for N < D; value and gradient are the same. An `all_mean` of one's own has to
    tell N (`barlow.MeanOver`) and allows the direct form only. In float32, or the precision of the input if that is
    higher. ValueError: a single sample.
    """
    d = z.shape[-1]
    with torch.autocast(device_type=z.device.type, enabled=False):
        centred = center(z.to(exact_dtype(z)).flatten(1), all_mean=all_mean)
        per_position = centred.unflatten(1, (-1, d)).transpose(0, 1)
        return off_diagonal_squares(per_position, form=form, all_mean=all_mean).mean() / d


def vicreg(
    backbone: nn.Module,
    head: HeadSpec,
    num_features: int,
    *,
    invariance_weight: float = INVARIANCE_WEIGHT,
    variance_weight: float = VARIANCE_WEIGHT,
    covariance_weight: float = COVARIANCE_WEIGHT,
    convention: Convention = "official",
) -> TwoViews:
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
    return TwoViews(backbone, head.build(num_features, last_bias=False), loss)


def _check(z_a: Tensor, z_b: Tensor, weights: tuple[float, float, float], convention: str, form: str) -> None:
    check_embeddings(z_a=z_a, z_b=z_b)
    for name, weight in zip(("invariance", "variance", "covariance"), weights, strict=True):
        if weight < 0:
            raise ValueError(f"{name}_weight: got {weight}, wanted 0 or more")
    for argument, got, choices in (("convention", convention, CONVENTIONS), ("form", form, FORMS)):
        if got not in choices:
            raise unknown(argument, got, choices)
