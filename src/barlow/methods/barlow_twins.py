"""Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230), with the normalisations that the paper on it sets apart.

C = z_a^T z_b / N   after normalisation,      L = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2   (equation 2)
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
from barlow.statistics.collectives import AllMean, identity, mean_for, num_processes
from barlow.statistics.correlation import (
    EPS,
    FORMS,
    Form,
    center,
    diagonal_and_rest,
    exact_dtype,
    squares_without_own_pairs,
    standardize,
    whiten,
)

Normalization = Literal["pearson", "feature_cosine", "sample_cosine", "scalar", "covariance", "raw", "whiten"]

Bias = Literal["kept", "removed"]
"""kept: the paper's loss. removed: the squares of C from pairs of different samples only, as
`squares_without_own_pairs` says, so that the mean of the loss over batches does not depend on N, and one batch may go
below zero. Exact for "raw" and "sample_cosine", whose rows are independent; to O(1/N) for "covariance" and "scalar",
which share a statistic; for "pearson" and "feature_cosine" in the off-diagonal part (`UNIT_FEATURES`); refused for
"whiten"."""
BIASES: tuple[str, ...] = get_args(Bias)

REDUNDANCY_WEIGHT = 0.005
"""lambda of the paper (section 2.2); 0.0051 in the official code."""

UNIT_FEATURES = ("pearson", "feature_cosine")
"""Here C_ii of two equal views is 1 in every batch: its noise vanishes at the optimum, and there the n = m terms are
the feature's fourth moment; subtracting them would reward heavy-tailed features."""


def barlow_twins_loss(
    z_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    *,
    redundancy_weight: float = REDUNDANCY_WEIGHT,
    normalization: Normalization = "pearson",
    form: Form = "auto",
    bias: Bias = "kept",
    all_mean: AllMean | None = None,
) -> Terms:
    """Drive the cross-correlation matrix C of two views towards the identity.

        C = n(z_a)^T n(z_b) / N,      L = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2.

    Statistics, products and sums are in float32 (float64 for float64 input), also under autocast. N is the number
    of samples that came, never a nominal batch size. Below N = 0.75 D, C is not built: see `correlation.py`.

    Args:
        z_a: embeddings of view a.
        z_b: embeddings of view b, row by row of the same samples.
        redundancy_weight: lambda.
        normalization: n, per view: `normalize` says what each name means. "pearson" is the official one.
        form: "direct" (D x D), "gram" (N x N) or "auto", the cheaper; value and gradient are the same.
        bias: whether the squares keep the noise of C in a batch, about 1/N each: see `Bias`.
        all_mean: mean over the samples of all processes; None: those of torch.distributed's default group, where there
            is one, and `barlow.identity` for this process alone; with bias="removed" one
            of your own has to tell N: `barlow.MeanOver`.

    Returns:
        Terms with parts "on_diagonal" and "off_diagonal" (weighted) that add up to the total.

    Raises:
        ValueError: shapes that differ or are not (N, D), fewer than 2 samples, unknown names, negative lambda,
            bias="removed" with "whiten".
    """
    _check(z_a, z_b, redundancy_weight, form)
    _check_bias(bias, normalization)
    all_mean = mean_for(z_a, all_mean)
    with torch.autocast(device_type=z_a.device.type, enabled=False):
        dtype = exact_dtype(z_a, z_b)
        n_a = normalize(z_a.to(dtype), normalization, all_mean=all_mean)
        n_b = normalize(z_b.to(dtype), normalization, all_mean=all_mean)
        on_diagonal, off_diagonal_squares = _two_sums(n_a, n_b, bias, normalization, form, all_mean)
        off_diagonal = redundancy_weight * off_diagonal_squares
    return Terms(on_diagonal + off_diagonal, {"on_diagonal": on_diagonal, "off_diagonal": off_diagonal})


