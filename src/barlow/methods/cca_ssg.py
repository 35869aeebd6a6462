"""CCA-SSG (Zhang et al. 2021, arXiv 2106.12484): two views correlate feature by feature, and in each features do not.

    L = D - tr C + lambda (|C_aa - I|^2 + |C_bb - I|^2),     C = z_a^T z_b / N of standardised embeddings

Barlow Twins decorrelates across views, this one within each: a soft form of canonical correlation analysis.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.errors import unknown
from barlow.methods.forward import TwoViews, check_embeddings
from barlow.methods.heads import HeadSpec
from barlow.seams import Terms
from barlow.statistics.collectives import AllMean, mean_for, num_processes
from barlow.statistics.correlation import FORMS, Form, diagonal_and_rest, exact_dtype, standardize

DECORRELATION_WEIGHT = 1e-3
"""lambda of the official code for Cora (its `--lambd`); 5e-4 for Citeseer and PubMed."""


def cca_ssg_loss(
    z_a: Float[Tensor, "n d"],
    z_b: Float[Tensor, "n d"],
    *,
    decorrelation_weight: float = DECORRELATION_WEIGHT,
    form: Form = "auto",
    all_mean: AllMean | None = None,
) -> Terms:
    """Correlate two views and decorrelate the features of each.

        L = sum_i (1 - C_ii) + lambda sum_v sum_ij (C^v_ij - [i = j])^2          (equation 5 of the paper, halved in its
                                                                                 first term as in the official code)

    C = n(z_a)^T n(z_b) / N, C^a = n(z_a)^T n(z_a) / N, with n = (z - mean) / sqrt(var + eps) per feature. Differs from
    the official code: that leaves out the constant D, and divides variances by N - 1.

    Args:
        z_a: embeddings of view a.
        z_b: embeddings of view b, row by row of the same samples.
        decorrelation_weight: lambda.
        form: "direct" (D x D), "gram" (N x N) or "auto", the cheaper; value and gradient are the same.
        all_mean: mean over the samples of all processes; None: those of torch.distributed's default group, where there
            is one, and `barlow.identity` for this process alone.

    Returns:
        Terms with parts "invariance" and "decorrelation" (weighted) that add up to the total.

    Raises:
        ValueError: shapes that differ or are not (N, D), fewer than 2 samples, an unknown form, negative lambda.

    Example:
        >>> barlow.cca_ssg_loss(z_a, z_b, decorrelation_weight=1e-3).total.backward()
    """
    check_embeddings(z_a=z_a, z_b=z_b)
    if z_a.shape[0] * num_processes() < 2:
        raise ValueError(f"z_a, z_b: got {z_a.shape[0]} sample, wanted at least 2: C is a statistic of the batch")
    if decorrelation_weight < 0:
        raise ValueError(f"decorrelation_weight: got {decorrelation_weight}, wanted 0 or more")
    if form not in FORMS:
        raise unknown("form", form, FORMS)
    all_mean = mean_for(z_a, all_mean)
    with torch.autocast(device_type=z_a.device.type, enabled=False):
        dtype = exact_dtype(z_a, z_b)
        n_a, n_b = (standardize(z.to(dtype), all_mean=all_mean) for z in (z_a, z_b))
        invariance = (1 - all_mean((n_a * n_b).mean(dim=0), len(n_a))).sum()
        squares = [_from_identity(one, form, all_mean) for one in (n_a, n_b)]
        decorrelation = decorrelation_weight * (squares[0] + squares[1])
    return Terms(invariance + decorrelation, {"invariance": invariance, "decorrelation": decorrelation})


def _from_identity(n: Tensor, form: Form, all_mean: AllMean) -> Tensor:
    """|C - I|^2 of one view; its diagonal is 1 but for constant features and eps."""
    diagonal, rest = diagonal_and_rest(n, n, form=form, all_mean=all_mean)
    return (1 - diagonal).square().sum() + rest


def cca_ssg(
    backbone: nn.Module,
    head: HeadSpec,
    num_features: int,
    *,
    decorrelation_weight: float = DECORRELATION_WEIGHT,
) -> TwoViews:
    """Build the method with the number of a recipe."""
    return TwoViews(
        backbone, head.build(num_features), partial(cca_ssg_loss, decorrelation_weight=decorrelation_weight)
    )
