"""W-MSE (Ermolov et al. 2021, arXiv 2007.06346): whiten every view by itself, then bring the views together.

    y = whitened z, in random sub-batches and each view for itself,      u = y / |y|,
    L = mean over pairs of views (i, j) and over samples of  |u_i - u_j|^2 = 2 - 2 <u_i, u_j>      (section 3)

With the covariance I fixed there is no way to collapse, so nothing but the distance is left to minimise.
"""

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from barlow.methods.heads import HeadSpec
from barlow.seams import Method, Terms, to_device
from barlow.statistics.collectives import AllMean, all_mean_here, mean_for
from barlow.statistics.correlation import exact_dtype
from barlow.statistics.triangular import cholesky, solve_lower

W_SIZE = 128
"""Rows of a sub-batch in the official CIFAR runs, for 64 features."""
FALLBACK_RIDGE = 1e-4
"""Added to a covariance without a Cholesky factor, as a share of its mean variance."""


def wmse_loss(
    views: Sequence[Float[Tensor, "n d"]],
    *,
    w_size: int = W_SIZE,
    iterations: int = 1,
    shrinkage: float = 0.0,
    sub_batches: Sequence[Int[Tensor, "_"]] | None = None,
    all_mean: AllMean | None = None,
) -> Terms:
    """Mean squared distance between views whose sub-batches are whitened and whose rows then have length 1.

        L = mean over sub-batches, their samples and pairs of views i < j of  2 - 2 cos(y_i, y_j),
        y = (z - mean) L^-T of one view in its sub-batch, whose covariance is L L^T.

    Float32 at least, also under autocast. Gradients reach every view through mean, covariance and Cholesky factor.

    Across processes sub-batches stay within a process. The loss is the mean over all samples, and equals that of
    one process with the whole batch when that is cut into the same sub-batches; which samples meet is random in
    both.

    Args:
        views: embeddings of two or more views, row by row of the same samples.
        w_size: smallest size of a sub-batch, at least D + 1; a smaller batch is one sub-batch.
        iterations: random orders of the batch that are cut into sub-batches; the loss is their mean. 1 in the
            official code for CIFAR, 4 for two views of larger pictures.
        shrinkage: of the covariance towards I; 0 in the official code.
        sub_batches: rows of each, the same for all views, every row equally often; `random_sub_batches(n, w_size,
            iterations)` when none are given.
        all_mean: mean over the samples of all processes; None: those of torch.distributed's default group, where there
            is one, and `barlow.identity` for this process alone.

    Returns:
        Terms with the part "distance", which is the total: from 0 to 4, and 2 for views that share nothing.

    Raises:
        ValueError: fewer than two views, unequal shapes, w_size <= D, fewer than D + 1 samples.

    Source:
        Section 3 of the paper; htdt/self-supervised, methods/w_mse.py.
    """
    _check(views)
    all_mean = mean_for(views[0], all_mean)
    n, d = views[0].shape
    if sub_batches is None:
        _check_size(w_size, d)
        sub_batches = random_sub_batches(n, w_size, iterations)
    with torch.autocast(device_type=views[0].device.type, enabled=False):
        z = torch.stack(list(views))
        z = z.to(exact_dtype(z))
        there = to_device(list(sub_batches), z.device)
        distances = [_distances(whiten_rows(z[:, rows], shrinkage=shrinkage)) for rows in there]
        total = all_mean(torch.cat(distances).mean(), n)
    return Terms(total, {"distance": total})


def _distances(y: Float[Tensor, "v m d"]) -> Float[Tensor, " m"]:
    """Return 2 - 2 cos(y_i, y_j) of each sample, averaged over the pairs of views."""
    u = nn.functional.normalize(y, dim=-1)
    pairs = [2 - 2 * (u[i] * u[j]).sum(dim=-1) for i, j in combinations(range(len(u)), 2)]
    return torch.stack(pairs).mean(dim=0)


def _check(views: Sequence[Tensor]) -> None:
    shapes = [tuple(view.shape) for view in views]
    if len(shapes) < 2 or len(shapes[0]) != 2 or len(set(shapes)) > 1:
        raise ValueError(f"views: got shapes {shapes}, wanted the same (N, D) twice or more")


def _check_size(w_size: int, num_features: int) -> None:
    if w_size <= num_features:
        raise ValueError(
            f"w_size: got {w_size} for embeddings of {num_features} features, wanted at least {num_features + 1}: "
            "the covariance of fewer rows has no full rank. Use a narrower projector or a larger w_size"
        )