def normalize(
    z: Float[Tensor, "n d"], normalization: Normalization, *, eps: float = EPS, all_mean: AllMean = identity
) -> Float[Tensor, "n d"]:
    """Normalise the embeddings of one view, so that C = n(z_a)^T n(z_b) / N is the matrix that the name promises.

    | name           | n(z)                                        | C                                              |
    |----------------|---------------------------------------------|------------------------------------------------|
    | pearson        | (z - mean) / sqrt(var + eps), per feature   | Pearson correlations: the official code        |
    | feature_cosine | z / sqrt(mean of z^2 + eps), per feature    | equation 1 of the paper as printed: no centring|
    | sample_cosine  | sqrt(D) z / |z|, per sample                 | the radius makes the trace of E z z^T equal D  |
    | scalar         | (z - mean) / sqrt(mean of all var + eps)    | one number for all features (Theorem 3)        |
    | covariance     | z - mean                                    | equation 3, centred, divided by N              |
    | raw            | z                                           | equation 3, divided by N                       |
    | whiten         | (z - mean) L^-T, covariance = L L^T         | whitened cross-covariance; needs N > D         |

    eps inside the root gives a constant or zero feature finite gradients.
    """
    n = z.shape[0]
    match normalization:
        case "pearson":
            return standardize(z, eps=eps, all_mean=all_mean)
        case "feature_cosine":
            return z * torch.rsqrt(all_mean(z.square().mean(dim=0), n) + eps)
        case "sample_cosine":
            return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + eps)
        case "scalar":
            centred = center(z, all_mean=all_mean)
            return centred * torch.rsqrt(all_mean(centred.square().mean(), n) + eps)
        case "covariance":
            return center(z, all_mean=all_mean)
        case "raw":
            return z
        case "whiten":
            return whiten(z, eps=eps, all_mean=all_mean)
    raise unknown("normalization", normalization, get_args(Normalization))


def barlow_twins(
    backbone: nn.Module,
    head: HeadSpec,
    num_features: int,
    *,
    redundancy_weight: float = REDUNDANCY_WEIGHT,
    normalization: Normalization = "pearson",
    bias: Bias = "kept",
) -> TwoViews:
    """Build the method; ValueError for an unknown bias, or one that the normalisation does not have."""
    _check_bias(bias, normalization)
    loss = partial(barlow_twins_loss, redundancy_weight=redundancy_weight, normalization=normalization, bias=bias)
    return TwoViews(backbone, head.build(num_features), loss)


def _two_sums(
    n_a: Tensor, n_b: Tensor, bias: Bias, normalization: Normalization, form: Form, all_mean: AllMean
) -> tuple[Tensor, Tensor]:
    """Return sum_i (1 - C_ii)^2 and sum_{i != j} C_ij^2, with or without the noise of the batch."""
    if bias == "kept":
        diagonal, rest = diagonal_and_rest(n_a, n_b, form=form, all_mean=all_mean)
        return (1 - diagonal).square().sum(), rest
    diagonal, squares, rest = squares_without_own_pairs(n_a, n_b, form=form, all_mean=all_mean)
    if normalization in UNIT_FEATURES:
        return (1 - diagonal).square().sum(), rest
    return (1 - 2 * diagonal + squares).sum(), rest


def _check(z_a: Tensor, z_b: Tensor, redundancy_weight: float, form: str) -> None:
    check_embeddings(z_a=z_a, z_b=z_b)
    if z_a.shape[0] * num_processes() < 2:
        raise ValueError(f"z_a, z_b: got {z_a.shape[0]} sample, wanted at least 2: C is a statistic of the batch")
    if redundancy_weight < 0:
        raise ValueError(f"redundancy_weight: got {redundancy_weight}, wanted 0 or more")
    if form not in FORMS:
        raise unknown("form", form, FORMS)


def _check_bias(bias: str, normalization: str) -> None:
    if bias not in BIASES:
        raise unknown("bias", bias, BIASES)
    if bias == "removed" and normalization == "whiten":
        raise ValueError(
            "bias: got 'removed' with normalization='whiten', wanted 'kept': whitened views that are equal have "
            "C = I in every batch, so there is no noise to remove, and the correction would make that loss negative"
        )