# --- Whitening: random parts of a batch, each brought to covariance I by its own Cholesky factor.
#
#     y = (z - mean) L^-T,      L L^T = S = (z - mean)^T (z - mean) / (M - 1)      for the M rows of one sub-batch.
#
# Source: section 3 of the paper; htdt/self-supervised, methods/whitening.py.


def random_sub_batches(num_samples: int, w_size: int, iterations: int = 1) -> list[Int[Tensor, "_"]]:
    """Cut `iterations` random orders of a batch of n rows into sub-batches of at least `w_size` rows.

    The orders come from torch's own CPU generator. The loop keeps its state in the checkpoint, of every process its
    own, so a run that is resumed draws what it would have drawn, and `torch.manual_seed` replays it.

    Where n is no multiple of w_size, all n // w_size parts are a little larger. A batch that is smaller is one
    sub-batch: a sample that cannot be read ends no run. (The official code stops in both cases.) The sub-batches of one
    order hold every row once.
    """
    if iterations < 1:
        raise ValueError(f"iterations: got {iterations}, wanted at least 1")
    orders = [torch.randperm(num_samples) for _ in range(iterations)]
    return [part for order in orders for part in order.tensor_split(max(1, num_samples // w_size))]


def whiten_rows(z: Float[Tensor, "*v m d"], *, shrinkage: float = 0.0) -> Float[Tensor, "*v m d"]:
    """Return the rows of z with mean 0 and covariance I (divided by M - 1), with gradient through S and its factor.

    A covariance that has no Cholesky factor, such as that of a constant feature, gets 1e-4 of its mean variance added
    to its diagonal: what was constant becomes 0 and the gradient stays finite. (The official code stops.) `shrinkage`
    is eps of (1 - eps) S + eps I, which is factored instead of S; 0 in the official code. The map is triangular:
    feature 1 is scaled only, feature i is a mixture of the first i. ValueError: fewer than D + 1 rows, where no
    covariance has full rank.
    """
    m, d = z.shape[-2:]
    if m <= d:
        raise ValueError(
            f"z: got {m} rows of {d} features to whiten, wanted at least {d + 1} rows. Sub-batches are formed within "
            "a process: use a larger batch_size, or a smaller w_size and projector"
        )
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage: got {shrinkage}, wanted a number in [0, 1]")
    centred = z - z.mean(dim=-2, keepdim=True)
    covariance = centred.mT @ centred / (m - 1)
    eye = torch.eye(d, dtype=z.dtype, device=z.device)
    if shrinkage:
        covariance = (1 - shrinkage) * covariance + shrinkage * eye
    factor, failed = cholesky(covariance)
    # A GPU is not asked, which would make the host wait, and a compiled graph has no branches: there the ridge, 0 where
    # none is wanted, is always added.
    if not covariance.is_cpu or torch.compiler.is_compiling() or bool((failed > 0).any()):
        # Absolute too, for features that are all constant to rounding.
        ridge = FALLBACK_RIDGE * covariance.diagonal(dim1=-2, dim2=-1).mean(dim=-1).detach() + torch.finfo(z.dtype).eps
        ridge = torch.where(failed > 0, ridge, torch.zeros_like(ridge))
        factor, _ = cholesky(covariance + ridge[..., None, None] * eye)
    return solve_lower(factor, centred.mT).mT


class WMSE(Method):
    """Backbone, projector and the loss, with the numbers of `wmse_loss`: views -> Terms."""

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module,
        *,
        w_size: int = W_SIZE,
        iterations: int = 1,
        shrinkage: float = 0.0,
    ) -> None:
        super().__init__(backbone, projector)
        self.loss = partial(wmse_loss, w_size=w_size, iterations=iterations, shrinkage=shrinkage)

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of two or more views of one batch (the paper: 2 and 4)."""
        if len(views) < 2:
            raise ValueError(f"views: got {len(views)}, wanted at least 2 for W-MSE")
        # As in the official code: BatchNorm of the backbone per view, that of the head over all views.
        z = self.projector(torch.cat([self.represent(view) for view in views]))
        return self.loss(z.chunk(len(views)), all_mean=all_mean_here())


def wmse(
    backbone: nn.Module,
    head: HeadSpec,
    num_features: int,
    *,
    w_size: int = W_SIZE,
    iterations: int = 1,
    shrinkage: float = 0.0,
) -> WMSE:
    """Build the method with the numbers of a recipe; ValueError where the projector is too wide for the sub-batches."""
    _check_size(w_size, head.num_outputs(num_features))
    return WMSE(backbone, head.build(num_features), w_size=w_size, iterations=iterations, shrinkage=shrinkage)
